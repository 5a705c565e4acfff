use std::fs;
use std::path::Path;

use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::Int32Type;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use datafusion::parquet::basic::Compression;
use datafusion::parquet::file::metadata::ParquetMetaData;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use tempfile::TempDir;

use super::*;

fn png(width: u32, height: u32, level: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    let pixels = vec![level; (width * height) as usize];
    PngEncoder::new(&mut bytes).write_image(&pixels, width, height, ExtendedColorType::L8).unwrap();
    bytes
}

fn write(dir: &Path, name: &str, bytes: &[u8]) {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Six images of two classes, one of them under both labels; a text file; a broken image; hidden files.
fn tree() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "NORMAL/IM-0115-0001.jpeg", &png(4, 3, 1));
    write(dir.path(), "NORMAL/IM-0115-0002.jpeg", &png(5, 3, 2));
    write(dir.path(), "NORMAL/person7_virus_1.jpeg", &png(6, 3, 3));
    write(dir.path(), "PNEUMONIA/person7_virus_2.png", &png(6, 3, 3));
    write(dir.path(), "PNEUMONIA/late/person8_bacteria_3.dat", &png(8, 3, 5));
    write(dir.path(), "top.png", &png(9, 3, 6));
    write(dir.path(), "PNEUMONIA/notes.txt", b"two are blurred");
    write(dir.path(), "PNEUMONIA/cut.png", &png(9, 3, 7)[..20]);
    write(dir.path(), "PNEUMONIA/._cut.png", b"x");
    write(dir.path(), ".cache/a.png", &png(1, 1, 1));
    dir
}

fn options(dir: &TempDir, out: &Path) -> IngestOptions {
    IngestOptions { group_regex: Some(Regex::new(r"(person\d+)_").unwrap()), ..IngestOptions::new([dir.path()], out) }
}

fn run(options: &IngestOptions) -> Result<IngestSummary, IngestError> {
    ingest(options, &mut |_| {})
}

fn read(path: &Path) -> (RecordBatch, ParquetMetaData) {
    let builder = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(path).unwrap()).unwrap();
    let (schema, metadata) = (Arc::clone(builder.schema()), builder.metadata().as_ref().clone());
    let batches: Vec<RecordBatch> = builder.build().unwrap().map(Result::unwrap).collect();
    (concat_batches(&schema, &batches).unwrap(), metadata)
}

/// Path, label, group, width, height and format of each row, sorted by path.
fn rows(batch: &RecordBatch) -> Vec<(String, String, Option<String>, i32, i32, String)> {
    let text = |name: &str, row: usize| {
        let column = batch.column_by_name(name).unwrap().as_string::<i32>();
        column.is_valid(row).then(|| column.value(row).to_owned())
    };
    let number = |name: &str, row: usize| batch.column_by_name(name).unwrap().as_primitive::<Int32Type>().value(row);
    let mut rows: Vec<_> = (0..batch.num_rows())
        .map(|row| {
            (
                text("path", row).unwrap(),
                text("label", row).unwrap(),
                text("group", row),
                number("width", row),
                number("height", row),
                text("format", row).unwrap(),
            )
        })
        .collect();
    rows.sort();
    rows
}

fn entries(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_tree_becomes_rows_with_label_group_size_and_format() {
    let (dir, target) = (tree(), tempfile::tempdir().unwrap());
    let out = target.path().join("xrays.parquet");
    run(&options(&dir, &out)).unwrap();
    let (batch, _) = read(&out);
    let names: Vec<&str> = batch.schema_ref().fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["path", "image", "label", "group", "width", "height", "format"]);
    let row = |path: &str, label: &str, group: Option<&str>, width| {
        (path.to_owned(), label.to_owned(), group.map(str::to_owned), width, 3, "png".to_owned())
    };
    let root = dir.path().file_name().unwrap().to_str().unwrap();
    assert_eq!(
        rows(&batch),
        [
            row("NORMAL/IM-0115-0001.jpeg", "NORMAL", None, 4),
            row("NORMAL/IM-0115-0002.jpeg", "NORMAL", None, 5),
            row("NORMAL/person7_virus_1.jpeg", "NORMAL", Some("person7"), 6),
            row("PNEUMONIA/late/person8_bacteria_3.dat", "late", Some("person8"), 8),
            row("PNEUMONIA/person7_virus_2.png", "PNEUMONIA", Some("person7"), 6),
            row("top.png", root, None, 9),
        ]
    );
    let paths = batch.column_by_name("path").unwrap().as_string::<i32>();
    let place = paths.iter().position(|path| path == Some("top.png")).unwrap();
    assert_eq!(batch.column_by_name("image").unwrap().as_binary::<i32>().value(place), png(9, 3, 6));
}

