//! SQL `f1(truth, predicted [, positive])`.

use datafusion::logical_expr::{AggregateUDF, Documentation};

use super::confusion::{PairAggregate, PairMetric};
use super::{POSITIVE, SECTION};

/// The harmonic mean of precision and recall.
pub(super) fn f1() -> AggregateUDF {
    let documentation = Documentation::builder(
        SECTION,
        "Returns the harmonic mean of precision and recall, 2tp / (2tp + fp + fn), as Float64. Rows with a NULL in \
         either label are ignored; NULL if no row is positive or predicted positive.",
        "f1(truth, predicted [, positive])",
    )
    .with_argument("truth", "The true label: text, an integer or a boolean.")
    .with_argument("predicted", "The predicted label, of the same type.")
    .with_argument("positive", POSITIVE)
    .with_sql_example(
        r#"```sql
> SELECT f1(truth, predicted, 'PNEUMONIA') AS f1
  FROM (VALUES ('PNEUMONIA', 'PNEUMONIA'), ('PNEUMONIA', 'PNEUMONIA'), ('PNEUMONIA', 'NORMAL'),
               ('PNEUMONIA', 'NORMAL'), ('NORMAL', 'PNEUMONIA'), ('NORMAL', 'NORMAL'))
  AS t(truth, predicted);
+--------------------+
| f1                 |
+--------------------+
| 0.5714285714285714 |
+--------------------+
```"#,
    )
    .with_related_udf("precision")
    .with_related_udf("recall")
    .build();
    AggregateUDF::new_from_impl(PairAggregate::new(PairMetric::F1, documentation))
}

#[cfg(test)]
mod tests {
    use crate::metrics::testing::{LABELLED, THREE_CLASSES, context, value};

    #[tokio::test]
    async fn f1_is_that_of_scikit_learn() {
        let ctx = context();
        assert_eq!(value(&ctx, &format!("SELECT f1(truth, predicted) FROM {LABELLED}")).await, Some(0.75));
        let averaged = value(&ctx, &format!("SELECT f1(truth, predicted) FROM {THREE_CLASSES}")).await;
        assert!((averaged.unwrap() - 0.6626984126984127).abs() < 1e-12, "{averaged:?}");
    }

    #[tokio::test]
    async fn f1_is_null_only_where_nothing_is_positive_on_either_side() {
        let ctx = context();
        assert_eq!(value(&ctx, "SELECT f1(t, p) FROM (VALUES (0, 0), (0, 0)) v(t, p)").await, None);
        assert_eq!(value(&ctx, "SELECT f1(t, p) FROM (VALUES (1, 0), (0, 0)) v(t, p)").await, Some(0.0));
    }
}
