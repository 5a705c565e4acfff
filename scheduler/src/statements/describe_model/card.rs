//! DESCRIBE MODEL name CARD: a model card in Markdown (Mitchell et al. 2019, arXiv 1810.03993). It contains what users
//! should know about a model before they use it.

use std::collections::BTreeMap;
use std::fmt::Write;

use tusk_core::manifest::{EvaluationRecord, Manifest, Member, ModelDefinition, strong_shortcuts};
use tusk_core::metrics::Interval;
use tusk_core::options::{Architecture, Intensity, Resize, Threshold};

use super::robustness::robustness;
use super::{adaptations, held_out, started_from};
use crate::statements::rows::class_frequencies;

/// Returns the card of a model, with the last evaluations that were run on it.
pub(super) fn card(manifest: &Manifest, evaluations: &[EvaluationRecord]) -> String {
    let mut card = String::new();
    let sections = [
        (format!("# Model card: {}", manifest.name), summary(manifest)),
        ("## Intended use".to_owned(), intended_use(manifest)),
        ("## Data".to_owned(), data(manifest)),
        ("## Preprocessing".to_owned(), all_preprocessing(manifest)),
        ("## Metrics".to_owned(), metrics(manifest)),
        ("## Robustness".to_owned(), robustness(manifest, evaluations)),
        ("## Training".to_owned(), training(manifest)),
        ("## Adaptations".to_owned(), adaptations::section(manifest)),
        ("## Limits".to_owned(), limits(manifest)),
    ];
    for (title, text) in sections.into_iter().filter(|(_, text)| !text.is_empty()) {
        // Writing to a String does not fail.
        let _always = writeln!(card, "{title}\n\n{text}\n");
    }
    card.truncate(card.trim_end().len());
    card
}

fn summary(manifest: &Manifest) -> String {
    let definition = &manifest.definition;
    let classes = definition.classes.join(", ");
    let decision = match (positive(definition), manifest.threshold) {
        (Some(positive), Some(threshold)) => {
            let why = match (definition.spec.prediction.threshold, manifest.threshold_range) {
                (Threshold::Given(_), _) => "as given",
                (Threshold::Auto, Some(_)) => "where balanced accuracy was best on the validation rows",
                (Threshold::Auto, None) if is_ensemble(manifest) => "the mean of its nets' own thresholds",
                (Threshold::Auto, None) => "by default, because there were no validation rows to choose a better one",
            };
            let range = manifest.threshold_range.map_or_else(String::new, |(low, high)| {
                format!(" (95 % of resamples of these rows put it between {low:.4} and {high:.4})")
            });
            format!("An image is classified as {positive} if its probability is at least {threshold:.4}, {why}{range}.")
        }
        _ => "An image is classified as its most likely class.".to_owned(),
    };
    let nets = match manifest.members.as_slice() {
        [] => String::new(),
        members => format!(" ({} nets, averaged)", members.len()),
    };
    let prior = manifest.prior().map_or_else(String::new, |prior| {
        let site = class_frequencies(&definition.classes, prior);
        format!(" Probabilities are corrected for the class frequencies of a site ({site}).")
    });
    let adapted = match manifest.threshold.filter(|_| !manifest.adapted.is_empty()) {
        Some(_) => " The threshold was chosen before the model was adapted.",
        None => "",
    };
    format!(
        "A classifier of {classes}: {}, {} parameters{nets}. {decision}{adapted}{prior}",
        definition.spec.architecture, manifest.parameters
    )
}

fn intended_use(manifest: &Manifest) -> String {
    format!(
        "Sorting images like those it was trained on, with a person who reviews the results. It assigns one of {} to \
         any image, whatever it shows. It is not a medical device.",
        manifest.definition.classes.join(", ")
    )
}

