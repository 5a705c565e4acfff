//! Saved as a JPEG, and decoded again: what rounding the cosine transform of blocks of 8 x 8 pixels leaves of an image.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use tch::{Device, Tensor};

use super::{Draw, chosen};
use crate::error::Result;

/// The side of a block, in pixels.
const SIZE: i64 = 8;

/// The steps of the coefficients of luminance at quality 50, row by row from the lowest frequency (ITU-T T.81, table K.1).
const LUMINANCE: [u32; 64] = [
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51,
    87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103, 99,
];

/// Saves the images that have a quality, each channel as a grey JPEG. Values become levels of 8 bits before and after.
pub(super) fn saved(mut x: Tensor, draws: &[Draw]) -> Result<Tensor> {
    let Some((places, qualities)) = chosen(draws, x.device(), |draw| draw.quality)? else { return Ok(x) };
    let levels = x.f_index_select(0, &places)?.f_clamp_(0.0, 1.0)?.f_mul_scalar_(255.0)?.f_round_()?;
    let images = decoded(&levels, &qualities)?.f_mul_scalar_(1.0 / 255.0)?;
    drop(x.f_index_copy_(0, &places, &images)?);
    Ok(x)
}

/// Returns images `[n, channels, height, width]` of levels of 0 to 255 as JPEGs of these qualities have them. As in libjpeg, the
/// last column and row are repeated up to a whole block.
fn decoded(levels: &Tensor, qualities: &[u8]) -> Result<Tensor> {
    let (count, channels, height, width) = levels.size4()?;
    let padded = levels.f_replication_pad2d([0, (-width).rem_euclid(SIZE), 0, (-height).rem_euclid(SIZE)])?;
    let (rows, columns) = (padded.size()[2] / SIZE, padded.size()[3] / SIZE);
    // The places in a block come first, so that a frequency of all blocks is one piece of memory: `[8, 8, n, blocks]`.
    let blocks = padded.f_add_scalar(-128.0)?.f_reshape([count, channels, rows, SIZE, columns, SIZE])?;
    let blocks = blocks.f_permute([3, 5, 0, 1, 2, 4])?.f_reshape([SIZE, SIZE, count, -1])?;
    let cosines = cosines(levels.device())?;
    let by_place = cosines.f_transpose(0, 1)?;
    let coefficients = combined(&combined(&blocks, &by_place, 0)?, &by_place, 1)?;
    let coefficients = rounded(&coefficients, &steps(qualities, levels.device())?)?;
    let mut blocks = combined(&combined(&coefficients, &cosines, 0)?, &cosines, 1)?;
    let blocks = blocks.f_add_scalar_(128.0)?.f_round_()?.f_clamp_(0.0, 255.0)?;
    let blocks = blocks.f_reshape([SIZE, SIZE, count, channels, rows, columns])?.f_permute([2, 3, 4, 0, 5, 1])?;
    let images = blocks.f_reshape([count, channels, rows * SIZE, columns * SIZE])?;
    Ok(images.f_narrow(2, 0, height)?.f_narrow(3, 0, width)?)
}

/// Returns the cosine transform of a row of a block, `[8 frequencies, 8 places]`. It is orthogonal.
fn cosines(device: Device) -> Result<Tensor> {
    let value = |i: i64| {
        let (frequency, place) = ((i / SIZE) as f64, (i % SIZE) as f64);
        let scale = if i < SIZE { 0.5 * FRAC_1_SQRT_2 } else { 0.5 };
        (scale * ((2.0 * place + 1.0) * frequency * PI / 16.0).cos()) as f32
    };
    let values: Vec<f32> = (0..SIZE * SIZE).map(value).collect();
    Ok(Tensor::f_from_slice(&values)?.f_view([SIZE, SIZE])?.f_to(device)?)
}

/// Multiplies the blocks by a matrix `[8 before, 8 after]` along axis 0 or 1. Products are summed one after the other, because
/// the rounding of libtorch's products of matrices depends on the other images of the batch.
fn combined(blocks: &Tensor, matrix: &Tensor, axis: usize) -> Result<Tensor> {
    let mut shape = [1; 4];
    shape[axis] = SIZE;
    let term = |before: i64| -> Result<Tensor> {
        let weights = matrix.f_select(0, before)?.f_reshape(shape)?;
        Ok(blocks.f_narrow(axis as i64, before, 1)?.f_mul(&weights)?)
    };
    let mut sum = term(0)?;
    for before in 1..SIZE {
        sum = sum.f_add_(&term(before)?)?;
    }
    Ok(sum)
}