#[test]
fn the_summary_counts_rows_and_lists_refused_files() {
    let (dir, target) = (tree(), tempfile::tempdir().unwrap());
    let summary = run(&options(&dir, &target.path().join("x.parquet"))).unwrap();
    assert_eq!((summary.rows, summary.groups, summary.unmatched_groups), (6, 2, 3));
    assert_eq!((summary.duplicates, summary.conflicting_duplicates), (1, 1));
    assert_eq!((summary.classes["NORMAL"], summary.classes["PNEUMONIA"], summary.classes["late"]), (3, 1, 1));
    assert_eq!(summary.file_bytes, fs::metadata(&summary.out).unwrap().len());
    let mut refused: Vec<_> = summary.refused.iter().map(|r| r.path.as_str()).collect();
    refused.sort_unstable();
    assert_eq!((refused, summary.refused_count), (vec!["PNEUMONIA/cut.png", "PNEUMONIA/notes.txt"], 2));
    let reason = &summary.refused.iter().find(|r| r.path.ends_with("notes.txt")).unwrap().reason;
    assert!(reason.contains("unsupported image format"), "{reason}");
}

#[test]
fn a_regex_without_a_capture_group_gives_its_whole_match() {
    let (dir, target) = (tree(), tempfile::tempdir().unwrap());
    let out = target.path().join("x.parquet");
    let group_regex = Some(Regex::new(r"person\d+|IM-\d+").unwrap());
    let summary = run(&IngestOptions { group_regex, ..options(&dir, &out) }).unwrap();
    assert_eq!((summary.groups, summary.unmatched_groups), (3, 1));
    let found = rows(&read(&out).0);
    assert_eq!((found[0].2.as_deref(), found[2].2.as_deref()), (Some("IM-0115"), Some("person7")));
}

#[test]
fn the_seed_decides_the_bytes_and_the_order() {
    let (dir, target) = (tree(), tempfile::tempdir().unwrap());
    let bytes = |name: &str, seed| {
        let out = target.path().join(name);
        run(&IngestOptions { seed, ..options(&dir, &out) }).unwrap();
        (fs::read(&out).unwrap(), rows(&read(&out).0))
    };
    let (first, again, other) = (bytes("a", 42), bytes("b", 42), bytes("c", 43));
    assert!(first.0 == again.0, "two files of the same seed differ");
    assert!(first.0 != other.0, "another seed gives the same order");
    assert_eq!(first.1, other.1);
}

