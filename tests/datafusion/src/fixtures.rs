//! The statements that make a session of Tusk like the one in which DataFusion runs a test file.

use std::fs::File;
use std::io::BufWriter;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use datafusion::arrow::ipc::writer::FileWriter;
use datafusion::catalog::TableProvider;
use datafusion::prelude::SessionContext;
use futures::FutureExt;

use crate::say::say;

/// The settings in which Tusk's sessions differ from that of DataFusion's runner, and which change answers.
const SETTINGS: [&str; 3] = [
    "SET datafusion.execution.target_partitions = 4",
    "SET datafusion.execution.batch_size = 8192",
    "SET datafusion.catalog.information_schema = false",
];

/// The catalog and the schema that every session has.
const DEFAULT: (&str, &str) = ("datafusion", "public");

/// The statements for a test file whose tables DataFusion's runner has registered in `context`: they are written to files in
/// `folder`, and Tusk reads them from there.
pub(crate) async fn set_up(context: &SessionContext, folder: &Path) -> Result<Vec<String>> {
    let mut statements = Vec::new();
    for catalog_name in context.catalog_names() {
        let Some(catalog) = context.catalog(&catalog_name) else { continue };
        if catalog_name != DEFAULT.0 {
            statements.push(format!("CREATE DATABASE IF NOT EXISTS \"{catalog_name}\""));
        }
        for schema_name in catalog.schema_names() {
            let Some(schema) = catalog.schema(&schema_name) else { continue };
            if schema_name != DEFAULT.1 {
                statements.push(format!("CREATE SCHEMA IF NOT EXISTS \"{catalog_name}\".\"{schema_name}\""));
            }
            for table_name in schema.table_names() {
                let Some(table) = schema.table(&table_name).await? else { continue };
                let file = folder.join(format!("{catalog_name}.{schema_name}.{table_name}.arrow"));
                if let Err(error) = write(context, table, &file).await {
                    say(&format!("the table {table_name} of DataFusion's runner is not copied: {error:#}"));
                    continue;
                }
                statements.push(format!(
                    "CREATE EXTERNAL TABLE \"{catalog_name}\".\"{schema_name}\".\"{table_name}\" STORED AS ARROW \
                     LOCATION '{}'",
                    file.display()
                ));
            }
        }
    }
    statements.extend(SETTINGS.map(str::to_owned));
    Ok(statements)
}

/// Writes the rows of a table. Some tables of the runner panic when they are read.
async fn write(context: &SessionContext, table: Arc<dyn TableProvider>, path: &Path) -> Result<()> {
    let written = AssertUnwindSafe(Box::pin(copy(context, table, path))).catch_unwind().await;
    written.unwrap_or_else(|_| Err(anyhow!("it cannot be read")))
}

async fn copy(context: &SessionContext, table: Arc<dyn TableProvider>, path: &Path) -> Result<()> {
    let schema = table.schema();
    let batches = Box::pin(context.read_table(table)?.collect()).await?;
    let file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
    let mut writer = FileWriter::try_new(BufWriter::new(file), &schema)?;
    for batch in &batches {
        writer.write(batch)?;
    }
    Ok(writer.finish()?)
}
