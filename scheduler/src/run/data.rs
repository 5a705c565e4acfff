//! Derives the model's definition from the profile of the rows, and refuses rows that a net cannot learn from.

use std::collections::BTreeMap;

use tusk_core::job::ProfileReport;
use tusk_core::manifest::{CLASSES_MAX, DataProfile, ModelDefinition, Preprocessing};
use tusk_core::options::{ClassWeights, Loss, ModelSpec, Normalize, Precision};
use tusk_core::{Error, Result};

/// Maximum number of unreadable images that an error names.
const NAMED_MAX: usize = 5;

/// Returns the definition for a profile job. It contains what is known before the rows are read.
pub(crate) fn undecided(spec: &ModelSpec) -> ModelDefinition {
    ModelDefinition {
        spec: spec.clone(),
        classes: Vec::new(),
        positive: None,
        loss: spec.training.loss.unwrap_or(Loss::CategoricalCrossentropy),
        precision: spec.net.precision,
        preprocessing: preprocessing(spec),
        class_weights: Vec::new(),
    }
}

/// Returns the preprocessing of a spec. The mean and the standard deviation are not known yet, so they are 0 and 1.
fn preprocessing(spec: &ModelSpec) -> Preprocessing {
    let plain = Preprocessing::plain(spec.input.image_size, spec.input.channels, 0.0, 1.0);
    let input = &spec.input;
    Preprocessing { border_crop: input.border_crop, resize: input.resize, intensity: input.intensity, ..plain }
}

/// The reports of the workers on the training rows (`train`) and, if the validation rows are another table, on that
/// table (`validate`).
pub(crate) struct Profile<'a> {
    /// The name of the rows in errors.
    pub(crate) name: &'a str,
    /// Reports on the training rows.
    pub(crate) train: &'a [ProfileReport],
    /// Reports on the rows of VALIDATE ON.
    pub(crate) validate: &'a [ProfileReport],
}

