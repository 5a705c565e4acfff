//! DESCRIBE MODEL name CARD: what people should know of a model before they use it (Mitchell et al. 2019, arXiv
//! 1810.03993), as Markdown.

use std::collections::BTreeMap;
use std::fmt::Write;

use tusk_core::manifest::{Manifest, ModelDefinition};
use tusk_core::metrics::Interval;
use tusk_core::spec::{Architecture, Intensity, Threshold};

use super::report::held_out;

/// The card of a model.
pub(super) fn card(manifest: &Manifest) -> String {
    let mut card = String::new();
    let sections = [
        (format!("# Model card: {}", manifest.name), summary(manifest)),
        ("## Intended use".to_owned(), intended_use(manifest)),
        ("## Data".to_owned(), data(manifest)),
        ("## What happens to an image".to_owned(), preprocessing(&manifest.definition)),
        ("## Figures".to_owned(), figures(manifest)),
        ("## Training".to_owned(), training(manifest)),
        ("## Limits".to_owned(), limits(manifest)),
    ];
    for (title, text) in sections {
        // A String takes whatever is written to it.
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
            let why = match definition.spec.threshold {
                Threshold::Auto => "where balanced accuracy was best on the validation rows",
                Threshold::Given(_) => "as given",
            };
            let range = manifest.threshold_range.map_or_else(String::new, |(low, high)| {
                format!(" (95 % of resamples of these rows put it between {low:.4} and {high:.4})")
            });
            format!("An image is called {positive} from a probability of {threshold:.4} on, {why}{range}.")
        }
        _ => "An image is given the likeliest class.".to_owned(),
    };
    let nets = match manifest.members.as_slice() {
        [] => String::new(),
        members => format!(" ({} nets whose probabilities are averaged)", members.len()),
    };
    format!(
        "A {} of {} parameters{nets} that tells {classes} apart. {decision}",
        definition.spec.architecture, manifest.parameters
    )
}

fn intended_use(manifest: &Manifest) -> String {
    format!(
        "To sort images like those it was trained on, with a person who looks at what it says. It knows {}, and gives one of \
         them to any image, whatever it shows. It is no medical device.",
        manifest.definition.classes.join(", ")
    )
}

fn data(manifest: &Manifest) -> String {
    let data = &manifest.data;
    let spec = &manifest.definition.spec;
    let mut lines = table(["class", "training rows", "validation rows"]);
    for class in &manifest.definition.classes {
        let of = |rows: &BTreeMap<String, u64>| rows.get(class).copied().unwrap_or(0);
        let _always = writeln!(lines, "| {class} | {} | {} |", of(&data.train_rows), of(&data.val_rows));
    }
    let kept = match &spec.group {
        Some(group) => format!("Rows with the same `{group}` were kept on one side"),
        None => "Copies of an image were kept on one side; images of one patient may be on both, as no group was named"
            .to_owned(),
    };
    let bad = data.skipped;
    let leak = data.leak.filter(|leak| leak.rows() > 0).map_or_else(String::new, |leak| format!(" {leak}."));
    let held_out = held_out(spec);
    format!(
        "{lines}\nHeld out: {held_out}. {kept}.{leak} {bad} images could not be read. Fingerprint of the rows: `{}`.",
        data.fingerprint
    )
}

fn preprocessing(definition: &ModelDefinition) -> String {
    let input = &definition.preprocessing;
    let colours = if input.channels == 3 { "colour" } else { "grey" };
    let crop = match input.border_crop {
        0.0 => String::new(),
        share => format!(", cut by {share} of each side at each border"),
    };
    let intensity = match input.intensity {
        Intensity::None => "",
        Intensity::Stretch => "; the 1st and 99th percentile of its levels made black and white",
        Intensity::Clahe => "; its contrast equalised (CLAHE)",
    };
    let views = match definition.spec.tta {
        0 | 1 => String::new(),
        views => format!(" The probabilities are the mean over {views} views of it."),
    };
    format!(
        "Decoded, turned as its EXIF says, made {colours}{crop} and resized to {side} x {side} pixels without keeping its \
         proportions{intensity}; values in [0, 1] minus {:.4}, divided by {:.4}.{views}",
        input.mean,
        input.std,
        side = input.image_size
    )
}

fn figures(manifest: &Manifest) -> String {
    let Some(report) = &manifest.validation else { return "There were no validation rows.".to_owned() };
    let mut lines = table(["figure", "value", "95 % from", "to"]);
    for (name, interval) in report.figures() {
        let shown = |value: Option<f64>| value.map_or_else(|| "none".to_owned(), |value| format!("{value:.4}"));
        let Interval { value, low, high } = interval;
        let _always =
            writeln!(lines, "| {} | {} | {} | {} |", name.replace('_', " "), shown(value), shown(low), shown(high));
    }
    let temperature = manifest.temperature.map_or_else(String::new, |temperature| {
        format!(" Calibrated probabilities are at a temperature of {temperature:.3}, found on the same rows.")
    });
    let chosen = match (manifest.definition.spec.folds.is_some(), manifest.threshold.is_some()) {
        (true, true) => ", each by the net that had not seen it, which also chose the threshold",
        (true, false) => ", each by the net that had not seen it",
        (false, true) => ", which also chose the epoch and the threshold",
        (false, false) => ", which also chose the epoch",
    };
    format!(
        "{lines}\nOn {} validation rows{chosen}: other rows may be harder. Intervals by bootstrap over groups.{temperature}",
        report.rows
    )
}

fn training(manifest: &Manifest) -> String {
    let definition = &manifest.definition;
    let spec = &definition.spec;
    let workers = manifest.data.rows_per_worker.len();
    if spec.architecture == Architecture::Ensemble {
        let members: Vec<&str> = manifest.members.iter().map(|member| member.name.as_str()).collect();
        return format!("Made of {}, which were trained before. Tusk {}.", members.join(", "), manifest.tusk_version);
    }
    let best = match manifest.best_epoch {
        0 => "the last of each fold is used".to_owned(),
        best => format!("the best of them was {best}"),
    };
    format!(
        "{} epochs of {}, {best}; loss {}, {} with a learning rate of {}, batches of {}, augmentation: {}. \
         {workers} worker{s}, {} mode, {}. Seed {}. Tusk {}, run `{}`, weights `{}` (BLAKE3 `{}`).",
        manifest.epochs.len(),
        spec.epochs * spec.folds.unwrap_or(1),
        definition.loss,
        spec.optimizer,
        spec.learning_rate,
        spec.batch_size,
        spec.augment,
        spec.mode,
        definition.precision,
        spec.seed,
        manifest.tusk_version,
        manifest.run,
        manifest.weights.path,
        manifest.weights.checksum,
        s = if workers == 1 { "" } else { "s" }
    )
}

fn limits(manifest: &Manifest) -> String {
    let rows: u64 = manifest.data.train_rows.values().sum();
    format!(
        "It has seen {rows} images. Images of another scanner, exposure, age or disease may be judged wrongly, and with great \
         confidence. Evaluate it on your own images before you rely on it: `EVALUATE MODEL {} ON your_table`.",
        manifest.name
    )
}

fn positive(definition: &ModelDefinition) -> Option<&str> {
    definition.positive.and_then(|positive| definition.classes.get(positive)).map(String::as_str)
}

fn table<const N: usize>(columns: [&str; N]) -> String {
    format!("| {} |\n|{}\n", columns.join(" | "), "---|".repeat(N))
}
