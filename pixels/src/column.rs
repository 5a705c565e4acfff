//! Reads images from Arrow columns of encoded bytes or of Spark's image struct.

use arrow::array::{Array, AsArray, BinaryArray, BinaryViewArray, Int64Array, LargeBinaryArray, StringArray};
use arrow::array::{ArrayRef, StructArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Fields};

use tusk_core::manifest::Preprocessing;

use super::net_input::input_of;
use super::{
    Channels, DecodeError, ImageInfo, MAX_PIXELS, Pixels, PixelsError, Tags, alternatives, decode, decode_as_stored,
    decode_input, labels, on_black, probe, tags,
};

/// Describes the column types that [`ImageColumn::try_new`] accepts, for messages.
pub fn accepted_image_types() -> String {
    format!(
        "an image is encoded bytes (Binary, LargeBinary or BinaryView: the content of a {} file) or Spark's image \
         struct (origin Utf8, height Int32, width Int32, nChannels Int32, mode Int32, data Binary)",
        alternatives(&labels())
    )
}

/// The fields of Spark's image struct, `org.apache.spark.ml.image.ImageSchema`, all nullable as there:
/// `origin` (path or NULL), `height`, `width`, `nChannels`, `mode` (OpenCV's type: 0 = CV_8UC1, 16 = CV_8UC3,
/// 24 = CV_8UC4) and `data` (8-bit samples, row by row, channels interleaved, colours as blue, green, red, alpha).
pub fn image_struct_fields() -> Fields {
    Fields::from(vec![
        Field::new("origin", DataType::Utf8, true),
        Field::new("height", DataType::Int32, true),
        Field::new("width", DataType::Int32, true),
        Field::new("nChannels", DataType::Int32, true),
        Field::new("mode", DataType::Int32, true),
        Field::new("data", DataType::Binary, true),
    ])
}

/// Returns whether a column of this type can hold images.
pub fn is_image_type(data_type: &DataType) -> bool {
    match data_type {
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => true,
        DataType::Struct(fields) => {
            let has = |name: &str, fits: fn(&DataType) -> bool| {
                fields.iter().any(|field| field.name() == name && fits(field.data_type()))
            };
            has("data", is_binary)
                && ["height", "width", "nChannels"].iter().all(|name| has(name, DataType::is_integer))
        }
        _ => false,
    }
}

fn is_binary(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Binary | DataType::LargeBinary | DataType::BinaryView)
}

/// A binary column in any of Arrow's layouts.
#[derive(Debug)]
enum Bytes<'a> {
    Small(&'a BinaryArray),
    Large(&'a LargeBinaryArray),
    View(&'a BinaryViewArray),
}

impl<'a> Bytes<'a> {
    fn try_new(array: &'a dyn Array) -> Option<Self> {
        match array.data_type() {
            DataType::Binary => array.as_binary_opt().map(Bytes::Small),
            DataType::LargeBinary => array.as_binary_opt().map(Bytes::Large),
            DataType::BinaryView => array.as_binary_view_opt().map(Bytes::View),
            _ => None,
        }
    }

    fn array(&self) -> &'a dyn Array {
        match self {
            Bytes::Small(array) => *array,
            Bytes::Large(array) => *array,
            Bytes::View(array) => *array,
        }
    }

    /// Returns the bytes of a row, or `None` for NULL and for a row beyond the end.
    fn get(&self, row: usize) -> Option<&'a [u8]> {
        if row >= self.array().len() || self.array().is_null(row) {
            return None;
        }
        Some(match self {
            Bytes::Small(array) => array.value(row),
            Bytes::Large(array) => array.value(row),
            Bytes::View(array) => array.value(row),
        })
    }
}

/// The children of Spark's image struct. Integers of any width are accepted and cast to 64 bits once.
#[derive(Debug)]
struct SparkImages<'a> {
    rows: &'a StructArray,
    origin: Option<StringArray>,
    height: Int64Array,
    width: Int64Array,
    channels: Int64Array,
    mode: Option<Int64Array>,
    data: Bytes<'a>,
}

/// A validated row of Spark's image struct.
struct SparkImage<'a> {
    width: u32,
    height: u32,
    channels: usize,
    data: &'a [u8],
}

