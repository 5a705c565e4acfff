//! Simulated executors. They return task output without training: the tensors of a ResNet-50 by name, shape and
//! encoding, with values from a pattern.

use std::sync::Arc;

use datafusion::arrow::record_batch::RecordBatch;
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream};
use tusk_core::engine::TrainEngine;
use tusk_core::ids::WorkerId;
use tusk_core::job::{
    AdaptReport, ExchangeReport, FitWeightsReport, Job, ProfileReport, TaskReport, TrainReport, TrainTask,
    ValidateReport,
};
use tusk_core::physical::{output_rows, output_schema, report_rows};

/// Values in the pattern: 4 MiB of them. It is a prime number, so that no tensor's length divides it.
const PATTERN_VALUES: usize = 1_048_573;

/// Batches of task output that wait for the shuffle writer, as in the real engine.
const ANSWERS_WAITING_MAX: usize = 2;

/// A tensor's name and shape.
pub type TensorShape = (String, Vec<usize>);

/// The tensors of ResNet-50 (He et al. 2015, arXiv 1512.03385) with torchvision's names: 161 learned tensors with
/// 25,557,032 values, and two running statistics for each of its 53 normalization layers.
#[must_use]
pub fn resnet50() -> Vec<TensorShape> {
    let mut tensors = Vec::new();
    let mut conv_bn = |conv: String, bn: String, inputs: usize, outputs: usize, kernel: usize| {
        tensors.push((format!("{conv}.weight"), vec![outputs, inputs, kernel, kernel]));
        for part in ["weight", "bias", "running_mean", "running_var"] {
            tensors.push((format!("{bn}.{part}"), vec![outputs]));
        }
    };
    conv_bn("conv1".into(), "bn1".into(), 3, 64, 7);
    let mut inputs = 64;
    for (stage, (blocks, width)) in [(3, 64), (4, 128), (6, 256), (3, 512)].into_iter().enumerate() {
        for block in 0..blocks {
            let name = format!("layer{}.{block}", stage + 1);
            conv_bn(format!("{name}.conv1"), format!("{name}.bn1"), inputs, width, 1);
            conv_bn(format!("{name}.conv2"), format!("{name}.bn2"), width, width, 3);
            conv_bn(format!("{name}.conv3"), format!("{name}.bn3"), width, 4 * width, 1);
            if block == 0 {
                conv_bn(format!("{name}.downsample.0"), format!("{name}.downsample.1"), inputs, 4 * width, 1);
            }
            inputs = 4 * width;
        }
    }
    tensors.push(("fc.weight".into(), vec![1000, inputs]));
    tensors.push(("fc.bias".into(), vec![1000]));
    tensors
}

/// Generates workers' updates quickly: every tensor is the pattern, from a different start.
#[derive(Debug)]
pub struct Updates {
    tensors: Vec<TensorShape>,
    pattern: Vec<u8>,
}

impl Updates {
    /// Updates of these tensors. The seed gives values in [-1, 1).
    #[must_use]
    pub fn new(tensors: Vec<TensorShape>, seed: u64) -> Self {
        let mut bits = seed;
        let mut value = move || {
            bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((bits >> 40) as f32 / (1 << 23) as f32) - 1.0
        };
        let pattern = (0..PATTERN_VALUES).flat_map(|_| value().to_le_bytes()).collect();
        Self { tensors, pattern }
    }

    /// The names and shapes of the tensors.
    #[must_use]
    pub fn tensors(&self) -> &[TensorShape] {
        &self.tensors
    }

    /// The number of values in one update.
    #[must_use]
    pub fn values(&self) -> usize {
        self.tensors.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum()
    }

    /// The number of rows that a worker's update represents. It differs between workers, so that the weights of the
    /// mean differ.
    #[must_use]
    pub fn rows(&self, worker: u32) -> u64 {
        1000 + u64::from(worker % 7)
    }

    /// One value of a worker's update.
    #[must_use]
    pub fn value(&self, worker: u32, tensor: usize, place: usize) -> f32 {
        let at = (start(worker, tensor) + place) % PATTERN_VALUES;
        self.pattern.as_chunks::<4>().0.get(at).map_or(0.0, |bytes| f32::from_le_bytes(*bytes))
    }

    /// A tensor of a worker's update, in the form of [`tusk_core::physical::tensor_rows`].
    #[must_use]
    pub fn tensor_bytes(&self, worker: u32, tensor: usize) -> Vec<u8> {
        let Some((_, shape)) = self.tensors.get(tensor) else { return Vec::new() };
        let length = 8 * (1 + shape.len()) + 4 * shape.iter().product::<usize>();
        let mut bytes = Vec::with_capacity(length);
        bytes.extend((shape.len() as u64).to_le_bytes());
        bytes.extend(shape.iter().flat_map(|side| (*side as u64).to_le_bytes()));
        let mut from = 4 * start(worker, tensor);
        while bytes.len() < length {
            let wanted = (length - bytes.len()).min(self.pattern.len() - from);
            bytes.extend_from_slice(&self.pattern[from..from + wanted]);
            from = 0;
        }
        bytes
    }

