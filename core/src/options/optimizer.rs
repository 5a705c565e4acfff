//! Options of the optimizer.

use super::accepts::{DECAY_MAX, Number, Quoted, WordOr};
use super::declare::options;
use super::{ModelSpec, Optimizer};
use crate::schedule::{self, Schedule};

options! {
    /// How weights are updated from gradients.
    "Optimizer" optimizer: OptimizerOptions {
        /// The optimizer algorithm.
        #[serde(rename = "optimizer")]
        algorithm as "optimizer": Optimizer = Optimizer::Adamw, Quoted, [PerNet];
        /// Peak learning rate of one worker; see scale_learning_rate.
        learning_rate: f64 = 1e-3, Number::Above(0.0, 10.0), [PerNet];
        /// Momentum of sgd, first beta of adam and adamw.
        momentum: f64 = 0.9, Number::From(0.0, DECAY_MAX);
        /// Weight decay of all weights except biases and normalisation.
        weight_decay: f64 = 0.05, Number::From(0.0, 1.0), [PerNet];
        /// How the learning rate changes over a run.
        schedule: Schedule = schedule::cosine::SCHEDULE, Quoted, [PerNet];
        /// Decay per step of the exponential moving average of the weights. If set, the average is validated and
        /// published.
        ema: Option<f64> = None, WordOr("none", Number::From(0.0, DECAY_MAX)), before None;
    }
}
impl ModelSpec {
    /// The learning rate at `progress` through the run, from 0 to 1.
    #[must_use]
    pub fn learning_rate(&self, progress: f64) -> f64 {
        self.optimizer.learning_rate * self.optimizer.schedule.factor(progress)
    }
}
