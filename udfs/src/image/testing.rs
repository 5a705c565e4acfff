//! A session with the image functions, for the tests.

use arrow::util::pretty::pretty_format_batches;
use datafusion::error::Result;
use datafusion::prelude::SessionContext;

/// A GIF of one pixel, red 200, green 100, blue 50, as a SQL literal.
pub(super) const GIF: &str = "X'47494638376101000100800000c864320000002c00000000010001000002024401003b'";

async fn run(sql: &str) -> Result<String> {
    let context = SessionContext::new();
    for function in super::functions() {
        context.register_udf(function.as_ref().clone());
    }
    Ok(pretty_format_batches(&context.sql(sql).await?.collect().await?)?.to_string())
}

/// The result of a query, drawn as a table.
pub(super) async fn table_of(sql: &str) -> String {
    run(sql).await.unwrap()
}

/// The message of the error that a query must give.
pub(super) async fn error_of(sql: &str) -> String {
    run(sql).await.unwrap_err().to_string()
}