impl Profile<'_> {
    /// Returns the counts of the rows, and their fingerprint.
    pub(crate) fn data(&self) -> DataProfile {
        let reports = || self.train.iter().chain(self.validate);
        let mut val_rows = sum(self.train.iter().map(|r| &r.val_rows));
        for (class, rows) in sum(self.validate.iter().map(|r| &r.train_rows)) {
            *val_rows.entry(class).or_default() += rows;
        }
        DataProfile {
            train_rows: sum(self.train.iter().map(|r| &r.train_rows)),
            val_rows,
            skipped: reports().map(|r| r.skipped).sum(),
            rows_per_worker: self.train.iter().map(|r| r.task.rows).collect(),
            train_rows_per_worker: self.train.iter().map(|r| r.train_rows.values().sum()).collect(),
            fingerprint: format!("{:016x}", reports().map(|r| r.fingerprint).fold(0, u64::wrapping_add)),
            leak: None,
            shortcuts: None,
        }
    }

    /// Returns the model's definition.
    ///
    /// # Errors
    /// [`Error::Data`] if a net cannot learn from the rows, [`Error::ConflictingOptions`] and [`Error::InvalidOption`]
    /// if the rows do not fit the options.
    pub(crate) fn define(&self, spec: &ModelSpec, data: &DataProfile) -> Result<ModelDefinition> {
        self.check_rows(spec, data)?;
        let classes = self.classes(spec, data)?;
        let positive = positive(spec, &classes)?;
        let bf16 = self.train.iter().all(|r| r.has_bf16);
        Ok(ModelDefinition {
            loss: spec.loss_for(classes.len())?,
            precision: match spec.net.precision {
                Precision::Auto if bf16 => Precision::Bf16,
                Precision::Auto => Precision::F32,
                given => given,
            },
            preprocessing: self.preprocessing(spec),
            class_weights: class_weights(spec, &classes, data)?,
            spec: spec.clone(),
            classes,
            positive,
        })
    }

    fn check_rows(&self, spec: &ModelSpec, data: &DataProfile) -> Result<()> {
        let reports = || self.train.iter().chain(self.validate);
        let refuse = |message: String| Err(Error::Data { message });
        for reports in [self.train, self.validate] {
            if let Some(odd) = reports.iter().find(|r| r.rows_seen != reports[0].rows_seen) {
                return refuse(format!(
                    "{} changed while it was read: one worker saw {} rows, another {}. Run the statement again",
                    self.name, reports[0].rows_seen, odd.rows_seen
                ));
            }
        }
        let null_labels: u64 = reports().map(|r| r.null_labels).sum();
        if null_labels > 0 {
            return refuse(format!(
                "{null_labels} rows of {} have NULL in column '{label}'. Leave them out: \
                 TRAIN ON (SELECT * FROM ... WHERE {label} IS NOT NULL)",
                self.name,
                label = spec.data.label
            ));
        }
        let readable: u64 = reports().map(|r| r.task.rows).sum();
        if readable + data.skipped == 0 {
            return refuse(format!("{} has no rows", self.name));
        }
        let bad = data.skipped as f64 / (readable + data.skipped) as f64;
        if bad > spec.data.max_bad_fraction || readable == 0 {
            let named: Vec<String> = reports()
                .flat_map(|r| &r.unreadable)
                .take(NAMED_MAX)
                .map(|image| format!("{} ({})", image.name, image.reason))
                .collect();
            return refuse(format!(
                "{} of {} images of {} cannot be read, more than max_bad_fraction = {} allows: {}{}",
                data.skipped,
                readable + data.skipped,
                self.name,
                spec.data.max_bad_fraction,
                named.join("; "),
                if data.skipped > named.len() as u64 { "; ..." } else { "" }
            ));
        }
        Ok(())
    }

    fn classes(&self, spec: &ModelSpec, data: &DataProfile) -> Result<Vec<String>> {
        let refuse = |message: String| Err(Error::Data { message });
        let mut classes: Vec<String> = data.train_rows.keys().chain(data.val_rows.keys()).cloned().collect();
        // Classes are sorted as numbers if all of them are whole numbers, otherwise as text.
        match classes.iter().map(|c| c.parse::<i64>()).collect::<Result<Vec<_>, _>>() {
            Ok(_) => classes.sort_by_key(|c| c.parse::<i64>().unwrap_or(0)),
            Err(_) => classes.sort(),
        }
        classes.dedup();
        let (label, name) = (&spec.data.label, self.name);
        match classes.as_slice() {
            [] | [_] => refuse(format!(
                "column '{label}' of {name} holds one class ({}); a classifier needs two or more",
                classes.join("")
            )),
            many if many.len() > CLASSES_MAX => refuse(format!(
                "column '{label}' of {name} holds {} classes, more than {CLASSES_MAX}; is it the label?",
                many.len()
            )),
            _ => match classes.iter().find(|class| !data.train_rows.contains_key(*class)) {
                Some(class) if spec.split.folds.is_some() => refuse(format!(
                    "all rows of class '{class}' of {name} are in one fold; choose another seed or fewer folds"
                )),
                Some(class) => refuse(format!(
                    "all rows of class '{class}' of {name} are validation rows; lower validation_fraction, \
                     choose another seed, or give a table to VALIDATE ON"
                )),
                None => Ok(classes),
            },
        }
    }

    fn preprocessing(&self, spec: &ModelSpec) -> Preprocessing {
        let (mean, std) = match spec.input.normalize {
            Normalize::None => (0.0, 1.0),
            Normalize::Given { mean, std } => (mean, std),
            Normalize::FromData => {
                // The reports contain whole numbers, so the sum is exact in any order.
                let sum = |number: fn(&ProfileReport) -> u64| self.train.iter().map(|r| u128::from(number(r))).sum();
                let (count, total): (u128, u128) = (sum(|r| r.pixel_count), sum(|r| r.pixel_sum));
                let squares: u128 = sum(|r| r.pixel_square_sum);
                let mean = total as f64 / count.max(1) as f64 / 255.0;
                let variance = squares as f64 / count.max(1) as f64 / (255.0 * 255.0) - mean * mean;
                // If all pixels are equal, the variance is zero. The minimum of 1/255 avoids a division by zero.
                (mean, variance.max(0.0).sqrt().max(1.0 / 255.0))
            }
        };
        Preprocessing { mean, std, ..preprocessing(spec) }
    }
}

fn sum<'a>(counts: impl Iterator<Item = &'a BTreeMap<String, u64>>) -> BTreeMap<String, u64> {
    let mut total = BTreeMap::new();
    for (class, rows) in counts.flatten() {
        *total.entry(class.clone()).or_default() += rows;
    }
    total
}

fn positive(spec: &ModelSpec, classes: &[String]) -> Result<Option<usize>> {
    match &spec.prediction.positive {
        None if classes.len() == 2 => Ok(Some(1)),
        None => Ok(None),
        Some(wanted) => match classes.iter().position(|class| class == wanted) {
            Some(index) if classes.len() == 2 => Ok(Some(index)),
            Some(_) => Err(Error::ConflictingOptions {
                message: format!("positive requires two classes, but the table has {}; leave it out", classes.len()),
            }),
            None => Err(unknown_class("positive", wanted, classes)),
        },
    }
}

