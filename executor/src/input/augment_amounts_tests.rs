//! Tests of the amounts of augmentation: draws fill the documented ranges, and images change by the drawn amounts.

use tch::{Device, Kind};
use tusk_core::augment::{
    Step, TRANSFORMS, Transform, blur, brightness, contrast, cutout, first, frame, gamma, horizontal_flip, marks,
    noise, processing, resample, resave, rotate, shear, shift, stretch, zoom,
};
use tusk_core::manifest::Preprocessing;
use tusk_core::options::Augment;

use crate::input::augment::{Draw, InputPipeline};
use crate::input::batch_loader::on_device;
use crate::nets::layout::to_vec;

const DRAWS: u64 = 2000;

/// The number of images that are checked, and their side.
const IMAGES: u64 = 40;
const SIDE: usize = 200;

/// A pipeline with one transform for grey images, without normalisation.
fn pipeline(kind: Transform) -> InputPipeline {
    let preprocessing = Preprocessing::plain(SIDE as u32, 1, 0.0, 1.0);
    InputPipeline::new(&preprocessing, Augment::of([kind]), 5, Device::Cpu, Kind::Float).unwrap()
}

fn flat(level: u8) -> Vec<u8> {
    vec![level; SIDE * SIDE]
}

fn draws(kind: Transform) -> Vec<Draw> {
    let pipeline = pipeline(kind);
    (0..DRAWS).map(|hash| pipeline.draw(hash, 1)).collect()
}

/// Augments copies of one image, and returns each result with its draw.
fn changed(kind: Transform, image: &[u8]) -> Vec<(Vec<f64>, Draw)> {
    let (pipeline, hashes) = (pipeline(kind), (0..IMAGES).collect::<Vec<u64>>());
    let pixels = image.repeat(hashes.len());
    let images = on_device(&pixels, &[SIDE as i64, SIDE as i64, 1], Device::Cpu).unwrap();
    let values = to_vec(&pipeline.input(&images, &hashes, 1).unwrap()).unwrap();
    let images = values.chunks_exact(SIDE * SIDE).map(|values| values.iter().copied().map(f64::from).collect());
    images.zip(hashes.iter().map(|hash| pipeline.draw(*hash, 1))).collect()
}

/// Asserts that all amounts are within a range and that some are within 5 % of its length of either end.
fn assert_fill(amounts: &[f64], [low, high]: [f64; 2], what: &str) {
    let least = amounts.iter().copied().fold(f64::INFINITY, f64::min);
    let most = amounts.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let (found, margin) = (format!("{what}: from {least} to {most}"), 0.05 * (high - low));
    assert!(least >= low - 1e-6 && most <= high + 1e-6, "{found}, which is outside of {low} to {high}");
    assert!(least <= low + margin && most >= high - margin, "{found}, which is far from {low} or {high}");
}

/// Asserts that the draws of a transform fill its documented range.
fn assert_drawn(kind: Transform, range: [f64; 2], amount: fn(&Draw) -> f64) {
    let amounts: Vec<f64> = draws(kind).iter().map(amount).collect();
    assert_fill(&amounts, range, kind.name());
}

/// Asserts that about half of the draws fulfil a condition.
fn assert_half(kind: Transform, is_so: fn(&Draw) -> bool) {
    let share = draws(kind).iter().filter(|draw| is_so(draw)).count() as f64 / DRAWS as f64;
    assert!((0.45..0.55).contains(&share), "{}: {share}, not half", kind.name());
}

