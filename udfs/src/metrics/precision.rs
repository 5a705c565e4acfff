//! SQL `precision(truth, predicted [, positive])`.

use datafusion::logical_expr::{AggregateUDF, Documentation};

use super::confusion::{PairAggregate, PairMetric};
use super::{POSITIVE, SECTION};

/// The fraction of predicted positives that are positive.
pub(super) fn precision() -> AggregateUDF {
    let documentation = Documentation::builder(
        SECTION,
        "Returns the fraction of predicted positives that are positive (positive predictive value), as Float64. Rows \
         with a NULL in either label are ignored; NULL if no row is predicted positive.",
        "precision(truth, predicted [, positive])",
    )
    .with_argument("truth", "The true label: text, an integer or a boolean.")
    .with_argument("predicted", "The predicted label, of the same type.")
    .with_argument("positive", POSITIVE)
    .with_sql_example(
        r#"```sql
> SELECT precision(truth, predicted, 'PNEUMONIA') AS precision
  FROM (VALUES ('PNEUMONIA', 'PNEUMONIA'), ('PNEUMONIA', 'PNEUMONIA'), ('PNEUMONIA', 'NORMAL'),
               ('PNEUMONIA', 'NORMAL'), ('NORMAL', 'PNEUMONIA'), ('NORMAL', 'NORMAL'))
  AS t(truth, predicted);
+--------------------+
| precision          |
+--------------------+
| 0.6666666666666666 |
+--------------------+
```"#,
    )
    .with_related_udf("recall")
    .with_related_udf("f1")
    .build();
    AggregateUDF::new_from_impl(PairAggregate::new(PairMetric::Precision, documentation))
}

#[cfg(test)]
mod tests {
    use crate::metrics::testing::{LABELLED, THREE_CLASSES, context, refusal, value};

    #[tokio::test]
    async fn precision_is_that_of_scikit_learn() {
        let ctx = context();
        let binary = value(&ctx, &format!("SELECT precision(truth, predicted) FROM {LABELLED}")).await;
        assert_eq!(binary, Some(0.6923076923076923));
        let averaged = value(&ctx, &format!("SELECT precision(truth, predicted) FROM {THREE_CLASSES}")).await;
        assert!((averaged.unwrap() - 0.7000000000000001).abs() < 1e-12, "{averaged:?}");
    }

    #[tokio::test]
    async fn the_positive_class_is_the_named_one_or_true_or_one_or_the_last_of_two() {
        let ctx = context();
        // One of two rows predicted as b is b. The one row predicted as a is a.
        let rows = "(VALUES ('a', 'a'), ('b', 'b'), ('a', 'b')) v(t, p)";
        for (call, expected) in [
            ("precision(t, p)", 0.5),
            ("precision(t, p, 'b')", 0.5),
            ("precision(t, p, 'a')", 1.0),
            ("precision(t = 'b', p = 'b')", 0.5),
            ("precision(t = 'a', p = 'a')", 1.0),
            ("precision(t = 'a', p = 'a', false)", 0.5),
            ("precision(CAST(t = 'a' AS INT), CAST(p = 'a' AS INT))", 1.0),
            ("precision(CAST(t = 'a' AS INT), p = 'a', true)", 1.0),
            ("precision(ascii(t), ascii(p))", 0.5),
            ("precision(ascii(t), ascii(p), 97)", 1.0),
            ("precision(t, p, concat('', 'a'))", 1.0),
        ] {
            assert_eq!(value(&ctx, &format!("SELECT {call} FROM {rows}")).await, Some(expected), "{call}");
        }
    }

    #[tokio::test]
    async fn a_given_class_is_compared_with_all_others() {
        let sql = format!("SELECT precision(truth, predicted, 1) FROM {THREE_CLASSES}");
        // Four rows were predicted as 1, and two of them are 1.
        assert_eq!(value(&context(), &sql).await, Some(0.5));
    }

    #[tokio::test]
    async fn undefined_precision_is_null() {
        let ctx = context();
        for sql in [
            "SELECT precision(t, p) FROM (VALUES (1, 0), (0, 0)) v(t, p)",
            "SELECT precision(t, p) FROM (VALUES (true, NULL)) v(t, p)",
            "SELECT precision(t, p) FROM (VALUES ('only', 'only')) v(t, p)",
            "SELECT precision(t, p, 'absent') FROM (VALUES ('a', 'b')) v(t, p)",
            "SELECT precision(t, p) FROM (VALUES ('a', 'b')) v(t, p) WHERE false",
        ] {
            assert_eq!(value(&ctx, sql).await, None, "{sql}");
        }
    }

    #[tokio::test]
    async fn a_positive_label_that_is_not_a_constant_is_refused() {
        let ctx = context();
        for (call, reason) in [
            ("precision(t, p, t)", "the positive label must be a constant"),
            ("precision(t, p, NULL)", "the positive label is NULL"),
            ("precision(t, p, 1)", "truth contains text and positive contains integers"),
            (
                "precision(t, p, 'a', 'b')",
                "precision expects precision(truth, predicted [, positive]), got 4 arguments",
            ),
        ] {
            let error = refusal(&ctx, &format!("SELECT {call} FROM (VALUES ('a', 'b')) v(t, p)")).await;
            assert!(error.contains(reason), "{call}: {error}");
        }
    }
}
