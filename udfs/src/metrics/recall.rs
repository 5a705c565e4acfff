//! SQL `recall(truth, predicted [, positive])`.

use datafusion::logical_expr::{AggregateUDF, Documentation};

use super::confusion::{PairAggregate, PairMetric};
use super::{POSITIVE, SECTION};

/// The fraction of positive rows that were predicted positive.
pub(super) fn recall() -> AggregateUDF {
    let documentation = Documentation::builder(
        SECTION,
        "Returns the fraction of positive rows that are predicted positive (sensitivity), as Float64. Rows with a NULL \
         in either label are ignored; NULL if no row is positive.",
        "recall(truth, predicted [, positive])",
    )
    .with_argument("truth", "The true label: text, an integer or a boolean.")
    .with_argument("predicted", "The predicted label, of the same type.")
    .with_argument("positive", POSITIVE)
    .with_sql_example(
        r#"```sql
> SELECT recall(truth, predicted, 'PNEUMONIA') AS recall
  FROM (VALUES ('PNEUMONIA', 'PNEUMONIA'), ('PNEUMONIA', 'PNEUMONIA'), ('PNEUMONIA', 'NORMAL'),
               ('PNEUMONIA', 'NORMAL'), ('NORMAL', 'PNEUMONIA'), ('NORMAL', 'NORMAL'))
  AS t(truth, predicted);
+--------+
| recall |
+--------+
| 0.5    |
+--------+
```"#,
    )
    .with_related_udf("precision")
    .with_related_udf("f1")
    .build();
    AggregateUDF::new_from_impl(PairAggregate::new(PairMetric::Recall, documentation))
}

#[cfg(test)]
mod tests {
    use crate::metrics::testing::{LABELLED, THREE_CLASSES, context, value};

    #[tokio::test]
    async fn recall_is_that_of_scikit_learn() {
        let ctx = context();
        let binary = value(&ctx, &format!("SELECT recall(truth, predicted) FROM {LABELLED}")).await;
        assert_eq!(binary, Some(0.8181818181818182));
        let averaged = value(&ctx, &format!("SELECT recall(truth, predicted) FROM {THREE_CLASSES}")).await;
        assert!((averaged.unwrap() - 0.6722222222222222).abs() < 1e-12, "{averaged:?}");
    }

    #[tokio::test]
    async fn the_recall_of_the_negative_class_is_specificity() {
        let sql = format!("SELECT recall(truth, predicted, 0) FROM {LABELLED}");
        assert_eq!(value(&context(), &sql).await, Some(0.5555555555555556));
    }

    #[tokio::test]
    async fn without_positive_rows_recall_is_null_and_without_finds_it_is_zero() {
        let ctx = context();
        assert_eq!(value(&ctx, "SELECT recall(t, p) FROM (VALUES (0, 1), (0, 0)) v(t, p)").await, None);
        assert_eq!(value(&ctx, "SELECT recall(t, p) FROM (VALUES (1, 0), (0, 0)) v(t, p)").await, Some(0.0));
    }
}
