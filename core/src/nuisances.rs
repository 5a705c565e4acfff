//! The nuisances of images: numbers and words that have nothing to do with their subject.
//!
//! The scheduler reads them before a run, and the run compares them with the scores of its validation rows.

use serde::{Deserialize, Serialize};

/// Maximum number of images whose nuisances a run takes.
pub const NUISANCE_ROWS_MAX: usize = 2000;

/// Maximum number of nuisances that a run takes.
pub const NUISANCES_MAX: usize = 64;

/// A nuisance of one image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// A number.
    Number(f64),
    /// A word.
    Word(String),
}

impl Value {
    fn word(&self) -> Option<&str> {
        match self {
            Self::Word(word) => Some(word),
            Self::Number(_) => None,
        }
    }
}

/// A nuisance of several images.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NuisanceColumn {
    /// Its name, such as `width`.
    pub name: String,
    /// Its value for each image. `None` if the image does not have one.
    pub values: Vec<Option<Value>>,
}

impl NuisanceColumn {
    /// Returns whether its values are words.
    #[must_use]
    pub fn is_word(&self) -> bool {
        self.values.iter().flatten().any(|value| matches!(value, Value::Word(_)))
    }

    /// Returns its words, one per image. `None` for an image without one.
    #[must_use]
    pub fn words(&self) -> Vec<Option<&str>> {
        self.values.iter().map(|value| value.as_ref().and_then(Value::word)).collect()
    }

    /// Returns its numbers, one per image. An image without one has negative infinity: the lack of a value says
    /// something, too.
    #[must_use]
    pub fn numbers(&self) -> Vec<f64> {
        let number = |value: &Option<Value>| match value {
            Some(Value::Number(number)) if !number.is_nan() => *number,
            _ => f64::NEG_INFINITY,
        };
        self.values.iter().map(number).collect()
    }
}

/// The nuisances of some images.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Nuisances {
    /// The content hash of each image.
    pub contents: Vec<u64>,
    /// The nuisances. Each has a value for each image, in the order of `contents`.
    pub columns: Vec<NuisanceColumn>,
}

impl Nuisances {
    /// Returns the nuisances of some of the images, which are given by their places. Returns as many as a run takes.
    #[must_use]
    pub fn of_run(&self, images: impl IntoIterator<Item = usize>) -> Self {
        let images: Vec<usize> =
            images.into_iter().filter(|image| *image < self.contents.len()).take(NUISANCE_ROWS_MAX).collect();
        let column = |column: &NuisanceColumn| NuisanceColumn {
            name: column.name.clone(),
            values: images.iter().map(|image| column.values.get(*image).cloned().flatten()).collect(),
        };
        Self {
            contents: images.iter().filter_map(|image| self.contents.get(*image).copied()).collect(),
            columns: self.columns.iter().take(NUISANCES_MAX).map(column).collect(),
        }
    }

    /// Checks the nuisances in a request, because messages are not trusted.
    ///
    /// # Errors
    /// Returns a description of what is invalid.
    pub fn check(&self) -> Result<(), String> {
        let (images, nuisances) = (self.contents.len(), self.columns.len());
        if images > NUISANCE_ROWS_MAX || nuisances > NUISANCES_MAX {
            return Err(format!(
                "it has {nuisances} nuisances of {images} images; a run takes at most {NUISANCES_MAX} of \
                 {NUISANCE_ROWS_MAX} images"
            ));
        }
        match self.columns.iter().find(|column| column.values.len() != images) {
            Some(NuisanceColumn { name, values }) => {
                Err(format!("its nuisance '{name}' has {} values for {images} images", values.len()))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nuisances() -> Nuisances {
        let number = |number: f64| Some(Value::Number(number));
        let word = |word: &str| Some(Value::Word(word.to_owned()));
        Nuisances {
            contents: vec![7, u64::MAX, 9],
            columns: vec![
                NuisanceColumn { name: "width".to_owned(), values: vec![number(640.5), None, number(-3.0)] },
                NuisanceColumn { name: "format".to_owned(), values: vec![word("png"), word("jpeg"), None] },
            ],
        }
    }

    #[test]
    fn nuisances_survive_json_and_what_is_not_finite_is_missing() {
        let text = serde_json::to_string(&nuisances()).unwrap();
        assert_eq!(serde_json::from_str::<Nuisances>(&text).unwrap(), nuisances());
        let infinite = serde_json::to_string(&Some(Value::Number(f64::INFINITY))).unwrap();
        assert_eq!(serde_json::from_str::<Option<Value>>(&infinite).unwrap(), None);
        assert_eq!(serde_json::from_str::<Option<Value>>("12").unwrap(), Some(Value::Number(12.0)));
    }

    #[test]
    fn a_missing_number_is_the_lowest_and_a_missing_word_is_none() {
        let columns = nuisances().columns;
        let [width, format] = &columns[..] else { panic!("two nuisances") };
        assert!(!width.is_word() && format.is_word());
        assert_eq!(width.numbers(), [640.5, f64::NEG_INFINITY, -3.0]);
        assert_eq!(format.words(), [Some("png"), Some("jpeg"), None]);
    }

    #[test]
    fn a_run_takes_some_of_the_images() {
        let some = nuisances().of_run([2, 5, 0]);
        assert_eq!(some.contents, [9, 7]);
        assert_eq!(some.columns[1].words(), [None, Some("png")]);
        let many = Nuisances {
            contents: vec![1; NUISANCE_ROWS_MAX + 1],
            columns: vec![NuisanceColumn { name: "x".to_owned(), values: vec![None; NUISANCE_ROWS_MAX + 1] }; 65],
        };
        assert!(many.check().unwrap_err().starts_with("it has 65 nuisances of 2001 images"));
        assert_eq!(many.of_run(0..3000).check(), Ok(()));
        let mut uneven = nuisances();
        uneven.columns[1].values.pop();
        assert_eq!(uneven.check().unwrap_err(), "its nuisance 'format' has 2 values for 3 images");
    }
}