fn class_weights(spec: &ModelSpec, classes: &[String], data: &DataProfile) -> Result<Vec<f64>> {
    match &spec.training.class_weights {
        ClassWeights::None => Ok(vec![1.0; classes.len()]),
        ClassWeights::Given(weights) => {
            if let Some(unknown) = weights.keys().find(|class| !classes.contains(class)) {
                return Err(unknown_class("class_weights", unknown, classes));
            }
            Ok(classes.iter().map(|class| weights.get(class).copied().unwrap_or(1.0)).collect())
        }
        ClassWeights::Auto => {
            let total: u64 = data.train_rows.values().sum();
            let weight = |class: &String| {
                let rows = data.train_rows.get(class).copied().unwrap_or(0).max(1);
                total as f64 / (rows as f64 * classes.len() as f64)
            };
            Ok(classes.iter().map(weight).collect())
        }
    }
}

fn unknown_class(option: &str, class: &str, classes: &[String]) -> Error {
    Error::InvalidOption {
        option: option.to_owned(),
        value: format!("'{class}'"),
        expected: format!("the classes of the table: {}", classes.join(", ")),
        suggestion: tusk_core::error::nearest(class, classes.iter().map(String::as_str)),
    }
}

#[cfg(test)]
mod tests {
    use tusk_core::job::{TaskReport, UnreadableImage};
    use tusk_core::options::Architecture;

    use super::*;

    fn report(train: &[(&str, u64)]) -> ProfileReport {
        let train_rows: BTreeMap<String, u64> = train.iter().map(|(c, n)| ((*c).to_owned(), *n)).collect();
        let task = TaskReport::of_rows(train_rows.values().sum());
        ProfileReport { task, train_rows, ..ProfileReport::default() }
    }

    fn define(reports: &[ProfileReport], spec: &ModelSpec) -> Result<ModelDefinition> {
        let profile = Profile { name: "xrays", train: reports, validate: &[] };
        profile.define(spec, &profile.data())
    }

    fn refusal(report: ProfileReport, spec: &ModelSpec) -> String {
        define(&[report], spec).unwrap_err().to_string()
    }

    #[test]
    fn classes_are_sorted_and_weighted_and_the_last_is_positive() {
        let spec = ModelSpec::new(Architecture::CNN);
        let reports = [report(&[("PNEUMONIA", 20), ("NORMAL", 5)]), report(&[("PNEUMONIA", 10), ("NORMAL", 5)])];
        let definition = define(&reports, &spec).unwrap();
        assert_eq!(definition.classes, ["NORMAL", "PNEUMONIA"]);
        assert_eq!(definition.positive, Some(1));
        assert_eq!(definition.class_weights, [2.0, 40.0 / 60.0]);
        let numbers = define(&[report(&[("10", 1), ("9", 1), ("-1", 1)])], &spec).unwrap();
        assert_eq!(numbers.classes, ["-1", "9", "10"]);
        assert_eq!(numbers.loss, Loss::CategoricalCrossentropy);
    }

    #[test]
    fn unusable_rows_are_refused_with_advice() {
        let spec = ModelSpec::new(Architecture::CNN);
        assert_eq!(refusal(ProfileReport::default(), &spec), "xrays has no rows");
        assert_eq!(
            refusal(report(&[("NORMAL", 5)]), &spec),
            "column 'label' of xrays holds one class (NORMAL); a classifier needs two or more"
        );
        assert_eq!(
            refusal(ProfileReport { null_labels: 2, ..report(&[("A", 1), ("B", 1)]) }, &spec),
            "2 rows of xrays have NULL in column 'label'. Leave them out: \
             TRAIN ON (SELECT * FROM ... WHERE label IS NOT NULL)"
        );
        let unreadable = vec![UnreadableImage { name: "a.jpeg".into(), reason: "it is empty".into() }];
        assert_eq!(
            refusal(ProfileReport { skipped: 2, unreadable, ..report(&[("A", 4), ("B", 4)]) }, &spec),
            "2 of 10 images of xrays cannot be read, more than max_bad_fraction = 0.01 allows: a.jpeg (it is empty); ..."
        );
    }

    #[test]
    fn an_option_with_an_unknown_class_is_refused() {
        let rows = [report(&[("NORMAL", 5), ("PNEUMONIA", 5)])];
        let spec = ModelSpec::new(Architecture::CNN).with(|spec| spec.prediction.positive = Some("PNEUMONA".into()));
        assert_eq!(
            define(&rows, &spec).unwrap_err().to_string(),
            "option 'positive' is 'PNEUMONA'; it takes the classes of the table: NORMAL, PNEUMONIA; \
             did you mean 'PNEUMONIA'?"
        );
        let spec = ModelSpec::new(Architecture::CNN).with(|spec| spec.training.loss = Some(Loss::BinaryCrossentropy));
        assert!(define(&[report(&[("a", 1), ("b", 1), ("c", 1)])], &spec).is_err());
    }
}
