//! `CREATE EXTERNAL TABLE ... STORED AS IMAGES`.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider, TableProviderFactory};
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::CreateExternalTable;

use super::ImagesTable;

/// Makes an [`ImagesTable`] of a `CREATE EXTERNAL TABLE` statement. Register it under [`ImagesTableFactory::FILE_TYPE`].
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
                "table {name} STORED AS IMAGES has {} locations; it takes one folder. Make a table of each, and a view \
                 that joins them with UNION ALL",
                cmd.locations.len()
            );
        };
        if !cmd.schema.fields().is_empty() {
            return plan_err!(
                "table {name} STORED AS IMAGES has the columns path, image, label, width, height and format; leave the \
                 list of columns out"
            );
        }
        if !cmd.table_partition_cols.is_empty() {
            return plan_err!(
                "table {name} STORED AS IMAGES cannot be PARTITIONED BY; the column label is the folder's name, and \
                 path holds the others"
            );
        }
        if let Some(option) = cmd.options.keys().min() {
            return plan_err!("table {name} STORED AS IMAGES takes no options, but there is '{option}'; leave it out");
        }
        Ok(Arc::new(ImagesTable::try_new(location)?))
    }
}
