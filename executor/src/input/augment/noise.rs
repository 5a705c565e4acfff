//! Gaussian noise is added.

use tch::{Device, Tensor};
use tusk_core::manifest::Preprocessing;
use tusk_core::random::derive;

use super::{Draw, per_image};
use crate::error::Result;
use crate::nets::layout::normal;

/// The number of precomputed values of Gaussian noise. It is large enough that images of a batch rarely get the same noise.
pub(super) const BANK: usize = 1 << 20;

/// Returns the precomputed noise. An image uses a contiguous part that starts at any of the first [`BANK`] values.
pub(super) fn bank(preprocessing: &Preprocessing, seed: u64, device: Device) -> Result<Tensor> {
    let bank = normal(derive(seed, "noise", &[]), BANK, 1.0);
    let values_per_image = preprocessing.image_size.pow(2) as usize * usize::from(preprocessing.channels);
    let bank: Vec<f32> = bank.iter().cycle().take(BANK + values_per_image).copied().collect();
    Ok(Tensor::f_from_slice(&bank)?.f_to(device)?)
}

/// Adds noise of the drawn standard deviation to each image.
pub(super) fn with_noise(mut x: Tensor, bank: &Tensor, draws: &[Draw]) -> Result<Tensor> {
    let size = x.size();
    let values_per_image = size[1..].iter().product::<i64>();
    let pieces: Vec<Tensor> = draws
        .iter()
        .map(|draw| bank.f_narrow(0, draw.noise_offset as i64, values_per_image))
        .collect::<std::result::Result<_, _>>()?;
    let deviations = per_image(draws.iter().map(|draw| draw.noise_std), x.device())?;
    let noise = Tensor::f_stack(&pieces, 0)?.f_view(size.as_slice())?.f_mul_(&deviations)?;
    Ok(x.f_add_(&noise)?)
}
