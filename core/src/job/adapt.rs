//! The adapt job: measures the statistics of images at the normalisation layers of a net. Its task output has the mean
//! and the variance of each channel of these layers.

use std::collections::BTreeMap;
use std::fmt;

use datafusion::arrow::record_batch::RecordBatch;
use serde::{Deserialize, Serialize};

use super::report::{COUNT_MAX, Report, TaskReport};
use super::{Job, JobInput};
use crate::error::{Error, Result};
use crate::ids::WorkerId;
use crate::manifest::FileRef;
use crate::physical::{TaskOutput, output_rows};
use crate::state::{ModelState, NamedTensor, is_running_statistic};

/// What batch normalisation adds to a variance before it takes the root.
const EPSILON: f64 = 1e-5;

/// The input of the adapt job. All rows are used, in the order of the shard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Adapt {
    /// The weights of the net.
    pub weights: FileRef,
    /// The number of the net, from 1. An ensemble has several nets, and each has its own job.
    pub net: u32,
    /// Rows per batch, at least 2. The last batch may have fewer rows, or one more.
    pub batch_size: u32,
}

impl From<Adapt> for Job {
    fn from(job: Adapt) -> Self {
        Self::Adapt(job)
    }
}

impl JobInput for Adapt {
    type Report = AdaptReport;
}

impl fmt::Display for Adapt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "net={}, batch_size={}", self.net, self.batch_size)
    }
}

/// The report of a worker.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AdaptReport {
    /// The common part. Its rows are the measured rows.
    pub task: TaskReport,
}

impl Report for AdaptReport {
    fn task(&self) -> &TaskReport {
        &self.task
    }

    fn task_mut(&mut self) -> &mut TaskReport {
        &mut self.task
    }
}

/// The statistics of rows at one layer.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerStatistics {
    /// The number of rows.
    pub rows: u64,
    /// The mean of each channel.
    pub mean: Vec<f64>,
    /// The variance of each channel: the mean squared distance from the mean. As long as `mean`.
    pub variance: Vec<f64>,
}

impl LayerStatistics {
    /// Adds the statistics of other rows, which must have as many channels. The variance of all rows is the mean of the
    /// two variances plus the variance of the two means (Chan, Golub & LeVeque 1979). Unlike the difference of two
    /// means of squares, it is exact also if the mean is far from 0.
    fn add(&mut self, other: &Self) {
        let share = other.rows as f64 / (self.rows + other.rows).max(1) as f64;
        let channels = self.mean.iter_mut().zip(&mut self.variance).zip(other.mean.iter().zip(&other.variance));
        for ((mean, variance), (other_mean, other_variance)) in channels {
            let apart = other_mean - *mean;
            *variance = (1.0 - share) * *variance + share * other_variance + share * (1.0 - share) * apart * apart;
            *mean += share * apart;
        }
        self.rows += other.rows;
    }

    fn is_finite(&self) -> bool {
        let is_variance = |variance: &f64| variance.is_finite() && *variance >= 0.0;
        self.mean.iter().all(|mean| mean.is_finite()) && self.variance.iter().all(is_variance)
    }
}

/// The statistics of rows at all normalisation layers of a net, by the name of the layer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Statistics(BTreeMap<String, LayerStatistics>);

impl Statistics {
    /// Adds the statistics of other rows at a layer.
    ///
    /// # Errors
    /// [`Error::Data`] if a number is NaN or infinite, [`Error::Wire`] if the number of channels differs.
    pub fn add(&mut self, layer: &str, other: LayerStatistics) -> Result<()> {
        if !other.is_finite() {
            let message = format!(
                "layer {layer} has NaN or infinite statistics on these images; train the model again with precision = \
                 'f32' or a lower learning_rate"
            );
            return Err(Error::Data { message });
        }
        match self.0.get_mut(layer) {
            Some(known) if known.mean.len() != other.mean.len() || other.variance.len() != other.mean.len() => {
                let (found, wanted) = (other.mean.len(), known.mean.len());
                return Err(wire(layer, &format!("it has {found} channels, but others have {wanted}")));
            }
            Some(known) => known.add(&other),
            None => drop(self.0.insert(layer.to_owned(), other)),
        }
        Ok(())
    }

    /// The layers, in the order of their names.
    pub fn layers(&self) -> impl Iterator<Item = (&str, &LayerStatistics)> {
        self.0.iter().map(|(layer, statistics)| (layer.as_str(), statistics))
    }

    /// Checks that every layer has the statistics of this number of rows.
    ///
    /// # Errors
    /// [`Error::Wire`] if a layer has more or fewer, or if there is no layer.
    pub fn check(&self, rows: u64) -> Result<()> {
        match self.layers().find(|(_, statistics)| statistics.rows != rows) {
            Some((layer, found)) => Err(wire(layer, &format!("it has {} rows and should have {rows}", found.rows))),
            None if self.0.is_empty() => Err(wire("none", &"the workers measured no layer")),
            None => Ok(()),
        }
    }

