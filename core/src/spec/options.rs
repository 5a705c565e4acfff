//! The table of options: one line per option, and everything that reads, checks and documents them.

use std::collections::BTreeMap;

use super::{
    Architecture, Augment, ClassWeights, Device, Features, Freeze, Frequency, Loss, Mode, ModelSpec, Normalize,
    Optimizer, OptionValue, OuterOptimizer, Precision, Schedule, Threshold, Transform,
};
use super::{exchange, transfer};
use crate::error::{Error, Result, nearest};
use crate::ids::ModelName;

/// One option of CREATE MODEL.
#[derive(Debug)]
pub struct OptionDef {
    /// The key.
    pub name: &'static str,
    /// The default, as documentation shows it.
    pub default: &'static str,
    /// What it accepts.
    pub expected: &'static str,
    /// What it means.
    pub meaning: &'static str,
    set: fn(&mut ModelSpec, &OptionValue) -> Option<()>,
}

macro_rules! option {
    ($name:literal, $default:literal, $expected:expr, $meaning:literal, |$spec:ident, $value:ident| $set:expr) => {
        OptionDef {
            name: $name,
            default: $default,
            expected: $expected,
            meaning: $meaning,
            set: |$spec: &mut ModelSpec, $value: &OptionValue| {
                $set;
                Some(())
            },
        }
    };
}

