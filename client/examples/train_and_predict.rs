//! Trains a classifier from Rust, with an API like that of Spark ML, on synthetic X-rays.
//!
//! `cargo run --example train_and_predict`
#![expect(clippy::print_stdout, reason = "an example prints")]

use tusk::metrics::definitions::roc_auc;
use tusk::synthetic::{SyntheticOptions, write_tree};
use tusk::{ContextOptions, ImageClassifier, TuskContext};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let images = folder.path().join("xrays");
    write_tree(&images, &SyntheticOptions { patients: 200, ..SyntheticOptions::default() }, &mut |_, _| {})?;

    let store = folder.path().join("store").display().to_string();
    let tusk = TuskContext::embedded_with(ContextOptions { store, ..ContextOptions::from_env()? }).await?;
    let xrays = tusk.read_images(&images.display().to_string())?;

    let classifier = ImageClassifier::cnn().name("pneumonia").label("label").epochs(6);
    let model = classifier.fit(&tusk, &xrays).await?;
    for epoch in model.history() {
        let auc = epoch.val_roc_auc.unwrap_or(f64::NAN);
        println!("epoch {}: loss {:.3}, validation ROC AUC {auc:.3}", epoch.epoch, epoch.train_loss);
    }

    let evaluation = model.evaluate(&xrays).await?;
    let auc = evaluation.report.metric(&roc_auc::METRIC).value;
    println!("{} images, ROC AUC {:.3}", evaluation.rows, auc.unwrap_or(f64::NAN));
    model.transform(xrays)?.select_columns(&["path", "label", "prediction", "probability"])?.show_limit(5).await?;
    Ok(())
}
