//! Helpers for tests of the aggregates: a context, and the data of scikit-learn as SQL.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, DictionaryArray, Float32Array, Int16Array, Int64Array, RecordBatch, StringArray,
};
use arrow::datatypes::Int32Type;
use arrow::util::pretty::pretty_format_batches;
use datafusion::common::ScalarValue;
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};

use super::functions;

/// The binary rows of tusk-core's tests/reference/sklearn_metrics.py; `predicted` is 1 from 0.4 on.
pub(crate) const LABELLED: &str = "(SELECT truth, score, CASE WHEN score >= 0.4 THEN 1 ELSE 0 END AS predicted FROM (VALUES \
    (0, 0.10), (0, 0.40), (1, 0.35), (0, 0.80), (1, 0.80), (1, 0.80), (0, 0.20), (1, 0.50), (0, 0.50), (0, 0.30), \
    (1, 0.90), (1, 0.65), (1, 0.40), (0, 0.05), (1, 0.95), (0, 0.55), (1, 0.70), (1, 0.20), (0, 0.20), (1, 1.00)\
    ) AS v(truth, score))";

/// The rows of three classes of the same script, with the class of highest probability as `predicted`.
pub(crate) const THREE_CLASSES: &str = "(VALUES (0, 0), (0, 0), (0, 1), (0, 0), (1, 1), (1, 0), (1, 1), \
    (2, 2), (2, 2), (2, 0), (2, 2), (2, 1)) AS v(truth, predicted)";

/// Makes a context with the aggregates.
pub(crate) fn context() -> SessionContext {
    with_functions(SessionContext::new())
}

fn with_functions(ctx: SessionContext) -> SessionContext {
    for function in functions() {
        ctx.register_udaf(function.as_ref().clone());
    }
    ctx
}

/// A context with a table `rows` of 203 rows at four sites, cut into `partitions` partitions of small batches: labels
/// as dictionary and text, integers and booleans, with NULLs among them. Site 3 has one class only.
pub(crate) fn partitioned(partitions: usize) -> SessionContext {
    let ctx = with_functions(SessionContext::new_with_config(SessionConfig::new().with_target_partitions(partitions)));
    let numbers: Vec<i64> = (0..203).collect();
    let label = |row: i64| if row % 4 == 3 { "a" } else { ["a", "b", "b"][(row * row % 3) as usize] };
    let said = |row: i64| ["a", "b"][(row * 7 % 5 % 2) as usize];
    let cut = numbers.len().div_ceil(partitions);
    let batch = |rows: &[i64]| {
        let text = |of: &dyn Fn(i64) -> &'static str, null: i64| -> Vec<Option<&'static str>> {
            rows.iter().map(|&row| (row % null != 0).then(|| of(row))).collect()
        };
        let labels: DictionaryArray<Int32Type> = text(&label, 11).into_iter().collect();
        let columns: [(&str, ArrayRef); 8] = [
            ("site", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row % 4)))),
            ("label", Arc::new(labels)),
            ("said", Arc::new(StringArray::from(text(&said, 13)))),
            ("score", Arc::new(Float32Array::from_iter_values(rows.iter().map(|row| (row * 37 % 29) as f32 / 29.0)))),
            ("number", Arc::new(Int16Array::from_iter_values(rows.iter().map(|row| (row % 3 * 5) as i16)))),
            ("said_number", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row * 3 % 7 % 3 * 5)))),
            (
                "flag",
                Arc::new(rows.iter().map(|row| (row % 17 != 0).then_some(row % 2 == 0)).collect::<BooleanArray>()),
            ),
            ("said_flag", Arc::new(rows.iter().map(|row| Some(row % 5 < 2)).collect::<BooleanArray>())),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
    };
    let batches: Vec<Vec<RecordBatch>> = numbers.chunks(cut).map(|part| part.chunks(9).map(batch).collect()).collect();
    let table = MemTable::try_new(batches[0][0].schema(), batches).unwrap();
    ctx.register_table("rows", Arc::new(table)).unwrap();
    ctx
}

/// Runs `sql` and formats the result as a table.
pub(crate) async fn table(ctx: &SessionContext, sql: &str) -> String {
    let batches = ctx.sql(sql).await.unwrap().collect().await.unwrap();
    pretty_format_batches(&batches).unwrap().to_string()
}

/// Runs `sql` and returns the single Float64 of the result.
pub(crate) async fn value(ctx: &SessionContext, sql: &str) -> Option<f64> {
    let batches = ctx.sql(sql).await.unwrap().collect().await.unwrap();
    let answer: Vec<&RecordBatch> = batches.iter().filter(|batch| batch.num_rows() > 0).collect();
    let [batch] = answer[..] else { panic!("{sql}: {} batches", answer.len()) };
    assert_eq!((batch.num_rows(), batch.num_columns()), (1, 1), "{sql}");
    match ScalarValue::try_from_array(batch.column(0), 0).unwrap() {
        ScalarValue::Float64(value) => value,
        other => panic!("{sql}: {other:?}"),
    }
}

/// Returns the error of `sql`, from planning or execution.
pub(crate) async fn refusal(ctx: &SessionContext, sql: &str) -> String {
    let answer = match ctx.sql(sql).await {
        Ok(frame) => frame.collect().await,
        Err(refused) => Err(refused),
    };
    answer.expect_err(sql).to_string()
}