    /// The report that precedes a worker's tensors.
    ///
    /// # Errors
    /// When the report cannot be encoded.
    pub fn report(&self, worker: u32) -> tusk_core::Result<Vec<RecordBatch>> {
        let report = TrainReport { task: TaskReport::of_rows(self.rows(worker)), ..TrainReport::default() };
        report_rows(WorkerId(worker), &report)
    }

    /// A worker's report on its shard of two classes.
    fn profile(&self, worker: u32) -> ProfileReport {
        let rows = self.rows(worker);
        let classes = [("NORMAL".to_owned(), rows / 2), ("PNEUMONIA".to_owned(), rows - rows / 2)];
        let task = TaskReport::of_rows(rows);
        ProfileReport { task, train_rows: classes.into(), pixel_count: rows, ..ProfileReport::default() }
    }

    /// A tensor of a worker's update as rows of task output.
    ///
    /// # Errors
    /// When the tensor cannot be encoded.
    pub fn rows_of(&self, worker: u32, tensor: usize) -> tusk_core::Result<Vec<RecordBatch>> {
        let name = self.tensors.get(tensor).map_or("", |(name, _)| name);
        output_rows(WorkerId(worker), name, &self.tensor_bytes(worker, tensor)).collect()
    }
}

/// The position in the pattern where a worker's tensor begins.
fn start(worker: u32, tensor: usize) -> usize {
    (worker as usize * 7919 + tensor * 104_729) % PATTERN_VALUES
}

/// The engine of an executor that returns task output without training.
#[derive(Debug)]
pub struct SimulatedEngine(pub Arc<Updates>);

impl TrainEngine for SimulatedEngine {
    fn run(
        &self,
        task: Arc<TrainTask>,
        worker: WorkerId,
        _source: Arc<dyn ExecutionPlan>,
        _context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let updates = Arc::clone(&self.0);
        let mut answers = RecordBatchReceiverStream::builder(output_schema(), ANSWERS_WAITING_MAX);
        let sender = answers.tx();
        answers.spawn_blocking(move || {
            let (report, tensors) = match &task.job {
                Job::Train(_) => (updates.report(worker.0), updates.tensors.len()),
                Job::Profile(_) => (report_rows(worker, &updates.profile(worker.0)), 0),
                Job::FitWeights(_) => (report_rows(worker, &FitWeightsReport::default()), 0),
                Job::Exchange(_) => (report_rows(worker, &ExchangeReport::default()), 0),
                Job::Validate(_) => (report_rows(worker, &ValidateReport::default()), 0),
                Job::Adapt(_) => (report_rows(worker, &AdaptReport::default()), 0),
            };
            let tensors = (0..tensors).map(|tensor| updates.rows_of(worker.0, tensor));
            for rows in std::iter::once(report).chain(tensors) {
                for row in rows? {
                    if sender.blocking_send(Ok(row)).is_err() {
                        return Ok(());
                    }
                }
            }
            Ok(())
        });
        Ok(answers.build())
    }
}

#[cfg(test)]
mod tests {
    use tusk_core::physical::{TaskOutput, tensor_rows};
    use tusk_core::state::NamedTensor;

    use super::*;

    #[test]
    fn resnet50_has_as_many_tensors_and_values_as_torchvisions() {
        let tensors = resnet50();
        let running = |name: &str| name.contains("running_");
        let values = |t: &&TensorShape| t.1.iter().product::<usize>();
        assert_eq!(tensors.iter().filter(|(name, _)| !running(name)).count(), 161);
        assert_eq!(tensors.iter().filter(|(name, _)| running(name)).count(), 2 * 53);
        assert_eq!(tensors.iter().filter(|t| !running(&t.0)).map(|t| values(&t)).sum::<usize>(), 25_557_032);
    }

    #[test]
    fn an_update_has_the_bytes_of_its_values() {
        let updates = Updates::new(vec![("w".into(), vec![3, 400_000]), ("b".into(), vec![])], 1);
        for (worker, tensor) in [(0, 0), (999, 0), (5, 1)] {
            let (name, shape) = updates.tensors()[tensor].clone();
            let data = (0..shape.iter().product()).map(|place| updates.value(worker, tensor, place)).collect();
            let tensor_of = NamedTensor { name, shape, data };
            let rows = tensor_rows(WorkerId(worker), &tensor_of).map(Result::unwrap);
            let bytes =
                rows.flat_map(|row| TaskOutput::rows(&row).unwrap().flat_map(|r| r.data.to_vec()).collect::<Vec<_>>());
            assert!(updates.tensor_bytes(worker, tensor) == bytes.collect::<Vec<_>>());
        }
    }
}
