//! The arguments shared by the functions of this module.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs};
use tusk_core::engine::{Predictions, Predictor};
use tusk_core::ids::ModelName;
use tusk_core::task_models::TaskModels;

/// Checks the types of a call: a name, an image, and up to `most - 2` further names.
pub(super) fn coerce(syntax: &str, types: &[DataType], most: usize) -> Result<Vec<DataType>> {
    if !(2..=most).contains(&types.len()) {
        let counts = if most > 2 { format!("2 to {most}") } else { "2".to_owned() };
        return plan_err!("{syntax} takes {counts} arguments, not {}", types.len());
    }
    let mut coerced = types.to_vec();
    for (place, wanted) in coerced.iter_mut().enumerate() {
        match (place, &*wanted) {
            (1, DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::Struct(_)) => {}
            (1, DataType::Null) => *wanted = DataType::Binary,
            (1, other) => return plan_err!("{syntax}: image must be bytes or an image struct, got {other}"),
            (_, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null) => *wanted = DataType::Utf8,
            (0, other) => return plan_err!("{syntax}: model must be a name in quotes, got {other}"),
            (_, other) => return plan_err!("{syntax}: class must be a name in quotes, got {other}"),
        }
    }
    Ok(coerced)
}

/// A constant name; `None` where it is NULL.
pub(super) fn constant(syntax: &str, what: &str, value: &ColumnarValue) -> Result<Option<String>> {
    match value {
        ColumnarValue::Scalar(ScalarValue::Utf8(name)) => Ok(name.clone()),
        _ => plan_err!("{syntax}: {what} must be a constant, not a column"),
    }
}

/// The predictions for the images of a call.
pub(super) struct Asked {
    pub(super) predictions: Predictions,
    /// Whether the call had one image, not a column of them.
    pub(super) is_scalar: bool,
}

impl Asked {
    /// Returns a column of results, as a constant if the call had a single image.
    pub(super) fn answer(&self, column: &ArrayRef) -> Result<ColumnarValue> {
        if self.is_scalar {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(column, 0)?));
        }
        Ok(ColumnarValue::Array(Arc::clone(column)))
    }
}

/// Predicts the images of a call. Returns `None` if the model name is NULL.
pub(super) fn ask(syntax: &str, predictor: &dyn Predictor, args: &ScalarFunctionArgs) -> Result<Option<Asked>> {
    let Some(model) = constant(syntax, "model", &args.args[0])? else { return Ok(None) };
    let (images, is_scalar) = match &args.args[1] {
        ColumnarValue::Array(images) => (Arc::clone(images), false),
        ColumnarValue::Scalar(image) => (image.to_array()?, true),
    };
    let model = ModelName::new(model)?;
    let predictions = predictor.predict(&model, images.as_ref(), TaskModels::of(&args.config_options))?;
    if predictions.valid.len() != images.len() {
        return datafusion::common::internal_err!(
            "model '{model}' returned {} predictions for {} images",
            predictions.valid.len(),
            images.len()
        );
    }
    Ok(Some(Asked { predictions, is_scalar }))
}
