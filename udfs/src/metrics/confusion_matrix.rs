//! SQL `confusion_matrix(truth, predicted)`.

use datafusion::logical_expr::{AggregateUDF, Documentation};

use super::SECTION;
use super::confusion::{PairAggregate, PairMetric};

/// How often each pair of labels was seen, as a list of rows.
pub(super) fn confusion_matrix() -> AggregateUDF {
    let documentation = Documentation::builder(
        SECTION,
        "Returns the count of each pair of true and predicted label, as a list of structs (truth Utf8, predicted Utf8, \
         count Int64), sorted by truth and prediction. Pairs that do not occur are omitted. Rows with a NULL in either \
         argument are ignored; NULL if no rows remain. Use `unnest` to get rows.",
        "confusion_matrix(truth, predicted)",
    )
    .with_argument("truth", "The true label: text, an integer or a boolean.")
    .with_argument("predicted", "The predicted label, of the same type.")
    .with_sql_example(
        r#"```sql
> SELECT cell['truth'] AS truth, cell['predicted'] AS predicted, cell['count'] AS count
  FROM (
    SELECT unnest(confusion_matrix(truth, predicted)) AS cell
    FROM (VALUES ('PNEUMONIA', 'PNEUMONIA'), ('PNEUMONIA', 'NORMAL'), ('NORMAL', 'NORMAL'), ('NORMAL', 'NORMAL'))
    AS t(truth, predicted)
  );
+-----------+-----------+-------+
| truth     | predicted | count |
+-----------+-----------+-------+
| NORMAL    | NORMAL    | 2     |
| PNEUMONIA | NORMAL    | 1     |
| PNEUMONIA | PNEUMONIA | 1     |
+-----------+-----------+-------+
```"#,
    )
    .with_related_udf("accuracy")
    .build();
    AggregateUDF::new_from_impl(PairAggregate::new(PairMetric::Matrix, documentation))
}

#[cfg(test)]
mod tests {
    use crate::metrics::testing::{LABELLED, context, table};

    #[tokio::test]
    async fn the_counts_are_those_of_scikit_learn() {
        let matrix =
            table(&context(), &format!("SELECT confusion_matrix(truth, predicted) AS m FROM {LABELLED}")).await;
        let expected = "[{truth: 0, predicted: 0, count: 5}, {truth: 0, predicted: 1, count: 4}, \
                        {truth: 1, predicted: 0, count: 2}, {truth: 1, predicted: 1, count: 9}]";
        assert!(matrix.contains(expected), "{matrix}");
    }

    #[tokio::test]
    async fn integers_sort_as_numbers_and_booleans_read_as_words() {
        let ctx = context();
        let matrix = table(&ctx, "SELECT confusion_matrix(t, t) AS m FROM (VALUES (10), (9), (-1)) v(t)").await;
        let places = ["truth: -1,", "truth: 9,", "truth: 10,"].map(|label| matrix.find(label).unwrap());
        assert!(places.is_sorted(), "{matrix}");
        let matrix = table(&ctx, "SELECT confusion_matrix(t, NOT t) AS m FROM (VALUES (true)) v(t)").await;
        assert!(matrix.contains("[{truth: true, predicted: false, count: 1}]"), "{matrix}");
    }

    #[tokio::test]
    async fn without_rows_the_result_is_null() {
        let sql = "SELECT confusion_matrix(t, p) IS NULL AS m FROM (VALUES ('a', NULL), (NULL, 'b')) v(t, p)";
        let answer = table(&context(), sql).await;
        assert!(answer.contains("true"), "{answer}");
    }
}
