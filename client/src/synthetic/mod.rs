//! Synthetic chest X-rays, for demos and tests.
//!
//! Real X-rays of children do not belong in a repository. These are generated from a seed: ribs, clavicles, spine,
//! lungs, heart and diaphragm. The lungs of a patient with pneumonia have white patches or strands. The images of one
//! patient share an anatomy and differ in rotation, shift, breathing, exposure, contrast, grain, frame and marker. The
//! mean brightness does not depend on the patient, so a classifier cannot use it. A wrong class order, a missing
//! normalization or an error in averaging therefore shows in the metrics.
//!
//! Each image is a function of (seed, patient, shot) alone. It uses only operations that IEEE 754 defines exactly, so
//! it is the same on every platform.
//!
//! ```
//! use tusk::synthetic::{SyntheticOptions, draw};
//!
//! let options = SyntheticOptions { size: 96, ..SyntheticOptions::default() };
//! let xray = draw(&options, 123, 2)?;
//! assert_eq!(xray.group, "person0123");
//! assert!(xray.path.ends_with("/person0123_2.jpeg"));
//! # Ok::<(), std::io::Error>(())
//! ```

mod anatomy;
mod render;
mod rng;
mod shape;

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;

use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder};

use anatomy::{Anatomy, Shot};
use rng::Rng;

/// The class of healthy lungs, and the name of its folder.
pub const NORMAL: &str = "NORMAL";
/// The class of lungs with opacities, and the name of its folder.
pub const PNEUMONIA: &str = "PNEUMONIA";

/// Each block of this many consecutive patients has the same fraction of ill ones, so that a few patients have both
/// classes.
const BLOCK: usize = 5;
/// The valid side lengths, in pixels.
const SIZES: std::ops::RangeInclusive<u32> = 16..=4096;

/// The options of synthetic X-rays.
#[derive(Clone, Debug, PartialEq)]
pub struct SyntheticOptions {
    /// The number of patients.
    pub patients: usize,
    /// The number of images per patient.
    pub images_per_patient: usize,
    /// Side length in pixels, 16 to 4096.
    pub size: u32,
    /// The seed of all random numbers.
    pub seed: u64,
    /// The fraction of patients with pneumonia, 0 to 1.
    pub pneumonia_fraction: f64,
    /// JPEG quality, 1 to 100.
    pub quality: u8,
}

impl Default for SyntheticOptions {
    fn default() -> Self {
        Self { patients: 500, images_per_patient: 4, size: 160, seed: 42, pneumonia_fraction: 0.6, quality: 90 }
    }
}

/// A synthetic X-ray.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntheticXray {
    /// The path in a folder tree: `PNEUMONIA/person0123_2.jpeg`.
    pub path: String,
    /// [`NORMAL`] or [`PNEUMONIA`].
    pub label: &'static str,
    /// The patient: `person0123`.
    pub group: String,
    /// A grey JPEG.
    pub image: Vec<u8>,
}

/// All images, patient by patient. Patients and shots are numbered from 1.
pub fn synthetic_xrays(options: &SyntheticOptions) -> impl Iterator<Item = io::Result<SyntheticXray>> + '_ {
    (0..options.patients.saturating_mul(options.images_per_patient)).map(|index| draw_nth(options, index))
}

/// One image. It depends on `patient`, `shot`, and the seed, size, fraction of ill patients and quality in the options.
///
/// # Errors
/// When the size is not 16 to 4096, or the JPEG encoder fails.
pub fn draw(options: &SyntheticOptions, patient: usize, shot: usize) -> io::Result<SyntheticXray> {
    if !SIZES.contains(&options.size) {
        let message = format!("size must be in {SIZES:?}, got {}", options.size);
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    let ill = is_ill(options, patient);
    let anatomy = Anatomy::draw(options.seed, patient, ill);
    let (circumstances, mut dice) = Shot::draw(options.seed, patient, shot);
    let grey = render::render(&anatomy, &circumstances, &mut dice, options.size);
    let mut image = Vec::new();
    JpegEncoder::new_with_quality(&mut image, options.quality.clamp(1, 100))
        .write_image(&grey, options.size, options.size, ExtendedColorType::L8)
        .map_err(io::Error::other)?;
    let label = if ill { PNEUMONIA } else { NORMAL };
    let group = format!("person{patient:04}");
    Ok(SyntheticXray { path: format!("{label}/{group}_{shot}.jpeg"), label, group, image })
}

/// Writes all images below a folder, with one subfolder per class, and returns their number.
///
/// `progress` is called with the number of written images and the number of all images. Existing files of the same
/// names are replaced; other files stay.
///
/// # Errors
/// When a folder or file cannot be written, or the options are invalid. Files that were written before the error stay.
pub fn write_tree(dir: &Path, options: &SyntheticOptions, progress: &mut dyn FnMut(usize, usize)) -> io::Result<usize> {
    for label in [NORMAL, PNEUMONIA] {
        let folder = dir.join(label);
        std::fs::create_dir_all(&folder).map_err(|error| naming(&folder, &error))?;
    }
    let total = options.patients.saturating_mul(options.images_per_patient);
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let (sender, receiver) = mpsc::sync_channel(64);
        for _ in 0..drawing_threads(total) {
            let (sender, next, stop) = (sender.clone(), &next, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= total || sender.send(write_nth(dir, options, index)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut written = 0;
        // This ends when all threads are done, because they own the senders. An early return drops the receiver, and
        // the threads then stop at their next image.
        for result in receiver {
            if let Err(error) = result {
                stop.store(true, Ordering::Relaxed);
                return Err(error);
            }
            written += 1;
            progress(written, total);
        }
        Ok(written)
    })
}

fn write_nth(dir: &Path, options: &SyntheticOptions, index: usize) -> io::Result<()> {
    let xray = draw_nth(options, index)?;
    let path = dir.join(&xray.path);
    std::fs::write(&path, &xray.image).map_err(|error| naming(&path, &error))
}

fn draw_nth(options: &SyntheticOptions, index: usize) -> io::Result<SyntheticXray> {
    let images = options.images_per_patient.max(1);
    draw(options, index / images + 1, index % images + 1)
}

/// One thread per core, but at most 8: the disk limits more.
fn drawing_threads(images: usize) -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(8).min(images.max(1))
}

fn naming(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot write {}: {error}", path.display()))
}

/// Whether a patient is ill. Each block of `BLOCK` patients has the same fraction; the seed chooses which ones.
fn is_ill(options: &SyntheticOptions, patient: usize) -> bool {
    let (block, place) = (patient / BLOCK, patient % BLOCK);
    let mut dice = Rng::new([options.seed, block as u64, 0, 3]);
    let mut order: [usize; BLOCK] = std::array::from_fn(|index| index);
    for last in (1..BLOCK).rev() {
        order.swap(last, dice.below(last as u64 + 1) as usize);
    }
    let rank = block * BLOCK + order.get(place).copied().unwrap_or(place);
    let fraction = options.pneumonia_fraction.clamp(0.0, 1.0);
    // The small term compensates for rounding when the product is a whole number.
    let ill_among = |patients: usize| (patients as f64 * fraction + 1e-9).floor();
    ill_among(rank + 1) > ill_among(rank)
}

#[cfg(test)]
mod tests;