    /// Returns a state whose running statistics are moved towards these. A `strength` of 1 replaces them, 0 leaves them
    /// as they are (Schneider et al. 2020, arXiv 2006.16971).
    ///
    /// # Errors
    /// [`Error::Wire`] if a layer of the state is missing here or has another number of channels.
    pub fn mixed_into(&self, state: &ModelState, strength: f64) -> Result<ModelState> {
        let mixed = state.iter().map(|tensor| {
            let NamedTensor { name, shape, data } = tensor;
            let found = match self.values(name) {
                Some(found) if found.len() == data.len() => found,
                None if !is_running_statistic(name) => return Ok(tensor.clone()),
                _ => return Err(wire(name, &"it was not measured, or with another number of channels")),
            };
            let mix = |(before, found): (&f32, &f64)| ((1.0 - strength) * f64::from(*before) + strength * found) as f32;
            let data = data.iter().zip(found).map(mix).collect();
            Ok(NamedTensor { name: name.clone(), shape: shape.clone(), data })
        });
        Ok(ModelState::new(mixed.collect::<Result<Vec<_>>>()?))
    }

    /// Returns the measured values of a running statistic.
    fn values(&self, tensor: &str) -> Option<&[f64]> {
        let (layer, part) = tensor.rsplit_once('.')?;
        let LayerStatistics { mean, variance, .. } = self.0.get(layer)?;
        match part {
            "running_mean" => Some(mean),
            "running_var" => Some(variance),
            _ => None,
        }
    }

    /// Returns for each layer how far these statistics are from the running statistics of a state, in standard
    /// deviations of the latter. It is the mean over the channels of the distance between two normal distributions
    /// (2-Wasserstein).
    ///
    /// # Errors
    /// [`Error::Wire`] if the state has no such layer, or one with another number of channels.
    pub fn shifts(&self, state: &ModelState) -> Result<Vec<(&str, f64)>> {
        let shift = |layer: &str, found: &LayerStatistics| -> Result<f64> {
            let running = |part: &str| {
                let tensor = state.get(&format!("{layer}.{part}")).filter(|t| t.data.len() == found.mean.len());
                tensor.ok_or_else(|| wire(layer, &"the net has no such layer"))
            };
            let (means, variances) = (running("running_mean")?, running("running_var")?);
            let before = means.data.iter().zip(&variances.data);
            let channels = before.zip(found.mean.iter().zip(&found.variance));
            let shifts = channels.map(|((mean, variance), (new_mean, new_variance))| {
                let deviation = (f64::from(*variance).max(0.0) + EPSILON).sqrt();
                let apart = (new_mean - f64::from(*mean)).hypot((new_variance + EPSILON).sqrt() - deviation);
                apart / deviation
            });
            Ok(shifts.sum::<f64>() / found.mean.len().max(1) as f64)
        };
        self.layers().map(|(layer, found)| Ok((layer, shift(layer, found)?))).collect()
    }

    /// Converts the statistics to rows of a task output. The array of a layer has its rows, means and variances, f64
    /// each.
    pub fn rows(&self, worker: WorkerId) -> impl Iterator<Item = Result<RecordBatch>> {
        self.0.iter().flat_map(move |(layer, LayerStatistics { rows, mean, variance })| {
            let values: Vec<f64> = std::iter::once(*rows as f64).chain(mean.iter().chain(variance).copied()).collect();
            output_rows(worker, layer, bytemuck::cast_slice(&values)).collect::<Vec<_>>()
        })
    }

    /// Adds a row of a task output. Rows must be added in the order of the workers, so that the sums are bit-identical.
    ///
    /// # Errors
    /// [`Error::Wire`] if the row is not the statistics of a layer, and the errors of [`Self::add`].
    pub fn fold(&mut self, output: &TaskOutput<'_>) -> Result<()> {
        let (numbers, rest) = output.data.as_chunks::<8>();
        let numbers: Vec<f64> = numbers.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
        let [rows, channels @ ..] = numbers.as_slice() else { return Err(wire(output.name, &"it is empty")) };
        let (mean, variance) = channels.split_at(channels.len() / 2);
        if output.piece > 0 || !rest.is_empty() || mean.is_empty() || mean.len() != variance.len() {
            return Err(wire(output.name, &"it has not as many means as variances"));
        }
        if rows.fract() != 0.0 || !(1.0..=COUNT_MAX as f64).contains(rows) {
            return Err(wire(output.name, &format!("it has {rows} rows")));
        }
        self.add(output.name, LayerStatistics { rows: *rows as u64, mean: mean.to_vec(), variance: variance.to_vec() })
    }
}

