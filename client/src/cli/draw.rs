//! `tusk draw`: writes synthetic X-rays to a Parquet file, for demos and tests.

use anyhow::{Context, Result, ensure};
use regex::Regex;
use tusk::ingest::IngestOptions;
use tusk::synthetic::{SyntheticOptions, write_tree};

use super::PathArgument;
use super::demo::GROUP_REGEX;
use super::format::print_line;
use super::ingest::ingest_with_bar;
use super::progress::Counter;

/// The largest number of images per patient if `--patients` is not given.
const IMAGES_PER_PATIENT: u32 = 4;

/// Arguments of `tusk draw`.
#[derive(Debug, clap::Args)]
pub(crate) struct DrawArguments {
    /// Parquet file to write. An existing file is replaced.
    #[arg(value_name = "OUT.parquet")]
    out: PathArgument,
    /// Number of images.
    #[arg(long, value_name = "N", default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    images: u32,
    /// Number of patients; it must divide the number of images. Default: at most four images per patient.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    patients: Option<u32>,
    /// Side of an image in pixels.
    #[arg(long, value_name = "N", default_value_t = 160, value_parser = clap::value_parser!(u32).range(16..=4096))]
    size: u32,
    /// Random seed. Another seed gives other patients.
    #[arg(long, default_value_t = 42)]
    seed: u64,
}

impl DrawArguments {
    fn options(&self) -> Result<SyntheticOptions> {
        let images = self.images;
        let even = (1..=IMAGES_PER_PATIENT).rev().find(|each| images.is_multiple_of(*each)).unwrap_or(1);
        let patients = self.patients.unwrap_or(images / even);
        ensure!(
            images.is_multiple_of(patients),
            "{patients} patients cannot share {images} images evenly; make --images a multiple of --patients"
        );
        Ok(SyntheticOptions {
            patients: patients as usize,
            images_per_patient: (images / patients) as usize,
            size: self.size,
            seed: self.seed,
            ..SyntheticOptions::default()
        })
    }
}

/// Runs `tusk draw`. It blocks.
pub(crate) fn run(arguments: DrawArguments) -> Result<()> {
    let options = arguments.options()?;
    let tree = tempfile::tempdir()
        .context("cannot create a temporary folder for the images; set TMPDIR to a writable folder")?;
    let mut counter = Counter::new("drawing");
    write_tree(tree.path(), &options, &mut |done, total| counter.update(done, total))?;
    drop(counter);
    let mut ingest = IngestOptions::new([tree.path()], arguments.out);
    ingest.group_regex = Some(Regex::new(GROUP_REGEX)?);
    ingest.seed = arguments.seed;
    print_line(ingest_with_bar(&ingest)?.to_string().trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(images: u32, patients: Option<u32>) -> DrawArguments {
        DrawArguments { out: "x.parquet".into(), images, patients, size: 32, seed: 7 }
    }

    #[test]
    fn patients_have_equal_numbers_of_images() {
        let shared = |images, patients| {
            let options = arguments(images, patients).options().unwrap();
            (options.patients, options.images_per_patient)
        };
        assert_eq!(shared(400, None), (100, 4));
        assert_eq!(shared(9, None), (3, 3));
        assert_eq!(shared(7, None), (7, 1));
        assert_eq!(shared(400, Some(50)), (50, 8));
        let refusal = arguments(400, Some(30)).options().unwrap_err().to_string();
        assert_eq!(refusal, "30 patients cannot share 400 images evenly; make --images a multiple of --patients");
    }

    #[test]
    fn the_output_has_one_row_per_image() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("x.parquet");
        run(DrawArguments { out: out.clone(), ..arguments(10, Some(5)) }).unwrap();
        let file = std::fs::File::open(out).unwrap();
        let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
        assert_eq!(reader.metadata().file_metadata().num_rows(), 10);
    }
}
