//! SQL `roc_auc(truth, score [, positive])`.

use std::mem::size_of_val;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Float64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion::common::utils::SingleRowListArrayBuilder;
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, Signature, Volatility};

use super::SECTION;
use super::confusion::{refuse_distinct, state_lists};
use super::label::{Kind, Label, LabelColumn};

const NAME: &str = "roc_auc";
const USAGE: &str = "roc_auc(truth, score [, positive])";

/// Maximum number of rows of a group. The partial state is an Arrow list, whose offsets are i32.
const ROWS_MAX: usize = i32::MAX as usize;

/// The area under the ROC curve of a score.
pub(super) fn roc_auc() -> AggregateUDF {
    let documentation = Documentation::builder(
        SECTION,
        "Returns the area under the ROC curve, as Float64: the probability that a positive row has a higher score than \
         a negative one, ties counting half. Rows with a NULL in truth or score are ignored. NULL if one class has no \
         rows, or if a score is NaN. The result is exact: each group keeps 9 bytes per row in memory and has at most \
         2147483647 rows.",
        USAGE,
    )
    .with_argument(
        "truth",
        "Whether the row is positive: a boolean, or an integer 0 or 1; with a third argument, a label of any kind.",
    )
    .with_argument("score", "A number that is higher for rows that are more likely positive, on any scale.")
    .with_argument("positive", "The label of the positive rows, a constant; needed where truth is text.")
    .with_sql_example(
        r#"```sql
> SELECT roc_auc(label, score, 'PNEUMONIA') AS auc
  FROM (VALUES ('NORMAL', 0.1), ('NORMAL', 0.5), ('PNEUMONIA', 0.5), ('PNEUMONIA', 0.9)) AS t(label, score);
+-------+
| auc   |
+-------+
| 0.875 |
+-------+
```"#,
    )
    .with_related_udf("accuracy")
    .build();
    let signature = Signature::user_defined(Volatility::Immutable);
    AggregateUDF::new_from_impl(RocAuc { signature, documentation })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct RocAuc {
    signature: Signature,
    documentation: Documentation,
}

impl AggregateUDFImpl for RocAuc {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let (truth, score, positive) = match arg_types {
            [truth, score] => (truth, score, None),
            [truth, score, positive] => (truth, score, Some(positive)),
            _ => return plan_err!("{NAME} expects {USAGE}, got {} arguments", arg_types.len()),
        };
        if !score.is_numeric() && !score.is_null() {
            return plan_err!("{NAME}: score must be a number, such as a probability, got {score}");
        }
        let Some(positive) = positive else {
            return match Kind::of(truth) {
                Some(kind @ (Kind::Boolean | Kind::Integer)) => Ok(vec![kind.argument_type(), DataType::Float64]),
                None if truth.is_null() => Ok(vec![DataType::Boolean, DataType::Float64]),
                _ => plan_err!(
                    "{NAME}: truth has type {truth}; give the positive label as the third argument, or a boolean such \
                     as label = 'PNEUMONIA'"
                ),
            };
        };
        let label = Kind::common(NAME, &[("truth", truth), ("positive", positive)])?.argument_type();
        Ok(vec![label.clone(), DataType::Float64, label])
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        refuse_distinct(NAME, args.is_distinct)?;
        let positive = args.exprs.get(2).map(|positive| Label::constant(NAME, positive)).transpose()?;
        Ok(Box::new(RocAucAccumulator { positive, truth: Vec::new(), score: Vec::new() }))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok([("truth", DataType::Boolean), ("score", DataType::Float64)]
            .map(|(name, item)| {
                Arc::new(Field::new(format_state_name(args.name, name), DataType::new_list(item, true), true))
            })
            .to_vec())
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }
}

/// Accumulates all rows, which the exact area needs.
#[derive(Debug)]
struct RocAucAccumulator {
    positive: Option<Label>,
    truth: Vec<bool>,
    score: Vec<f64>,
}

impl RocAucAccumulator {
    /// Whether each row is positive.
    fn is_positive(&self, truth: &ArrayRef) -> Result<Vec<Option<bool>>> {
        let labels = LabelColumn::try_new(NAME, truth)?;
        match (&self.positive, &labels) {
            (Some(positive), _) => Ok(labels.holds(positive)),
            (None, LabelColumn::Boolean(truth)) => Ok(truth.iter().collect()),
            (None, LabelColumn::Integer(truth)) => {
                if let Some(other) = truth.iter().flatten().find(|truth| !matches!(truth, 0 | 1)) {
                    return exec_err!(
                        "{NAME}: truth must be 0 or 1, got {other}; or give the positive label as the third argument"
                    );
                }
                Ok(truth.iter().map(|truth| truth.map(|truth| truth == 1)).collect())
            }
            (None, LabelColumn::Text(_)) => {
                exec_err!("{NAME}: truth is text, so the positive label is required as the third argument")
            }
        }
    }

    fn extend(&mut self, truth: impl IntoIterator<Item = Option<bool>>, score: &Float64Array) -> Result<()> {
        if score.len() > ROWS_MAX - self.score.len() {
            return exec_err!("{NAME}: more than {ROWS_MAX} rows in one group; use a sample");
        }
        for (truth, score) in truth.into_iter().zip(score) {
            if let Some((truth, score)) = truth.zip(score) {
                self.truth.push(truth);
                self.score.push(score);
            }
        }
        Ok(())
    }
}

impl Accumulator for RocAucAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let [truth, score, ..] = values else {
            return exec_err!("{NAME}: expected a truth column and a score column");
        };
        let truth = self.is_positive(truth)?;
        let score = cast(score, &DataType::Float64)?;
        self.extend(truth, score.as_primitive::<Float64Type>())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for [truth, score] in state_lists(NAME, states)? {
            let (Some(truth), Some(score)) = (truth.as_boolean_opt(), score.as_primitive_opt::<Float64Type>()) else {
                return exec_err!("{NAME}: invalid partial state: expected lists of Boolean and Float64");
            };
            self.extend(truth, score)?;
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let columns: [ArrayRef; 2] = [
            Arc::new(BooleanArray::from(std::mem::take(&mut self.truth))),
            Arc::new(Float64Array::from(std::mem::take(&mut self.score))),
        ];
        Ok(columns.map(|column| SingleRowListArrayBuilder::new(column).build_list_scalar()).to_vec())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Float64(tusk_core::metrics::roc_auc(&self.truth, &self.score)))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.truth.capacity() * size_of::<bool>() + self.score.capacity() * size_of::<f64>()
    }
}

#[cfg(test)]
mod tests {
    use crate::metrics::testing::{LABELLED, context, refusal, table, value};

    #[tokio::test]
    async fn the_area_with_ties_is_that_of_scikit_learn() {
        let ctx = context();
        for (call, expected) in [
            ("roc_auc(truth, score)", 0.8080808080808081),
            ("roc_auc(truth = 1, score)", 0.8080808080808081),
            ("roc_auc(truth, -score)", 0.19191919191919193),
            ("roc_auc(truth, score, 0)", 0.19191919191919193),
            ("roc_auc(truth, 0.5)", 0.5),
            ("roc_auc(CASE truth WHEN 1 THEN 'sick' ELSE 'well' END, score, 'sick')", 0.8080808080808081),
            ("roc_auc(truth, CAST(score * 100 AS INT))", 0.8080808080808081),
            ("roc_auc(truth, CAST(score AS FLOAT))", 0.8080808080808081),
            ("roc_auc(truth, CAST(score AS DECIMAL(5, 2)))", 0.8080808080808081),
            ("roc_auc(arrow_cast(truth, 'UInt8'), score) FILTER (WHERE true)", 0.8080808080808081),
        ] {
            let auc = value(&ctx, &format!("SELECT {call} FROM {LABELLED}")).await.unwrap();
            assert!((auc - expected).abs() < 1e-12, "{call}: {auc}");
        }
    }

    #[tokio::test]
    async fn one_class_or_nothing_or_nan_gives_null() {
        let ctx = context();
        for sql in [
            "SELECT roc_auc(t, s) FROM (VALUES (1, 0.1), (1, 0.9)) v(t, s)",
            "SELECT roc_auc(t, s) FROM (VALUES (false, 0.1), (false, 0.9)) v(t, s)",
            "SELECT roc_auc(t, s) FROM (VALUES (1, 0.1), (0, 0.9)) v(t, s) WHERE false",
            "SELECT roc_auc(t, s) FROM (VALUES (1, 0.1), (0, NULL), (NULL, 0.4)) v(t, s)",
            "SELECT roc_auc(t, CAST(s AS DOUBLE)) FROM (VALUES (1, '0.1'), (0, 'NaN'), (0, '0.2')) v(t, s)",
            "SELECT roc_auc(NULL, NULL)",
        ] {
            assert_eq!(value(&ctx, sql).await, None, "{sql}");
        }
    }

    #[tokio::test]
    async fn a_row_with_a_null_is_left_out() {
        let sql = "SELECT roc_auc(t, s) FROM (VALUES (1, 0.9), (0, 0.1), (0, NULL), (NULL, 0.95)) v(t, s)";
        assert_eq!(value(&context(), sql).await, Some(1.0));
    }

    #[tokio::test]
    async fn a_running_window_is_evaluated_for_each_row() {
        let sql = "SELECT i, roc_auc(t, s) OVER (ORDER BY i) AS auc \
                   FROM (VALUES (1, 1, 0.4), (2, 0, 0.1), (3, 0, 0.9)) v(i, t, s) ORDER BY i";
        let rows = table(&context(), sql).await;
        let values: Vec<&str> = rows.lines().skip(3).take(3).map(|row| row.split('|').nth(2).unwrap().trim()).collect();
        assert_eq!(values, ["", "1.0", "0.5"], "{rows}");
    }

    #[tokio::test]
    async fn arguments_without_a_positive_class_are_refused() {
        let ctx = context();
        for (call, reason) in [
            ("roc_auc('a', 0.5)", "give the positive label as the third argument"),
            ("roc_auc(2, 0.5)", "truth must be 0 or 1, got 2"),
            ("roc_auc(0.5, 0.5)", "truth has type Float64"),
            ("roc_auc(true, 'high')", "score must be a number, such as a probability, got Utf8"),
            ("roc_auc('a', 0.5, 1)", "truth contains text and positive contains integers"),
            ("roc_auc('a', 0.5, NULL)", "the positive label is NULL"),
            ("roc_auc(true)", "roc_auc expects roc_auc(truth, score [, positive]), got 1 arguments"),
            ("roc_auc(DISTINCT true, 0.5)", "roc_auc does not support DISTINCT"),
        ] {
            let error = refusal(&ctx, &format!("SELECT {call}")).await;
            assert!(error.contains(reason), "{call}: {error}");
        }
    }
}