/// Rounds coefficients `[8, 8, n, blocks]` to multiples of their steps `[8, 8, n, 1]`. As in libjpeg, they become eighths
/// first, and halves of a step are rounded away from 0.
fn rounded(coefficients: &Tensor, steps: &Tensor) -> Result<Tensor> {
    let eighths = coefficients.f_mul_scalar(8.0)?.f_round_()?;
    let halves = eighths.f_abs()?.f_add_(&steps.f_mul_scalar(4.0)?)?;
    let mut multiples = halves.f_div(&steps.f_mul_scalar(8.0)?)?.f_floor_()?;
    Ok(multiples.f_mul_(steps)?.f_mul_(&eighths.f_sign()?)?)
}

/// Returns the steps of these qualities, `[8, 8, n, 1]`. The standard table is scaled as in libjpeg.
fn steps(qualities: &[u8], device: Device) -> Result<Tensor> {
    let of_quality = |quality: &u8| {
        let quality = u32::from(*quality).clamp(1, 100);
        let percent = if quality < 50 { 5000 / quality } else { 200 - 2 * quality };
        LUMINANCE.map(|step| ((step * percent + 50) / 100).clamp(1, 255) as f32)
    };
    let steps: Vec<f32> = qualities.iter().flat_map(of_quality).collect();
    let steps = Tensor::f_from_slice(&steps)?.f_view([-1, SIZE, SIZE])?;
    Ok(steps.f_permute([1, 2, 0])?.f_unsqueeze(3)?.f_to(device)?)
}

#[cfg(test)]
mod tests {
    use tusk_core::augment::resave::TRANSFORM;

    use super::super::testing::{changed, pipeline, values};
    use super::*;

    /// Not a multiple of the side of a block.
    const SIDE: usize = 12;

    /// What Pillow 13 makes of the image of the test below, by quality. It was computed with:
    ///
    /// ```python
    /// y, x = np.mgrid[:12, :12]
    /// levels = (30 + 11 * x + x * y % 17 + np.where(y > x, 70, 0)).astype(np.uint8)
    /// for quality in (20, 50, 90):
    ///     file = io.BytesIO()
    ///     Image.fromarray(levels).save(file, "JPEG", quality=quality)
    ///     print(quality, np.asarray(Image.open(file)).ravel().tolist())
    /// ```
    const PILLOW: [(u8, [u8; SIDE * SIDE]); 3] = [
        (
            20,
            [
                43, 36, 36, 56, 84, 100, 95, 84, 130, 137, 148, 158, 73, 63, 55, 58, 73, 91, 103, 107, 130, 137, 148,
                158, 104, 96, 82, 68, 65, 80, 107, 129, 130, 137, 148, 158, 111, 114, 108, 90, 73, 77, 102, 127, 130,
                137, 148, 158, 99, 113, 124, 116, 98, 89, 97, 109, 130, 137, 148, 158, 92, 109, 128, 136, 129, 116,
                106, 101, 130, 137, 148, 158, 104, 111, 125, 143, 153, 148, 130, 114, 130, 137, 148, 158, 120, 116,
                122, 142, 164, 169, 151, 131, 130, 137, 148, 158, 99, 115, 135, 148, 156, 165, 178, 189, 160, 143, 134,
                139, 99, 115, 135, 148, 156, 165, 178, 189, 175, 162, 152, 151, 99, 115, 135, 148, 156, 165, 178, 189,
                192, 187, 177, 164, 99, 115, 135, 148, 156, 165, 178, 189, 198, 205, 195, 169,
            ],
        ),
        (
            50,
            [
                33, 37, 53, 72, 76, 76, 90, 111, 120, 130, 143, 152, 82, 58, 45, 60, 84, 97, 102, 106, 124, 134, 147,
                156, 116, 90, 68, 69, 83, 97, 108, 116, 128, 138, 152, 161, 105, 115, 118, 102, 78, 75, 101, 131, 129,
                139, 153, 162, 89, 120, 143, 129, 95, 81, 97, 121, 128, 138, 151, 160, 94, 114, 132, 135, 129, 121,
                110, 99, 126, 136, 149, 158, 103, 113, 124, 136, 150, 154, 131, 103, 127, 137, 150, 159, 103, 119, 133,
                141, 152, 159, 147, 127, 128, 138, 151, 161, 103, 116, 132, 144, 152, 162, 175, 185, 130, 131, 140,
                152, 103, 116, 132, 144, 152, 162, 175, 185, 170, 161, 155, 158, 103, 116, 132, 144, 152, 162, 175,
                185, 207, 193, 173, 161, 103, 116, 132, 144, 152, 162, 175, 185, 212, 208, 190, 163,
            ],
        ),
        (
            90,
            [
                33, 39, 48, 63, 76, 81, 95, 106, 118, 125, 141, 151, 95, 45, 59, 62, 82, 86, 105, 117, 130, 136, 150,
                162, 102, 116, 52, 71, 81, 100, 106, 113, 128, 133, 145, 156, 98, 113, 128, 70, 88, 99, 97, 116, 131,
                137, 152, 165, 98, 118, 132, 151, 81, 91, 99, 120, 127, 134, 149, 160, 99, 121, 126, 147, 154, 90, 109,
                109, 130, 137, 152, 161, 101, 113, 135, 130, 156, 170, 94, 121, 126, 133, 149, 162, 103, 117, 135, 143,
                147, 154, 177, 119, 129, 134, 148, 159, 102, 118, 137, 140, 157, 162, 179, 185, 134, 126, 156, 154, 98,
                120, 125, 145, 147, 167, 172, 183, 186, 154, 141, 165, 99, 123, 122, 149, 146, 170, 172, 184, 204, 193,
                161, 162, 101, 122, 129, 145, 155, 164, 179, 185, 194, 215, 208, 157,
            ],
        ),
    ];

