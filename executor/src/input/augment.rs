//! From a batch of pixels to what the net sees: normalisation always, random changes in training.
//!
//! Every amount is drawn from a stream that belongs to (seed, epoch, picture), so a picture is changed in the same way
//! whichever worker meets it, in whatever batch.

use std::f64::consts::PI;

use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64;
use tch::{Device, Kind, Tensor};
use tusk_core::manifest::Preprocessing;
use tusk_core::options::{Augment, Transform};
use tusk_core::random::derive;

use crate::error::Result;
use crate::nets::layout::normal;

/// Values in the bank of Gaussian noise: large enough that no two pictures of a batch see the same noise.
const NOISE_BANK: usize = 1 << 20;

/// Turns pixels into the net's input.
#[derive(Debug)]
pub(crate) struct InputPipeline {
    preprocessing: Preprocessing,
    augment: Augment,
    seed: u64,
    /// What noise is cut from: as long as it takes for a picture to start anywhere in the first [`NOISE_BANK`] values.
    noise: Tensor,
    device: Device,
    kind: Kind,
}

/// What is drawn for one picture.
pub(crate) struct Draw {
    /// From places in the result to those in the picture that they show, all from -1 to 1 (`affine_grid` of PyTorch).
    pub(crate) affine: [f32; 6],
    /// Whether what lies outside the picture is its border repeated; it is black otherwise.
    pub(crate) has_border: bool,
    pub(crate) gamma: f32,
    pub(crate) contrast: f32,
    pub(crate) brightness: f32,
    /// How much of a blurred copy is mixed in; below zero it is taken away, which sharpens.
    pub(crate) blur: f32,
    pub(crate) noise_std: f32,
    noise_offset: usize,
    /// Left, top and side of the square that is cut out, in pixels.
    pub(crate) cutout: (usize, usize, usize),
}

impl InputPipeline {
    /// A pipeline whose input is in `kind` on `device`. With [`Augment::default`] nothing is random.
    pub(crate) fn new(
        preprocessing: &Preprocessing,
        augment: Augment,
        seed: u64,
        device: Device,
        kind: Kind,
    ) -> Result<Self> {
        let mut noise = Vec::new();
        if augment.has(Transform::Noise) {
            let bank = normal(derive(seed, "noise", &[]), NOISE_BANK, 1.0);
            let per_picture = preprocessing.image_size.pow(2) as usize * usize::from(preprocessing.channels);
            noise = bank.iter().cycle().take(NOISE_BANK + per_picture).copied().collect();
        }
        let noise = Tensor::f_from_slice(&noise)?.f_to(device)?;
        Ok(Self { preprocessing: preprocessing.clone(), augment, seed, noise, device, kind })
    }

    /// Pictures `[n, side, side, channels]`, u8, on the device, to `[n, channels, side, side]`, channels last in memory.
    /// `images` are the pictures' content hashes.
    pub(crate) fn input(&self, pictures: &Tensor, images: &[u64], epoch: u32) -> Result<Tensor> {
        let mut x = pictures.f_to_kind(Kind::Float)?;
        let mut x = x.f_mul_scalar_(1.0 / 255.0)?.f_permute([0, 3, 1, 2])?;
        let draws: Vec<Draw> = match self.augment.is_none() {
            true => Vec::new(),
            false => images.iter().map(|image| self.draw(*image, epoch)).collect(),
        };
        if !draws.is_empty() {
            x = self.change(&x, &draws)?;
        }
        let Preprocessing { mean, std, .. } = self.preprocessing;
        let mut x = x.f_add_scalar_(-mean)?.f_mul_scalar_(1.0 / std)?;
        if !draws.is_empty() && self.augment.has(Transform::Cutout) {
            x = x.f_masked_fill_(&self.cut_out(&draws)?, 0.0)?;
        }
        Ok(x.f_to_kind(self.kind)?)
    }

