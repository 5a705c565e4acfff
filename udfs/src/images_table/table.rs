//! The table over a folder of images.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray, UInt64Array};
use datafusion::arrow::compute::and;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DFSchema, Result, exec_err, internal_err, plan_err};
use datafusion::datasource::listing::ListingTableUrl;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::object_store::ObjectMeta;
use datafusion::physical_plan::ExecutionPlan;
use futures::TryStreamExt;
use futures::future::BoxFuture;

use super::read_file::{label_of, relative_to};
use super::{ReadImagesExec, images_schema, listing_schema};

/// Rows per batch of the file list. A LIMIT reads at most this many extra names.
const LISTING_BATCH_ROWS: usize = 1024;

/// A folder of image files; see the [module](super) for its columns.
#[derive(Clone, Debug)]
pub struct ImagesTable {
    url: ListingTableUrl,
}

impl ImagesTable {
    /// Makes the table over a folder: a path (absolute, or below the working directory) or a URL
    /// (`s3://bucket/xrays/`).
    ///
    /// Nothing is opened or listed until a query is planned.
    ///
    /// # Errors
    /// Returns an error if the location cannot be parsed or is a pattern.
    pub fn try_new(location: impl AsRef<str>) -> Result<Self> {
        let location = location.as_ref();
        let url = parse_folder(location)?;
        Ok(Self { url })
    }

    /// Returns the folder as an absolute URL that ends in `/`, which [`ImagesTable::try_new`] accepts on any machine.
    pub fn location(&self) -> &str {
        self.url.as_str()
    }

    /// Lists all files below the location except hidden ones, sorted by path.
    async fn list(&self, state: &dyn Session) -> Result<Vec<ListedFile>> {
        let store = state.runtime_env().object_store(&self.url)?;
        let found: Vec<ObjectMeta> = store.list(Some(self.url.prefix())).try_collect().await?;
        if found.is_empty() {
            refuse_missing_folder(&self.url)?;
        }
        let mut files: Vec<ListedFile> = found
            .iter()
            .filter_map(|meta| {
                let path = relative_to(self.url.prefix(), &meta.location)?;
                let hidden = path.split('/').any(|part| part.starts_with('.'));
                (!hidden).then(|| ListedFile { path: path.to_owned(), size: meta.size })
            })
            .collect();
        files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    /// The listed files for which all conditions hold.
    fn matching(&self, state: &dyn Session, files: Vec<ListedFile>, filters: &[Expr]) -> Result<Vec<ListedFile>> {
        if filters.is_empty() || files.is_empty() {
            return Ok(files);
        }
        let schema = Arc::new(Schema::new(vec![
            Field::new("path", DataType::Utf8, false),
            Field::new("label", DataType::Utf8, true),
        ]));
        let paths: ArrayRef = Arc::new(StringArray::from_iter_values(files.iter().map(|file| &file.path)));
        let labels: ArrayRef =
            Arc::new(files.iter().map(|file| label_of(self.url.prefix(), &file.path)).collect::<StringArray>());
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![paths, labels])?;
        let named = DFSchema::try_from(schema)?;
        let mut keep = BooleanArray::from(vec![true; files.len()]);
        for filter in filters {
            let condition = state.create_physical_expr(filter.clone(), &named)?;
            let values = condition.evaluate(&batch)?.into_array(files.len())?;
            let Some(values) = values.as_boolean_opt() else {
                return internal_err!("filter {filter} is not boolean");
            };
            keep = and(&keep, values)?;
        }
        let kept = files.into_iter().zip(&keep).filter_map(|(file, keep)| (keep == Some(true)).then_some(file));
        Ok(kept.collect())
    }
}

/// A file of the table.
struct ListedFile {
    /// Relative to the location.
    path: String,
    /// In bytes.
    size: u64,
}

impl TableProvider for ImagesTable {
    fn schema(&self) -> SchemaRef {
        images_schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let listed = |filter: &&Expr| {
            let columns = filter.column_refs();
            !columns.is_empty()
                && columns.iter().all(|column| matches!(column.name.as_str(), "path" | "label"))
                && !filter.is_volatile()
        };
        let answer =
            |exact| if exact { TableProviderFilterPushDown::Exact } else { TableProviderFilterPushDown::Unsupported };
        Ok(filters.iter().map(|filter| answer(listed(filter))).collect())
    }