#[test]
fn amounts_fill_their_documented_ranges() {
    assert_drawn(rotate::TRANSFORM, [-15.0, 15.0], |draw| {
        f64::from(draw.affine[3]).atan2(f64::from(draw.affine[0])).to_degrees()
    });
    // Fractions of the side, whose length is 2 in these coordinates.
    assert_drawn(shift::TRANSFORM, [-0.06, 0.06], |draw| f64::from(draw.affine[2]) / 2.0);
    assert_drawn(shift::TRANSFORM, [-0.06, 0.06], |draw| f64::from(draw.affine[5]) / 2.0);
    assert_drawn(zoom::TRANSFORM, [0.85, 1.15], |draw| f64::from(draw.affine[0]));
    assert_drawn(shear::TRANSFORM, [-6.0, 6.0], |draw| f64::from(draw.affine[1]).atan().to_degrees());
    // Documented as 1.65 : 1.
    assert_drawn(stretch::TRANSFORM, [1.0 / 1.65, 1.0], |draw| f64::from(draw.affine[0]));
    assert_drawn(stretch::TRANSFORM, [1.0 / 1.65, 1.0], |draw| f64::from(draw.affine[4]));
    // The fractions that are cut off at the left and at the bottom.
    assert_drawn(frame::TRANSFORM, [0.0, 0.15], |draw| f64::from(1.0 - draw.affine[0] + draw.affine[2]) / 2.0);
    assert_drawn(frame::TRANSFORM, [0.0, 0.15], |draw| f64::from(1.0 - draw.affine[4] - draw.affine[5]) / 2.0);
    for gain in [|draw: &Draw| f64::from(draw.gains[0]).ln(), |draw: &Draw| f64::from(draw.gains[4]).ln()] {
        assert_drawn(processing::TRANSFORM, [-1.8_f64.ln(), 1.8_f64.ln()], gain);
    }
    assert_drawn(brightness::TRANSFORM, [-0.1, 0.1], |draw| f64::from(draw.brightness));
    assert_drawn(contrast::TRANSFORM, [0.7, 1.3], |draw| f64::from(draw.contrast));
    // Documented as 0.61 and 1.65, which are rounded to two digits.
    assert_drawn(gamma::TRANSFORM, [0.605, 1.655], |draw| f64::from(draw.gamma));
    assert_drawn(noise::TRANSFORM, [0.0, 0.03], |draw| f64::from(draw.noise_std));
    assert_drawn(cutout::TRANSFORM, [0.0, 0.25], |draw| draw.cutout.2 as f64 / SIDE as f64);
    // The square may be anywhere between the borders.
    assert_drawn(cutout::TRANSFORM, [0.0, 1.0], |draw| draw.cutout.0 as f64 / (SIDE - draw.cutout.2) as f64);
    assert_drawn(cutout::TRANSFORM, [0.0, 1.0], |draw| draw.cutout.1 as f64 / (SIDE - draw.cutout.2) as f64);
    let blurs: Vec<f64> = draws(blur::TRANSFORM).iter().map(|draw| f64::from(draw.blur)).collect();
    assert_fill(&blurs.into_iter().filter(|blur| *blur != 0.0).collect::<Vec<f64>>(), [-0.5, 1.0], "blur");
}

#[test]
fn amounts_of_files_fill_their_documented_ranges() {
    assert_drawn(resample::TRANSFORM, [1.0, 2.5], |draw| draw.reduction);
    let qualities = draws(resave::TRANSFORM).into_iter().filter_map(|draw| draw.quality.map(f64::from));
    assert_fill(&qualities.collect::<Vec<f64>>(), [20.0, 95.0], "resave");
    let drawn = draws(marks::TRANSFORM);
    let counts = drawn.iter().map(|draw| draw.marks.len() as f64).filter(|count| *count > 0.0);
    assert_fill(&counts.collect::<Vec<f64>>(), [1.0, 3.0], "number of marks");
    let marks: Vec<&marks::Mark> = drawn.iter().flat_map(|draw| &draw.marks).collect();
    let assert_marks = |range: [f64; 2], what: &str, amount: fn(&marks::Mark) -> f64| {
        assert_fill(&marks.iter().map(|mark| amount(mark)).collect::<Vec<f64>>(), range, what);
    };
    assert_marks([0.04, 0.2], "width of marks", |mark| mark.width as f64 / SIDE as f64);
    assert_marks([0.02, 0.1], "height of marks", |mark| mark.height as f64 / SIDE as f64);
    assert_marks([0.0, 1.0], "column of marks", |mark| mark.left as f64 / (SIDE - mark.width) as f64);
    assert_marks([0.0, 1.0], "row of marks", |mark| mark.top as f64 / (SIDE - mark.height) as f64);
    // How far from the nearest border a mark ends.
    assert_marks([0.02, 0.2], "band of marks", |mark| {
        let to_end = |from: usize, length: usize| (from + length).min(SIDE - from);
        to_end(mark.left, mark.width).min(to_end(mark.top, mark.height)) as f64 / SIDE as f64
    });
}