fn data(manifest: &Manifest) -> String {
    let data = &manifest.data;
    let held_out = held_out(manifest);
    if is_ensemble(manifest) {
        return format!("The training data are on the cards of its members. Held out from all of them: {held_out}.");
    }
    let spec = &manifest.definition.spec;
    let mut lines = table(["class", "training rows", "validation rows"]);
    for class in &manifest.definition.classes {
        let of = |rows: &BTreeMap<String, u64>| rows.get(class).copied().unwrap_or(0);
        let _always = writeln!(lines, "| {class} | {} | {} |", of(&data.train_rows), of(&data.val_rows));
    }
    let is_split = spec.split.folds.is_some() || spec.split.validation_fraction > 0.0;
    let kept = match &spec.data.group {
        _ if !is_split => String::new(),
        Some(group) => format!(" Rows with the same `{group}` were kept on one side."),
        None => {
            "Copies of an image were kept on one side. No group was set, so images of one patient may be on both sides."
                .to_owned()
        }
    };
    let leak = data.leak.filter(|leak| leak.rows() > 0).map_or_else(String::new, |leak| format!(" {leak}."));
    let shortcuts = match data.shortcuts.as_deref().map(strong_shortcuts) {
        None => String::new(),
        Some(None) => " No shortcut was found.".to_owned(),
        Some(Some(strong)) => format!(" Shortcuts, which tell the classes apart without the subject: {strong}."),
    };
    format!(
        "{lines}\nHeld out: {held_out}.{kept}{leak}{shortcuts} {} images could not be read. Fingerprint of the rows: `{}`.",
        data.skipped, data.fingerprint
    )
}

fn is_ensemble(manifest: &Manifest) -> bool {
    manifest.definition.spec.architecture == Architecture::Ensemble
}

/// Describes the preprocessing. If the members of an ensemble differ in it, describes each one.
fn all_preprocessing(manifest: &Manifest) -> String {
    let mut seen: Vec<(String, Vec<&str>)> = Vec::new();
    for member in &manifest.members {
        let text = preprocessing(&member.definition);
        match seen.iter_mut().find(|(known, _)| *known == text) {
            Some((_, names)) => names.push(&member.name),
            None => seen.push((text, vec![&member.name])),
        }
    }
    match seen.as_slice() {
        [] => preprocessing(&manifest.definition),
        [(text, _)] => text.clone(),
        _ => seen.iter().map(|(text, names)| format!("{}: {text}", names.join(", "))).collect::<Vec<_>>().join("\n\n"),
    }
}

fn preprocessing(definition: &ModelDefinition) -> String {
    let input = &definition.preprocessing;
    let colours = if input.channels == 3 { "colour" } else { "grey" };
    let crop = match input.border_crop {
        0.0 => String::new(),
        share => format!(", cropped by {share} of each side at each border"),
    };
    let resize = match input.resize {
        Resize::Stretch => "without keeping the aspect ratio",
        Resize::Pad => "with black borders that keep the aspect ratio",
        Resize::Crop => "after its longer side was cut off at both ends",
    };
    let intensity = match input.intensity {
        Intensity::None => "",
        Intensity::Stretch => "; levels stretched from the 1st and 99th percentile to black and white",
        Intensity::Clahe => "; contrast equalized (CLAHE)",
    };
    let views = match definition.spec.prediction.tta {
        0 | 1 => String::new(),
        views => format!(" Probabilities are averaged over {views} views of it."),
    };
    format!(
        "Decoded, oriented by EXIF, converted to {colours}{crop}, resized to {side} x {side} pixels {resize}\
         {intensity}; values in [0, 1] minus {:.4}, divided by {:.4}.{views}",
        input.mean,
        input.std,
        side = input.image_size
    )
}

