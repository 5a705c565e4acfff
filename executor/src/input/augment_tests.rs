//! Tests of net inputs: they are reproducible, independent of the batch, and recognisable.

use tch::{Device, Kind, Tensor};
use tusk_core::augment::{TRANSFORMS, Transform, horizontal_flip, marks, resample, resave, shift};
use tusk_core::manifest::Preprocessing;
use tusk_core::options::Augment;

use crate::input::augment::InputPipeline;
use crate::input::batch_loader::on_device;
use crate::nets::layout::to_vec;

const SIDE: usize = 32;

fn pipeline(augment: Augment, seed: u64) -> InputPipeline {
    let preprocessing = Preprocessing::plain(SIDE as u32, 1, 0.25, 0.5);
    InputPipeline::new(&preprocessing, augment, seed, Device::Cpu, Kind::Float).unwrap()
}

/// A disc left of the middle. Its place depends on the number.
fn disc(number: u64) -> Vec<u8> {
    let level = |i: usize| {
        let (x, y) = ((i % SIDE) as f64 - 10.0, (i / SIDE) as f64 - 15.0 - number as f64);
        if x * x + y * y < 36.0 { 220 } else { 60 }
    };
    (0..SIDE * SIDE).map(level).collect()
}

fn images(pixels: &[u8]) -> Tensor {
    on_device(pixels, &[SIDE as i64, SIDE as i64, 1], Device::Cpu).unwrap()
}

/// The net inputs of discs in one batch, one vector per image.
fn inputs(pipeline: &InputPipeline, hashes: &[u64], epoch: u32) -> Vec<Vec<f32>> {
    let pixels: Vec<u8> = hashes.iter().flat_map(|hash| disc(*hash)).collect();
    let x = pipeline.input(&images(&pixels), hashes, epoch).unwrap();
    assert_eq!(x.size(), [hashes.len() as i64, 1, SIDE as i64, SIDE as i64]);
    to_vec(&x).unwrap().chunks_exact(SIDE * SIDE).map(<[f32]>::to_vec).collect()
}

#[test]
fn without_augmentation_an_image_is_only_normalised() {
    let found = inputs(&pipeline(Augment::default(), 1), &[3], 1);
    let wanted = disc(3).into_iter().map(|v| (f64::from(v) / 255.0 - 0.25) / 0.5);
    assert!(found[0].iter().zip(wanted).all(|(f, w)| (f64::from(*f) - w).abs() < 1e-6));
}

#[test]
fn interleaved_colours_become_planes() {
    let preprocessing = Preprocessing::plain(2, 3, 0.0, 1.0 / 255.0);
    let pipeline = InputPipeline::new(&preprocessing, Augment::default(), 1, Device::Cpu, Kind::Float).unwrap();
    let images = on_device(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], &[2, 2, 3], Device::Cpu).unwrap();
    let x = pipeline.input(&images, &[0], 1).unwrap();
    assert_eq!(x.size(), [1, 3, 2, 2]);
    let planes: Vec<i64> = to_vec(&x).unwrap().iter().map(|v| v.round() as i64).collect();
    assert_eq!(planes, [1, 4, 7, 10, 2, 5, 8, 11, 3, 6, 9, 12]);
}

#[test]
fn changes_depend_on_seed_epoch_and_image_and_not_on_the_batch() {
    for augment in [Augment::xray(), Augment::of(TRANSFORMS.iter().copied())] {
        let pipeline_1 = pipeline(augment.clone(), 1);
        let alone = inputs(&pipeline_1, &[5], 2);
        assert!(alone == inputs(&pipeline(augment.clone(), 1), &[5], 2));
        assert!(alone[0] == inputs(&pipeline_1, &[8, 5, 9], 2)[1], "the other images of the batch do not matter");
        assert!(alone != inputs(&pipeline_1, &[5], 3), "another epoch gives other changes");
        assert!(alone != inputs(&pipeline(augment, 2), &[5], 2), "another seed gives other changes");
        let pixels = [disc(5), disc(5)].concat();
        let twice = to_vec(&pipeline_1.input(&images(&pixels), &[5, 6], 2).unwrap()).unwrap();
        assert!(twice[..SIDE * SIDE] != twice[SIDE * SIDE..], "another image gets other changes");
    }
}

