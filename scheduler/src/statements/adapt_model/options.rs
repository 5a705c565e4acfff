//! The options of ADAPT MODEL.

use tusk_core::error::Error;
use tusk_core::manifest::Manifest;
use tusk_core::options::OptionValue;

use crate::error::Result;
use crate::run::adaptation::Measuring;

/// Rows per batch if the option is left out.
const BATCH_SIZE: u32 = 64;

/// The options of a statement.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct AdaptOptions {
    pub(super) image: Option<String>,
    /// `None` is one per device.
    pub(super) workers: Option<u32>,
    pub(super) class_prior: bool,
    batch_size: Option<u32>,
    strength: Option<f64>,
}

/// One option.
struct AdaptOption {
    name: &'static str,
    /// Describes its default, for the manual.
    #[cfg_attr(not(test), expect(dead_code, reason = "a test compares it with the manual"))]
    default: &'static str,
    /// Describes the accepted values, for the manual and for errors.
    accepts: &'static str,
    /// Its meaning, for the manual.
    #[cfg_attr(not(test), expect(dead_code, reason = "a test compares it with the manual"))]
    meaning: &'static str,
    /// Sets its value. `None` if it is not accepted.
    set: fn(&mut AdaptOptions, &OptionValue) -> Option<()>,
}

/// All options, in the order of the manual.
static OPTIONS: [AdaptOption; 5] = [
    AdaptOption {
        name: "image",
        default: "that of the training",
        accepts: "a column name",
        meaning: "column of the images",
        set: |options, value| {
            let OptionValue::Text(column) = value else { return None };
            options.image = Some(column.trim().to_owned());
            Some(())
        },
    },
    AdaptOption {
        name: "workers",
        default: "'auto'",
        accepts: "'auto' or a whole number from 1 to 10000",
        meaning: "number of workers; 'auto' is one per executor device, but a single one if any had less than a batch",
        set: |options, value| {
            options.workers = match value {
                OptionValue::Text(text) if text.eq_ignore_ascii_case("auto") => None,
                _ => Some(whole(value, 1, 10_000)?),
            };
            Some(())
        },
    },
    AdaptOption {
        name: "batch_size",
        default: "64",
        accepts: "a whole number from 2 to 4096",
        meaning: "images per batch; a single image that remains is added to the batch before it",
        set: |options, value| {
            options.batch_size = Some(whole(value, 2, 4096)?);
            Some(())
        },
    },
    AdaptOption {
        name: "strength",
        default: "1",
        accepts: "a number from 0 to 1",
        meaning: "weight of the new statistics; those of the model have the rest. 0 leaves them as they are, for class_prior alone",
        set: |options, value| {
            let OptionValue::Number(digits) = value else { return None };
            options.strength = Some(digits.parse::<f64>().ok().filter(|strength| (0.0..=1.0).contains(strength))?);
            Some(())
        },
    },
    AdaptOption {
        name: "class_prior",
        default: "false",
        accepts: "true or false",
        meaning: "whether to estimate the class frequencies of the images, and to correct all probabilities for them",
        set: |options, value| {
            let OptionValue::Bool(class_prior) = value else { return None };
            options.class_prior = *class_prior;
            Some(())
        },
    },
];

/// Returns a whole number between bounds.
fn whole(value: &OptionValue, low: u32, high: u32) -> Option<u32> {
    let OptionValue::Number(digits) = value else { return None };
    digits.parse::<u32>().ok().filter(|number| (low..=high).contains(number))
}

impl AdaptOptions {
    /// Parses the options of a statement.
    ///
    /// # Errors
    /// Returns an error if an option is unknown or given twice, or its value is invalid.
    pub(super) fn parse(options: &[(String, OptionValue)]) -> Result<Self> {
        let mut parsed = Self::default();
        for (place, (key, value)) in options.iter().enumerate() {
            if options[..place].iter().any(|(earlier, _)| earlier.eq_ignore_ascii_case(key)) {
                let message = format!("option '{key}' is given twice; keep one");
                return Err(Error::ConflictingOptions { message }.into());
            }
            let Some(option) = OPTIONS.iter().find(|option| option.name.eq_ignore_ascii_case(key)) else {
                return Err(Error::unknown_option(key, &OPTIONS.each_ref().map(|option| option.name)).into());
            };
            (option.set)(&mut parsed, value).ok_or_else(|| Error::InvalidOption {
                option: option.name.to_owned(),
                value: value.to_string(),
                expected: option.accepts.to_owned(),
                suggestion: None,
            })?;
        }
        Ok(parsed)
    }