#[test]
fn optional_changes_apply_to_half_of_the_draws() {
    assert_half(stretch::TRANSFORM, |draw| draw.affine[0] != 1.0 || draw.affine[4] != 1.0);
    assert_half(frame::TRANSFORM, |draw| draw.affine[0] != 1.0);
    assert_half(processing::TRANSFORM, |draw| draw.gains[0] != 1.0);
    assert_half(resample::TRANSFORM, |draw| draw.reduction > 1.0);
    assert_half(marks::TRANSFORM, |draw| !draw.marks.is_empty());
    assert_half(resave::TRANSFORM, |draw| draw.quality.is_some());
    assert_half(blur::TRANSFORM, |draw| draw.blur != 0.0);
    assert_half(horizontal_flip::TRANSFORM, |draw| draw.affine[0] < 0.0);
    assert_half(rotate::TRANSFORM, |draw| draw.has_border);
}

/// A soft dot on black; its place is in pixels from the middle.
fn dot([x, y]: [f64; 2]) -> Vec<u8> {
    let middle = (SIDE as f64 - 1.0) / 2.0;
    let level = |i: usize| {
        let (dx, dy) = ((i % SIDE) as f64 - middle - x, (i / SIDE) as f64 - middle - y);
        (250.0 * (-(dx * dx + dy * dy) / 8.0).exp()).round() as u8
    };
    (0..SIDE * SIDE).map(level).collect()
}

/// The centre of brightness of an image, in pixels from the middle.
fn centre_of_brightness(image: &[f64]) -> [f64; 2] {
    let middle = (SIDE as f64 - 1.0) / 2.0;
    let sum: f64 = image.iter().sum();
    let mean = |place: fn(usize) -> usize| {
        image.iter().enumerate().map(|(i, level)| level * (place(i) as f64 - middle)).sum::<f64>() / sum
    };
    [mean(|i| i % SIDE), mean(|i| i / SIDE)]
}

/// Where a transform moves a place by the drawn amounts. Places are in pixels from the middle, with rows counted
/// downwards.
fn moved(kind: Transform, draw: &Draw, [x, y]: [f64; 2]) -> [f64; 2] {
    let affine = draw.affine.map(f64::from);
    let half = SIDE as f64 / 2.0;
    match kind.name() {
        // Angles above 0 rotate counterclockwise.
        "rotate" => {
            let (sin, cos) = affine[3].atan2(affine[0]).sin_cos();
            [x * cos + y * sin, y * cos - x * sin]
        }
        // The draw moves the frame, so the image moves in the opposite direction. The same holds below.
        "shift" => [x - affine[2] * half, y - affine[5] * half],
        "zoom" => [x / affine[0], y / affine[0]],
        "shear" => [x - affine[1] * y, y],
        "stretch" | "frame" => [(x - affine[2] * half) / affine[0], (y - affine[5] * half) / affine[4]],
        _ => [x * affine[0], y],
    }
}

#[test]
fn a_dot_moves_by_the_drawn_amounts() {
    let from = [50.0, -30.0];
    let geometry = TRANSFORMS.iter().copied().filter(|transform| transform.step() == Step::Geometry);
    for kind in geometry {
        for (image, draw) in changed(kind, &dot(from)) {
            let (found, wanted) = (centre_of_brightness(&image), moved(kind, &draw, from));
            let distance = (found[0] - wanted[0]).hypot(found[1] - wanted[1]);
            assert!(distance < 0.25, "{}: from {from:?} to {found:?}, not to {wanted:?}", kind.name());
        }
    }
}

