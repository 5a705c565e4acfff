//! The options of EVALUATE.

use tusk_core::error::{Error, nearest};
use tusk_core::ids::ModelName;
use tusk_core::metrics::Wanted;
use tusk_core::options::OptionValue;

use crate::error::Result;

/// The rows that an evaluation returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Show {
    /// One row of metrics with their intervals.
    #[default]
    Summary,
    /// One row per threshold: false positive rate, true positive rate.
    RocCurve,
    /// One row per threshold: recall, precision.
    PrecisionRecallCurve,
    /// One row per bin of probabilities: mean probability, fraction of positive rows.
    Calibration,
    /// One row per pair of true and predicted class.
    ConfusionMatrix,
    /// One row of metrics for the images as they are, and one per change of them.
    Stress,
    /// One row per class and nuisance: how far the score follows it.
    Shortcuts,
}

impl Show {
    const WORDS: [(&'static str, Self); 7] = [
        ("summary", Self::Summary),
        ("roc_curve", Self::RocCurve),
        ("pr_curve", Self::PrecisionRecallCurve),
        ("calibration", Self::Calibration),
        ("confusion_matrix", Self::ConfusionMatrix),
        ("stress", Self::Stress),
        ("shortcuts", Self::Shortcuts),
    ];

    pub(super) fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, show)| *show == self).map_or("", |(word, _)| word)
    }

    /// Returns whether the rows depend on the threshold.
    fn has_threshold(self) -> bool {
        matches!(self, Self::Summary | Self::ConfusionMatrix | Self::Stress)
    }
}

/// How the threshold is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cut {
    /// This threshold.
    At(f64),
    /// The threshold with which the metric on these rows is at least this value.
    For(Wanted, f64),
}

/// The options of EVALUATE.
#[derive(Clone, Debug, Default)]
pub struct EvaluateOptions {
    /// The column of the images.
    pub image: Option<String>,
    /// The column of the labels.
    pub label: Option<String>,
    /// The column of the groups, which the bootstrap keeps together.
    pub group: Option<String>,
    /// The threshold, if it is not that of the model.
    pub cut: Option<Cut>,
    /// The rows that are returned.
    pub show: Show,
    /// A column by whose values the rows are divided. Each part is evaluated on its own.
    pub by: Option<String>,
    /// A model to compare with.
    pub against: Option<ModelName>,
    /// Whether the calibrated probabilities of the model are evaluated instead of the raw ones.
    pub calibrated: bool,
}

