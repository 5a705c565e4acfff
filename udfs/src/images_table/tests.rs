use std::fs;
use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, collect, collect_partitioned, displayable};
use datafusion::prelude::{SessionConfig, SessionContext};
use tempfile::TempDir;

use super::{IMAGE_BYTES_MAX, ImagesTable, ImagesTableFactory, ReadImagesExec};
use tusk_pixels::{Channels, Pixels, encode};

fn png(width: u32, height: u32) -> Vec<u8> {
    let data = vec![128; (width * height) as usize];
    encode(&Pixels::new(width, height, Channels::Grey, data).unwrap(), "png", 90).unwrap()
}

fn write(dir: &Path, name: &str, bytes: &[u8]) {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Two images, a text file, a broken image, and what archives and file managers leave behind.
fn tree() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "NORMAL/a.png", &png(30, 20));
    write(dir.path(), "PNEUMONIA/deep/b #1%20.jpeg", &png(7, 9));
    write(dir.path(), "PNEUMONIA/broken.png", &png(30, 20)[..12]);
    write(dir.path(), "notes.txt", b"two of them are blurred");
    write(dir.path(), ".DS_Store", b"x");
    write(dir.path(), "NORMAL/._a.png", b"x");
    write(dir.path(), ".thumbnails/a.png", &png(1, 1));
    dir
}

async fn context(dir: &Path, partitions: usize) -> SessionContext {
    let config = SessionConfig::new().with_target_partitions(partitions);
    let state = SessionStateBuilder::new()
        .with_default_features()
        .with_config(config)
        .with_table_factory(ImagesTableFactory::FILE_TYPE.to_owned(), Arc::new(ImagesTableFactory))
        .build();
    let context = SessionContext::new_with_state(state);
    let sql = format!("CREATE EXTERNAL TABLE xrays STORED AS IMAGES LOCATION '{}'", dir.display());
    context.sql(&sql).await.unwrap().collect().await.unwrap();
    context
}

async fn rows(context: &SessionContext, sql: &str) -> Vec<RecordBatch> {
    context.sql(sql).await.unwrap().collect().await.unwrap()
}

async fn text(context: &SessionContext, sql: &str) -> String {
    pretty_format_batches(&rows(context, sql).await).unwrap().to_string()
}

async fn plan(context: &SessionContext, sql: &str) -> Arc<dyn ExecutionPlan> {
    context.sql(sql).await.unwrap().create_physical_plan().await.unwrap()
}

fn find(plan: &Arc<dyn ExecutionPlan>) -> &ReadImagesExec {
    plan.downcast_ref::<ReadImagesExec>().unwrap_or_else(|| find(plan.children()[0]))
}

#[tokio::test]
async fn every_visible_file_is_a_row_labelled_by_its_folder_and_non_images_have_no_format() {
    let dir = tree();
    let context = context(dir.path(), 3).await;
    let found = text(
        &context,
        "SELECT path, image IS NOT NULL AS bytes, label, width, height, format FROM xrays ORDER BY path",
    )
    .await;
    let root = dir.path().file_name().unwrap().to_str().unwrap().to_owned();
    let lines: Vec<Vec<&str>> =
        found.lines().skip(3).map(|line| line.split('|').map(str::trim).collect()).take(4).collect();
    assert_eq!(lines[0], ["", "NORMAL/a.png", "true", "NORMAL", "30", "20", "png", ""]);
    assert_eq!(lines[1], ["", "PNEUMONIA/broken.png", "true", "PNEUMONIA", "", "", "", ""]);
    assert_eq!(lines[2], ["", "PNEUMONIA/deep/b #1%20.jpeg", "true", "deep", "7", "9", "png", ""]);
    assert_eq!(lines[3], ["", "notes.txt", "true", root.as_str(), "", "", "", ""]);
    assert_eq!(found.lines().count(), 4 + 4, "{found}");
}

#[tokio::test]
async fn the_image_column_holds_the_files_bytes() {
    let dir = tree();
    let context = context(dir.path(), 2).await;
    let found = rows(&context, "SELECT image FROM xrays WHERE path = 'NORMAL/a.png'").await;
    assert_eq!(found[0].column(0).as_binary::<i32>().value(0), png(30, 20));
}

