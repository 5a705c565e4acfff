//! From a shard to the device: the images of a batch as bytes.

use tch::{Device, Kind, Tensor};
use tusk_core::manifest::Preprocessing;

use crate::error::Result;
use crate::shard::{Row, Shard};

/// The most that a shard may have, in bytes, for a GPU to hold it while a task computes. Of a larger one, or one that is
/// on disk, each batch is sent when its turn comes.
const RESIDENT_BYTES_MAX: usize = 4 << 30;

/// Images that a GPU is sent at a time when it is to hold all of them.
const UPLOAD_IMAGES: usize = 256;

/// Hands out a shard's images, batch after batch.
#[derive(Debug)]
pub(crate) struct BatchLoader {
    device: Device,
    /// Height, width and channels.
    shape: [i64; 3],
    /// All images of the shard, in the order of its store.
    resident: Option<Tensor>,
    pixels: Vec<u8>,
}

impl BatchLoader {
    /// For images that are looked at once.
    pub(crate) fn once(preprocessing: &Preprocessing, device: Device) -> Self {
        let (side, channels) = (i64::from(preprocessing.image_size), i64::from(preprocessing.channels));
        Self { device, shape: [side, side, channels], resident: None, pixels: Vec::new() }
    }

    /// For images of this shard that are looked at again and again: a GPU holds them all where they fit.
    pub(crate) fn again(preprocessing: &Preprocessing, device: Device, shard: &Shard) -> Result<Self> {
        let loader = Self::once(preprocessing, device);
        let fits = shard.is_in_memory() && shard.rows.len() * shard.image_bytes <= RESIDENT_BYTES_MAX;
        if device.is_cuda() && fits { loader.resident(shard) } else { Ok(loader) }
    }

    /// The same, with all images of the shard on the device.
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

    /// The images of these rows on the device: u8, `[n, height, width, channels]`.
    pub(crate) fn batch(&mut self, shard: &Shard, rows: &[Row]) -> Result<Tensor> {
        if let Some(all) = &self.resident {
            let places: Vec<i64> = rows.iter().map(|row| i64::from(row.place)).collect();
            return Ok(all.f_index_select(0, &Tensor::f_from_slice(&places)?.f_to(self.device)?)?);
        }
        shard.gather(rows, &mut self.pixels)?;
        on_device(&self.pixels, &self.shape, self.device)
    }
}

/// Images of this height, width and number of channels, one after another, as a tensor of u8 on a device.
///
/// A GPU takes them from page-locked memory, while this thread goes on to the next ones.
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
