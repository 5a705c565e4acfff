//! Runs the statements of DataFusion, on the cluster or in this process, and stores the tables of CREATE TABLE.
//!
//! Ballista sends plans to other processes, and a table in memory cannot be sent. So CREATE TABLE writes Parquet files
//! to the session's folder. Plans that still cannot be sent run in this process, with the same functions.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::dataframe::{DataFrame, DataFrameWriteOptions};
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{CreateMemoryTable, DdlStatement, EmptyRelation, LogicalPlan};
use datafusion_proto::logical_plan::AsLogicalPlan;
use datafusion_proto::protobuf::LogicalPlanNode;
use tempfile::TempDir;
use tusk_udfs::session::logical_codec;

use super::Session;
use crate::error::{Error, Result, Results};

/// The prefix of the names of sessions' folders.
const FOLDER_PREFIX: &str = "tusk-tables-";

/// Creates a folder for the tables of a session. It is removed when the returned value is dropped.
pub(super) fn session_folder(parent: Option<&Path>) -> std::io::Result<TempDir> {
    let mut folder = tempfile::Builder::new();
    folder.prefix(FOLDER_PREFIX);
    match parent {
        Some(parent) => std::fs::create_dir_all(parent).and_then(|()| folder.tempdir_in(parent)),
        None => folder.tempdir(),
    }
}

/// Returns the folders of sessions that remain from an earlier scheduler, for example if it was killed.
pub(crate) fn leftovers(parent: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(parent) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let is_ours = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with(FOLDER_PREFIX);
    entries.filter(|entry| entry.as_ref().map_or(true, is_ours)).map(|entry| Ok(entry?.path())).collect()
}

/// Runs a plan of DataFusion.
pub(super) async fn execute(context: &Session, plan: LogicalPlan) -> Result<Results> {
    match plan {
        LogicalPlan::Ddl(DdlStatement::CreateMemoryTable(create)) => create_table(context, create).await,
        LogicalPlan::Statement(_) => {
            // Statements such as SET apply to both sessions.
            context.distributed().execute_logical_plan(plan.clone()).await?;
            run(context.local().execute_logical_plan(plan).await?).await
        }
        LogicalPlan::Ddl(_) | LogicalPlan::Dml(_) => run(context.local().execute_logical_plan(plan).await?).await,
        query => run(context.data_frame(query)).await,
    }
}

async fn run(frame: DataFrame) -> Result<Results> {
    Ok(Results::new(frame.execute_stream().await?))
}

/// Returns whether a plan can be sent to the cluster and is worth sending: a plan that reads no table is not.
pub(super) fn can_travel(plan: &LogicalPlan) -> bool {
    let mut reads_table = false;
    let walked = plan.apply_with_subqueries(|node| {
        reads_table |= matches!(node, LogicalPlan::TableScan(_));
        Ok(if reads_table { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    let codec = logical_codec();
    walked.is_ok() && reads_table && LogicalPlanNode::try_from_logical_plan(plan, codec.as_ref()).is_ok()
}

async fn create_table(context: &Session, create: CreateMemoryTable) -> Result<Results> {
    let CreateMemoryTable { name, input, if_not_exists, or_replace, .. } = create;
    let session = context.local();
    let exists = session.table_exist(name.clone())?;
    match (exists, if_not_exists, or_replace) {
        (true, true, _) => return nothing(context).await,
        (true, false, false) => {
            let message = format!("table '{name}' exists; use CREATE OR REPLACE TABLE, or DROP TABLE {name}");
            return Err(tusk_core::Error::Data { message }.into());
        }
        (true, false, true) => drop(session.deregister_table(name.clone())?),
        (false, _, _) => {}
    }
    let table = materialize(context, &name.to_string(), input.as_ref().clone()).await?;
    session.register_table(name, table)?;
    nothing(context).await
}

/// Writes the rows of a plan to Parquet files in the session's folder and returns the table that reads them.
pub(super) async fn materialize(context: &Session, name: &str, plan: LogicalPlan) -> Result<Arc<ListingTable>> {
    let folder = tempfile::Builder::new()
        .prefix(&format!("{}-", name.replace(|c: char| !c.is_ascii_alphanumeric(), "_")))
        .tempdir_in(context.folder().map_err(io_error)?)
        .map_err(io_error)?
        .keep();
    let path = format!("{}/", folder.display());
    let schema = Arc::new(plan.schema().as_arrow().clone());
    if !matches!(plan, LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row: false, .. })) {
        let options = DataFrameWriteOptions::new();
        DataFrame::new(context.local().state(), plan).write_parquet(&path, options, None).await?;
    }
    let options = ListingOptions::new(Arc::new(ParquetFormat::default())).with_file_extension(".parquet");
    let config =
        ListingTableConfig::new(ListingTableUrl::parse(&path)?).with_listing_options(options).with_schema(schema);
    Ok(Arc::new(ListingTable::try_new(config)?))
}

async fn nothing(context: &Session) -> Result<Results> {
    let empty = LogicalPlan::EmptyRelation(EmptyRelation {
        produce_one_row: false,
        schema: Arc::new(datafusion::common::DFSchema::empty()),
    });
    run(DataFrame::new(context.local().state(), empty)).await
}

/// Converts an error of the file system.
pub(super) fn io_error(error: std::io::Error) -> Error {
    DataFusionError::IoError(error).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leftovers_are_the_folders_of_sessions_and_no_others() {
        let parent = tempfile::tempdir().unwrap();
        let left = session_folder(Some(parent.path())).unwrap().keep();
        std::fs::write(left.join("part-0.parquet"), "rows").unwrap();
        std::fs::create_dir(parent.path().join("my-tables")).unwrap();
        assert_eq!(leftovers(parent.path()).unwrap(), [left]);
        assert!(leftovers(&parent.path().join("not-there")).unwrap().is_empty());
    }
}
