//! Assembles batches of decoded images and copies them to the device.

use tch::{Device, Kind, Tensor};
use tusk_core::manifest::Preprocessing;

use crate::error::Result;
use crate::shard::{Row, Shard};

/// The largest shard, in bytes, that is copied to a GPU as a whole. For a larger shard, or one on disk, each batch is
/// copied when it is needed.
const RESIDENT_BYTES_MAX: usize = 4 << 30;

/// The number of images that are copied at a time when a whole shard is copied.
const UPLOAD_IMAGES: usize = 256;

/// Loads batches of a shard's images onto a device.
#[derive(Debug)]
pub(crate) struct BatchLoader {
    device: Device,
    /// Height, width and channels.
    shape: [i64; 3],
    /// All images of the shard on the device, in the order of its pixel store.
    resident: Option<Tensor>,
    pixels: Vec<u8>,
}

impl BatchLoader {
    /// Creates a loader for images that are used once.
    pub(crate) fn once(preprocessing: &Preprocessing, device: Device) -> Self {
        let (side, channels) = (i64::from(preprocessing.image_size), i64::from(preprocessing.channels));
        Self { device, shape: [side, side, channels], resident: None, pixels: Vec::new() }
    }

    /// Creates a loader for images that are used repeatedly. It copies the whole shard to a GPU if it fits.
    pub(crate) fn again(preprocessing: &Preprocessing, device: Device, shard: &Shard) -> Result<Self> {
        let loader = Self::once(preprocessing, device);
        let fits = shard.is_in_memory() && shard.rows.len() * shard.image_bytes <= RESIDENT_BYTES_MAX;
        if device.is_cuda() && fits { loader.resident(shard) } else { Ok(loader) }
    }

    /// Copies all images of the shard to the device.
    pub(crate) fn resident(mut self, shard: &Shard) -> Result<Self> {
        let mut rows = shard.rows.clone();
        rows.sort_unstable_by_key(|row| row.place);
        let [height, width, channels] = self.shape;
        let all = Tensor::f_empty([rows.len() as i64, height, width, channels], (Kind::Uint8, self.device))?;
        for (piece, rows) in rows.chunks(UPLOAD_IMAGES).enumerate() {
            let images = self.batch(shard, rows)?;
            all.f_narrow(0, (piece * UPLOAD_IMAGES) as i64, rows.len() as i64)?.f_copy_(&images)?;
        }
        self.resident = Some(all);
        Ok(self)
    }

    /// Returns the images of these rows on the device, `[n, height, width, channels]`, u8.
    pub(crate) fn batch(&mut self, shard: &Shard, rows: &[Row]) -> Result<Tensor> {
        if let Some(all) = &self.resident {
            let places: Vec<i64> = rows.iter().map(|row| i64::from(row.place)).collect();
            return Ok(all.f_index_select(0, &Tensor::f_from_slice(&places)?.f_to(self.device)?)?);
        }
        shard.gather(rows, &mut self.pixels)?;
        on_device(&self.pixels, &self.shape, self.device)
    }
}

/// Copies concatenated images to a device, as a tensor `[n, height, width, channels]` of u8. `shape` is the height, the
/// width and the number of channels of an image.
///
/// Copies to a GPU use page-locked memory and are asynchronous, so that this thread can prepare the next batch.
pub(crate) fn on_device(pixels: &[u8], shape: &[i64; 3], device: Device) -> Result<Tensor> {
    let each = shape.iter().product::<i64>().max(1);
    let [height, width, channels] = *shape;
    let size = [pixels.len() as i64 / each, height, width, channels];
    let images = Tensor::f_from_data_size(pixels, &size, Kind::Uint8)?;
    if !device.is_cuda() {
        return Ok(images);
    }
    Ok(images.f_pin_memory(device)?.f_to_device_(device, Kind::Uint8, true, false)?)
}
