//! Tables of rows that a client sends.
//!
//! The rows are written to files first, so that a table changes only when all of them have arrived.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::{Column, ScalarValue, TableReference};
use datafusion::datasource::provider_as_source;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::dml::InsertOp;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast, lit};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use futures::future::BoxFuture;
use futures::{TryStreamExt, stream};

use super::{Session, tables};
use crate::error::Result;

/// The name of the client's rows in plans.
const ROWS: &str = "rows";

/// What to do with rows if there is no such table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IfMissing {
    Create,
    Fail,
}

/// What to do with rows if the table exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IfExists {
    Append,
    Replace,
    Fail,
}

/// A table that takes rows.
#[derive(Clone, Debug)]
pub(crate) struct Ingest {
    pub(crate) table: TableReference,
    pub(crate) if_missing: IfMissing,
    pub(crate) if_exists: IfExists,
}

impl Session {
    /// Stores rows in a table and returns their number. If an error occurs, the table is as it was.
    ///
    /// # Errors
    /// Returns an error if the table exists or not, against the request, the columns do not fit it, or the rows cannot be
    /// read or stored.
    pub(crate) fn ingest(&self, request: Ingest, rows: SendableRecordBatchStream) -> BoxFuture<'_, Result<u64>> {
        Box::pin(async move {
            let Ingest { table, if_missing, if_exists } = request;
            let context = self.local();
            let exists = context.table_exist(table.clone())?;
            match (exists, if_missing, if_exists) {
                (true, _, IfExists::Fail) => {
                    let message = format!("table '{table}' exists. Append to it, replace it, or DROP TABLE {table}");
                    return Err(tusk_core::Error::Data { message }.into());
                }
                (false, IfMissing::Fail, _) => {
                    let message = format!("table '{table}' not found. Create it first, or with its rows");
                    return Err(tusk_core::Error::Data { message }.into());
                }
                (false, IfMissing::Create, _) => tables::refuse_too_many(context, &table)?,
                (true, ..) => {}
            }
            refuse_repeated_names(&rows.schema())?;
            let folder = tables::table_folder(self, table.table())?;
            let (plan, count) = plan_of(rows)?;
            let received = Box::pin(tables::written(self, folder.path(), plan)).await?;
            match (exists, if_exists) {
                (true, IfExists::Append) => append(self, &table, received).await?,
                _ => {
                    context.deregister_table(table.clone())?;
                    context.register_table(table, received)?;
                    drop(folder.keep());
                }
            }
            Ok(count.load(Ordering::Relaxed))
        })
    }
}

/// Refuses columns that Parquet cannot tell apart.
fn refuse_repeated_names(schema: &Schema) -> Result<()> {
    let mut names = HashSet::new();
    let repeated = schema.fields().iter().find(|field| !names.insert(field.name()));
    let message = match repeated {
        Some(field) => format!("the rows have two columns '{}'. Give one of them another name", field.name()),
        None if schema.fields().is_empty() => "the rows have no columns".to_owned(),
        None => return Ok(()),
    };
    Err(tusk_core::Error::Data { message }.into())
}

/// Returns the plan that reads rows, and their number when they are read.
fn plan_of(rows: SendableRecordBatchStream) -> Result<(LogicalPlan, Arc<AtomicU64>)> {
    let (schema, count) = (rows.schema(), Arc::new(AtomicU64::new(0)));
    let counted = Arc::clone(&count);
    let rows = rows.inspect_ok(move |batch| {
        counted.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
    });
    let rows: SendableRecordBatchStream = Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&schema), rows));
    let sent = Sent { schema: Arc::clone(&schema), rows: Mutex::new(Some(rows)) };
    let table = StreamingTable::try_new(schema, vec![Arc::new(sent)])?;
    let plan = LogicalPlanBuilder::scan(ROWS, provider_as_source(Arc::new(table)), None)?.build()?;
    Ok((plan, count))
}

/// Rows that can be read once.
struct Sent {
    schema: SchemaRef,
    rows: Mutex<Option<SendableRecordBatchStream>>,
}

impl std::fmt::Debug for Sent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sent").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl PartitionStream for Sent {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner).take();
        rows.unwrap_or_else(|| {
            let error = DataFusionError::Internal("the rows of a client are read twice".to_owned());
            let failed = stream::once(async move { Err(error) });
            Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), failed))
        })
    }
}

/// Appends received rows to a table. Columns are matched by their names, and cast to the types of the table's columns.
async fn append(session: &Session, table: &TableReference, received: Arc<dyn TableProvider>) -> Result<()> {
    let target = session.local().table_provider(table.clone()).await?;
    let (columns, schema) = (target.schema(), received.schema());
    if let Some(unknown) = schema.fields().iter().find(|field| columns.index_of(field.name()).is_err()) {
        let known: Vec<&str> = columns.fields().iter().map(|field| field.name().as_str()).collect();
        let message = format!(
            "table '{table}' has no column '{}'; its columns are {}. Rename the column, or replace the table",
            unknown.name(),
            known.join(", ")
        );
        return Err(tusk_core::Error::Data { message }.into());
    }
    let exprs = columns.fields().iter().map(|field| {
        let value = match schema.index_of(field.name()) {
            Ok(_) => Expr::Column(Column::new(Some(ROWS), field.name())),
            Err(_) => target.get_column_default(field.name()).cloned().unwrap_or_else(|| lit(ScalarValue::Null)),
        };
        cast(value, field.data_type().clone()).alias(field.name())
    });
    let rows = LogicalPlanBuilder::scan(ROWS, provider_as_source(received), None)?.project(exprs)?.build()?;
    let insert = LogicalPlanBuilder::insert_into(
        rows,
        table.clone(),
        provider_as_source(Arc::clone(&target)),
        InsertOp::Append,
    )?;
    let mut results = Box::pin(session.execute_plan(insert.build()?)).await?;
    while results.next().await?.is_some() {}
    Ok(())
}
