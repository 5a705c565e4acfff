//! `predict_proba`: the probabilities of an image's classes.

use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{ArrayRef, Float32Array, Float32Builder, MapBuilder, StringBuilder};
use datafusion::arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use tusk_core::engine::{Predictions, Predictor};

use super::{MODEL_ARGUMENT, SECTION, arguments};

const SYNTAX: &str = "predict_proba(model, image [, class])";
const CALIBRATED_SYNTAX: &str = "calibrated_proba(model, image [, class])";

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    Documentation::builder(
        SECTION,
        "Returns the probability of a class as a number, or of all classes as a map. NULL for a NULL or unreadable \
         image; the log names unreadable ones.",
        SYNTAX,
    )
    .with_sql_example(
        r#"```sql
> SELECT path, predict_proba('pneumonia', image, 'PNEUMONIA') AS p FROM inbox ORDER BY p DESC;
+-----------------------------------------+--------+
| path                                    |      p |
+-----------------------------------------+--------+
| PNEUMONIA/person847_virus_1492.jpeg     | 0.9998 |
| PNEUMONIA/person1055_bacteria_2989.jpeg | 0.9913 |
| PNEUMONIA/person1676_bacteria_4441.jpeg | 0.9902 |
+-----------------------------------------+--------+
```"#,
    )
    .with_argument("model", MODEL_ARGUMENT)
    .with_argument("image", "The image: the bytes of an image file, or Spark's image struct.")
    .with_argument("class", "A class of the model, a constant. Without it the result is a map of all classes.")
    .with_related_udf("predict")
    .build()
});

static CALIBRATED_DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    Documentation::builder(
        SECTION,
        "Like predict_proba, but calibrated: about ninety of a hundred images with 0.9 are of that class, if classes \
         are as frequent as in the model's validation rows. Logits are divided by a temperature, and a bias per class \
         is added; both are fitted on those rows (Alexandari et al. 2020). The model's threshold applies to \
         predict_proba.",
        CALIBRATED_SYNTAX,
    )
    .with_sql_example(
        r#"```sql
> SELECT path, calibrated_proba('pneumonia', image, 'PNEUMONIA') AS p FROM inbox ORDER BY p DESC;
+-----------------------------------------+--------+
| path                                    |      p |
+-----------------------------------------+--------+
| PNEUMONIA/person847_virus_1492.jpeg     | 0.9999 |
| PNEUMONIA/person1055_bacteria_2989.jpeg | 0.9980 |
| PNEUMONIA/person1676_bacteria_4441.jpeg | 0.9978 |
+-----------------------------------------+--------+
```"#,
    )
    .with_argument("model", MODEL_ARGUMENT)
    .with_argument("image", "The image: the bytes of an image file, or Spark's image struct.")
    .with_argument("class", "A class of the model, a constant. Without it the result is a map of all classes.")
    .with_related_udf("predict_proba")
    .build()
});

/// The SQL functions `predict_proba(model, image [, class])` and `calibrated_proba(model, image [, class])`.
#[derive(Debug)]
pub struct PredictProba {
    signature: Signature,
    predictor: Arc<dyn Predictor>,
    calibrated: bool,
}

impl PredictProba {
    /// Makes the function with this predictor.
    pub fn new(predictor: Arc<dyn Predictor>) -> Self {
        // Volatile, as `predict` is.
        Self { signature: Signature::user_defined(Volatility::Volatile), predictor, calibrated: false }
    }

    /// Makes the function with calibrated probabilities.
    pub fn calibrated(predictor: Arc<dyn Predictor>) -> Self {
        Self { calibrated: true, ..Self::new(predictor) }
    }

    fn syntax(&self) -> &'static str {
        if self.calibrated { CALIBRATED_SYNTAX } else { SYNTAX }
    }
}

impl PartialEq for PredictProba {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.predictor, &other.predictor) && self.calibrated == other.calibrated
    }
}

impl Eq for PredictProba {}

impl Hash for PredictProba {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

/// Map<Utf8, Float32>, as arrow's builder names its fields.
fn map_type() -> DataType {
    let entry =
        Fields::from(vec![Field::new("keys", DataType::Utf8, false), Field::new("values", DataType::Float32, true)]);
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entry), false)), false)
}

impl ScalarUDFImpl for PredictProba {
    fn name(&self) -> &str {
        if self.calibrated { "calibrated_proba" } else { "predict_proba" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        arguments::coerce(self.syntax(), arg_types, 3)
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        Ok(if arg_types.len() == 3 { DataType::Float32 } else { map_type() })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let null = || ScalarValue::try_new_null(args.return_field.data_type()).map(ColumnarValue::Scalar);
        let class = match args.args.get(2) {
            None => None,
            Some(class) => match arguments::constant(self.syntax(), "class", class)? {
                None => return null(),
                named => named,
            },
        };
        let Some(mut asked) = arguments::ask(self.syntax(), self.predictor.as_ref(), &args)? else { return null() };
        if self.calibrated {
            asked.predictions = asked.predictions.calibrated();
        }
        let predictions = &asked.predictions;
        let column: ArrayRef = match class {
            None => Arc::new(all_classes(predictions)?),
            Some(class) => {
                let Some(index) = predictions.classes.iter().position(|c| *c == class) else {
                    let model = arguments::constant(self.syntax(), "model", &args.args[0])?.unwrap_or_default();
                    let classes = predictions.classes.join(", ");
                    return exec_err!("model '{model}' has no class '{class}'; its classes are {classes}");
                };
                let valid = predictions.valid.iter().enumerate();
                let column: Float32Array =
                    valid.map(|(row, valid)| predictions.row(row).get(index).copied().filter(|_| *valid)).collect();
                Arc::new(column)
            }
        };
        asked.answer(&column)
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(if self.calibrated { &CALIBRATED_DOCUMENTATION } else { &DOCUMENTATION })
    }
}

fn all_classes(predictions: &Predictions) -> Result<datafusion::arrow::array::MapArray> {
    let mut maps = MapBuilder::new(None, StringBuilder::new(), Float32Builder::new());
    for (row, valid) in predictions.valid.iter().enumerate() {
        if *valid {
            for (class, probability) in predictions.classes.iter().zip(predictions.row(row)) {
                maps.keys().append_value(class);
                maps.values().append_value(*probability);
            }
        }
        maps.append(*valid)?;
    }
    Ok(maps.finish())
}
