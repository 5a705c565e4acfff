//! The table of options: one line per option, and how each reads its value.

use std::collections::BTreeMap;

use super::search::TRIALS_MAX;
use super::{
    Augment, ClassWeights, Device, Features, Freeze, Frequency, Intensity, Loss, Mode, ModelSpec, Normalize, Objective,
    OnLeak, Optimizer, OptionValue, OuterOptimizer, Precision, Schedule, SearchStrategy, Threshold,
};
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
    pub(super) set: fn(&mut ModelSpec, &OptionValue) -> Option<()>,
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
        |s, v| { s.schedule = Schedule::from_name(&text(v)?)? }
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
        |s, v| { s.outer_optimizer = OuterOptimizer::from_name(&text(v)?)? }
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
        "border_crop",
        "0",
        "a number from 0 to 0.4",
        "share of the side that is cut off at each border of a picture before anything else",
        |s, v| { s.border_crop = within(v, 0.0, 0.4)? }
    ),
    option!(
        "intensity",
        "'none'",
        "'none', 'stretch', 'clahe'",
        "what happens to grey levels: percentiles 1 to 99 stretched, or contrast-limited adaptive equalisation",
        |s, v| { s.intensity = Intensity::from_word(&text(v)?)? }
    ),
    option!("augment", "'xray'", Augment::EXPECTED, "random changes to training pictures", |s, v| s.augment =
        Augment::from_text(&text(v)?)?),
    option!(
        "mixup",
        "0",
        "0, or a number from 0.01 to 1",
        "both parameters of the beta distribution by which pictures of a batch are mixed; 0 mixes none",
        |s, v| { s.mixup = within(v, 0.0, 1.0).filter(|mixup| *mixup == 0.0 || *mixup >= 0.01)? }
    ),
    option!("class_weights", "'auto'", "'auto', 'none' or 'CLASS=weight, ...'", "how much a class counts", |s, v| {
        s.class_weights = class_weights(&text(v)?)?
    }),
    option!("validation_fraction", "0.1", "a number from 0 to 0.9", "share of rows held out", |s, v| {
        s.validation_fraction = within(v, 0.0, 0.9)?
    }),
    option!(
        "folds",
        "none",
        "a whole number from 2 to 20",
        "parts of the rows, each held out once; the model is the mean of as many nets, its figures are out of fold",
        |s, v| { s.folds = Some(whole(v, 2, 20)?) }
    ),
    option!(
        "on_leak",
        "'warn'",
        "'warn', 'fail', 'drop'",
        "what becomes of training rows that are among the validation rows, too: by content, by look, or by group",
        |s, v| { s.on_leak = OnLeak::from_word(&text(v)?)? }
    ),
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
    option!("members", "none", "models' names with commas between", "the models of an ensemble", |s, v| {
        s.members = names(&text(v)?)?
    }),
    option!(
        "search",
        "'random'",
        "'random', 'grid', 'halving'",
        "how trials are chosen, where an option is range(low, high) or candidates(a, b, ...)",
        |s, v| { s.search.strategy = SearchStrategy::from_word(&text(v)?)? }
    ),
    option!(
        "trials",
        "16",
        "a whole number from 1 to 1000",
        "trials of a search; a grid has its own number",
        |s, v| { s.search.trials = whole(v, 1, TRIALS_MAX)? }
    ),
    option!("parallel_trials", "1", "a whole number from 1 to 100", "trials that run side by side", |s, v| {
        s.search.parallel_trials = whole(v, 1, 100)?
    }),
    option!(
        "objective",
        "'roc_auc'",
        "'roc_auc', 'accuracy', 'loss'",
        "what makes a trial better than another, on the validation rows",
        |s, v| { s.search.objective = Objective::from_word(&text(v)?)? }
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
        other => other.to_string(),
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

pub(super) fn truth(value: &OptionValue) -> Option<bool> {
    match value {
        OptionValue::Bool(value) => Some(*value),
        OptionValue::Text(text) => text.to_lowercase().parse().ok(),
        _ => None,
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

fn names(text: &str) -> Option<Vec<ModelName>> {
    text.split(',').map(|name| ModelName::new(name.trim()).ok()).collect()
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