fn wire(layer: &str, reason: &dyn fmt::Display) -> Error {
    Error::Wire { what: "measurement of statistics", reason: format!("layer {layer}: {reason}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The statistics of values of one channel.
    fn of(values: &[f64]) -> LayerStatistics {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64;
        LayerStatistics { rows: values.len() as u64, mean: vec![mean], variance: vec![variance] }
    }

    fn total(parts: &[&[f64]]) -> Statistics {
        let mut total = Statistics::default();
        parts.iter().for_each(|part| total.add("bn1", of(part)).unwrap());
        total
    }

    #[test]
    fn the_variance_of_parts_has_the_variance_between_them_and_does_not_cancel() {
        // The mean is a million times the standard deviation.
        let values: Vec<f64> = (0..100).map(|i| 1e6 + f64::from(i % 7) + if i < 30 { 5.0 } else { 0.0 }).collect();
        let whole = of(&values);
        let found = total(&[&values[..30], &values[30..31], &values[31..]]);
        let (_, found) = found.layers().next().unwrap();
        assert_eq!(found.rows, 100);
        assert!((found.mean[0] - whole.mean[0]).abs() < 1e-6, "{found:?} {whole:?}");
        assert!((found.variance[0] - whole.variance[0]).abs() < 1e-6, "{found:?} {whole:?}");
        let within = (of(&values[..30]).variance[0] * 30.0 + of(&values[30..]).variance[0] * 70.0) / 100.0;
        assert!(whole.variance[0] > within + 1.0);
    }

    #[test]
    fn statistics_survive_the_task_output_and_the_first_part_is_taken_as_it_is() {
        let mut sent = total(&[&[1.0, 2.5, -3.0]]);
        sent.add("bn0", LayerStatistics { rows: 3, mean: vec![0.1, 0.2], variance: vec![0.0, f64::MIN_POSITIVE] })
            .unwrap();
        let mut found = Statistics::default();
        let receive = |found: &mut Statistics| {
            for batch in sent.rows(WorkerId(1)) {
                for output in TaskOutput::rows(&batch.unwrap()).unwrap() {
                    found.fold(&output).unwrap();
                }
            }
        };
        receive(&mut found);
        assert_eq!(found, sent);
        assert!(found.check(3).is_ok());
        receive(&mut found);
        let message = found.check(3).unwrap_err().to_string();
        assert!(message.contains("layer bn0: it has 6 rows and should have 3"), "{message}");
        assert!(Statistics::default().check(0).is_err());
    }

    #[test]
    fn the_strength_is_the_weight_of_the_new_statistics() {
        let tensor =
            |name: &str, data: &[f32]| NamedTensor { name: name.into(), shape: vec![data.len()], data: data.to_vec() };
        let state = ModelState::new([
            tensor("bn1.weight", &[7.0, 8.0]),
            tensor("bn1.running_mean", &[1.0, -1.0]),
            tensor("bn1.running_var", &[4.0, 1.0]),
        ]);
        let mut statistics = Statistics::default();
        statistics.add("bn1", LayerStatistics { rows: 9, mean: vec![3.0, -1.0], variance: vec![4.0, 9.0] }).unwrap();
        let mixed = |strength| statistics.mixed_into(&state, strength).unwrap();
        assert_eq!(mixed(0.0), state);
        assert_eq!(mixed(0.25).get("bn1.running_mean").unwrap().data, [1.5, -1.0]);
        assert_eq!(mixed(0.25).get("bn1.running_var").unwrap().data, [4.0, 3.0]);
        assert_eq!(mixed(1.0).get("bn1.running_var").unwrap().data, [4.0, 9.0]);
        assert_eq!(mixed(1.0).get("bn1.weight"), state.get("bn1.weight"));
        // The mean of the first channel moves by one standard deviation, and the standard deviation of the second by
        // two.
        let shifts = statistics.shifts(&state).unwrap();
        assert!(shifts[0].0 == "bn1" && (shifts[0].1 - 1.5).abs() < 1e-4, "{shifts:?}");
        let other = ModelState::new([tensor("bn2.running_mean", &[0.0]), tensor("bn2.running_var", &[1.0])]);
        assert!(statistics.mixed_into(&other, 1.0).is_err() && statistics.shifts(&other).is_err());
    }

    #[test]
    fn a_malformed_layer_is_refused() {
        let numbers = |numbers: &[f64]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>();
        for bytes in [
            vec![],
            vec![0; 7],
            numbers(&[3.0]),
            numbers(&[3.0, 1.0]),
            numbers(&[3.0, 1.0, 1.0, 1.0]),
            numbers(&[0.5, 1.0, 1.0]),
            numbers(&[0.0, 1.0, 1.0]),
            numbers(&[f64::INFINITY, 1.0, 1.0]),
            numbers(&[3.0, f64::NAN, 1.0]),
            numbers(&[3.0, 1.0, -1.0]),
            [numbers(&[3.0, 1.0, 1.0]), vec![0]].concat(),
        ] {
            let output = TaskOutput { worker: WorkerId(0), name: "bn1", piece: 0, data: &bytes };
            assert!(Statistics::default().fold(&output).is_err(), "{bytes:?}");
        }
        let wider = numbers(&[3.0, 1.0, 1.0, 1.0, 1.0]);
        let output = TaskOutput { worker: WorkerId(0), name: "bn1", piece: 0, data: &wider };
        let message = total(&[&[1.0, 2.0]]).fold(&output).unwrap_err().to_string();
        assert!(message.contains("it has 2 channels, but others have 1"), "{message}");
    }
}
