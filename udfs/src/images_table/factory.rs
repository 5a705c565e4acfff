//! `CREATE EXTERNAL TABLE ... STORED AS IMAGES`.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider, TableProviderFactory};
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::CreateExternalTable;

use super::ImagesTable;

/// Makes an [`ImagesTable`] of a `CREATE EXTERNAL TABLE` statement. Register it under
/// [`ImagesTableFactory::FILE_TYPE`].
#[derive(Clone, Copy, Debug, Default)]
pub struct ImagesTableFactory;

impl ImagesTableFactory {
    /// The word behind `STORED AS`.
    pub const FILE_TYPE: &'static str = "IMAGES";
}

#[async_trait]
impl TableProviderFactory for ImagesTableFactory {
    async fn create(&self, _state: &dyn Session, cmd: &CreateExternalTable) -> Result<Arc<dyn TableProvider>> {
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
        Ok(Arc::new(ImagesTable::try_new(location)?))
    }
}
