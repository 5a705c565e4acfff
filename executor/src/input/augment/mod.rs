//! Turns a batch of pixels into net inputs: normalises them and, in training, augments them.
//!
//! All random amounts follow from the seed, the epoch and the image. The changes of an image therefore do not depend on
//! the worker or the batch. Each step has one file, except those that are a line.

mod bands;
mod cutout;
mod geometry;
mod marks;
mod noise;
mod resample;
mod resave;
mod sharpness;
#[cfg(test)]
mod testing;

use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64;
use tch::{Device, Kind, Tensor};
use tusk_core::augment::marks::Mark;
use tusk_core::augment::{BANDS, Changes, Draws, Step, Stream, Transform, first};
use tusk_core::manifest::Preprocessing;
use tusk_core::options::Augment;
use tusk_core::random::derive;

use crate::error::Result;

/// Turns pixels into net inputs.
#[derive(Debug)]
pub(crate) struct InputPipeline {
    preprocessing: Preprocessing,
    augment: Augment,
    /// The transforms that draw from the shared stream, in their order.
    first: Vec<Transform>,
    seed: u64,
    /// The precomputed noise, if there is a step that uses it.
    noise: Option<Tensor>,
    device: Device,
    kind: Kind,
}

/// The random amounts of one image.
pub(crate) struct Draw {
    /// Maps coordinates of the result to coordinates of the source image, both from -1 to 1, as PyTorch's `affine_grid`
    /// does.
    pub(crate) affine: [f32; 6],
    /// Whether the area outside the source image repeats its border. Otherwise that area is black.
    pub(crate) has_border: bool,
    /// The gains of the frequency bands, the finest first.
    pub(crate) gains: [f32; BANDS],
    pub(crate) gamma: f32,
    pub(crate) contrast: f32,
    pub(crate) brightness: f32,
    /// The weight of a blurred copy. Values above 0 blur the image, values below 0 sharpen it.
    pub(crate) blur: f32,
    pub(crate) noise_std: f32,
    pub(crate) noise_offset: usize,
    pub(crate) marks: Vec<Mark>,
    /// How many times smaller the reduced copy is. At 1 the image is kept.
    pub(crate) reduction: f64,
    /// The quality of the JPEG.
    pub(crate) quality: Option<u8>,
    /// The left edge, top edge and side of the square that is cut out, in pixels.
    pub(crate) cutout: (usize, usize, usize),
}

impl InputPipeline {
    /// Creates a pipeline that computes net inputs of type `kind` on `device`. With [`Augment::default`] it only
    /// normalises.
    pub(crate) fn new(
        preprocessing: &Preprocessing,
        augment: Augment,
        seed: u64,
        device: Device,
        kind: Kind,
    ) -> Result<Self> {
        let noise = match augment.does(Step::Noise) {
            true => Some(noise::bank(preprocessing, seed, device)?),
            false => None,
        };
        Ok(Self { preprocessing: preprocessing.clone(), augment, first: first(), seed, noise, device, kind })
    }

    /// Turns images `[n, side, side, channels]`, u8, on the device, into net inputs `[n, channels, side, side]`, which
    /// are stored with channels last. `hashes` are the content hashes of the images.
    pub(crate) fn input(&self, images: &Tensor, hashes: &[u64], epoch: u32) -> Result<Tensor> {
        let mut x = images.f_to_kind(Kind::Float)?;
        let mut x = x.f_mul_scalar_(1.0 / 255.0)?.f_permute([0, 3, 1, 2])?;
        let draws: Vec<Draw> = match self.augment.is_none() {
            true => Vec::new(),
            false => hashes.iter().map(|hash| self.draw(*hash, epoch)).collect(),
        };
        if !draws.is_empty() {
            x = self.change(x, &draws)?;
        }
        let Preprocessing { mean, std, .. } = self.preprocessing;
        let mut x = x.f_add_scalar_(-mean)?.f_mul_scalar_(1.0 / std)?;
        if !draws.is_empty() && self.augment.does(Step::Cutout) {
            x = cutout::cut_out(x, &draws)?;
        }
        Ok(x.f_to_kind(self.kind)?)
    }

    /// Returns changed images as pixels: the shape and type of `images`. A square that is cut out has the mean level.
    pub(crate) fn images(&self, images: &Tensor, hashes: &[u64], epoch: u32) -> Result<Tensor> {
        let Preprocessing { mean, std, .. } = self.preprocessing;
        let mut values = self.input(images, hashes, epoch)?.f_to_kind(Kind::Float)?;
        let mut levels = values.f_mul_scalar_(std)?.f_add_scalar_(mean)?.f_mul_scalar_(255.0)?.f_clamp_(0.0, 255.0)?;
        Ok(levels.f_round_()?.f_to_kind(Kind::Uint8)?.f_permute([0, 2, 3, 1])?)
    }

