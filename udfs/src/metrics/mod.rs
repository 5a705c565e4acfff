//! SQL aggregates that evaluate classifiers: `roc_auc`, `accuracy`, `precision`, `recall`, `f1`, `confusion_matrix`.
//!
//! They work in any query, per group and in growing windows. Partial results can be merged in any order, so a cluster
//! computes each partition where it is stored. The formulas are those of [`tusk_core::metrics`], as in `EVALUATE
//! MODEL`. Each function has a file of its own, with its documentation and its tests.

use std::sync::Arc;

use datafusion::logical_expr::{AggregateUDF, DocSection};

mod accuracy;
mod confusion;
mod confusion_matrix;
mod f1;
mod label;
mod precision;
mod recall;
mod roc_auc;

#[cfg(test)]
pub(crate) mod testing;

/// The section of these functions in the manual.
const SECTION: DocSection = DocSection {
    include: true,
    label: "Classification Metrics",
    description: Some("Aggregates that compare predictions with true labels."),
};

/// The documentation of the third argument of precision, recall and f1.
const POSITIVE: &str = "The positive label, a constant; all other labels are negative. Default: true for booleans; 1 \
                        for integers 0 and 1; the last label in sort order if there are two; the macro average if \
                        there are more; NULL if there is one. Set it in a query with GROUP BY, where a group may lack \
                        a label.";

/// The aggregates of this module.
pub fn functions() -> Vec<Arc<AggregateUDF>> {
    [
        roc_auc::roc_auc(),
        accuracy::accuracy(),
        precision::precision(),
        recall::recall(),
        f1::f1(),
        confusion_matrix::confusion_matrix(),
    ]
    .map(Arc::new)
    .to_vec()
}

#[cfg(test)]
mod tests {
    use super::functions;
    use super::testing::{context, partitioned, table};

    #[tokio::test]
    async fn every_documented_example_gives_its_documented_result() {
        let ctx = context();
        for function in functions() {
            let documentation = function.documentation().unwrap();
            assert!(documentation.syntax_example.starts_with(function.name()), "{}", function.name());
            let example = documentation.sql_example.as_deref().unwrap();
            let example = example.strip_prefix("```sql\n> ").unwrap().strip_suffix("\n```").unwrap();
            let (sql, result) = example.split_once(";\n").unwrap();
            assert_eq!(table(&ctx, sql).await, result, "{}", function.name());
        }
    }

    #[tokio::test]
    async fn partial_results_of_any_partitioning_merge_to_the_same_metrics() {
        let sql = "SELECT site, roc_auc(label, score, 'b') AS auc, accuracy(label, said) AS accuracy, \
                   precision(label, said, 'b') AS precision, recall(label, said) AS recall, f1(number, said_number) AS f1, \
                   recall(flag, said_flag) AS flag_recall, confusion_matrix(number, said_number) AS numbers, \
                   confusion_matrix(flag, said_flag) AS flags, confusion_matrix(label, said) AS matrix \
                   FROM rows GROUP BY site ORDER BY site";
        let whole = table(&partitioned(1), sql).await;
        let total_sql = sql.replace("site, roc_auc", "roc_auc").replace(" GROUP BY site ORDER BY site", "");
        let total = table(&partitioned(1), &total_sql).await;
        assert!(whole.lines().count() == 8 && whole.contains("count: "), "{whole}");
        for partitions in [2, 5] {
            let ctx = partitioned(partitions);
            let plan = table(&ctx, &format!("EXPLAIN {sql}")).await;
            assert!(plan.contains("mode=Partial") && plan.contains("mode=FinalPartitioned"), "{plan}");
            assert_eq!(table(&ctx, sql).await, whole, "{partitions} partitions");
            assert_eq!(table(&ctx, &total_sql).await, total, "{partitions} partitions, one group");
        }
    }
}