/// Every option of CREATE MODEL except `resume`, which belongs to the statement and not to the model.
pub const OPTIONS: &[OptionDef] = &[
    option!("image", "'image'", "a column name", "column of the images", |s, v| s.image = text(v)?),
    option!("label", "'label'", "a column name", "column of the classes", |s, v| s.label = text(v)?),
    option!("group", "none", "a column name", "column whose rows stay together in a split (the patient)", |s, v| {
        s.group = Some(text(v)?)
    }),
    option!("epochs", "20", "a whole number from 1 to 10000", "passes over the training rows", |s, v| {
        s.epochs = whole(v, 1, 10_000)?
    }),
    option!("batch_size", "32", "a whole number from 1 to 65536", "rows per step and worker", |s, v| {
        s.batch_size = whole(v, 1, 65_536)?
    }),
    option!("seed", "42", "a whole number from 0", "where every random number comes from", |s, v| {
        s.seed = digits(v)?.parse().ok()?
    }),
    option!(
        "loss",
        "by classes",
        "'binary_crossentropy', 'categorical_crossentropy', 'mean_squared_error', 'hinge'",
        "what training minimises; binary for two classes, categorical for more, 'hinge' for svm",
        |s, v| { s.loss = Some(Loss::from_word(&text(v)?)?) }
    ),
    option!("features", "'hog'", "'hog', 'pixels'", "what an svm sees: oriented gradients, or pixels", |s, v| {
        s.features = Features::from_word(&text(v)?)?
    }),
    option!(
        "optimizer",
        "'adamw'",
        "'sgd', 'adam', 'adamw'",
        "how weights follow gradients; 'adam' for cnn_reference",
        |s, v| { s.optimizer = Optimizer::from_word(&text(v)?)? }
    ),
    option!(
        "learning_rate",
        "per architecture",
        "a number above 0 and up to 10",
        "peak learning rate of one worker; see scale_learning_rate",
        |s, v| { s.learning_rate = above(v, 0.0, 10.0)? }
    ),
    option!(
        "momentum",
        "0.9",
        "a number from 0 to below 1",
        "momentum of sgd, first beta of adam and adamw",
        |s, v| { s.momentum = within(v, 0.0, 0.999_999)? }
    ),
    option!(
        "weight_decay",
        "0.05",
        "a number from 0 to 1",
        "weight decay of all but biases and normalisation; 0 for cnn_reference",
        |s, v| { s.weight_decay = within(v, 0.0, 1.0)? }
    ),
    option!(
        "schedule",
        "'cosine'",
        "'constant', 'step', 'cosine'",
        "how the learning rate moves; 'constant' for cnn_reference",
        |s, v| { s.schedule = Schedule::from_word(&text(v)?)? }
    ),
    option!(
        "mode",
        "'synchronous'",
        "'synchronous', 'asynchronous', 'hogwild'",
        "when workers exchange what they learned: all at once, one after another, or all over each other",
        |s, v| { s.mode = Mode::from_word(&text(v)?)? }
    ),
    option!(
        "frequency",
        "'epoch'",
        "'epoch', 'batch'",
        "how often workers exchange; 'batch' with mode 'asynchronous' or 'hogwild'",
        |s, v| { s.frequency = Frequency::from_word(&text(v)?)? }
    ),
    option!(
        "outer_optimizer",
        "'average'",
        "'average', 'momentum'",
        "what the scheduler does with the mean of the workers: take it, or add momentum (SlowMo, FedAvgM)",
        |s, v| { s.outer_optimizer = OuterOptimizer::from_word(&text(v)?)? }
    ),
    option!(
        "outer_momentum",
        "0.5",
        "a number from 0 to below 1",
        "share of its last step that outer_optimizer = 'momentum' repeats",
        |s, v| { s.outer_momentum = within(v, 0.0, 0.999_999)? }
    ),
    option!(
        "outer_learning_rate",
        "1.0",
        "a number above 0 and up to 10",
        "how far outer_optimizer = 'momentum' goes towards the mean",
        |s, v| { s.outer_learning_rate = above(v, 0.0, 10.0)? }
    ),
    option!(
        "averages_per_epoch",
        "'auto'",
        "'auto' or a whole number from 1 to 10000",
        "how often synchronous workers are averaged; 'auto' is once per worker, at most 8 times, with 8 batches in between or more",
        |s, v| { s.averages_per_epoch = if is_word(v, "auto") { None } else { Some(whole(v, 1, 10_000)?) } }
    ),
    option!(
        "scale_learning_rate",
        "true",
        "true or false",
        "whether learning_rate is multiplied by the square root of the workers that are averaged",
        |s, v| { s.scale_learning_rate = truth(v)? }
    ),
    option!(
        "workers",
        "'auto'",
        "'auto' or a whole number from 1 to 10000",
        "workers; one per executor device",
        |s, v| { s.workers = if is_word(v, "auto") { None } else { Some(whole(v, 1, 10_000)?) } }
    ),
    option!(
        "image_size",
        "per architecture",
        "a multiple of 32 up to 1024",
        "side of the picture the net sees",
        |s, v| { s.image_size = whole(v, 32, 1024).filter(|side| side.is_multiple_of(32))? }
    ),
    option!("channels", "1", "1 or 3", "grey or RGB", |s, v| {
        s.channels = match digits(v)? {
            "1" => 1,
            "3" => 3,
            _ => return None,
        }
    }),
    option!(
        "normalize",
        "'data'",
        "'data', 'none' or 'mean,std' with both in [0, 1]",
        "how pixels are centred",
        |s, v| { s.normalize = normalize(&text(v)?)? }
    ),
    option!(
        "augment",
        "'xray'",
        "'xray', 'none', or a list of rotate, shift, zoom, brightness, contrast, gamma, noise, cutout, horizontal_flip",
        "random changes to training pictures",
        |s, v| s.augment = augment(&text(v)?)?
    ),
    option!("class_weights", "'auto'", "'auto', 'none' or 'CLASS=weight, ...'", "how much a class counts", |s, v| {
        s.class_weights = class_weights(&text(v)?)?
    }),
    option!("validation_fraction", "0.1", "a number from 0 to 0.9", "share of rows held out", |s, v| {
        s.validation_fraction = within(v, 0.0, 0.9)?
    }),
    option!("early_stop", "true", "true or false", "stop when validation stops improving", |s, v| {
        s.early_stop = truth(v)?
    }),
    option!("patience", "5", "a whole number from 1 to 10000", "epochs without improvement before a stop", |s, v| {
        s.patience = whole(v, 1, 10_000)?
    }),
    option!("positive", "last class", "a class", "the class whose probability is thresholded", |s, v| {
        s.positive = Some(label(v))
    }),
    option!(
        "threshold",
        "'auto'",
        "'auto' or a number between 0 and 1",
        "where a probability becomes positive",
        |s, v| {
            s.threshold = if is_word(v, "auto") { Threshold::Auto } else { Threshold::Given(above(v, 0.0, 1.0)?) }
        }
    ),
    option!("precision", "'auto'", "'auto', 'f32', 'bf16'", "number format inside the net", |s, v| {
        s.precision = Precision::from_word(&text(v)?)?
    }),
    option!("device", "'auto'", "'auto', 'cpu', 'cuda' or 'cuda:N'", "where a worker trains", |s, v| {
        s.device = device(&text(v)?)?
    }),
    option!("max_bad_fraction", "0.01", "a number from 0 to 1", "share of unreadable images a run bears", |s, v| {
        s.max_bad_fraction = within(v, 0.0, 1.0)?
    }),
    option!(
        "ema",
        "'none'",
        "'none' or a number from 0 to below 1",
        "decay per step of a moving average of the weights, which is then validated and published",
        |s, v| { s.ema = if is_word(v, "none") { None } else { Some(within(v, 0.0, 0.999_999)?) } }
    ),
    option!(
        "tta",
        "1",
        "a whole number from 1 to 64",
        "views of a picture whose probabilities are averaged in prediction: itself, and turned, shifted and zoomed ones",
        |s, v| { s.tta = whole(v, 1, 64)? }
    ),
    option!("warm_start", "none", "a model's name", "whose weights are the start", |s, v| {
        s.warm_start = Some(ModelName::new(text(v)?).ok()?)
    }),
    option!(
        "weights",
        "none",
        "a path or URL of a safetensors file",
        "whose tensors are the start where name and shape fit: torchvision's names, but for cnn's own",
        |s, v| { s.weights = Some(text(v)?) }
    ),
    option!(
        "freeze",
        "'none'",
        "'none', 'backbone'",
        "which weights stay as they start: none, or all but the last layer's",
        |s, v| { s.freeze = Freeze::from_word(&text(v)?)? }
    ),
];

