//! The quality of bf16 compared with f32.

use tusk::synthetic::{SyntheticOptions, write_tree};
use tusk::{ContextOptions, ImageClassifier, Model, TuskContext};
use tusk_core::options::Precision;

/// The largest allowed difference of the mean validation ROC AUC over the seeds.
const AUC_TOLERANCE: f64 = 0.003;

/// A run on synthetic X-rays.
async fn train(context: &TuskContext, images: &str, precision: &str, epochs: u32, seed: u64) -> Model {
    let frame = context.read_images(images).unwrap();
    let classifier = ImageClassifier::cnn()
        .epochs(epochs)
        .seed(seed)
        .option("image_size", 64_u64)
        .option("early_stop", false)
        // Two runs that round differently differ by chance, mostly in their last steps.
        .option("ema", 0.98)
        .option("validation_fraction", 0.3)
        .option("precision", precision);
    classifier.fit(context, &frame).await.unwrap()
}

/// The best validation ROC AUC of a run.
async fn auc(context: &TuskContext, images: &str, precision: &str, seed: u64) -> f64 {
    let model = train(context, images, precision, 28, seed).await;
    assert_eq!(model.manifest().definition.precision.name(), precision);
    let best = model.manifest().best_epoch;
    model.history().iter().find(|epoch| epoch.epoch == best).unwrap().val_roc_auc.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn bf16_does_not_change_the_quality_over_three_seeds() {
    let folder = tempfile::tempdir().unwrap();
    let [images, store] = ["images/", "store"].map(|name| folder.path().join(name).display().to_string());
    let options = SyntheticOptions { patients: 250, size: 64, ..SyntheticOptions::default() };
    write_tree(images.as_ref(), &options, &mut |_, _| {}).unwrap();
    let context = TuskContext::embedded_with(ContextOptions { store, ..ContextOptions::default() }).await.unwrap();
    if train(&context, &images, "auto", 1, 1).await.manifest().definition.precision == Precision::F32 {
        // Processors without bf16 instructions use bf16 only if asked, and are far slower with it.
        return;
    }
    let mut means = [0.0, 0.0];
    for seed in [1, 2, 3] {
        for (mean, precision) in means.iter_mut().zip(["f32", "bf16"]) {
            *mean += auc(&context, &images, precision, seed).await / 3.0;
        }
    }
    let [f32, bf16] = means;
    assert!(f32 > 0.97, "a ROC AUC of {f32} is too low");
    assert!((f32 - bf16).abs() <= AUC_TOLERANCE, "f32 {f32}, bf16 {bf16}");
}