#[test]
fn a_flat_image_gets_the_drawn_tone_and_noise() {
    for kind in [brightness::TRANSFORM, contrast::TRANSFORM, gamma::TRANSFORM, noise::TRANSFORM] {
        for (image, draw) in changed(kind, &flat(102)) {
            // Level 102 of 255 is 0.4.
            let wanted = match kind.name() {
                "brightness" => 0.4 + f64::from(draw.brightness),
                "contrast" => 0.5 - 0.1 * f64::from(draw.contrast),
                "gamma" => 0.4_f64.powf(f64::from(draw.gamma)),
                _ => 0.4,
            };
            let count = image.len() as f64;
            let mean = image.iter().sum::<f64>() / count;
            let deviation = (image.iter().map(|level| (level - mean).powi(2)).sum::<f64>() / count).sqrt();
            // With 40,000 values, the standard error of the mean is 0.5 % of the deviation, and that of the deviation
            // is 0.4 %.
            let drawn = if kind == noise::TRANSFORM { f64::from(draw.noise_std) } else { 0.0 };
            assert!((mean - wanted).abs() < 1e-5 + 0.03 * drawn, "{}: {mean}, not {wanted}", kind.name());
            assert!((deviation - drawn).abs() < 1e-5 + 0.03 * drawn, "{}: {deviation}, not {drawn}", kind.name());
        }
    }
}

#[test]
fn a_cut_out_square_has_the_mean_level_and_nothing_else_changes() {
    for (image, draw) in changed(cutout::TRANSFORM, &flat(102)) {
        let (left, top, side) = draw.cutout;
        for (i, level) in image.iter().enumerate() {
            let is_cut = (left..left + side).contains(&(i % SIDE)) && (top..top + side).contains(&(i / SIDE));
            let wanted = if is_cut { 0.0 } else { 0.4 };
            assert!((level - wanted).abs() < 1e-6, "{level} at {i}, with {:?} cut out", draw.cutout);
        }
    }
}

#[test]
fn a_point_is_blurred_by_a_gaussian_of_the_documented_width_and_the_drawn_amount() {
    // The point is a little brighter than its grey background, so that sharpening does not clip it.
    let middle = SIDE / 2 * SIDE + SIDE / 2;
    let mut point = flat(76);
    point[middle] = 153;
    let falls = |from: i32, to: i32| (-0.5 * f64::from(to * to - from * from) / (0.012 * SIDE as f64).powi(2)).exp();
    for (image, draw) in changed(blur::TRANSFORM, &point) {
        let share = |place: usize| (image[place] * 255.0 - 76.0) / 77.0;
        let blur = f64::from(draw.blur);
        let [here, beside, further] = [0, 1, 3].map(|columns| share(middle + columns));
        // The drawn fraction of the Gaussian, plus the rest of the point.
        let wanted = beside * falls(1, 0) + 1.0 - blur;
        assert!((here - wanted).abs() < 1e-4, "{here} in the middle and {beside} beside it, with {blur} drawn");
        let wanted = beside * falls(1, 3);
        assert!((further - wanted).abs() < 1e-4, "{further} further on, not {wanted}, with {blur} drawn");
        let below = share(middle + SIDE);
        assert!((below - beside).abs() < 1e-4, "{below} below and {beside} beside");
        let around = (0..17 * 17).map(|i| middle - 8 * SIDE - 8 + i / 17 * SIDE + i % 17);
        let sum: f64 = around.map(share).sum();
        assert!((sum - 1.0).abs() < 1e-3, "{sum} of one point, with {blur} drawn");
    }
}

/// The FNV-1a hash of the bits of all amounts that images draw with these transforms.
fn hash_of_draws(augments: &[Augment]) -> u64 {
    let mut hash = 0xCBF2_9CE4_8422_2325_u64;
    let mut add = |bits: u64| hash = (hash ^ bits).wrapping_mul(0x0100_0000_01B3);
    let preprocessing = Preprocessing::plain(SIDE as u32, 1, 0.0, 1.0);
    for augment in augments {
        let pipeline = InputPipeline::new(&preprocessing, augment.clone(), 42, Device::Cpu, Kind::Float).unwrap();
        for (hash, epoch) in (0..200).zip((1..=3).cycle()) {
            let Draw { affine, has_border, gains, gamma, contrast, brightness, noise_std, noise_offset, .. } =
                pipeline.draw(hash, epoch);
            let gains = gains.into_iter().filter(|gain| *gain != 1.0);
            let amounts = affine.into_iter().chain([gamma, contrast, brightness, noise_std]).chain(gains);
            amounts.for_each(|amount| add(u64::from(amount.to_bits())));
            [u64::from(has_border), noise_offset as u64].into_iter().for_each(&mut add);
        }
    }
    hash
}

