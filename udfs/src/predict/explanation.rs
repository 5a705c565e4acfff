//! `explain` and `explain_map`: heat maps.

use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{
    ArrayRef, BinaryArray, FixedSizeListBuilder, Float32Builder, Int32Builder, ListBuilder, NullBufferBuilder,
    StructArray,
};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use tusk_core::engine::{Explanations, Predictor};
use tusk_core::ids::ModelName;
use tusk_core::task_models::TaskModels;

use super::{MODEL_ARGUMENT, SECTION, arguments};
use crate::image::tensor_fields;
use tusk_pixels::{Channels, Pixels, encode};

const IMAGE_SYNTAX: &str = "explain(model, image)";
const MAP_SYNTAX: &str = "explain_map(model, image)";

/// Opacity of the heat map at its maximum.
const HEAT_SHARE: f32 = 0.6;

static IMAGE_DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    Documentation::builder(
        SECTION,
        "Returns a PNG of the net input with a heat map from yellow to red, for the predicted class (Grad-CAM, \
         Selvaraju et al. 2017; for `cnn` HiResCAM, Draelos & Carin 2020). It shows where a net looked, not whether it \
         looked at the right thing. NULL for a NULL or unreadable image. Not supported for svm, or for an ensemble \
         with an svm or with members of different net inputs.",
        IMAGE_SYNTAX,
    )
    .with_sql_example(
        r#"```sql
> SELECT image_info(explain('pneumonia', image)) AS heat FROM inbox LIMIT 1;
+-----------------------------------------------------------------+
| heat                                                            |
+-----------------------------------------------------------------+
| {width: 64, height: 64, channels: 3, bit_depth: 8, format: png} |
+-----------------------------------------------------------------+
```"#,
    )
    .with_argument("model", MODEL_ARGUMENT)
    .with_argument("image", "The image: the bytes of an image file, or Spark's image struct.")
    .with_related_udf("explain_map")
    .build()
});

static MAP_DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    Documentation::builder(
        SECTION,
        "Returns the heat map of explain as a tensor with `shape` (1, side, side) and `data`, from 0 (no evidence for \
         the predicted class) to 1 (most). NULL for a NULL or unreadable image. Not supported for svm, or for an \
         ensemble with an svm or with members of different net inputs.",
        MAP_SYNTAX,
    )
    .with_sql_example(
        r#"```sql
> SELECT path, explain_map('pneumonia', image)['shape'] AS shape FROM inbox;
+-----------------------------------------+-------------+
| path                                    | shape       |
+-----------------------------------------+-------------+
| PNEUMONIA/person847_virus_1492.jpeg     | [1, 64, 64] |
| PNEUMONIA/person1676_bacteria_4441.jpeg | [1, 64, 64] |
| PNEUMONIA/person1055_bacteria_2989.jpeg | [1, 64, 64] |
+-----------------------------------------+-------------+
```"#,
    )
    .with_argument("model", MODEL_ARGUMENT)
    .with_argument("image", "The image: the bytes of an image file, or Spark's image struct.")
    .with_related_udf("explain")
    .build()
});

/// The SQL function `explain(model, image)`.
#[derive(Debug)]
pub struct Explain {
    signature: Signature,
    predictor: Arc<dyn Predictor>,
}

/// The SQL function `explain_map(model, image)`.
#[derive(Debug)]
pub struct ExplainMap {
    signature: Signature,
    predictor: Arc<dyn Predictor>,
}

/// The code shared by both functions, which differ in name, type and result.
macro_rules! explanation {
    ($function:ident, $name:literal, $syntax:ident, $documentation:ident, $type:expr, $column:ident) => {
        impl $function {
            /// Makes the function with this predictor.
            pub fn new(predictor: Arc<dyn Predictor>) -> Self {
                // Volatile, as `predict` is.
                Self { signature: Signature::user_defined(Volatility::Volatile), predictor }
            }
        }

        impl PartialEq for $function {
            fn eq(&self, other: &Self) -> bool {
                Arc::ptr_eq(&self.predictor, &other.predictor)
            }
        }

        impl Eq for $function {}

        impl Hash for $function {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.name().hash(state);
            }
        }

        impl ScalarUDFImpl for $function {
            fn name(&self) -> &str {
                $name
            }

            fn signature(&self) -> &Signature {
                &self.signature
            }

            fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
                arguments::coerce($syntax, arg_types, 2)
            }

            fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
                Ok($type)
            }

            fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
                answer($syntax, self.predictor.as_ref(), &args, $column)
            }

            fn documentation(&self) -> Option<&Documentation> {
                Some(&$documentation)
            }
        }
    };
}

explanation!(Explain, "explain", IMAGE_SYNTAX, IMAGE_DOCUMENTATION, DataType::Binary, overlays);
explanation!(ExplainMap, "explain_map", MAP_SYNTAX, MAP_DOCUMENTATION, DataType::Struct(tensor_fields()), maps);

fn answer(
    syntax: &str,
    predictor: &dyn Predictor,
    args: &ScalarFunctionArgs,
    column: fn(&Explanations) -> Result<ArrayRef>,
) -> Result<ColumnarValue> {
    let Some(model) = arguments::constant(syntax, "model", &args.args[0])? else {
        return ScalarValue::try_new_null(args.return_field.data_type()).map(ColumnarValue::Scalar);
    };
    let (images, is_scalar) = match &args.args[1] {
        ColumnarValue::Array(images) => (Arc::clone(images), false),
        ColumnarValue::Scalar(image) => (image.to_array()?, true),
    };
    let tasks = TaskModels::of(&args.config_options);
    let column = column(&predictor.explain(&ModelName::new(model)?, images.as_ref(), tasks)?)?;
    Ok(match is_scalar {
        true => ColumnarValue::Scalar(ScalarValue::try_from_array(&column, 0)?),
        false => ColumnarValue::Array(column),
    })
}

fn overlays(explanations: &Explanations) -> Result<ArrayRef> {
    let channels = if explanations.channels == 3 { Channels::Rgb } else { Channels::Grey };
    let png = |explained: &Option<(Vec<f32>, Vec<u8>)>| {
        let Some((map, image)) = explained else { return Ok(None) };
        let image = Pixels::new(explanations.side, explanations.side, channels, image.clone());
        let image = image.map(|image| heated(image.into_channels(Channels::Rgb), map));
        let png = image.and_then(|image| encode(&image, "png", 100));
        png.map(Some).map_err(|e| DataFusionError::External(Box::new(e)))
    };
    Ok(Arc::new(explanations.images.iter().map(png).collect::<Result<Vec<_>>>()?.into_iter().collect::<BinaryArray>()))
}

/// Draws the heat map over the image.
fn heated(mut image: Pixels, map: &[f32]) -> Pixels {
    for (pixel, heat) in image.data.as_chunks_mut::<3>().0.iter_mut().zip(map) {
        let colour = [255.0, 230.0 * (1.0 - heat), 0.0];
        let share = HEAT_SHARE * heat;
        for (level, colour) in pixel.iter_mut().zip(colour) {
            *level = (f32::from(*level) * (1.0 - share) + colour * share).round() as u8;
        }
    }
    image
}

fn maps(explanations: &Explanations) -> Result<ArrayRef> {
    let mut shape = FixedSizeListBuilder::new(Int32Builder::new(), 3);
    let mut data = ListBuilder::new(Float32Builder::new());
    let mut valid = NullBufferBuilder::new(explanations.images.len());
    let side = i32::try_from(explanations.side).unwrap_or(i32::MAX);
    for explained in &explanations.images {
        match explained {
            Some((map, _)) => {
                shape.values().append_slice(&[1, side, side]);
                data.values().append_slice(map);
            }
            None => (0..3).for_each(|_| shape.values().append_null()),
        }
        shape.append(explained.is_some());
        data.append(explained.is_some());
        valid.append(explained.is_some());
    }
    let columns: Vec<ArrayRef> = vec![Arc::new(shape.finish()), Arc::new(data.finish())];
    Ok(Arc::new(StructArray::try_new(tensor_fields(), columns, valid.finish())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heat_turns_a_pixel_from_yellow_to_red_and_no_heat_leaves_it() {
        let grey = Pixels::new(3, 1, Channels::Grey, vec![100; 3]).unwrap().into_channels(Channels::Rgb);
        let found = heated(grey, &[0.0, 0.5, 1.0]).data;
        assert_eq!(found, [100, 100, 100, 147, 105, 70, 193, 40, 40]);
    }
}