#[test]
fn classes_are_mixed_in_the_output() {
    let (dir, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for number in 0..100 {
        write(dir.path(), &format!("{}/{number:03}.png", if number < 50 { "A" } else { "B" }), &png(2, 2, number));
    }
    let out = target.path().join("x.parquet");
    run(&IngestOptions::new([dir.path()], &out)).unwrap();
    let (batch, _) = read(&out);
    let labels = batch.column_by_name("label").unwrap().as_string::<i32>();
    let first_half = (0..50).filter(|row| labels.value(*row) == "A").count();
    assert!((15..=35).contains(&first_half), "{first_half} of the first 50 rows are of class A");
    assert_eq!(batch.column_by_name("group").unwrap().null_count(), 100);
}

#[test]
fn row_groups_end_at_their_size_and_images_are_stored_unchanged() {
    let (dir, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for number in 0..10 {
        let mut image = png(2, 2, number);
        image.resize(100_000, number);
        write(dir.path(), &format!("A/{number}.png"), &image);
    }
    let out = target.path().join("x.parquet");
    run(&IngestOptions { row_group_bytes: 300_000, ..IngestOptions::new([dir.path()], &out) }).unwrap();
    let (_, metadata) = read(&out);
    assert_eq!(metadata.row_groups().iter().map(|group| group.num_rows()).collect::<Vec<_>>(), [3, 3, 3, 1]);
    let image = metadata.row_group(0).column(1);
    assert_eq!(image.compression(), Compression::UNCOMPRESSED);
    assert!(image.statistics().is_none() && image.dictionary_page_offset().is_none());
    assert_eq!(metadata.row_group(0).column(2).compression(), Compression::SNAPPY);
    assert!(metadata.row_group(0).column(2).dictionary_page_offset().is_some());
}

#[test]
fn a_failed_ingest_keeps_the_existing_output_and_leaves_no_file_behind() {
    let (empty, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(empty.path(), "A/readme.txt", b"no image");
    let out = target.path().join("x.parquet");
    fs::write(&out, "what was there").unwrap();
    let error = run(&IngestOptions::new([empty.path()], &out)).unwrap_err();
    assert!(matches!(error, IngestError::NoImages { files: 1, .. }), "{error}");
    assert!(error.to_string().contains("for example A/readme.txt: unsupported image format"), "{error}");
    assert_eq!(fs::read_to_string(&out).unwrap(), "what was there");
    assert_eq!(entries(target.path()), ["x.parquet"]);
}

#[test]
fn an_existing_output_is_replaced_and_not_ingested() {
    let dir = tree();
    let out = dir.path().join("x.parquet");
    fs::write(&out, "what was there").unwrap();
    let summary = run(&options(&dir, &out)).unwrap();
    assert_eq!((summary.rows, summary.refused_count), (6, 2));
    assert_eq!(read(&out).0.num_rows(), 6);
    assert_eq!(entries(dir.path()), [".cache", "NORMAL", "PNEUMONIA", "top.png", "x.parquet"]);
}

#[test]
fn a_missing_folder_and_an_output_that_cannot_be_written_are_errors_with_advice() {
    let (dir, target) = (tree(), tempfile::tempdir().unwrap());
    let out = target.path().join("x.parquet");
    let missing = run(&IngestOptions::new([dir.path().join("typo")], &out)).unwrap_err();
    assert!(matches!(missing, IngestError::Dir { .. }) && missing.to_string().contains("Check its spelling"));
    let nowhere = run(&options(&dir, &target.path().join("no/such/x.parquet"))).unwrap_err();
    assert!(nowhere.to_string().contains("Check that its folder exists"), "{nowhere}");
    let folder = run(&options(&dir, target.path())).unwrap_err();
    assert!(folder.to_string().contains("is a folder; give a file name"), "{folder}");
    let none: [&Path; 0] = [];
    assert!(matches!(run(&IngestOptions::new(none, &out)), Err(IngestError::NoDirs)));
    assert_eq!(entries(target.path()), [""; 0]);
}

#[test]
fn all_refused_files_are_counted_and_the_first_100_are_listed() {
    let (dir, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(dir.path(), "A/a.png", &png(2, 2, 1));
    for number in 0..120 {
        write(dir.path(), &format!("A/{number}.txt"), b"no image");
    }
    let summary = run(&IngestOptions::new([dir.path()], target.path().join("x.parquet"))).unwrap();
    assert_eq!((summary.rows, summary.refused_count, summary.refused.len()), (1, 120, 100));
}

#[test]
fn progress_counts_every_file_to_the_last() {
    let (dir, target) = (tree(), tempfile::tempdir().unwrap());
    let mut seen = Vec::new();
    let summary =
        ingest(&options(&dir, &target.path().join("x.parquet")), &mut |progress| seen.push(progress)).unwrap();
    assert_eq!(seen.iter().map(|progress| progress.files).collect::<Vec<_>>(), (1..=8).collect::<Vec<_>>());
    assert_eq!(seen.last().unwrap(), &IngestProgress { files: 8, total: 8, bytes: summary.bytes });
}

#[cfg(unix)]
#[test]
fn the_output_may_be_read_by_other_users_as_the_umask_allows() {
    use std::os::unix::fs::PermissionsExt;
    let (dir, target) = (tree(), tempfile::tempdir().unwrap());
    let usual = target.path().join("usual");
    fs::write(&usual, "").unwrap();
    let out = target.path().join("x.parquet");
    run(&options(&dir, &out)).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&out), mode(&usual));
}