/// The spec that a statement asks for, and whether it asks to resume.
///
/// # Errors
/// [`Error::UnknownOption`] and [`Error::InvalidOption`], each with the nearest thing that exists;
/// [`Error::ConflictingOptions`] for an option given twice.
pub fn parse(architecture: Architecture, options: &[(String, OptionValue)]) -> Result<(ModelSpec, bool)> {
    let mut spec = ModelSpec::new(architecture);
    let mut resume = false;
    for (position, (key, value)) in options.iter().enumerate() {
        if options[..position].iter().any(|(earlier, _)| earlier.eq_ignore_ascii_case(key)) {
            return Err(Error::ConflictingOptions { message: format!("option '{key}' is given twice; keep one") });
        }
        if key.eq_ignore_ascii_case("resume") {
            resume = truth(value).ok_or_else(|| invalid("resume", value, "true or false"))?;
            continue;
        }
        let Some(def) = OPTIONS.iter().find(|def| key.eq_ignore_ascii_case(def.name)) else {
            let names = || OPTIONS.iter().map(|def| def.name).chain(["resume"]);
            return Err(Error::UnknownOption {
                option: key.clone(),
                suggestion: nearest(key, names()),
                known: names().collect::<Vec<_>>().join(", "),
            });
        };
        (def.set)(&mut spec, value).ok_or_else(|| invalid(def.name, value, def.expected))?;
    }
    let is_given = |name: &str| options.iter().any(|(key, _)| key.eq_ignore_ascii_case(name));
    exchange::check(&spec, is_given)?;
    transfer::check(&spec)?;
    Ok((spec, resume))
}

