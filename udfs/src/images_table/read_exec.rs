//! The operator that turns file names into image rows.
//!
//! Ballista restricts the scans and in-memory tables of a stage to the partitions of a task, and does not change other
//! operators. A leaf operator would make every task read every file. The file names are therefore data: the child is an
//! in-memory table of file names, and each task reads the files of its partitions.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::array::{
    ArrayRef, AsArray, BinaryBuilder, Int32Array, RecordBatch, RecordBatchOptions, StringArray,
};
use datafusion::arrow::datatypes::{SchemaRef, UInt64Type};
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result, Statistics, internal_err, plan_err, project_schema};
use datafusion::datasource::listing::ListingTableUrl;
use datafusion::execution::TaskContext;
use datafusion::object_store::ObjectStore;
use datafusion::object_store::path::Path;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, CardinalityEffect, EmissionType};
use datafusion::physical_plan::metrics::{BaselineMetrics, Count, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::statistics::{ChildStats, StatisticsArgs};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning, PlanProperties,
    SendableRecordBatchStream,
};
use futures::stream::{self, Stream, StreamExt, TryStreamExt};

use super::read_file::{ImageRow, Wanted, label_of, read_file};
use super::table::parse_folder;
use super::{images_schema, listing_schema};

/// Files of a partition that are read at the same time.
const CONCURRENT_READS: usize = 8;
/// Maximum rows of a batch with file contents.
const BATCH_ROWS: usize = 32;
/// Maximum bytes of images in a batch with several rows.
const BATCH_BYTES: usize = 16 * 1024 * 1024;

/// Reads the files listed by its child.
#[derive(Clone, Debug)]
pub struct ReadImagesExec {
    folder: ListingTableUrl,
    projection: Option<Vec<usize>>,
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl ReadImagesExec {
    /// Makes the operator over a list of files below the folder `url`.
    ///
    /// `input` gives `path` (Utf8, below the folder) and `size` (UInt64, bytes), both never NULL. `projection` holds
    /// indices into the [columns of a table of images](super::images_schema); `None` is all of them.
    ///
    /// # Errors
    /// Returns an error if the URL is not that of a folder, an index is out of bounds, or the input has other columns.
    pub fn try_new(
        url: impl AsRef<str>,
        projection: Option<Vec<usize>>,
        input: Arc<dyn ExecutionPlan>,
    ) -> Result<Self> {
        let columns = images_schema().fields().len();
        if let Some(index) = projection.iter().flatten().find(|index| **index >= columns) {
            return internal_err!("ReadImagesExec: column index {index} is out of range; there are {columns} columns");
        }
        if input.schema().fields() != listing_schema().fields() {
            return internal_err!(
                "ReadImagesExec expects a list of files (path, size) as input, got {}",
                input.schema()
            );
        }
        let schema = project_schema(&images_schema(), projection.as_ref())?;
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(input.output_partitioning().partition_count()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        ));
        let folder = parse_folder(url.as_ref())?;
        Ok(Self { folder, projection, input, properties, metrics: ExecutionPlanMetricsSet::new() })
    }

    /// The folder as a URL that ends in `/`.
    pub fn url(&self) -> &str {
        self.folder.as_str()
    }

    /// Indices into the columns of a table of images; `None` is all of them.
    pub fn projection(&self) -> Option<&[usize]> {
        self.projection.as_deref()
    }

    /// The list of files.
    pub fn input(&self) -> &Arc<dyn ExecutionPlan> {
        &self.input
    }

    /// How much of a file the projected columns need.
    fn wanted(&self) -> Wanted {
        let needs = |name: &str| self.schema().column_with_name(name).is_some();
        if needs("image") {
            Wanted::Bytes
        } else if ["width", "height", "format"].into_iter().any(needs) {
            Wanted::Header
        } else {
            Wanted::Name
        }
    }
}

impl DisplayAs for ReadImagesExec {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let schema = self.schema();
        let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        write!(f, "ReadImagesExec: url={}, columns=[{}]", self.url(), columns.join(", "))
    }
}

impl ExecutionPlan for ReadImagesExec {
    fn name(&self) -> &'static str {
        "ReadImagesExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    /// The order of rows is kept, but the order of the list is not on these columns.
    fn maintains_input_order(&self) -> Vec<bool> {
        vec![false]
    }

