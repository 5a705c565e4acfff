//! SQL `accuracy(truth, predicted)`.

use datafusion::logical_expr::{AggregateUDF, Documentation};

use super::SECTION;
use super::confusion::{PairAggregate, PairMetric};

/// The fraction of rows in which `predicted` equals `truth`.
pub(super) fn accuracy() -> AggregateUDF {
    let documentation = Documentation::builder(
        SECTION,
        "Returns the fraction of rows whose predicted label equals the true label, as Float64. Rows with a NULL in \
         either argument are ignored; NULL if no rows remain.",
        "accuracy(truth, predicted)",
    )
    .with_argument("truth", "The true label: text, an integer or a boolean.")
    .with_argument("predicted", "The predicted label, of the same type.")
    .with_sql_example(
        r#"```sql
> SELECT accuracy(truth, predicted)
  FROM (VALUES ('PNEUMONIA', 'PNEUMONIA'), ('PNEUMONIA', 'NORMAL'), ('NORMAL', 'NORMAL'), ('NORMAL', 'NORMAL'))
  AS t(truth, predicted);
+-------------------------------+
| accuracy(t.truth,t.predicted) |
+-------------------------------+
| 0.75                          |
+-------------------------------+
```"#,
    )
    .with_related_udf("confusion_matrix")
    .build();
    AggregateUDF::new_from_impl(PairAggregate::new(PairMetric::Accuracy, documentation))
}

#[cfg(test)]
mod tests {
    use crate::metrics::testing::{LABELLED, context, refusal, value};

    #[tokio::test]
    async fn accuracy_is_that_of_scikit_learn() {
        let ctx = context();
        assert_eq!(value(&ctx, &format!("SELECT accuracy(truth, predicted) FROM {LABELLED}")).await, Some(0.7));
        assert_eq!(
            value(&ctx, "SELECT accuracy(t = 1, p) FROM (VALUES (1, true), (0, true)) v(t, p)").await,
            Some(0.5)
        );
    }

    #[tokio::test]
    async fn every_kind_of_label_is_compared() {
        let ctx = context();
        let rows = "(VALUES ('a', 'a'), ('b', 'a'), (NULL, 'a'), ('a', NULL)) v(t, p)";
        for of in ["Utf8", "LargeUtf8", "Utf8View", "Dictionary(Int32, Utf8)", "Dictionary(UInt8, LargeUtf8)"] {
            let sql = format!("SELECT accuracy(arrow_cast(t, '{of}'), p) FROM {rows}");
            assert_eq!(value(&ctx, &sql).await, Some(0.5), "{of}");
        }
        for of in ["TINYINT", "INT UNSIGNED", "BIGINT"] {
            let sql = format!("SELECT accuracy(CAST(t AS {of}), p) FROM (VALUES (1, 1), (2, 3)) v(t, p)");
            assert_eq!(value(&ctx, &sql).await, Some(0.5), "{of}");
        }
    }

    #[tokio::test]
    async fn without_rows_the_result_is_null() {
        let ctx = context();
        assert_eq!(value(&ctx, &format!("SELECT accuracy(truth, predicted) FROM {LABELLED} WHERE false")).await, None);
        assert_eq!(value(&ctx, "SELECT accuracy(t, NULL) FROM (VALUES (1), (2)) v(t)").await, None);
        assert_eq!(value(&ctx, "SELECT accuracy(NULL, NULL)").await, None);
    }

    #[tokio::test]
    async fn labels_of_different_kinds_are_refused() {
        let ctx = context();
        for (call, reason) in [
            ("accuracy(1, 'a')", "truth contains integers and predicted contains text"),
            ("accuracy('a', 1.5)", "predicted has type Float64; labels must be text, integers or booleans"),
            ("accuracy('a')", "accuracy expects accuracy(truth, predicted), got 1 arguments"),
            ("accuracy('a', 'b', 'a')", "accuracy expects accuracy(truth, predicted), got 3 arguments"),
            ("accuracy(DISTINCT 'a', 'b')", "accuracy does not support DISTINCT"),
        ] {
            let error = refusal(&ctx, &format!("SELECT {call}")).await;
            assert!(error.contains(reason), "{call}: {error}");
        }
    }

    #[tokio::test]
    async fn a_moving_window_removes_rows() {
        let ctx = context();
        let sql = "SELECT min(a) FROM (SELECT i, accuracy(t, p) OVER (ORDER BY i ROWS 1 PRECEDING) AS a \
                   FROM (VALUES (1, 'x', 'y'), (2, 'x', 'x'), (3, 'y', 'y')) v(i, t, p)) WHERE i = 3";
        assert_eq!(value(&ctx, sql).await, Some(1.0));
    }
}