impl<'a> SparkImages<'a> {
    fn try_new(rows: &'a StructArray) -> Result<Self, PixelsError> {
        let integers = |field: &'static str| -> Result<Option<Int64Array>, PixelsError> {
            let Some(column) = rows.column_by_name(field) else { return Ok(None) };
            let wrong = || wrong_type(field, column, "an integer");
            if !column.data_type().is_integer() {
                return Err(wrong());
            }
            let wide = cast(column, &DataType::Int64).map_err(|_| wrong())?;
            wide.as_primitive_opt().cloned().map(Some).ok_or_else(wrong)
        };
        let required = |field: &'static str| integers(field)?.ok_or_else(|| missing(field));
        let origin = match rows.column_by_name("origin") {
            Some(column) => {
                let text = cast(column, &DataType::Utf8).map_err(|_| wrong_type("origin", column, "text"))?;
                text.as_string_opt().cloned()
            }
            None => None,
        };
        let data = rows.column_by_name("data").ok_or_else(|| missing("data"))?;
        Ok(Self {
            rows,
            origin,
            height: required("height")?,
            width: required("width")?,
            channels: required("nChannels")?,
            mode: integers("mode")?,
            data: Bytes::try_new(data.as_ref()).ok_or_else(|| wrong_type("data", data, "binary"))?,
        })
    }

    fn is_null(&self, row: usize) -> bool {
        row >= self.rows.len() || self.rows.is_null(row) || self.data.get(row).is_none()
    }

    fn get(&self, row: usize) -> Result<SparkImage<'a>, DecodeError> {
        if self.is_null(row) {
            return Err(DecodeError::Null);
        }
        let data = self.data.get(row).ok_or(DecodeError::Null)?;
        let value = |array: &Int64Array| if array.is_null(row) { None } else { Some(array.value(row)) };
        let side = |name: &str, array: &Int64Array| {
            let side = value(array).and_then(|side| u32::try_from(side).ok()).filter(|&side| side > 0);
            side.ok_or_else(|| fault(format!("{name} must be positive, got {}", shown(value(array)))))
        };
        // Spark's image source marks a file that it could not read with -1 in every field and no data.
        if value(&self.channels) == Some(-1) && data.is_empty() {
            return Err(fault("Spark could not read this file and marked it with nChannels -1".to_string()));
        }
        let channels = match value(&self.channels) {
            Some(1) => 1,
            Some(3) => 3,
            Some(4) => 4,
            other => return Err(fault(format!("nChannels must be 1, 3 or 4, got {}", shown(other)))),
        };
        let expected = i64::from(spark_mode(channels));
        if let Some(mode) = self.mode.as_ref().and_then(value).filter(|&mode| mode != expected) {
            let read = "supported are 0 (CV_8UC1), 16 (CV_8UC3) and 24 (CV_8UC4)";
            return Err(fault(format!("mode {mode} does not match {channels} 8-bit channels; {read}")));
        }
        let (height, width) = (side("height", &self.height)?, side("width", &self.width)?);
        if u64::from(width) * u64::from(height) > MAX_PIXELS {
            return Err(DecodeError::TooLarge { format: "struct", width, height });
        }
        let samples = u64::from(width) * u64::from(height) * channels as u64;
        if samples != data.len() as u64 {
            let sides = format!("height {height} x width {width} x nChannels {channels} = {samples}");
            return Err(fault(format!("data has {} bytes, but {sides}", data.len())));
        }
        Ok(SparkImage { width, height, channels, data })
    }
}

impl SparkImage<'_> {
    fn pixels(&self) -> Pixels {
        let (channels, data) = match self.channels {
            1 => (Channels::Grey, self.data.to_vec()),
            3 => (Channels::Rgb, self.data.as_chunks::<3>().0.iter().flat_map(|&[b, g, r]| [r, g, b]).collect()),
            _ => {
                let bgra = self.data.as_chunks::<4>().0.iter();
                let rgb = bgra.flat_map(|&[b, g, r, a]| [on_black(r, a), on_black(g, a), on_black(b, a)]);
                (Channels::Rgb, rgb.collect())
            }
        };
        Pixels { width: self.width, height: self.height, channels, data }
    }
}

/// Returns OpenCV's type code of 8-bit samples with this many channels.
pub fn spark_mode(channels: usize) -> i32 {
    // CV_MAKETYPE: the depth (CV_8U = 0) plus the number of channels minus one, shifted by 3.
    (channels as i32 - 1) << 3
}

fn missing(field: &'static str) -> PixelsError {
    PixelsError::ColumnField { field, problem: "is missing".to_string() }
}

fn wrong_type(field: &'static str, column: &ArrayRef, wanted: &str) -> PixelsError {
    PixelsError::ColumnField { field, problem: format!("has type {}, not {wanted}", column.data_type()) }
}

fn fault(reason: String) -> DecodeError {
    DecodeError::Struct { reason }
}

fn shown(value: Option<i64>) -> String {
    value.map_or_else(|| "NULL".to_string(), |value| value.to_string())
}

/// A column of images, borrowed from an Arrow array.
///
/// ```
/// use arrow::array::BinaryArray;
/// use tusk_pixels::{Channels, DecodeError, ImageColumn};
///
/// let array = BinaryArray::from_opt_vec(vec![Some(b"".as_slice()), None]);
/// let images = ImageColumn::try_new(&array)?;
/// assert_eq!(images.pixels(0, Channels::Grey), Err(DecodeError::Empty));
/// assert!(images.is_null(1));
/// # Ok::<(), tusk_pixels::PixelsError>(())
/// ```
#[derive(Debug)]
pub struct ImageColumn<'a>(Images<'a>);