    /// What is drawn for a picture, by its content hash, in an epoch.
    pub(crate) fn draw(&self, image: u64, epoch: u32) -> Draw {
        let mut rng = Pcg64::seed_from_u64(derive(self.seed, "augment", &[u64::from(epoch), image]));
        let has = |transform| self.augment.has(transform);
        // Every amount is drawn whether it is used or not, so that switching one transform leaves the others alone.
        let mut amount = |transform, most: f64| {
            let drawn = symmetric(&mut rng) * most;
            if has(transform) { drawn } else { 0.0 }
        };
        let angle = amount(Transform::Rotate, 15.0 * PI / 180.0);
        let zoom = 1.0 + amount(Transform::Zoom, 0.15);
        let (dx, dy) = (amount(Transform::Shift, 0.12), amount(Transform::Shift, 0.12));
        let flip = if amount(Transform::HorizontalFlip, 1.0) > 0.0 { -1.0 } else { 1.0 };
        let gamma = amount(Transform::Gamma, 0.5).exp();
        let contrast = 1.0 + amount(Transform::Contrast, 0.3);
        let brightness = amount(Transform::Brightness, 0.1);
        let noise_std = amount(Transform::Noise, 0.03).abs();
        let (cos, sin) = (angle.cos() * zoom, angle.sin() * zoom);
        let side = self.preprocessing.image_size as usize;
        let square = ((rng.random::<f64>() * 0.25) * side as f64) as usize;
        let place = |rng: &mut Pcg64| (rng.random::<f64>() * (side - square) as f64) as usize;
        let cutout = (place(&mut rng), place(&mut rng), square);
        let shear = symmetric(&mut rng) * (6.0 * PI / 180.0).tan();
        let shear = if has(Transform::Shear) { shear } else { 0.0 };
        let (is_blurred, blur) = (rng.random::<f64>() < 0.5, rng.random::<f64>() * 1.5 - 0.5);
        let has_border = rng.random::<f64>() >= 0.5;
        Draw {
            has_border,
            affine: [cos * flip, cos * shear - sin, dx, sin * flip, sin * shear + cos, dy].map(|v| v as f32),
            gamma: gamma as f32,
            contrast: contrast as f32,
            brightness: brightness as f32,
            blur: if is_blurred { blur as f32 } else { 0.0 },
            noise_std: noise_std as f32,
            noise_offset: (rng.next_u64() % NOISE_BANK as u64) as usize,
            cutout,
        }
    }

    /// Geometry, then sharpness, tone and noise, on values in [0, 1].
    fn change(&self, x: &Tensor, draws: &[Draw]) -> Result<Tensor> {
        let has = |transform| self.augment.has(transform);
        let per_image = |value: fn(&Draw) -> f32| -> Result<Tensor> {
            let values: Vec<f32> = draws.iter().map(value).collect();
            Ok(Tensor::f_from_slice(&values)?.f_view([-1, 1, 1, 1])?.f_to(self.device)?)
        };
        let mut x = x.shallow_clone();
        let geometric =
            [Transform::Rotate, Transform::Shift, Transform::Zoom, Transform::Shear, Transform::HorizontalFlip];
        if geometric.into_iter().any(has) {
            let theta: Vec<f32> = draws.iter().flat_map(|draw| draw.affine).collect();
            let theta = Tensor::f_from_slice(&theta)?.f_view([-1, 2, 3])?.f_to(self.device)?;
            let grid = Tensor::f_affine_grid_generator(&theta, x.size(), false)?;
            // Bilinear. Outside, the border is repeated, or for half of the pictures black: both are met in X-rays.
            x = x.f_grid_sampler(&grid, 0, 1, false)?;
            let inside = grid.f_abs()?.f_amax([-1_i64].as_slice(), false)?.f_le(1.0)?.f_unsqueeze(1)?;
            let has_border = per_image(|d| f32::from(u8::from(d.has_border)))?;
            x = x.f_mul_(&has_border.f_maximum(&inside.f_to_kind(Kind::Float)?)?)?;
        }
        if has(Transform::Blur) {
            x = self.sharpness(&x, draws)?;
        }
        if has(Transform::Gamma) {
            x = x.f_clamp_min_(1e-4)?.f_pow(&per_image(|d| d.gamma)?)?;
        }
        if has(Transform::Contrast) || has(Transform::Brightness) {
            x = x.f_add_scalar_(-0.5)?.f_mul_(&per_image(|d| d.contrast)?)?;
            x = x.f_add_(&per_image(|d| 0.5 + d.brightness)?)?;
        }
        if has(Transform::Noise) {
            let noise = self.noise_of(draws, &x.size())?.f_mul_(&per_image(|d| d.noise_std)?)?;
            x = x.f_add_(&noise)?;
        }
        Ok(x)
    }