    /// Returns how the statistics of a model are adapted, or `None` if they stay as they are.
    ///
    /// # Errors
    /// Returns an error if nothing of the model would be adapted, or if an option would have no effect on it.
    pub(super) fn measuring(&self, manifest: &Manifest) -> Result<Option<Measuring>> {
        let name = &manifest.name;
        let mut nets = manifest.nets().filter_map(|(_, definition)| definition.spec.architecture.net());
        let normalises = nets.any(|net| net.has_normalisation());
        let strength = self.strength.unwrap_or(1.0);
        let unused = match (normalises, self.batch_size, self.strength) {
            (false, Some(_), _) => Some("batch_size"),
            (false, _, Some(_)) => Some("strength"),
            _ => None,
        };
        let problem = match unused {
            _ if !normalises && !self.class_prior => Some(format!(
                "'{name}' ({}) has no normalization layers, so there are no statistics to adapt; class_prior = true corrects \
                 its probabilities for the class frequencies of the images, or train a net with such layers, such as cnn",
                manifest.definition.spec.architecture
            )),
            Some(option) => Some(format!(
                "{option} is for the statistics of normalization layers, and '{name}' has no such layers; leave it out"
            )),
            None if normalises && strength == 0.0 && !self.class_prior => Some(
                "strength = 0 leaves the statistics as they are, so nothing would be adapted; use a strength above 0, or \
                 class_prior = true"
                    .to_owned(),
            ),
            None if normalises && strength == 0.0 && self.batch_size.is_some() => {
                Some("batch_size has no effect with strength = 0; leave it out".to_owned())
            }
            None if self.class_prior && manifest.assumed_frequencies().is_none() => Some(format!(
                "class_prior needs the class frequencies of the training rows, which an ensemble like '{name}' does not have; \
                 create the ensemble with VALIDATE ON"
            )),
            None => None,
        };
        match problem {
            Some(message) => Err(Error::ConflictingOptions { message }.into()),
            None => {
                let batch_size = self.batch_size.unwrap_or(BATCH_SIZE);
                Ok((normalises && strength > 0.0).then_some(Measuring { batch_size, strength }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(options: &[(&str, OptionValue)]) -> std::result::Result<AdaptOptions, String> {
        let options: Vec<_> = options.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        AdaptOptions::parse(&options).map_err(|error| error.to_string())
    }

    #[test]
    fn options_are_parsed_or_refused_with_what_they_take() {
        let parsed = parse(&[
            ("IMAGE", " picture ".into()),
            ("workers", 3_u64.into()),
            ("batch_size", 2_u64.into()),
            ("strength", 0.25.into()),
            ("class_prior", true.into()),
        ]);
        let wanted = AdaptOptions {
            image: Some("picture".to_owned()),
            workers: Some(3),
            class_prior: true,
            batch_size: Some(2),
            strength: Some(0.25),
        };
        assert_eq!(parsed, Ok(wanted));
        assert_eq!(parse(&[("workers", "AUTO".into())]), Ok(AdaptOptions::default()));
        let refused: [(&str, OptionValue, &str); 6] = [
            ("workers", 0_u64.into(), "option 'workers' is 0; it takes 'auto' or a whole number from 1 to 10000"),
            ("batch_size", 1_u64.into(), "option 'batch_size' is 1; it takes a whole number from 2 to 4096"),
            ("strength", 1.5.into(), "option 'strength' is 1.5; it takes a number from 0 to 1"),
            ("class_prior", "yes".into(), "option 'class_prior' is 'yes'; it takes true or false"),
            ("image", true.into(), "option 'image' is true; it takes a column name"),
            (
                "strenght",
                1_u64.into(),
                "unknown option 'strenght'; did you mean 'strength'? The options are: image, workers, batch_size, strength, \
                 class_prior",
            ),
        ];
        for (key, value, message) in refused {
            assert_eq!(parse(&[(key, value)]), Err(message.to_owned()));
        }
        let twice = parse(&[("strength", 0.5.into()), ("Strength", 0.5.into())]);
        assert_eq!(twice, Err("option 'Strength' is given twice; keep one".to_owned()));
    }

    #[test]
    fn the_manual_lists_the_options() {
        let manual = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/evaluation.md")).unwrap();
        let row = |AdaptOption { name, default, accepts, meaning, .. }: &AdaptOption| {
            format!("| `{name}` | {default} | {accepts} | {meaning} |\n")
        };
        let table = OPTIONS.iter().map(row).collect::<String>();
        assert!(manual.contains(&table), "docs/evaluation.md does not have these rows:\n{table}");
    }
}
