//! Turns a batch of pixels into net inputs: normalises them and, in training, augments them.
//!
//! All random amounts follow from the seed, the epoch and the image. The changes of an image therefore do not depend on
//! the worker or the batch.

use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64;
use tch::{Device, Kind, Tensor};
use tusk_core::augment::{BANDS, Changes, Draws, Step, Stream, Transform, first};
use tusk_core::manifest::Preprocessing;
use tusk_core::options::Augment;
use tusk_core::random::derive;

use crate::error::Result;
use crate::nets::layout::normal;

/// The number of precomputed values of Gaussian noise. It is large enough that images of a batch rarely get the same
/// noise.
const NOISE_BANK: usize = 1 << 20;

/// Turns pixels into net inputs.
#[derive(Debug)]
pub(crate) struct InputPipeline {
    preprocessing: Preprocessing,
    augment: Augment,
    /// The transforms that draw from the shared stream, in their order.
    first: Vec<Transform>,
    seed: u64,
    /// The precomputed noise. An image uses a contiguous part that starts at any of the first [`NOISE_BANK`] values.
    noise: Tensor,
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
        let mut noise = Vec::new();
        if augment.does(Step::Noise) {
            let bank = normal(derive(seed, "noise", &[]), NOISE_BANK, 1.0);
            let values_per_image = preprocessing.image_size.pow(2) as usize * usize::from(preprocessing.channels);
            noise = bank.iter().cycle().take(NOISE_BANK + values_per_image).copied().collect();
        }
        let noise = Tensor::f_from_slice(&noise)?.f_to(device)?;
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
            x = self.change(&x, &draws)?;
        }
        let Preprocessing { mean, std, .. } = self.preprocessing;
        let mut x = x.f_add_scalar_(-mean)?.f_mul_scalar_(1.0 / std)?;
        if !draws.is_empty() && self.augment.does(Step::Cutout) {
            x = x.f_masked_fill_(&self.cut_out(&draws)?, 0.0)?;
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
        let noise_offset = (rng.next_u64() % NOISE_BANK as u64) as usize;
        for transform in self.augment.transforms().filter(|transform| transform.stream() == Stream::Own) {
            let mut rng = Pcg64::seed_from_u64(derive(self.seed, transform.name(), &place));
            transform.draw(&mut Draws::new(&mut || rng.random::<f64>(), side), &mut changes);
        }
        let Changes { angle, zoom, dx, dy, shear, width, height, .. } = changes;
        let Changes { gains, gamma, contrast, brightness, blur, noise_std, cutout, .. } = changes;
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
            cutout,
        }
    }

    /// Changes the geometry, then sharpness, tone and noise, on values in [0, 1].
    fn change(&self, x: &Tensor, draws: &[Draw]) -> Result<Tensor> {
        let does = |step| self.augment.does(step);
        let per_image = |value: fn(&Draw) -> f32| -> Result<Tensor> {
            let values: Vec<f32> = draws.iter().map(value).collect();
            Ok(Tensor::f_from_slice(&values)?.f_view([-1, 1, 1, 1])?.f_to(self.device)?)
        };
        let mut x = x.shallow_clone();
        if does(Step::Geometry) {
            let theta: Vec<f32> = draws.iter().flat_map(|draw| draw.affine).collect();
            let theta = Tensor::f_from_slice(&theta)?.f_view([-1, 2, 3])?.f_to(self.device)?;
            let grid = Tensor::f_affine_grid_generator(&theta, x.size(), false)?;
            // Bilinear interpolation. Outside of the source, half of the images repeat the border and half are black,
            // because both occur in X-rays.
            x = x.f_grid_sampler(&grid, 0, 1, false)?;
            let inside = grid.f_abs()?.f_amax([-1_i64].as_slice(), false)?.f_le(1.0)?.f_unsqueeze(1)?;
            let has_border = per_image(|d| f32::from(u8::from(d.has_border)))?;
            x = x.f_mul_(&has_border.f_maximum(&inside.f_to_kind(Kind::Float)?)?)?;
        }
        if does(Step::Bands) {
            x = self.with_gains(&x, draws)?;
        }
        if does(Step::Sharpness) {
            x = self.sharpness(&x, draws)?;
        }
        if does(Step::Gamma) {
            x = x.f_clamp_min_(1e-4)?.f_pow(&per_image(|d| d.gamma)?)?;
        }
        if does(Step::Tone) {
            x = x.f_add_scalar_(-0.5)?.f_mul_(&per_image(|d| d.contrast)?)?;
            x = x.f_add_(&per_image(|d| 0.5 + d.brightness)?)?;
        }
        if does(Step::Noise) {
            let noise = self.noise_of(draws, &x.size())?.f_mul_(&per_image(|d| d.noise_std)?)?;
            x = x.f_add_(&noise)?;
        }
        Ok(x)
    }

    /// Multiplies the levels of the Laplacian pyramid (Burt and Adelson 1983) of each image by its gains.
    fn with_gains(&self, x: &Tensor, draws: &[Draw]) -> Result<Tensor> {
        let mut bands = Vec::with_capacity(BANDS);
        let mut level = x.shallow_clone();
        for band in 0..BANDS {
            let half = level.f_avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None)?;
            let gains: Vec<f32> = draws.iter().map(|draw| draw.gains[band]).collect();
            let gains = Tensor::f_from_slice(&gains)?.f_view([-1, 1, 1, 1])?.f_to(self.device)?;
            bands.push(level.f_sub(&twice_as_large(&half)?)?.f_mul_(&gains)?);
            level = half;
        }
        while let Some(band) = bands.pop() {
            level = twice_as_large(&level)?.f_add_(&band)?;
        }
        Ok(level.f_clamp_(0.0, 1.0)?)
    }

    /// Blurs or sharpens the images whose drawn amount is not 0.
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

    /// Blurs images with a Gaussian whose standard deviation is 1.2 % of the side. It sums shifted copies, because the
    /// rounding of libtorch's convolution depends on the other images of the batch.
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
        let values_per_image = size[1..].iter().product::<i64>();
        let pieces: Vec<Tensor> = draws
            .iter()
            .map(|draw| self.noise.f_narrow(0, draw.noise_offset as i64, values_per_image))
            .collect::<std::result::Result<_, _>>()?;
        Ok(Tensor::f_stack(&pieces, 0)?.f_view(size)?)
    }

    /// Returns the mask of the squares that are cut out, `[n, 1, side, side]`.
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

/// Interpolates images to twice their side.
fn twice_as_large(x: &Tensor) -> Result<Tensor> {
    let side = x.size()[2] * 2;
    Ok(x.f_upsample_bilinear2d([side, side], false, None, None)?)
}