    /// Blurs or sharpens the pictures for which that was drawn.
    fn sharpness(&self, x: &Tensor, draws: &[Draw]) -> Result<Tensor> {
        let drawn = draws.iter().enumerate().filter(|(_, draw)| draw.blur != 0.0);
        let (places, amounts): (Vec<i64>, Vec<f32>) = drawn.map(|(place, draw)| (place as i64, draw.blur)).unzip();
        if places.is_empty() {
            return Ok(x.shallow_clone());
        }
        let places = Tensor::f_from_slice(&places)?.f_to(self.device)?;
        let amounts = Tensor::f_from_slice(&amounts)?.f_view([-1, 1, 1, 1])?.f_to(self.device)?;
        let chosen = x.f_index_select(0, &places)?;
        let difference = self.blurred(&chosen)?.f_sub_(&chosen)?.f_mul_(&amounts)?;
        Ok(x.f_index_add(0, &places, &difference)?.f_clamp_(0.0, 1.0)?)
    }

    /// Pictures behind a Gaussian whose standard deviation is 1.2 % of the side. Sums of shifted copies: a convolution of
    /// libtorch's rounds otherwise in another company of pictures.
    fn blurred(&self, x: &Tensor) -> Result<Tensor> {
        let deviation = 0.012 * f64::from(self.preprocessing.image_size);
        let radius = (2.0 * deviation).floor().max(1.0) as i64;
        let weights: Vec<f64> = (0..=radius).map(|place| (-0.5 * (place as f64 / deviation).powi(2)).exp()).collect();
        let sum = 2.0 * weights.iter().sum::<f64>() - 1.0;
        let along = |x: &Tensor, side: i64, padding: [i64; 4]| -> Result<Tensor> {
            let (around, length) = (x.f_replication_pad2d(padding)?, x.size()[side as usize]);
            let mut blurred = around.f_narrow(side, radius, length)?.f_mul_scalar(1.0 / sum)?;
            for (place, weight) in (0..).zip(&weights).skip(1) {
                let before = around.f_narrow(side, radius - place, length)?;
                let both = before.f_add(&around.f_narrow(side, radius + place, length)?)?;
                blurred = blurred.f_add_(&both.f_mul_scalar(weight / sum)?)?;
            }
            Ok(blurred)
        };
        along(&along(x, 3, [radius, radius, 0, 0])?, 2, [0, 0, radius, radius])
    }

    fn noise_of(&self, draws: &[Draw], size: &[i64]) -> Result<Tensor> {
        let per_picture = size[1..].iter().product::<i64>();
        let pieces: Vec<Tensor> = draws
            .iter()
            .map(|draw| self.noise.f_narrow(0, draw.noise_offset as i64, per_picture))
            .collect::<std::result::Result<_, _>>()?;
        Ok(Tensor::f_stack(&pieces, 0)?.f_view(size)?)
    }

    /// Where the squares are that are cut out: `[n, 1, side, side]`.
    fn cut_out(&self, draws: &[Draw]) -> Result<Tensor> {
        let places = Tensor::f_arange(i64::from(self.preprocessing.image_size), (Kind::Int64, self.device))?;
        let within = |start: fn(&Draw) -> usize, shape: &[i64]| -> Result<Tensor> {
            let starts: Vec<i64> = draws.iter().map(|draw| start(draw) as i64).collect();
            let ends: Vec<i64> = draws.iter().map(|draw| (start(draw) + draw.cutout.2) as i64).collect();
            let [starts, ends] = [starts, ends].map(|bounds| -> Result<Tensor> {
                Ok(Tensor::f_from_slice(&bounds)?.f_to(self.device)?.f_view([-1, 1, 1, 1])?)
            });
            let places = places.f_view(shape)?;
            Ok(places.f_ge_tensor(&starts?)?.f_logical_and(&places.f_lt_tensor(&ends?)?)?)
        };
        let columns = within(|draw| draw.cutout.0, &[1, 1, 1, -1])?;
        let rows = within(|draw| draw.cutout.1, &[1, 1, -1, 1])?;
        Ok(rows.f_logical_and(&columns)?)
    }
}

/// A uniform number in [-1, 1).
fn symmetric(rng: &mut impl Rng) -> f64 {
    rng.random::<f64>() * 2.0 - 1.0
}
