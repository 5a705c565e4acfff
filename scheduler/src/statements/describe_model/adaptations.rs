//! What a description says of the adaptations of a model.

use tusk_core::manifest::{Adaptation, Manifest};

use crate::statements::rows::{class_frequencies, date};

/// Returns what the adaptations did not change.
fn unchanged(manifest: &Manifest) -> &'static str {
    match manifest.threshold {
        Some(_) => "the threshold, the calibration and the validation metrics",
        None => "the calibration and the validation metrics",
    }
}

/// Returns one line per adaptation, the first one first, and what they did not change.
pub(super) fn property(manifest: &Manifest) -> String {
    if manifest.adapted.is_empty() {
        return "none".to_owned();
    }
    let lines = manifest.adapted.iter().map(|adaptation| line(manifest, adaptation));
    lines.chain([format!("{} are from before", unchanged(manifest))]).collect::<Vec<_>>().join("\n")
}

/// Returns a section of the model card, or an empty text if the model is not adapted.
pub(super) fn section(manifest: &Manifest) -> String {
    let lines: Vec<String> =
        manifest.adapted.iter().map(|adaptation| format!("* {}", line(manifest, adaptation))).collect();
    match lines.is_empty() {
        true => String::new(),
        false => format!(
            "Without labels, to images of other sites:\n\n{}\n\nThis did not change {}. Evaluate the model on labelled images of the \
             site.",
            lines.join("\n"),
            unchanged(manifest)
        ),
    }
}

fn line(manifest: &Manifest, adaptation: &Adaptation) -> String {
    let Adaptation { source, images, skipped, workers, batch_size, strength, prior, unix_ms, model, weights } =
        adaptation;
    let statistics = match batch_size {
        Some(size) => format!("statistics with strength {strength}, in batches of {size}"),
        None => "no statistics".to_owned(),
    };
    let prior = match prior {
        Some(prior) => format!("class frequencies {}", class_frequencies(&manifest.definition.classes, prior)),
        None => "no class frequencies".to_owned(),
    };
    let date = date(*unix_ms);
    let s = if *workers == 1 { "" } else { "s" };
    format!(
        "{source}: {images} images, {skipped} unreadable; {statistics}; {prior}; {workers} worker{s}; on {date}; from '{model}' \
         with weights BLAKE3 {weights}"
    )
}