fn metrics(manifest: &Manifest) -> String {
    let Some(report) = &manifest.validation else { return "There were no validation rows.".to_owned() };
    let mut lines = table(["metric", "value", "95 % from", "to"]);
    for (metric, interval) in report.metrics() {
        let shown = |value: Option<f64>| value.map_or_else(|| "none".to_owned(), |value| format!("{value:.4}"));
        let Interval { value, low, high } = interval;
        let _always = writeln!(
            lines,
            "| {} | {} | {} | {} |",
            metric.name.replace('_', " "),
            shown(value),
            shown(low),
            shown(high)
        );
    }
    let calibration = manifest.calibration.as_ref().map_or_else(String::new, |calibration| {
        let temperature = calibration.temperature;
        let bias = match calibration.bias.as_slice() {
            [] => String::new(),
            bias => {
                let of = |(class, bias): (&String, &f64)| format!("{bias:+.3} for {class}");
                let biases: Vec<String> = manifest.definition.classes.iter().zip(bias).map(of).collect();
                format!(", with a bias of {}", biases.join(" and "))
            }
        };
        format!(" Calibrated probabilities use a temperature of {temperature:.3}{bias}, fitted on the same rows.")
    });
    let by = if manifest.definition.spec.split.folds.is_some() {
        ", each scored by the net that had not seen it"
    } else {
        ""
    };
    // A cross-validation and an ensemble choose no epoch.
    let chosen = match (manifest.best_epoch > 0, manifest.threshold_range.is_some()) {
        (true, true) => ", which also chose the epoch and the threshold, so the metrics may be optimistic",
        (true, false) => ", which also chose the epoch, so the metrics may be optimistic",
        (false, true) => ", which also chose the threshold, so the metrics may be optimistic",
        (false, false) => "",
    };
    format!("{lines}\nOn {} validation rows{by}{chosen}. Intervals by bootstrap over groups.{calibration}", report.rows)
}

fn training(manifest: &Manifest) -> String {
    let definition = &manifest.definition;
    let spec = &definition.spec;
    let workers = manifest.data.rows_per_worker.len();
    let made = format!(
        "Tusk {}, run `{}`, weights `{}` (BLAKE3 `{}`).",
        manifest.tusk_version, manifest.run, manifest.weights.path, manifest.weights.checksum
    );
    if is_ensemble(manifest) {
        let member = |member: &Member| format!("{} (seed {})", member.name, member.definition.spec.training.seed);
        let members: Vec<String> = manifest.members.iter().map(member).collect();
        return format!("Made of the existing models {}. {made}", members.join(", "));
    }
    let best = match manifest.best_epoch {
        0 => "the last of each fold is used".to_owned(),
        best => format!("the best of them was {best}"),
    };
    let mixup = if spec.input.mixup > 0.0 { format!(", mixup {}", spec.input.mixup) } else { String::new() };
    let average = spec.optimizer.ema.map_or_else(String::new, |decay| format!(" EMA of the weights: {decay}."));
    format!(
        "Started from {}. {} epochs of {}, {best}; loss {}, {} with a learning rate of {}, batches of {}, augmentation: \
         {}{mixup}.{average} {workers} worker{s}, {} mode, {}. Seed {}. {made}",
        started_from(manifest),
        manifest.epochs.len(),
        spec.training.epochs * spec.split.folds.unwrap_or(1),
        definition.loss,
        spec.optimizer.algorithm,
        spec.optimizer.learning_rate,
        spec.training.batch_size,
        spec.input.augment,
        spec.distribution.mode,
        definition.precision,
        spec.training.seed,
        s = if workers == 1 { "" } else { "s" }
    )
}

fn limits(manifest: &Manifest) -> String {
    let seen = match manifest.data.train_rows.values().sum::<u64>() {
        0 => String::new(),
        rows => format!("It was trained on {rows} images. "),
    };
    format!(
        "{seen}It may misclassify images of another scanner, exposure, age or disease with high confidence. Evaluate \
         it on your own images first: `EVALUATE MODEL {} ON your_table`.",
        manifest.name
    )
}

fn positive(definition: &ModelDefinition) -> Option<&str> {
    definition.positive.and_then(|positive| definition.classes.get(positive)).map(String::as_str)
}

/// Returns the head of a table.
pub(super) fn table<const N: usize>(columns: [&str; N]) -> String {
    format!("| {} |\n|{}\n", columns.join(" | "), "---|".repeat(N))
}