    /// The list is already partitioned. A repartition below would hide it from the scheduler.
    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let [input] = children.as_slice() else {
            return internal_err!("ReadImagesExec has one child, not {}", children.len());
        };
        Ok(Arc::new(Self::try_new(self.url(), self.projection.clone(), Arc::clone(input))?))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let files = self.input.execute(partition, Arc::clone(&context))?;
        let reader = Reader {
            store: context.runtime_env().object_store(&self.folder)?,
            folder: self.folder.prefix().clone(),
            schema: self.schema(),
            wanted: self.wanted(),
            bytes_read: MetricBuilder::new(&self.metrics).counter("bytes_read", partition),
        };
        // Without file contents, rows are small.
        let rows_max = match reader.wanted {
            Wanted::Name => context.session_config().batch_size(),
            _ => BATCH_ROWS.min(context.session_config().batch_size()),
        };
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let schema = self.schema();
        let batches = image_batches(files, reader, rows_max.max(1)).inspect_ok(move |batch| {
            metrics.record_output(batch.num_rows());
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        vec![ChildStats::At(partition)]
    }

    fn statistics_from_inputs(&self, input: &[Arc<Statistics>], _args: &StatisticsArgs) -> Result<Arc<Statistics>> {
        let num_rows = input.first().map_or(Precision::Absent, |files| files.num_rows);
        Ok(Arc::new(Statistics { num_rows, ..Statistics::new_unknown(&self.schema()) }))
    }

    fn supports_limit_pushdown(&self) -> bool {
        true
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::Equal
    }
}

/// Reads the rows of a partition.
struct Reader {
    store: Arc<dyn ObjectStore>,
    folder: Path,
    schema: SchemaRef,
    wanted: Wanted,
    bytes_read: Count,
}

impl Reader {
    /// Builds a batch with the projected columns.
    fn batch(&self, rows: &[ImageRow]) -> Result<RecordBatch> {
        let side = |value: u32| i32::try_from(value).ok();
        let columns = self
            .schema
            .fields()
            .iter()
            .map(|field| {
                let column: ArrayRef = match field.name().as_str() {
                    "path" => Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.path))),
                    "image" => {
                        let bytes = rows.iter().flat_map(|row| &row.image).map(Bytes::len).sum();
                        let mut builder = BinaryBuilder::with_capacity(rows.len(), bytes);
                        rows.iter().for_each(|row| builder.append_option(row.image.as_ref()));
                        Arc::new(builder.finish())
                    }
                    "label" => {
                        Arc::new(rows.iter().map(|row| label_of(&self.folder, &row.path)).collect::<StringArray>())
                    }
                    "width" => Arc::new(
                        rows.iter().map(|row| row.info.and_then(|info| side(info.width))).collect::<Int32Array>(),
                    ),
                    "height" => Arc::new(
                        rows.iter().map(|row| row.info.and_then(|info| side(info.height))).collect::<Int32Array>(),
                    ),
                    "format" => {
                        Arc::new(rows.iter().map(|row| row.info.map(|info| info.format)).collect::<StringArray>())
                    }
                    other => return plan_err!("unknown column {other} of a table of images"),
                };
                Ok(column)
            })
            .collect::<Result<Vec<_>>>()?;
        // count(*) reads no columns but needs the number of rows.
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}

/// Reads the listed files, a few at the same time, in order.
fn image_rows(files: SendableRecordBatchStream, reader: Arc<Reader>) -> impl Stream<Item = Result<ImageRow>> + Send {
    files
        .map(|batch| Ok::<_, DataFusionError>(stream::iter(listed(&batch?)?.into_iter().map(Ok))))
        .try_flatten()
        .map(move |file: Result<(String, u64)>| {
            let reader = Arc::clone(&reader);
            async move {
                let (path, size) = file?;
                let row = read_file(reader.store.as_ref(), &reader.folder, path, size, reader.wanted).await?;
                reader.bytes_read.add(row.bytes_read);
                Ok(row)
            }
        })
        .buffered(CONCURRENT_READS)
}

/// The rows in batches of at most `rows_max` rows and [`BATCH_BYTES`].
fn image_batches(
    files: SendableRecordBatchStream,
    reader: Reader,
    rows_max: usize,
) -> impl Stream<Item = Result<RecordBatch>> + Send {
    let reader = Arc::new(reader);
    let rows = Box::pin(image_rows(files, Arc::clone(&reader)));
    // `held` is the row that did not fit into the previous batch.
    stream::try_unfold((rows, None), move |(mut rows, mut held)| {
        let reader = Arc::clone(&reader);
        async move {
            let (mut batch, mut bytes): (Vec<ImageRow>, usize) = (Vec::new(), 0);
            while batch.len() < rows_max {
                let next = match held.take() {
                    Some(row) => Some(row),
                    None => rows.try_next().await?,
                };
                let Some(row) = next else { break };
                let length = row.image.as_ref().map_or(0, Bytes::len);
                if !batch.is_empty() && bytes + length > BATCH_BYTES {
                    held = Some(row);
                    break;
                }
                bytes += length;
                batch.push(row);
            }
            if batch.is_empty() {
                return Ok(None);
            }
            Ok(Some((reader.batch(&batch)?, (rows, held))))
        }
    })
}

/// Returns the files in a batch of the list.
fn listed(batch: &RecordBatch) -> Result<Vec<(String, u64)>> {
    let [paths, sizes] = batch.columns() else {
        return internal_err!("a list of files has the columns path and size, not {}", batch.schema());
    };
    let (Some(paths), Some(sizes)) = (paths.as_string_opt::<i32>(), sizes.as_primitive_opt::<UInt64Type>()) else {
        return internal_err!("a list of files has the columns path and size, not {}", batch.schema());
    };
    Ok(paths.iter().flatten().map(str::to_owned).zip(sizes.values().iter().copied()).collect())
}