fn invalid(option: &str, value: &OptionValue, expected: &str) -> Error {
    // The words an option takes stand in quotes in its description; the nearest of them may be what was meant.
    let words = expected.split('\'').skip(1).step_by(2);
    let suggestion = match value {
        OptionValue::Text(text) => nearest(text, words).filter(|word| !word.eq_ignore_ascii_case(text)),
        _ => None,
    };
    Error::InvalidOption {
        option: option.to_owned(),
        value: value.to_string(),
        expected: expected.to_owned(),
        suggestion,
    }
}

fn text(value: &OptionValue) -> Option<String> {
    match value {
        OptionValue::Text(text) if !text.trim().is_empty() => Some(text.trim().to_owned()),
        _ => None,
    }
}

/// A class as it stands in a label column: numbers and booleans too.
fn label(value: &OptionValue) -> String {
    match value {
        OptionValue::Text(text) | OptionValue::Number(text) => text.clone(),
        OptionValue::Bool(value) => value.to_string(),
    }
}

fn digits(value: &OptionValue) -> Option<&str> {
    match value {
        OptionValue::Number(digits) => Some(digits),
        _ => None,
    }
}

fn whole(value: &OptionValue, least: u32, most: u32) -> Option<u32> {
    digits(value)?.parse().ok().filter(|n| (least..=most).contains(n))
}

fn within(value: &OptionValue, least: f64, most: f64) -> Option<f64> {
    digits(value)?.parse().ok().filter(|n| (least..=most).contains(n))
}

fn above(value: &OptionValue, bound: f64, most: f64) -> Option<f64> {
    within(value, bound, most).filter(|n| *n > bound)
}

fn truth(value: &OptionValue) -> Option<bool> {
    match value {
        OptionValue::Bool(value) => Some(*value),
        OptionValue::Text(text) => text.to_lowercase().parse().ok(),
        OptionValue::Number(_) => None,
    }
}

fn is_word(value: &OptionValue, word: &str) -> bool {
    matches!(value, OptionValue::Text(text) if text.eq_ignore_ascii_case(word))
}

fn normalize(text: &str) -> Option<Normalize> {
    match text.to_lowercase().as_str() {
        "data" => Some(Normalize::FromData),
        "none" => Some(Normalize::None),
        pair => {
            let (mean, std) = pair.split_once(',')?;
            let (mean, std) = (mean.trim().parse().ok()?, std.trim().parse().ok()?);
            ((0.0..=1.0).contains(&mean) && std > 0.0 && std <= 1.0).then_some(Normalize::Given { mean, std })
        }
    }
}

fn augment(text: &str) -> Option<Augment> {
    match text.to_lowercase().as_str() {
        "xray" => Some(Augment::xray()),
        "none" => Some(Augment::default()),
        list => {
            list.split(',').map(|word| Transform::from_word(word.trim())).collect::<Option<Vec<_>>>().map(Augment::of)
        }
    }
}

fn class_weights(text: &str) -> Option<ClassWeights> {
    match text.to_lowercase().as_str() {
        "auto" => Some(ClassWeights::Auto),
        "none" => Some(ClassWeights::None),
        _ => {
            let mut weights = BTreeMap::new();
            for pair in text.split(',') {
                let (class, weight) = pair.rsplit_once('=')?;
                let weight: f64 = weight.trim().parse().ok()?;
                if !(weight.is_finite() && weight >= 0.0) {
                    return None;
                }
                weights.insert(class.trim().to_owned(), weight);
            }
            Some(ClassWeights::Given(weights))
        }
    }
}

fn device(text: &str) -> Option<Device> {
    match text.to_lowercase().as_str() {
        "auto" => Some(Device::Auto),
        "cpu" => Some(Device::Cpu),
        "cuda" => Some(Device::Cuda(0)),
        other => other.strip_prefix("cuda:")?.parse().ok().map(Device::Cuda),
    }
}

#[cfg(test)]
#[path = "options_tests.rs"]
mod tests;
