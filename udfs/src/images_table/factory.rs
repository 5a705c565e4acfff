//! `CREATE EXTERNAL TABLE ... STORED AS IMAGES`.

use std::sync::Arc;

use datafusion::catalog::{Session, TableProvider, TableProviderFactory};
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::CreateExternalTable;
use futures::future::{BoxFuture, ready};

use super::ImagesTable;

/// Makes an [`ImagesTable`] of a `CREATE EXTERNAL TABLE` statement. Register it under
/// [`ImagesTableFactory::FILE_TYPE`].
#[derive(Clone, Copy, Debug, Default)]
pub struct ImagesTableFactory;

impl ImagesTableFactory {
    /// The word behind `STORED AS`.
    pub const FILE_TYPE: &'static str = "IMAGES";
}

impl TableProviderFactory for ImagesTableFactory {
    // As `async_trait` would write it, but for the block. A block that holds a statement makes the compiler decide for
    // seconds whether all of its types are `Send`.
    fn create<'life0, 'life1, 'life2, 'async_trait>(
        &'life0 self,
        _state: &'life1 dyn Session,
        cmd: &'life2 CreateExternalTable,
    ) -> BoxFuture<'async_trait, Result<Arc<dyn TableProvider>>>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        'life2: 'async_trait,
        Self: 'async_trait,
    {
        let table = ImagesTable::of_statement(cmd).map(|table| Arc::new(table) as Arc<dyn TableProvider>);
        Box::pin(ready(table))
    }
}

impl ImagesTable {
    fn of_statement(cmd: &CreateExternalTable) -> Result<Self> {
        let name = &cmd.name;
        let [location] = cmd.locations.as_slice() else {
            return plan_err!(
                "table {name} STORED AS IMAGES takes one folder, got {} locations. Create one table per folder, and a \
                 view that joins them with UNION ALL",
                cmd.locations.len()
            );
        };
        if !cmd.schema.fields().is_empty() {
            return plan_err!(
                "table {name} STORED AS IMAGES has fixed columns (path, image, label, width, height, format); remove \
                 the column list"
            );
        }
        if !cmd.table_partition_cols.is_empty() {
            return plan_err!(
                "table {name} STORED AS IMAGES does not support PARTITIONED BY; use the columns label (the folder's \
                 name) and path"
            );
        }
        if let Some(option) = cmd.options.keys().min() {
            return plan_err!("table {name} STORED AS IMAGES takes no options; remove '{option}'");
        }
        Self::try_new(location)
    }
}