#[derive(Debug)]
enum Images<'a> {
    Encoded(Bytes<'a>),
    Spark(Box<SparkImages<'a>>),
}

impl<'a> ImageColumn<'a> {
    /// Reads a column as images.
    ///
    /// # Errors
    /// Returns [`PixelsError::ColumnType`] or [`PixelsError::ColumnField`], which list the accepted types.
    pub fn try_new(array: &'a dyn Array) -> Result<Self, PixelsError> {
        if let Some(bytes) = Bytes::try_new(array) {
            return Ok(Self(Images::Encoded(bytes)));
        }
        match array.as_struct_opt() {
            Some(rows) => SparkImages::try_new(rows).map(|images| Self(Images::Spark(Box::new(images)))),
            None => Err(PixelsError::ColumnType { found: array.data_type().to_string() }),
        }
    }

    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        match &self.0 {
            Images::Encoded(bytes) => bytes.array().len(),
            Images::Spark(images) => images.rows.len(),
        }
    }

    /// Returns whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns whether a row has no image: it is NULL, its `data` is NULL, or it is beyond the end.
    pub fn is_null(&self, row: usize) -> bool {
        match &self.0 {
            Images::Encoded(bytes) => bytes.get(row).is_none(),
            Images::Spark(images) => images.is_null(row),
        }
    }

    /// Returns the bytes that identify an image, for hashing: the encoded file, or the samples of a struct. Empty if
    /// [`ImageColumn::is_null`].
    pub fn content(&self, row: usize) -> &'a [u8] {
        match &self.0 {
            Images::Encoded(bytes) => bytes.get(row),
            Images::Spark(images) if images.is_null(row) => None,
            Images::Spark(images) => images.data.get(row),
        }
        .unwrap_or_default()
    }

    /// Returns the `origin` of a struct, or `None` for encoded bytes.
    pub fn origin(&self, row: usize) -> Option<&str> {
        match &self.0 {
            Images::Spark(images) if !images.is_null(row) => {
                images.origin.as_ref().filter(|origin| origin.is_valid(row)).map(|origin| origin.value(row))
            }
            _ => None,
        }
    }

    /// Returns the header of a row: the result of [`probe`] for encoded bytes, or the fields of a struct, with format
    /// "raw".
    ///
    /// # Errors
    /// As [`probe`], and [`DecodeError::Null`] for NULL.
    pub fn info(&self, row: usize) -> Result<ImageInfo, DecodeError> {
        match &self.0 {
            Images::Encoded(bytes) => probe(bytes.get(row).ok_or(DecodeError::Null)?),
            Images::Spark(images) => {
                let SparkImage { width, height, channels, .. } = images.get(row)?;
                Ok(ImageInfo {
                    width,
                    height,
                    channels: channels as u8,
                    bit_depth: 8,
                    frames: 1,
                    format: "raw",
                    quality: None,
                })
            }
        }
    }

    /// Returns the tags of a row, like [`tags`]. A struct has none.
    pub fn tags(&self, row: usize) -> Tags {
        match &self.0 {
            Images::Encoded(bytes) => bytes.get(row).map(tags).unwrap_or_default(),
            Images::Spark(_) => Tags::default(),
        }
    }

    /// Decodes a row into pixels with the given channels, like [`decode`].
    ///
    /// # Errors
    /// As [`decode`]; [`DecodeError::Null`] for NULL and [`DecodeError::Struct`] for a struct whose fields contradict
    /// each other.
    pub fn pixels(&self, row: usize, channels: Channels) -> Result<Pixels, DecodeError> {
        match &self.0 {
            Images::Encoded(bytes) => decode(bytes.get(row).ok_or(DecodeError::Null)?, channels),
            Images::Spark(images) => Ok(images.get(row)?.pixels().into_channels(channels)),
        }
    }

    /// Decodes a row into the net input of this preprocessing, like [`decode_input`].
    ///
    /// # Errors
    /// As [`ImageColumn::pixels`], and [`DecodeError::Resample`] for a side of zero.
    pub fn input(&self, row: usize, preprocessing: &Preprocessing) -> Result<Pixels, DecodeError> {
        match &self.0 {
            Images::Encoded(bytes) => decode_input(bytes.get(row).ok_or(DecodeError::Null)?, preprocessing),
            Images::Spark(images) => input_of(images.get(row)?.pixels(), preprocessing),
        }
    }

    /// Decodes a row with its stored channels, like [`decode_as_stored`].
    ///
    /// # Errors
    /// As [`ImageColumn::pixels`].
    pub fn pixels_as_stored(&self, row: usize) -> Result<Pixels, DecodeError> {
        match &self.0 {
            Images::Encoded(bytes) => decode_as_stored(bytes.get(row).ok_or(DecodeError::Null)?),
            Images::Spark(images) => Ok(images.get(row)?.pixels()),
        }
    }
}

#[cfg(test)]
#[path = "column_tests.rs"]
mod tests;
