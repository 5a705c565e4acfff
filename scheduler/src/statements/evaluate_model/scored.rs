//! Collects the true classes and probabilities of rows from the cluster.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::arrow::array::{Array, AsArray, StringArray};
use datafusion::arrow::datatypes::{DataType, Float32Type, UInt64Type};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::error::DataFusionError;
use tusk_core::error::Error;
use tusk_core::random::content_hash;

use crate::error::Result;

/// Scored rows, and the number of rows with an unreadable image.
#[derive(Clone, Debug, Default)]
pub(super) struct Scored {
    /// The true class of each row.
    pub(super) truth: Vec<usize>,
    /// The probabilities of the model: rows x classes.
    pub(super) probabilities: Vec<f32>,
    /// The probabilities of the model it is compared with: rows x classes. Empty if there is none.
    pub(super) others: Vec<f32>,
    /// The group of each row.
    pub(super) groups: Vec<u64>,
    /// The content hash of each row. Empty if it was not asked for.
    pub(super) contents: Vec<u64>,
    /// The part of each row. Each part is evaluated on its own.
    by: Vec<Option<String>>,
    skipped: BTreeMap<Option<String>, u64>,
}

impl Scored {
    /// Adds a batch with the columns truth, group, part, probabilities and, if they were asked for, others (the
    /// probabilities of another model) and content (the content hash).
    pub(super) fn take(&mut self, batch: &RecordBatch, classes: &[String], rows_name: &str) -> Result<()> {
        let [truth, groups, parts] = [0, 1, 2].map(|column| text(batch, column));
        let (truth, groups, parts) = (truth?, groups?, parts?);
        let maps = ["probabilities", "others"].map(|name| batch.column_by_name(name).map(|column| column.as_map()));
        let contents = batch.column_by_name("content").map(|column| column.as_primitive::<UInt64Type>());
        for row in 0..batch.num_rows() {
            if truth.is_null(row) {
                let message = format!("{rows_name} has rows whose label is NULL; leave them out with WHERE");
                return Err(Error::Data { message }.into());
            }
            let label = truth.value(row);
            let Some(class) = classes.iter().position(|class| class == label) else {
                let message = format!(
                    "{rows_name} has the class '{label}', which the model does not know; its classes are {}",
                    classes.join(", ")
                );
                return Err(Error::Data { message }.into());
            };
            let part = (!parts.is_null(row)).then(|| parts.value(row).to_owned());
            if maps.iter().flatten().any(|map| map.is_null(row)) {
                *self.skipped.entry(part).or_default() += 1;
                continue;
            }
            for (map, kept) in maps.iter().zip([&mut self.probabilities, &mut self.others]) {
                let Some(map) = map else { continue };
                kept.extend(map.value(row).column(1).as_primitive::<Float32Type>().values().iter());
            }
            self.contents.extend(contents.map(|contents| contents.value(row)));
            self.truth.push(class);
            self.by.push(part);
            let group = (!groups.is_null(row)).then(|| content_hash(groups.value(row).as_bytes()));
            // A row without a group is a group of its own.
            self.groups.push(group.unwrap_or(self.truth.len() as u64));
        }
        Ok(())
    }

    /// The number of rows with an unreadable image.
    pub(super) fn skipped(&self) -> u64 {
        self.skipped.values().sum()
    }

    /// Returns for each row whether a class is the true one, and the probability of this class.
    pub(super) fn binary(&self, positive: usize) -> (Vec<bool>, Vec<f64>) {
        (self.truth.iter().map(|class| *class == positive).collect(), column(&self.probabilities, positive))
    }

    /// Returns the probability of a class by the other model.
    pub(super) fn other_score(&self, positive: usize) -> Vec<f64> {
        column(&self.others, positive)
    }

    /// Returns the rows of each part, sorted by part.
    pub(super) fn parts(&self, classes: usize) -> Vec<(Option<String>, Self)> {
        let names: BTreeSet<&Option<String>> = self.by.iter().chain(self.skipped.keys()).collect();
        names.into_iter().map(|name| (name.clone(), self.part(name, classes))).collect()
    }

    fn part(&self, name: &Option<String>, classes: usize) -> Self {
        let rows: Vec<usize> = (0..self.truth.len()).filter(|row| self.by[*row] == *name).collect();
        let of = |values: &[f32]| {
            let row = |row: &usize| values.get(row * classes..(row + 1) * classes).unwrap_or(&[]).to_vec();
            rows.iter().flat_map(row).collect()
        };
        Self {
            truth: rows.iter().map(|row| self.truth[*row]).collect(),
            probabilities: of(&self.probabilities),
            others: of(&self.others),
            groups: rows.iter().map(|row| self.groups[*row]).collect(),
            contents: rows.iter().filter_map(|row| self.contents.get(*row).copied()).collect(),
            by: vec![name.clone(); rows.len()],
            skipped: self.skipped.get(name).map(|rows| (name.clone(), *rows)).into_iter().collect(),
        }
    }
}

/// Returns the probabilities of one class. There must be two classes.
fn column(probabilities: &[f32], class: usize) -> Vec<f64> {
    probabilities.iter().skip(class).step_by(2).copied().map(f64::from).collect()
}

fn text(batch: &RecordBatch, column: usize) -> Result<StringArray> {
    let column = datafusion::arrow::compute::cast(batch.column(column), &DataType::Utf8);
    Ok(column.map_err(DataFusionError::from)?.as_string::<i32>().clone())
}
