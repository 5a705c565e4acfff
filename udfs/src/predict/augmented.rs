//! `augment_image`: an image with the random changes of training.

use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{ArrayRef, BinaryArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use tusk_core::engine::{Changes, Predictor};
use tusk_core::options::Augment;

use super::{SECTION, arguments};
use tusk_pixels::{Channels, Pixels, encode};

const SYNTAX: &str = "augment_image(image, augment, seed [, side])";

/// The default side of the result, which is that of most nets.
const SIDE: i64 = 224;

/// Maximum side of the result.
const SIDE_MAX: i64 = 1024;

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    Documentation::builder(
        SECTION,
        "Returns a PNG of the image as a net sees it in training: grey, square, with the random transforms of the \
         option `augment`. The same image and seed give the same result. NULL for a NULL or unreadable image.",
        SYNTAX,
    )
    .with_sql_example(
        r#"```sql
> SELECT seed, image_info(augment_image(image, 'xray', seed)) AS seen
  FROM (SELECT * FROM inbox LIMIT 1) CROSS JOIN (VALUES (1), (2)) AS s(seed) ORDER BY seed;
+------+-------------------------------------------------------------------+
| seed | seen                                                              |
+------+-------------------------------------------------------------------+
|    1 | {width: 224, height: 224, channels: 1, bit_depth: 8, format: png} |
|    2 | {width: 224, height: 224, channels: 1, bit_depth: 8, format: png} |
+------+-------------------------------------------------------------------+
```"#,
    )
    .with_argument("image", "The image: the bytes of an image file, or Spark's image struct.")
    .with_argument("augment", "As the option of CREATE MODEL: `'xray'`, `'none'`, or a list such as `'rotate, noise'`.")
    .with_argument("seed", "Random seed, a whole number.")
    .with_argument("side", "Side of the result in pixels, from 8 to 1024. Default: 224.")
    .build()
});

/// The SQL function `augment_image(image, augment, seed [, side])`.
#[derive(Debug)]
pub struct AugmentImage {
    signature: Signature,
    predictor: Arc<dyn Predictor>,
}

impl AugmentImage {
    /// Makes the function with this predictor.
    pub fn new(predictor: Arc<dyn Predictor>) -> Self {
        // Volatile like `predict`, so that a planner without libtorch does not evaluate it.
        Self { signature: Signature::user_defined(Volatility::Volatile), predictor }
    }
}

impl PartialEq for AugmentImage {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.predictor, &other.predictor)
    }
}

impl Eq for AugmentImage {}

impl Hash for AugmentImage {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

impl ScalarUDFImpl for AugmentImage {
    fn name(&self) -> &'static str {
        "augment_image"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        if !(3..=4).contains(&arg_types.len()) {
            return plan_err!("{SYNTAX} takes 3 or 4 arguments, not {}", arg_types.len());
        }
        let mut coerced = arg_types.to_vec();
        for (place, wanted) in coerced.iter_mut().enumerate() {
            match (place, &*wanted) {
                (0, DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::Struct(_)) => {}
                (0, DataType::Null) => *wanted = DataType::Binary,
                (0, other) => return plan_err!("{SYNTAX}: image must be bytes or an image struct, got {other}"),
                (1, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) => *wanted = DataType::Utf8,
                (1, other) => return plan_err!("{SYNTAX}: augment must be text in quotes, got {other}"),
                (_, other) if other.is_integer() => *wanted = DataType::Int64,
                (2, other) => return plan_err!("{SYNTAX}: seed must be a whole number, got {other}"),
                (_, other) => return plan_err!("{SYNTAX}: side must be a whole number, got {other}"),
            }
        }
        Ok(coerced)
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Binary)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let Some(wanted) = arguments::constant(SYNTAX, "augment", &args.args[1])? else {
            return ScalarValue::try_new_null(&DataType::Binary).map(ColumnarValue::Scalar);
        };
        let Some(augment) = Augment::from_text(&wanted) else {
            return plan_err!("{SYNTAX}: invalid augment '{wanted}': expected {}", Augment::expected());
        };
        let side = match args.args.get(3) {
            None => SIDE,
            Some(ColumnarValue::Scalar(ScalarValue::Int64(Some(side)))) if (8..=SIDE_MAX).contains(side) => *side,
            Some(other) => return plan_err!("{SYNTAX}: side must be a constant from 8 to {SIDE_MAX}, got {other}"),
        };
        let seeds = args.args[2].to_array(rows)?;
        let seeds = datafusion::common::cast::as_int64_array(&seeds)?;
        let images = args.args[0].to_array(rows)?;
        let seeds = seeds.iter().map(|seed| seed.map(|seed| seed as u64)).collect();
        let changes = Changes { augment, seeds, side: u32::try_from(side).unwrap_or(0) };
        let augmented = self.predictor.augment(images.as_ref(), &changes)?;
        let png = |image: Option<Vec<u8>>| {
            let Some(data) = image else { return Ok(None) };
            let png = Pixels::new(changes.side, changes.side, Channels::Grey, data);
            let png = png.and_then(|pixels| encode(&pixels, "png", 100));
            png.map(Some).map_err(|e| DataFusionError::External(Box::new(e)))
        };
        let column: ArrayRef =
            Arc::new(augmented.into_iter().map(png).collect::<Result<Vec<_>>>()?.into_iter().collect::<BinaryArray>());
        Ok(match args.args.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_))) {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&column, 0)?),
            false => ColumnarValue::Array(column),
        })
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&DOCUMENTATION)
    }
}
