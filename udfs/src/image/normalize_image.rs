//! `normalize_image`: an image as a normalized tensor.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    ArrayRef, FixedSizeListBuilder, Float32Builder, Int32Builder, ListBuilder, NullBufferBuilder, StructArray,
};
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDFImpl};

use super::args::{Call, Kind, Levels, Shape};
use super::output::{check_batch_bytes, row_error};
use super::{SECTION, image_argument};
use tusk_pixels::{Channels, Pixels};

const FUNCTION: &str = "normalize_image";

const SHAPE: Shape = Shape {
    syntax: "normalize_image(image, mean, std)",
    arguments: &[("image", Kind::Image), ("mean", Kind::Levels), ("std", Kind::Levels)],
    required: 3,
};

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    Documentation::builder(
        SECTION,
        "Returns an image as a tensor, as PyTorch's `ToTensor` and `Normalize` do: `(value / 255 - mean) / std` in \
         32-bit floats, one plane per channel (red, green, blue). The result has `shape` (channels, height, width) and \
         `data`. With lists of three entries the image is read in colour, with lists of one as grey; with numbers it \
         keeps its channels. A broken image fails the query.",
        SHAPE.syntax,
    )
    .with_sql_example(
        r#"```sql
> SELECT normalize_image(decode_image(X'47494638376101000100800000c864320000002c00000000010001000002024401003b'), 0.0, 2.0) AS tensor;
+----------------------------------------------------------------+
| tensor                                                         |
+----------------------------------------------------------------+
| {shape: [3, 1, 1], data: [0.39215687, 0.19607843, 0.09803922]} |
+----------------------------------------------------------------+
```"#,
    )
    .with_argument("image", image_argument())
    .with_argument("mean", "Mean to subtract: a number, or a list with one per channel, on the scale 0 to 1.")
    .with_argument("std", "Standard deviation to divide by: a number above 0, or a list with one per channel.")
    .with_related_udf("resize_image")
    .build()
});

/// The fields of a tensor: `shape` (channels, height, width) and `data`.
pub(crate) fn tensor_fields() -> Fields {
    let shape = DataType::FixedSizeList(Arc::new(Field::new_list_field(DataType::Int32, true)), 3);
    let data = DataType::List(Arc::new(Field::new_list_field(DataType::Float32, true)));
    Fields::from(vec![Field::new("shape", shape, true), Field::new("data", data, true)])
}

image_function! {
    /// The SQL function `normalize_image(image, mean, std)`.
    NormalizeImage
}

impl ScalarUDFImpl for NormalizeImage {
    described!();

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Struct(tensor_fields()))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let call = Call::new(FUNCTION, &args)?;
        let images = call.images()?;
        let mut shape = FixedSizeListBuilder::new(Int32Builder::new(), 3);
        let mut data = ListBuilder::new(Float32Builder::new());
        let mut valid = NullBufferBuilder::new(call.rows);
        let mut total = 0_usize;
        for row in 0..call.rows {
            let at = images.at(row);
            let is_null = images.column.is_null(at) || call.has_null(row);
            if is_null {
                (0..3).for_each(|_| shape.values().append_null());
            } else {
                let (mean, std) = (call.levels(1, row)?, call.levels(2, row)?);
                let pixels = match channels_of(&mean, &std)? {
                    Some(channels) => images.column.pixels(at, channels),
                    None => images.column.pixels_as_stored(at),
                };
                let pixels = pixels.map_err(|error| row_error(FUNCTION, &images, row, &error))?;
                total = total.saturating_add(pixels.data.len().saturating_mul(size_of::<f32>()));
                check_batch_bytes(FUNCTION, total)?;
                // Sides are bounded by MAX_PIXELS, which fits 31 bits.
                let sides = [pixels.channels.count() as i32, pixels.height as i32, pixels.width as i32];
                shape.values().append_slice(&sides);
                append_planes(data.values(), &pixels, &mean, &std)?;
            }
            shape.append(!is_null);
            data.append(!is_null);
            valid.append(!is_null);
        }
        let columns: Vec<ArrayRef> = vec![Arc::new(shape.finish()), Arc::new(data.finish())];
        call.finish(Arc::new(StructArray::try_new(tensor_fields(), columns, valid.finish())?))
    }
}

/// Returns the number of channels of the lists.
fn channels_of(mean: &Levels, std: &Levels) -> Result<Option<Channels>> {
    let count = match (mean.channels(), std.channels()) {
        (Some(of_mean), Some(of_std)) if of_mean != of_std => {
            return exec_err!(
                "{FUNCTION}: mean has {of_mean} entries and std has {of_std}; both must have the same number"
            );
        }
        (of_mean, of_std) => of_mean.or(of_std),
    };
    match count {
        None => Ok(None),
        Some(1) => Ok(Some(Channels::Grey)),
        Some(3) => Ok(Some(Channels::Rgb)),
        Some(count) => exec_err!("{FUNCTION}: a list must have 1 (grey) or 3 (red, green, blue) entries, got {count}"),
    }
}

/// Appends the planes of an image. There are 256 levels, so each is computed once, in the order of operations and the
/// 32-bit precision of torchvision.
fn append_planes(planes: &mut Float32Builder, pixels: &Pixels, mean: &Levels, std: &Levels) -> Result<()> {
    let count = pixels.channels.count();
    for channel in 0..count {
        let (mean, std) = (mean.of(channel) as f32, std.of(channel) as f32);
        if !mean.is_finite() || !std.is_finite() || std <= 0.0 {
            return exec_err!(
                "{FUNCTION}: mean must be finite and std above 0, got mean {mean} and std {std} for channel {channel}"
            );
        }
        let table: [f32; 256] = std::array::from_fn(|level| (level as f32 / 255.0 - mean) / std);
        let plane: Vec<f32> =
            pixels.data.iter().skip(channel).step_by(count).map(|&level| table[usize::from(level)]).collect();
        planes.append_slice(&plane);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{GIF, error_of, table_of};
    use super::*;

    #[test]
    fn planes_follow_each_other_and_use_their_own_levels() {
        let pixels = Pixels::new(2, 1, Channels::Rgb, vec![0, 51, 102, 255, 204, 153]).unwrap();
        let mut planes = Float32Builder::new();
        let (mean, std) = (Levels::PerChannel(vec![0.0, 0.2, 0.4]), Levels::PerChannel(vec![1.0, 2.0, 0.5]));
        append_planes(&mut planes, &pixels, &mean, &std).unwrap();
        let expected = [0.0, 1.0, 0.0, 0.3, 0.0, 0.4];
        for (found, expected) in planes.finish().values().iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
    }

    #[tokio::test]
    async fn lists_of_levels_choose_the_channels() {
        let shape = |levels: &str| format!("SELECT get_field(normalize_image({GIF}, {levels}), 'shape') AS shape");
        assert!(table_of(&shape("[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]")).await.contains("[3, 1, 1]"));
        assert!(table_of(&shape("[0.5], [0.25]")).await.contains("[1, 1, 1]"));
        assert!(table_of(&shape("[0.5], 1")).await.contains("[1, 1, 1]"));
        assert!(table_of(&shape("0.5, 0.25")).await.contains("[3, 1, 1]"));
    }

    #[tokio::test]
    async fn invalid_levels_are_refused_with_the_reason() {
        for (levels, message) in [
            ("0.5, 0", "mean must be finite and std above 0, got mean 0.5 and std 0 for channel 0"),
            ("0.5, -1", "std above 0"),
            ("'NaN'::double, 1", "mean NaN"),
            ("[0.5, NULL, 0.5], 1", "got mean NaN and std 1 for channel 1"),
            ("[0.5, 0.5], 1", "a list must have 1 (grey) or 3 (red, green, blue) entries, got 2"),
            ("[0.5], [1, 1, 1]", "mean has 1 entries and std has 3; both must have the same number"),
        ] {
            let error = error_of(&format!("SELECT normalize_image({GIF}, {levels})")).await;
            assert!(error.contains(message), "{levels}: {error}");
        }
    }

    #[tokio::test]
    async fn null_rows_keep_the_others_in_place() {
        let query = format!(
            "SELECT get_field(normalize_image(image, 0, 1), 'data') AS data FROM (VALUES (NULL), ({GIF})) AS t(image)"
        );
        let table = table_of(&query).await;
        assert!(table.contains("[0.78431374, 0.39215687, 0.19607843]"), "{table}");
    }
}