    /// Draws the random amounts for the image with this content hash in an epoch.
    pub(crate) fn draw(&self, hash: u64, epoch: u32) -> Draw {
        let place = [u64::from(epoch), hash];
        let side = self.preprocessing.image_size as usize;
        let mut changes = Changes::default();
        let mut rng = Pcg64::seed_from_u64(derive(self.seed, "augment", &place));
        for transform in &self.first {
            // Unused transforms draw too, so that turning one on or off does not change the draws of the others.
            let mut drawn = changes.clone();
            transform.draw(&mut Draws::new(&mut || rng.random::<f64>(), side), &mut drawn);
            if self.augment.has(*transform) {
                changes = drawn;
            }
        }
        let has_border = rng.random::<f64>() >= 0.5;
        let noise_offset = (rng.next_u64() % noise::BANK as u64) as usize;
        for transform in self.augment.transforms().filter(|transform| transform.stream() == Stream::Own) {
            let mut rng = Pcg64::seed_from_u64(derive(self.seed, transform.name(), &place));
            transform.draw(&mut Draws::new(&mut || rng.random::<f64>(), side), &mut changes);
        }
        let Changes { angle, zoom, dx, dy, shear, width, height, .. } = changes;
        let Changes { gains, gamma, contrast, brightness, blur, noise_std, .. } = changes;
        let flip = if changes.is_flipped { -1.0 } else { 1.0 };
        let (cos, sin) = (angle.cos() * zoom, angle.sin() * zoom);
        let x = [cos * flip * width, (cos * shear - sin) * width, dx];
        let y = [sin * flip * height, (sin * shear + cos) * height, dy];
        Draw {
            has_border,
            affine: [x[0], x[1], x[2], y[0], y[1], y[2]].map(|value| value as f32),
            gains: gains.map(|gain| gain as f32),
            gamma: gamma as f32,
            contrast: contrast as f32,
            brightness: brightness as f32,
            blur: blur as f32,
            noise_std: noise_std as f32,
            noise_offset,
            marks: changes.marks,
            reduction: changes.reduction,
            quality: changes.quality,
            cutout: changes.cutout,
        }
    }

    /// Computes the steps before normalisation in their order, on values in [0, 1].
    fn change(&self, mut x: Tensor, draws: &[Draw]) -> Result<Tensor> {
        let does = |step| self.augment.does(step);
        let of_each = |amount: fn(&Draw) -> f32| per_image(draws.iter().map(amount), self.device);
        if does(Step::Geometry) {
            x = geometry::moved(&x, draws)?;
        }
        if does(Step::Bands) {
            x = bands::with_gains(&x, draws)?;
        }
        if does(Step::Sharpness) {
            x = sharpness::sharpened(x, draws)?;
        }
        if does(Step::Gamma) {
            x = x.f_clamp_min_(1e-4)?.f_pow(&of_each(|draw| draw.gamma)?)?;
        }
        if does(Step::Tone) {
            x = x.f_add_scalar_(-0.5)?.f_mul_(&of_each(|draw| draw.contrast)?)?;
            x = x.f_add_(&of_each(|draw| 0.5 + draw.brightness)?)?;
        }
        if let Some(bank) = &self.noise {
            x = noise::with_noise(x, bank, draws)?;
        }
        if does(Step::Marks) {
            x = marks::marked(x, draws)?;
        }
        if does(Step::Resample) {
            x = resample::resampled(x, draws)?;
        }
        if does(Step::Resave) {
            x = resave::saved(x, draws)?;
        }
        Ok(x)
    }
}

/// Returns a number of each image, `[n, 1, 1, 1]`.
fn per_image(numbers: impl Iterator<Item = f32>, device: Device) -> Result<Tensor> {
    let numbers: Vec<f32> = numbers.collect();
    Ok(Tensor::f_from_slice(&numbers)?.f_view([-1, 1, 1, 1])?.f_to(device)?)
}

/// Returns the places in the batch of the images that have an amount, `[n]`, and the amounts. `None` if no image has one.
fn chosen<T>(draws: &[Draw], device: Device, amount: impl Fn(&Draw) -> Option<T>) -> Result<Option<(Tensor, Vec<T>)>> {
    let drawn = draws.iter().enumerate().filter_map(|(place, draw)| Some((place as i64, amount(draw)?)));
    let (places, amounts): (Vec<i64>, Vec<T>) = drawn.unzip();
    if places.is_empty() {
        return Ok(None);
    }
    Ok(Some((Tensor::f_from_slice(&places)?.f_to(device)?, amounts)))
}