#[test]
fn files_of_other_sites_change_the_images_that_draw_it_and_no_bit_of_the_others() {
    let hashes: Vec<u64> = (0..24).collect();
    let plain = inputs(&pipeline(Augment::default(), 1), &hashes, 1);
    for kind in [marks::TRANSFORM, resample::TRANSFORM, resave::TRANSFORM] {
        let pipeline = pipeline(Augment::of([kind]), 1);
        let together = inputs(&pipeline, &hashes, 1);
        assert!(together == inputs(&pipeline, &hashes, 1), "{kind} gives other bits when it is repeated");
        for ((hash, plain), changed) in hashes.iter().zip(&plain).zip(&together) {
            let draw = pipeline.draw(*hash, 1);
            let is_drawn = !draw.marks.is_empty() || draw.reduction > 1.0 || draw.quality.is_some();
            assert!(is_drawn || changed == plain, "{kind} changes image {hash}");
            assert!(inputs(&pipeline, &[*hash], 1)[0] == *changed, "{kind}: the other images of the batch matter");
        }
        let count = plain.iter().zip(&together).filter(|(plain, changed)| plain != changed).count();
        assert!((6..=18).contains(&count), "{kind} changed {count} of 24 images");
    }
}

#[test]
fn colours_are_resampled_and_saved_plane_by_plane() {
    let augment = Augment::of([resample::TRANSFORM, resave::TRANSFORM]);
    let grey = pipeline(augment.clone(), 1);
    let preprocessing = Preprocessing::plain(SIDE as u32, 3, 0.25, 0.5);
    let colour = InputPipeline::new(&preprocessing, augment, 1, Device::Cpu, Kind::Float).unwrap();
    let planes: Vec<Vec<u8>> = (0..3).map(disc).collect();
    let pixels: Vec<u8> = (0..SIDE * SIDE).flat_map(|i| [planes[0][i], planes[1][i], planes[2][i]]).collect();
    let images = on_device(&pixels.repeat(8), &[SIDE as i64, SIDE as i64, 3], Device::Cpu).unwrap();
    let hashes: Vec<u64> = (0..8).collect();
    let found = to_vec(&colour.input(&images, &hashes, 1).unwrap()).unwrap();
    for (hash, image) in hashes.iter().zip(found.chunks_exact(3 * SIDE * SIDE)) {
        for (plane, found) in planes.iter().zip(image.chunks_exact(SIDE * SIDE)) {
            let wanted = to_vec(&grey.input(&self::images(plane), &[*hash], 1).unwrap()).unwrap();
            assert!(found == wanted, "image {hash}");
        }
    }
}

#[test]
fn every_transform_changes_images_and_leaves_them_recognisable() {
    let plain = inputs(&pipeline(Augment::default(), 1), &(0..8).collect::<Vec<_>>(), 1);
    for word in Transform::NAMES {
        let transform = Transform::from_name(word).unwrap();
        let changed = inputs(&pipeline(Augment::of([transform]), 1), &(0..8).collect::<Vec<_>>(), 1);
        let differs = plain.iter().zip(&changed).filter(|(a, b)| a != b).count();
        assert!(differs >= 2, "{word} changed {differs} of 8 images");
        assert!(changed.iter().flatten().all(|v| v.is_finite()), "{word}");
        if transform != horizontal_flip::TRANSFORM {
            let (a, b) = (Tensor::from_slice(&plain.concat()), Tensor::from_slice(&changed.concat()));
            let correlation = Tensor::stack(&[a, b], 0).corrcoef().double_value(&[0, 1]);
            assert!(correlation > 0.6, "{word}: correlation {correlation}");
        }
    }
}

#[test]
fn a_flipped_image_is_its_mirror_image() {
    let hashes: Vec<u64> = (0..16).collect();
    let plain = inputs(&pipeline(Augment::default(), 1), &hashes, 1);
    let flipped = inputs(&pipeline(Augment::of([horizontal_flip::TRANSFORM]), 1), &hashes, 1);
    let mirror =
        |image: &[f32]| -> Vec<f32> { image.chunks_exact(SIDE).flat_map(|row| row.iter().rev().copied()).collect() };
    let near = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4);
    let mirrored = plain.iter().zip(&flipped).filter(|(a, b)| near(&mirror(a), b)).count();
    let kept = plain.iter().zip(&flipped).filter(|(a, b)| near(a, b)).count();
    assert_eq!(mirrored + kept, 16);
    assert!(mirrored >= 3 && kept >= 3, "about half of the images are flipped, not {mirrored} of 16");
}

#[test]
fn the_area_outside_of_a_shifted_image_repeats_the_border_or_is_black() {
    let moved = inputs(&pipeline(Augment::of([shift::TRANSFORM]), 1), &(0..16).collect::<Vec<_>>(), 1);
    // The darkest level of a disc is 60, so darker values come from outside of the image.
    let black = moved.iter().filter(|image| image.iter().any(|v| *v < -0.4)).count();
    assert!((4..=12).contains(&black), "about half of the images have black areas, not {black} of 16");
}