    #[test]
    fn an_image_is_as_a_jpeg_of_pillow_has_it() {
        let level = |i: usize| {
            let (x, y) = (i % SIDE, i / SIDE);
            (30 + 11 * x + x * y % 17 + if y > x { 70 } else { 0 }) as u8
        };
        let image: Vec<u8> = (0..SIDE * SIDE).map(level).collect();
        let pipeline = pipeline(TRANSFORM, SIDE);
        for (quality, wanted) in PILLOW {
            let hash = (0..10_000).find(|hash| pipeline.draw(*hash, 1).quality == Some(quality)).unwrap();
            let found = &values(&pipeline, &image, SIDE, &[hash])[0];
            for (found, wanted) in found.iter().zip(wanted) {
                let level = f64::from(*found) * 255.0;
                assert!((level - level.round()).abs() < 1e-3, "{level} is between two levels");
                // libjpeg's cosine transform is that of whole numbers.
                assert!((level - f64::from(wanted)).abs() < 1.1, "{level}, not {wanted}, at quality {quality}");
            }
        }
    }

    #[test]
    fn a_flat_image_stays_flat_and_middle_grey_stays_as_it_is() {
        for level in [0_u8, 60, 102, 128, 255] {
            for (image, draw) in changed(TRANSFORM, &[level; SIDE * SIDE], SIDE) {
                let kept = f32::from(level) * (1.0 / 255.0);
                // The mean of a block is rounded to a multiple of an eighth of its step, which is 40 at quality 20.
                let largest = if draw.quality.is_none() || level == 128 { 0.0 } else { 3.0 / 255.0 };
                assert!(image.iter().all(|value| value == &image[0]), "{level} at {:?}", draw.quality);
                assert!((image[0] - kept).abs() <= largest + 1e-6, "{level} at {:?}: {}", draw.quality, image[0]);
            }
        }
    }

    #[test]
    fn a_lower_quality_loses_more() {
        let image: Vec<u8> = (0..SIDE * SIDE).map(|i| (60 + (i * 7919) % 101) as u8).collect();
        let lost = |(changed, draw): (Vec<f32>, Draw)| {
            let differences =
                changed.iter().zip(&image).map(|(found, level)| (found * 255.0 - f32::from(*level)).abs());
            (draw.quality, differences.sum::<f32>() / image.len() as f32)
        };
        for (quality, lost) in changed(TRANSFORM, &image, SIDE).into_iter().map(lost) {
            match quality {
                None => assert!(lost < 1e-3, "{lost} lost without a quality"),
                Some(..40) => assert!(lost > 10.0, "{lost} lost at {quality:?}"),
                Some(85..) => assert!(lost < 6.0, "{lost} lost at {quality:?}"),
                Some(_) => {}
            }
        }
    }
}