impl EvaluateOptions {
    const NAMES: [&'static str; 9] =
        ["image", "label", "group", "threshold", "threshold_for", "show", "by", "against", "calibrated"];

    /// Parses the options of a statement.
    ///
    /// # Errors
    /// Returns an error if an option is unknown, its value is invalid, or two options exclude each other.
    pub fn parse(options: &[(String, OptionValue)]) -> Result<Self> {
        let mut parsed = Self::default();
        for (key, value) in options {
            let key = key.to_lowercase();
            let text = match value {
                OptionValue::Text(text) => Some(text.trim()),
                _ => None,
            };
            let column = || text.map(str::to_owned).ok_or_else(|| invalid(&key, value, "a column name"));
            match key.as_str() {
                "image" => parsed.image = Some(column()?),
                "label" => parsed.label = Some(column()?),
                "group" => parsed.group = Some(column()?),
                "by" => parsed.by = Some(column()?),
                "threshold" | "threshold_for" if parsed.cut.is_some() => {
                    let message = "threshold and threshold_for both set the threshold; keep one".to_owned();
                    return Err(Error::ConflictingOptions { message }.into());
                }
                "threshold" => {
                    parsed.cut = Some(threshold(value).ok_or_else(|| invalid(&key, value, "a number between 0 and 1"))?)
                }
                "threshold_for" => {
                    let expected = "'sensitivity >= 0.95' or 'specificity >= 0.95', with a number above 0 and up to 1";
                    parsed.cut = Some(text.and_then(threshold_for).ok_or_else(|| invalid(&key, value, expected))?);
                }
                "show" => {
                    let found =
                        Show::WORDS.iter().find(|(word, _)| text.is_some_and(|text| text.eq_ignore_ascii_case(word)));
                    let words = Show::WORDS.map(|(word, _)| word);
                    let refused = || {
                        let expected = words.map(|word| format!("'{word}'")).join(", ");
                        let suggestion = text.and_then(|text| nearest(text, words));
                        Error::InvalidOption { option: key.clone(), value: value.to_string(), expected, suggestion }
                    };
                    parsed.show = found.ok_or_else(refused)?.1;
                }
                "against" => {
                    let name = text.and_then(|text| ModelName::new(text).ok());
                    parsed.against = Some(name.ok_or_else(|| invalid(&key, value, "a model's name"))?);
                }
                "calibrated" => {
                    let OptionValue::Bool(calibrated) = value else {
                        return Err(invalid(&key, value, "true or false").into());
                    };
                    parsed.calibrated = *calibrated;
                }
                _ => return Err(Error::unknown_option(&key, &Self::NAMES).into()),
            }
        }
        if parsed.against.is_some() && parsed.show != Show::Summary {
            let message = format!("against compares two models in one row; leave out show = '{}'", parsed.show.word());
            return Err(Error::ConflictingOptions { message }.into());
        }
        if parsed.cut.is_some() && (parsed.against.is_some() || !parsed.show.has_threshold()) {
            let shown = if parsed.against.is_some() { "against" } else { parsed.show.word() };
            let message = format!("the result of {shown} does not depend on a threshold; leave the threshold out");
            return Err(Error::ConflictingOptions { message }.into());
        }
        Ok(parsed)
    }
}

fn threshold(value: &OptionValue) -> Option<Cut> {
    let OptionValue::Number(digits) = value else { return None };
    digits.parse().ok().filter(|t| *t > 0.0 && *t < 1.0).map(Cut::At)
}

fn threshold_for(text: &str) -> Option<Cut> {
    let (metric, least) = text.split_once(">=")?;
    let wanted = match metric.trim().to_lowercase().as_str() {
        "sensitivity" | "recall" => Wanted::Sensitivity,
        "specificity" => Wanted::Specificity,
        _ => return None,
    };
    least.trim().parse().ok().filter(|least| *least > 0.0 && *least <= 1.0).map(|least| Cut::For(wanted, least))
}

fn invalid(option: &str, value: &OptionValue, expected: &str) -> Error {
    let (option, value, expected) = (option.to_owned(), value.to_string(), expected.to_owned());
    Error::InvalidOption { option, value, expected, suggestion: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(options: &[(&str, OptionValue)]) -> std::result::Result<EvaluateOptions, String> {
        let options: Vec<_> = options.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        EvaluateOptions::parse(&options).map_err(|error| error.to_string())
    }

    #[test]
    fn a_threshold_is_a_number_or_is_chosen_for_a_metric() {
        let cut = |options: &[(&str, OptionValue)]| parse(options).unwrap().cut;
        assert_eq!(cut(&[("threshold", 0.3.into())]), Some(Cut::At(0.3)));
        let wanted = Some(Cut::For(Wanted::Sensitivity, 0.95));
        assert_eq!(cut(&[("threshold_for", "sensitivity >= 0.95".into())]), wanted);
        assert_eq!(cut(&[("THRESHOLD_FOR", "Recall>=0.95".into())]), wanted);
        assert_eq!(cut(&[("threshold_for", "specificity >= 1".into())]), Some(Cut::For(Wanted::Specificity, 1.0)));
        for bad in ["sensitivity > 0.9", "f1 >= 0.9", "sensitivity >= 1.5", "sensitivity >= 0", ""] {
            let message = parse(&[("threshold_for", bad.into())]).unwrap_err();
            assert!(message.contains("'sensitivity >= 0.95'"), "{message}");
        }
        for bad in [0.0, 1.0] {
            let message = parse(&[("threshold", bad.into())]).unwrap_err();
            assert!(message.ends_with("it takes a number between 0 and 1"), "{message}");
        }
        let both = [("threshold", 0.3.into()), ("threshold_for", "sensitivity >= 0.9".into())];
        assert_eq!(parse(&both).unwrap_err(), "threshold and threshold_for both set the threshold; keep one");
    }

    #[test]
    fn show_and_other_options_are_parsed_or_refused() {
        for (word, show) in Show::WORDS {
            assert_eq!(parse(&[("show", word.into())]).unwrap().show, show);
        }
        let message = parse(&[("show", "rock_curve".into())]).unwrap_err();
        let words = "'summary', 'roc_curve', 'pr_curve', 'calibration', 'confusion_matrix', 'stress', 'shortcuts'";
        assert!(message.contains(words), "{message}");
        assert!(message.contains("did you mean 'roc_curve'?"), "{message}");
        for word in ["roc_curve", "stress"] {
            let message = parse(&[("against", "b".into()), ("show", word.into())]).unwrap_err();
            assert_eq!(message, format!("against compares two models in one row; leave out show = '{word}'"));
        }
        for word in ["roc_curve", "pr_curve", "calibration", "shortcuts"] {
            let message = parse(&[("show", word.into()), ("threshold", 0.3.into())]).unwrap_err();
            assert_eq!(
                message,
                format!("the result of {word} does not depend on a threshold; leave the threshold out")
            );
        }
        let message = parse(&[("against", "b".into()), ("threshold_for", "recall >= 0.9".into())]).unwrap_err();
        assert_eq!(message, "the result of against does not depend on a threshold; leave the threshold out");
        for word in ["confusion_matrix", "stress"] {
            assert!(parse(&[("show", word.into()), ("threshold", 0.3.into())]).is_ok());
        }
        assert!(parse(&[("calibrated", OptionValue::Bool(true))]).unwrap().calibrated);
        let message = parse(&[("calibrated", "yes".into())]).unwrap_err();
        assert!(message.contains("true or false"), "{message}");
        let message = parse(&[("agianst", "b".into())]).unwrap_err();
        assert!(message.contains("did you mean 'against'?"), "{message}");
    }
}
