//! Columns of Spark's image struct, built row by row.

use std::fmt::Display;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryBuilder, Int32Builder, NullBufferBuilder, StringBuilder, StructArray};
use arrow::datatypes::DataType;
use datafusion::common::{Result, exec_datafusion_err, exec_err};
use datafusion::error::DataFusionError;

use super::args::Images;
use tusk_pixels::{Channels, Pixels, image_struct_fields, spark_mode};

/// Maximum bytes of the images in a result batch, which is the limit of 32-bit Arrow offsets. It also limits the memory
/// of queries over large images.
pub(super) const BATCH_BYTES_MAX: usize = i32::MAX as usize;

/// The type of a decoded image.
pub(super) fn image_struct() -> DataType {
    DataType::Struct(image_struct_fields())
}

/// Returns an error if a batch exceeds [`BATCH_BYTES_MAX`].
pub(super) fn check_batch_bytes(function: &str, bytes: usize) -> Result<()> {
    if bytes > BATCH_BYTES_MAX {
        return exec_err!(
            "{function}: the images of one batch exceed {BATCH_BYTES_MAX} bytes; lower datafusion.execution.batch_size \
             (SET datafusion.execution.batch_size = 256), or resize the images"
        );
    }
    Ok(())
}

/// Adds the row and, if known, the file to an error.
pub(super) fn row_error(function: &str, images: &Images<'_>, row: usize, error: &dyn Display) -> DataFusionError {
    match images.column.origin(images.at(row)) {
        Some(origin) => exec_datafusion_err!("{function}: row {row} of the batch ({origin}): {error}"),
        None => exec_datafusion_err!("{function}: row {row} of the batch: {error}"),
    }
}

/// Builds a column of decoded images.
#[derive(Default)]
pub(super) struct ImageStructBuilder {
    origin: StringBuilder,
    height: Int32Builder,
    width: Int32Builder,
    channels: Int32Builder,
    mode: Int32Builder,
    data: BinaryBuilder,
    valid: Vec<bool>,
    bytes: usize,
}

impl ImageStructBuilder {
    /// Appends an image. The struct stores colours as blue, green, red, as Spark and OpenCV do.
    pub(super) fn append(&mut self, function: &str, origin: Option<&str>, pixels: &Pixels) -> Result<()> {
        self.bytes = self.bytes.saturating_add(pixels.data.len());
        check_batch_bytes(function, self.bytes)?;
        let side = |side: u32| {
            i32::try_from(side).map_err(|_| exec_datafusion_err!("{function}: a side of {side} pixels is too large"))
        };
        self.height.append_value(side(pixels.height)?);
        self.width.append_value(side(pixels.width)?);
        self.origin.append_option(origin);
        self.channels.append_value(pixels.channels.count() as i32);
        self.mode.append_value(spark_mode(pixels.channels.count()));
        match pixels.channels {
            Channels::Grey => self.data.append_value(&pixels.data),
            Channels::Rgb => {
                let mut reversed = pixels.data.clone();
                reversed.as_chunks_mut::<3>().0.iter_mut().for_each(|pixel| pixel.reverse());
                self.data.append_value(reversed);
            }
        }
        self.valid.push(true);
        Ok(())
    }

    pub(super) fn append_null(&mut self) {
        self.origin.append_null();
        for integers in [&mut self.height, &mut self.width, &mut self.channels, &mut self.mode] {
            integers.append_null();
        }
        self.data.append_null();
        self.valid.push(false);
    }

    pub(super) fn finish(mut self) -> Result<ArrayRef> {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.origin.finish()),
            Arc::new(self.height.finish()),
            Arc::new(self.width.finish()),
            Arc::new(self.channels.finish()),
            Arc::new(self.mode.finish()),
            Arc::new(self.data.finish()),
        ];
        let mut nulls = NullBufferBuilder::new(self.valid.len());
        nulls.append_slice(&self.valid);
        Ok(Arc::new(StructArray::try_new(image_struct_fields(), columns, nulls.finish())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_beyond_two_gib_is_refused_with_the_setting_to_change() {
        check_batch_bytes("decode_image", BATCH_BYTES_MAX).unwrap();
        let error = check_batch_bytes("decode_image", BATCH_BYTES_MAX + 1).unwrap_err().to_string();
        assert!(error.contains("SET datafusion.execution.batch_size = 256"), "{error}");
    }
}