#[tokio::test]
async fn names_and_labels_are_read_without_opening_files() {
    let dir = tree();
    let context = context(dir.path(), 2).await;
    let names = plan(&context, "SELECT label, path FROM xrays").await;
    let images = plan(&context, "SELECT image FROM xrays").await;
    fs::remove_dir_all(dir.path().join("PNEUMONIA")).unwrap();
    let batches = collect(names, context.task_ctx()).await.unwrap();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 4);
    let error = collect(images, context.task_ctx()).await.unwrap_err().to_string();
    assert!(error.contains("PNEUMONIA/") && error.contains(", which was listed; if files were moved"), "{error}");
}

#[tokio::test]
async fn count_opens_no_files() {
    let dir = tree();
    let context = context(dir.path(), 2).await;
    let counted = plan(&context, "SELECT count(*) FROM xrays").await;
    fs::remove_dir_all(dir.path().join("PNEUMONIA")).unwrap();
    let batches = collect(counted, context.task_ctx()).await.unwrap();
    assert_eq!(batches[0].column(0).as_primitive::<datafusion::arrow::datatypes::Int64Type>().value(0), 4);
}

#[tokio::test]
async fn the_work_is_an_in_memory_list_with_a_part_of_the_files_in_each_partition() {
    let dir = tree();
    let context = context(dir.path(), 2).await;
    let scan = plan(&context, "SELECT path, image FROM xrays").await;
    let shown = displayable(scan.as_ref()).indent(false).to_string();
    let url = ImagesTable::try_new(dir.path().to_str().unwrap()).unwrap().location().to_owned();
    assert_eq!(
        shown,
        format!(
            "ReadImagesExec: url={url}, columns=[path, image]\n  DataSourceExec: partitions=2, partition_sizes=[1, 1]\n"
        )
    );
    assert_eq!(scan.output_partitioning().partition_count(), 2);
}

#[tokio::test]
async fn an_operator_rebuilt_from_its_parts_gives_the_same_rows() {
    let dir = tree();
    let context = context(dir.path(), 2).await;
    let scan = plan(&context, "SELECT path, format FROM xrays").await;
    let exec = find(&scan);
    let again = ReadImagesExec::try_new(exec.url(), exec.projection().map(<[usize]>::to_vec), Arc::clone(exec.input()))
        .unwrap();
    assert_eq!(exec.projection(), Some([0, 5].as_slice()));
    let expected = collect_partitioned(Arc::clone(&scan), context.task_ctx()).await.unwrap();
    assert_eq!(collect_partitioned(Arc::new(again), context.task_ctx()).await.unwrap(), expected);
}

#[tokio::test]
async fn conditions_on_path_and_label_drop_files_before_they_are_opened() {
    let dir = tree();
    let context = context(dir.path(), 2).await;
    let sql = "SELECT image FROM xrays WHERE label = 'NORMAL' OR path LIKE '%.txt'";
    let scan = plan(&context, sql).await;
    fs::remove_dir_all(dir.path().join("PNEUMONIA")).unwrap();
    let batches = collect(scan, context.task_ctx()).await.unwrap();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 2);
}

#[tokio::test]
async fn conditions_on_other_columns_hold_too() {
    let dir = tree();
    let context = context(dir.path(), 2).await;
    let sql = "SELECT path FROM xrays WHERE width > 10 AND label <> 'PNEUMONIA' AND random() < 2.0";
    let found = rows(&context, sql).await;
    assert_eq!(found[0].column(0).as_string::<i32>().value(0), "NORMAL/a.png");
    assert_eq!(found.iter().map(RecordBatch::num_rows).sum::<usize>(), 1);
}

#[tokio::test]
async fn a_limit_shortens_the_list() {
    let dir = tree();
    let context = context(dir.path(), 2).await;
    let scan = plan(&context, "SELECT image FROM xrays LIMIT 1").await;
    fs::remove_dir_all(dir.path().join("PNEUMONIA")).unwrap();
    fs::remove_file(dir.path().join("notes.txt")).unwrap();
    let batches = collect(scan, context.task_ctx()).await.unwrap();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 1);
}

#[tokio::test]
async fn batches_with_images_have_at_most_32_rows_and_keep_the_order() {
    let dir = tempfile::tempdir().unwrap();
    for number in 0..70 {
        write(dir.path(), &format!("N/{number:02}.png"), &png(3, 3));
    }
    let context = context(dir.path(), 1).await;
    let found = rows(&context, "SELECT path, image FROM xrays").await;
    assert_eq!(found.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [32, 32, 6]);
    let paths: Vec<String> =
        found.iter().flat_map(|b| b.column(0).as_string::<i32>().iter().flatten().map(str::to_owned)).collect();
    assert!(paths.is_sorted() && paths.len() == 70, "{paths:?}");
}

