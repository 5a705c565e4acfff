//! `predict`: the class of an image.

use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{ArrayRef, StringArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use tusk_core::engine::Predictor;

use super::{MODEL_ARGUMENT, SECTION, arguments};

const SYNTAX: &str = "predict(model, image)";

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    Documentation::builder(
        SECTION,
        "Returns the predicted class: with two classes, the positive class if its probability is at or above the \
         model's threshold; with more, the most likely class. The image is preprocessed as in training. NULL for a \
         NULL or unreadable image; the log names unreadable ones. NULL where the probabilities of the model are NaN.",
        SYNTAX,
    )
    .with_sql_example(
        r#"```sql
> SELECT path, predict('pneumonia', image) AS class FROM inbox;
+-----------------------------------------+-----------+
| path                                    | class     |
+-----------------------------------------+-----------+
| PNEUMONIA/person847_virus_1492.jpeg     | PNEUMONIA |
| PNEUMONIA/person1676_bacteria_4441.jpeg | PNEUMONIA |
| PNEUMONIA/person1055_bacteria_2989.jpeg | PNEUMONIA |
+-----------------------------------------+-----------+
```"#,
    )
    .with_argument("model", MODEL_ARGUMENT)
    .with_argument("image", "The image: the bytes of an image file, or Spark's image struct.")
    .with_related_udf("predict_proba")
    .build()
});

/// The SQL function `predict(model, image)`.
#[derive(Debug)]
pub struct Predict {
    signature: Signature,
    predictor: Arc<dyn Predictor>,
}

impl Predict {
    /// Makes the function with this predictor.
    pub fn new(predictor: Arc<dyn Predictor>) -> Self {
        // Volatile, because a model may be replaced between queries and planning must not evaluate the function.
        Self { signature: Signature::user_defined(Volatility::Volatile), predictor }
    }
}

impl PartialEq for Predict {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.predictor, &other.predictor)
    }
}

impl Eq for Predict {}

impl Hash for Predict {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

impl ScalarUDFImpl for Predict {
    fn name(&self) -> &str {
        "predict"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        arguments::coerce(SYNTAX, arg_types, 2)
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(asked) = arguments::ask(SYNTAX, self.predictor.as_ref(), &args)? else {
            return Ok(ColumnarValue::Scalar(ScalarValue::Utf8(None)));
        };
        let predictions = &asked.predictions;
        let class = |row: usize| predictions.classes.get(predictions.class_of(row)?).map(String::as_str);
        let valid = predictions.valid.iter().enumerate();
        let classes: StringArray = valid.map(|(row, valid)| if *valid { class(row) } else { None }).collect();
        asked.answer(&(Arc::new(classes) as ArrayRef))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&DOCUMENTATION)
    }
}
