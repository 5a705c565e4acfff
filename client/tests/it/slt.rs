//! Runs the `.slt` files. Each has its own context over the fixture's images.
//!
//! `{dir}` stands for the fixture's folder. Values in statements about models that differ between machines (floats,
//! times, hashes) are replaced by `#`.

use std::path::Path;

use async_trait::async_trait;
use datafusion::arrow::datatypes::DataType;
use regex::Regex;
use sqllogictest::{
    AsyncDB, DBOutput, DefaultColumnType, MakeConnection, Runner, default_column_validator, default_normalizer,
    default_validator,
};

use crate::fixture::{Fixture, cells, is_update};

struct Database {
    fixture: Fixture,
}

#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct Refusal {
    message: String,
}

/// Whether the result of a statement contains values that differ between machines.
fn is_about_models(sql: &str) -> bool {
    let words: Vec<String> = sql.split_whitespace().take(4).map(str::to_uppercase).collect();
    words.iter().any(|word| matches!(word.as_str(), "MODEL" | "MODELS" | "TRAINING"))
}

fn masked(text: &str) -> String {
    let varying = Regex::new(r"run-\d+-[0-9a-f]+|[0-9a-f]{16,}|\d+\.\d+(e-?\d+|\.\d+)?").unwrap();
    varying.replace_all(text, "#").into_owned()
}

impl Database {
    async fn answer(&self, sql: &str) -> tusk::Result<DBOutput<DefaultColumnType>> {
        let results = self.fixture.context.sql(&self.fixture.fill(sql)).await?;
        let schema = results.schema();
        let batches = results.collect().await?;
        if schema.fields().is_empty() {
            return Ok(DBOutput::StatementComplete(0));
        }
        let types = schema.fields().iter().map(|field| match field.data_type() {
            data_type if data_type.is_integer() => DefaultColumnType::Integer,
            data_type if data_type.is_floating() => DefaultColumnType::FloatingPoint,
            _ => DefaultColumnType::Text,
        });
        let mut rows = cells(&batches);
        for row in &mut rows {
            for (cell, field) in row.iter_mut().zip(schema.fields()) {
                *cell = self.fixture.normalise(cell).replace('\n', "\\n");
                let is_timed = matches!(field.data_type(), DataType::Float64 | DataType::Timestamp(..));
                if is_about_models(sql) && is_timed && cell != "NULL" {
                    *cell = "#".to_owned();
                } else if is_about_models(sql) {
                    *cell = masked(cell);
                }
                if cell.is_empty() {
                    *cell = "(empty)".to_owned();
                }
            }
        }
        Ok(DBOutput::Rows { types: types.collect(), rows })
    }
}

#[async_trait]
impl AsyncDB for Database {
    type Error = Refusal;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Refusal> {
        self.answer(sql).await.map_err(|error| Refusal { message: self.fixture.normalise(&error.to_string()) })
    }

    async fn shutdown(&mut self) {}

    fn engine_name(&self) -> &str {
        "tusk"
    }
}

async fn update(runner: &mut Runner<Database, impl MakeConnection<Conn = Database>>, path: &Path) {
    runner
        .update_test_file(path, "\t", default_validator, default_normalizer, default_column_validator)
        .await
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

async fn check(name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slt").join(name);
    let mut runner = Runner::new(|| async { Ok(Database { fixture: Fixture::new().await }) });
    if is_update() {
        update(&mut runner, &path).await;
    } else if let Err(error) = runner.run_file_async(&path).await {
        panic!("{}\nIf the change is meant, run the test with UPDATE_GOLDEN=1.", error.display(false));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sql_works_as_in_datafusion() {
    check("sql.slt").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_can_be_made_from_all_sources() {
    check("tables.slt").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn image_functions_work_on_every_kind_of_table() {
    check("images.slt").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_aggregates() {
    check("metrics.slt").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn models_are_created_shown_queried_and_dropped() {
    check("models.slt").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_say_what_to_do() {
    check("refusals.slt").await;
}