    // As `async_trait` would write it, but for the block: see `ImagesTableFactory`.
    fn scan<'life0, 'life1, 'life2, 'life3, 'async_trait>(
        &'life0 self,
        state: &'life1 dyn Session,
        projection: Option<&'life2 Vec<usize>>,
        filters: &'life3 [Expr],
        limit: Option<usize>,
    ) -> BoxFuture<'async_trait, Result<Arc<dyn ExecutionPlan>>>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        'life2: 'async_trait,
        'life3: 'async_trait,
        Self: 'async_trait,
    {
        self.scan_files(state, projection.cloned(), filters, limit)
    }
}

impl ImagesTable {
    fn scan_files<'a>(
        &'a self,
        state: &'a dyn Session,
        projection: Option<Vec<usize>>,
        filters: &'a [Expr],
        limit: Option<usize>,
    ) -> BoxFuture<'a, Result<Arc<dyn ExecutionPlan>>> {
        Box::pin(async move {
            let files = self.list(state).await?;
            let mut files = self.matching(state, files, filters)?;
            files.truncate(limit.unwrap_or(usize::MAX));
            let partitions = partitioned(&files, state.config().target_partitions())?;
            let input = MemorySourceConfig::try_new_exec(&partitions, listing_schema(), None)?;
            Ok(Arc::new(ReadImagesExec::try_new(self.location(), projection, input)?) as Arc<dyn ExecutionPlan>)
        })
    }
}

/// Splits the file list into partitions of about equal length, in order. Without files there is one empty partition.
fn partitioned(files: &[ListedFile], target_partitions: usize) -> Result<Vec<Vec<RecordBatch>>> {
    let length = files.len().div_ceil(target_partitions.max(1)).max(1);
    let batch = |files: &[ListedFile]| {
        let paths: ArrayRef = Arc::new(StringArray::from_iter_values(files.iter().map(|file| &file.path)));
        let sizes: ArrayRef = Arc::new(UInt64Array::from_iter_values(files.iter().map(|file| file.size)));
        Ok(RecordBatch::try_new(listing_schema(), vec![paths, sizes])?)
    };
    let mut partitions = files
        .chunks(length)
        .map(|part| part.chunks(LISTING_BATCH_ROWS).map(batch).collect())
        .collect::<Result<Vec<Vec<RecordBatch>>>>()?;
    if partitions.is_empty() {
        partitions.push(Vec::new());
    }
    Ok(partitions)
}

/// The URL of a folder, ending in `/`.
pub(super) fn parse_folder(location: &str) -> Result<ListingTableUrl> {
    if location.trim().is_empty() {
        return plan_err!("the LOCATION of a table STORED AS IMAGES is empty; give the folder that holds the images");
    }
    let mut folder = location.to_owned();
    if !folder.ends_with('/') {
        folder.push('/');
    }
    let url = ListingTableUrl::parse(&folder)?;
    if url.get_glob().is_some() {
        return plan_err!(
            "LOCATION '{location}' is a pattern; a table STORED AS IMAGES takes a folder. Use the folder and a \
             condition (WHERE path LIKE '...'). Write a folder whose name contains *, ? or [ as a file:/// URL"
        );
    }
    Ok(url)
}

/// An object store cannot tell an empty folder from a misspelt one. The local disk can.
fn refuse_missing_folder(url: &ListingTableUrl) -> Result<()> {
    if url.scheme() != "file" {
        return Ok(());
    }
    match url.get_url().to_file_path() {
        Ok(path) if path.is_dir() => Ok(()),
        Ok(path) if path.is_file() => {
            exec_err!("{} is a file; the LOCATION of a table STORED AS IMAGES is a folder", path.display())
        }
        Ok(path) => exec_err!(
            "the folder {} does not exist on the machine that plans the query; check the table's LOCATION (a relative \
             one starts at the working directory of the program that created the table)",
            path.display()
        ),
        Err(()) => exec_err!("{url} is not a local path; check the table's LOCATION"),
    }
}