#[tokio::test]
async fn batches_end_before_16_megabytes() {
    let dir = tempfile::tempdir().unwrap();
    for number in 0..5 {
        write(dir.path(), &format!("N/{number}.raw"), &vec![7; 7 * 1024 * 1024]);
    }
    let context = context(dir.path(), 1).await;
    let found = rows(&context, "SELECT image FROM xrays").await;
    assert_eq!(found.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [2, 2, 1]);
}

#[tokio::test]
async fn a_file_too_large_for_an_image_is_a_row_without_one() {
    let dir = tempfile::tempdir().unwrap();
    let file = fs::File::create(dir.path().join("huge.zip")).unwrap();
    file.set_len(IMAGE_BYTES_MAX + 1).unwrap();
    let context = context(dir.path(), 1).await;
    let found = rows(&context, "SELECT image, format FROM xrays").await;
    assert_eq!((found[0].num_rows(), found[0].column(0).null_count(), found[0].column(1).null_count()), (1, 1, 1));
}

#[tokio::test]
async fn sizes_alone_are_read_from_the_head_of_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut large = png(300, 200);
    large.resize(1024 * 1024, 0);
    write(dir.path(), "N/large.png", &large);
    let context = context(dir.path(), 1).await;
    let scan = plan(&context, "SELECT width, height FROM xrays").await;
    let batches = collect(Arc::clone(&scan), context.task_ctx()).await.unwrap();
    assert!(pretty_format_batches(&batches).unwrap().to_string().contains("| 300   | 200    |"));
    let read = find(&scan).metrics().unwrap().sum_by_name("bytes_read").unwrap().as_usize();
    assert_eq!(read, 64 * 1024);
}

#[tokio::test]
async fn an_empty_folder_is_an_empty_table_and_a_missing_one_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let context = context(dir.path(), 4).await;
    assert_eq!(rows(&context, "SELECT image FROM xrays").await.iter().map(RecordBatch::num_rows).sum::<usize>(), 0);
    dir.close().unwrap();
    let error = context.sql("SELECT path FROM xrays").await.unwrap().collect().await.unwrap_err().to_string();
    assert!(error.contains("does not exist") && error.contains("check the table's LOCATION"), "{error}");
}

#[tokio::test]
async fn files_that_arrive_later_are_seen_by_the_next_query() {
    let dir = tree();
    let context = context(dir.path(), 2).await;
    assert!(text(&context, "SELECT count(*) FROM xrays").await.contains("| 4 "));
    write(dir.path(), "NORMAL/new.png", &png(2, 2));
    assert!(text(&context, "SELECT count(*) FROM xrays").await.contains("| 5 "));
}

#[tokio::test]
async fn unsupported_statements_for_a_table_of_images_are_refused_with_advice() {
    let dir = tree();
    let context = context(dir.path(), 2).await;
    for (sql, advice) in [
        ("CREATE EXTERNAL TABLE t (a INT) STORED AS IMAGES LOCATION 'x/'", "remove the column list"),
        ("CREATE EXTERNAL TABLE t STORED AS IMAGES LOCATION 'x/' OPTIONS ('a.b' 'c')", "remove 'a.b'"),
        ("CREATE EXTERNAL TABLE t STORED AS IMAGES LOCATION 'x/*.jpeg'", "Use the folder and a condition"),
        ("CREATE EXTERNAL TABLE t STORED AS IMAGES LOCATION ''", "give the folder"),
    ] {
        let error = match context.sql(sql).await {
            Ok(frame) => frame.collect().await.unwrap_err().to_string(),
            Err(error) => error.to_string(),
        };
        assert!(error.contains(advice), "{sql}: {error}");
    }
}

#[tokio::test]
async fn a_location_is_encoded_as_an_absolute_url() {
    let table = ImagesTable::try_new("some/folder").unwrap();
    assert!(table.location().starts_with("file:///") && table.location().ends_with("/some/folder/"));
    assert_eq!(ImagesTable::try_new(table.location()).unwrap().location(), table.location());
}

#[tokio::test]
async fn an_operator_over_another_input_or_a_column_that_does_not_exist_is_refused() {
    let dir = tree();
    let context = context(dir.path(), 2).await;
    let scan = plan(&context, "SELECT path FROM xrays").await;
    let input = find(&scan).input();
    assert!(ReadImagesExec::try_new("/tmp/", Some(vec![6]), Arc::clone(input)).is_err());
    assert!(ReadImagesExec::try_new("/tmp/", None, scan).is_err());
}