#[test]
fn draws_do_not_change_between_versions() {
    // Training a model again from its seed depends on them.
    let listed = ["rotate, shift, zoom, brightness, contrast, gamma, blur, noise, cutout", "shift, gamma, cutout"];
    let [first_nine, some] = listed.map(|list| Augment::from_text(list).unwrap());
    assert_eq!(hash_of_draws(&[Augment::of(first()), first_nine, Augment::views(), some]), 3_513_876_721_774_934_675);
    assert_eq!(hash_of_draws(&[Augment::xray()]), 13_484_165_983_886_651_128);
}

/// Augments copies of an image of 64 pixels with `processing`, and returns each result with its draw.
fn processed(image: &[u8]) -> Vec<(Vec<f32>, Draw)> {
    let preprocessing = Preprocessing::plain(64, 1, 0.0, 1.0);
    let augment = Augment::of([processing::TRANSFORM]);
    let pipeline = InputPipeline::new(&preprocessing, augment, 5, Device::Cpu, Kind::Float).unwrap();
    let hashes: Vec<u64> = (0..IMAGES).collect();
    let images = on_device(&image.repeat(hashes.len()), &[64, 64, 1], Device::Cpu).unwrap();
    let values = to_vec(&pipeline.input(&images, &hashes, 1).unwrap()).unwrap();
    values.chunks_exact(64 * 64).map(<[f32]>::to_vec).zip(hashes.iter().map(|hash| pipeline.draw(*hash, 1))).collect()
}

/// Means of squares of 2 x 2 pixels.
fn halved(image: &[f64], side: usize) -> Vec<f64> {
    let half = side / 2;
    let mean = |i: usize| {
        let (x, y) = (i % half * 2, i / half * 2);
        [(x, y), (x + 1, y), (x, y + 1), (x + 1, y + 1)].map(|(x, y)| image[y * side + x]).iter().sum::<f64>() / 4.0
    };
    (0..half * half).map(mean).collect()
}

/// Bilinear interpolation to twice the side. Beyond the outer pixels, their values are repeated.
fn doubled(image: &[f64], side: usize) -> Vec<f64> {
    let twice = side * 2;
    let along = |place: usize| {
        let at = (place as f64 + 0.5) / 2.0 - 0.5;
        let from = at.max(0.0).floor() as usize;
        (from, (from + 1).min(side - 1), (at.max(0.0) - from as f64))
    };
    let value = |i: usize| {
        let ((left, right, x), (above, below, y)) = (along(i % twice), along(i / twice));
        let row = |row: usize| image[row * side + left] * (1.0 - x) + image[row * side + right] * x;
        row(above) * (1.0 - y) + row(below) * y
    };
    (0..twice * twice).map(value).collect()
}

/// The bands of an image and the gains, computed in f64.
fn with_gains(image: &[f64], side: usize, gains: &[f32]) -> Vec<f64> {
    let Some((gain, coarser)) = gains.split_first() else { return image.to_vec() };
    let half = halved(image, side);
    let (smooth, changed) = (doubled(&half, side / 2), doubled(&with_gains(&half, side / 2, coarser), side / 2));
    let bands = image.iter().zip(smooth).zip(changed);
    bands.map(|((level, smooth), changed)| changed + f64::from(*gain) * (level - smooth)).collect()
}

#[test]
fn processing_multiplies_each_frequency_band_by_its_gain() {
    let level = |i: usize| ((i * 7919) % 101 + i / 64 + 40 * usize::from(i % 64 > 24)) as u8;
    let image: Vec<u8> = (0..64 * 64).map(level).collect();
    let levels: Vec<f64> = image.iter().map(|level| f64::from(*level) / 255.0).collect();
    for (image, draw) in processed(&image) {
        for (found, wanted) in image.iter().zip(with_gains(&levels, 64, &draw.gains)) {
            assert!((f64::from(*found) - wanted.clamp(0.0, 1.0)).abs() < 1e-5, "{found}, not {wanted}");
        }
    }
}
