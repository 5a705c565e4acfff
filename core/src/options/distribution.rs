//! Options of distributed training, and the checks of their combinations.

use serde::{Deserialize, Serialize};

use super::accepts::{DECAY_MAX, Flag, Number, Quoted, QuotedText, Whole, WordOr};
use super::declare::options;
use super::{Frequency, ModelSpec};
use crate::error::{Error, Result};
use crate::mode::{self, Mode};
use crate::outer_optimizer::{self, OUTER_OPTIMIZERS, OuterOptimizer, Rates};
use crate::state::ModelState;

options! {
    /// How many workers train, where, and how they exchange weights.
    "Distribution" distribution: DistributionOptions {
        /// Number of workers; 'auto' is one per executor device.
        workers: Option<u32> = None, WordOr("auto", Whole::Within(1, 10_000)), before None, [Fixed];
        /// The device of a worker.
        device: Device = Device::Auto, Quoted;
        /// How workers exchange weights: by averages that all wait for, or through a parameter server.
        mode: Mode = mode::synchronous::MODE, Quoted, [Fixed];
        /// How often workers exchange weights; 'batch' requires mode 'asynchronous' or 'hogwild'.
        frequency: Frequency = Frequency::Epoch, Quoted, before Frequency::Epoch;
        /// How the scheduler updates the weights from the mean of the workers: by taking the mean, or with momentum
        /// (SlowMo, FedAvgM).
        outer_optimizer: OuterOptimizer = outer_optimizer::average::OUTER_OPTIMIZER, Quoted,
            before outer_optimizer::average::OUTER_OPTIMIZER;
        /// Momentum of outer_optimizer = 'momentum'.
        outer_momentum: f64 = OUTER_MOMENTUM, Number::From(0.0, DECAY_MAX), before OUTER_MOMENTUM;
        /// Learning rate of outer_optimizer = 'momentum'; 1 steps to the mean.
        outer_learning_rate: f64 = 1.0, Number::Above(0.0, 10.0), before 1.0;
        /// Averages per epoch in synchronous mode, which is the number of epoch slices; 'auto' is one per worker, at
        /// most 8, with at least 8 batches in between.
        averages_per_epoch: Option<u32> = None, WordOr("auto", Whole::Within(1, 10_000)), before Some(1);
        /// Whether learning_rate is multiplied by the square root of the number of workers that are averaged.
        scale_learning_rate: bool = true, Flag, before false;
    }
}

/// A run has tens to a few hundred outer steps, which is too few for a larger momentum. The authors of SlowMo recommend
/// 0.4 to 0.8, and larger values diverged with few steps.
const OUTER_MOMENTUM: f64 = 0.5;

impl ModelSpec {
    /// The next version of a model from the mean of its workers and the version that they started from.
    #[must_use]
    pub fn next_version(&self, previous: Option<&ModelState>, mean: ModelState) -> ModelState {
        let DistributionOptions { outer_optimizer, outer_momentum, outer_learning_rate, .. } = self.distribution;
        let rates = Rates { momentum: outer_momentum, learning_rate: outer_learning_rate };
        outer_optimizer.next_version(rates, previous, mean)
    }
}

/// The device of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// The first CUDA device, or the CPU if there is none.
    Auto,
    /// The CPU.
    Cpu,
    /// CUDA device N.
    Cuda(usize),
}

impl QuotedText for Device {
    fn from_text(text: &str) -> Option<Self> {
        match text.to_lowercase().as_str() {
            "auto" => Some(Self::Auto),
            "cpu" => Some(Self::Cpu),
            "cuda" => Some(Self::Cuda(0)),
            other => other.strip_prefix("cuda:")?.parse().ok().map(Self::Cuda),
        }
    }

    fn expected() -> String {
        "'auto', 'cpu', 'cuda' or 'cuda:N'".to_owned()
    }

    fn to_text(&self) -> String {
        match self {
            Self::Auto => "auto".to_owned(),
            Self::Cpu => "cpu".to_owned(),
            Self::Cuda(device) => format!("cuda:{device}"),
        }
    }
}

/// Returns an error if options contradict each other.
pub(super) fn check(spec: &ModelSpec, is_given: impl Fn(&str) -> bool) -> Result<()> {
    let refuse = |message: String| Err(Error::ConflictingOptions { message });
    if spec.optimizer.ema.is_some() && !spec.distribution.mode.takes_mean() {
        return refuse(format!(
            "ema is not for mode '{}', in which workers take over each other's weights between batches; leave one of \
             them out",
            spec.distribution.mode
        ));
    }
    let DistributionOptions { mode, frequency, outer_optimizer, .. } = spec.distribution;
    match (mode.takes_mean(), frequency) {
        (true, Frequency::Batch) => {
            return refuse(
                "frequency = 'batch' is not for mode 'synchronous': all workers would wait for each other after every \
                 batch; use mode = 'asynchronous' or 'hogwild', or frequency = 'epoch'"
                    .to_owned(),
            );
        }
        (false, _) if outer_optimizer.needs_previous() => {
            return refuse(format!(
                "outer_optimizer = '{outer_optimizer}' is not for mode '{mode}': it steps towards the mean of all workers, \
                 which only mode 'synchronous' takes; leave one of them out"
            ));
        }
        _ => {}
    }
    // The option applies only to other outer optimizers.
    let unused = OUTER_OPTIMIZERS.iter().find_map(|other| {
        let is_unused = |name: &&&str| is_given(name) && !outer_optimizer.options().contains(name);
        other.options().iter().find(is_unused).map(|name| (name, other))
    });
    match unused {
        Some((name, other)) => refuse(format!(
            "{name} is for outer_optimizer = '{other}' and the outer optimizer is '{outer_optimizer}'; leave it out, or \
             choose '{other}'"
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{Architecture, OptionValue, parse};

    #[test]
    fn contradicting_options_are_refused_with_the_reason() {
        let refusal = |options: &[(&str, OptionValue)]| {
            let options: Vec<_> = options.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
            parse(Architecture::CNN, &options).map(|(spec, _)| spec.distribution.mode).unwrap_err().to_string()
        };
        let message = refusal(&[("frequency", "batch".into())]);
        assert!(message.starts_with("frequency = 'batch' is not for mode 'synchronous': all workers would wait"));
        let message = refusal(&[("mode", "hogwild".into()), ("outer_optimizer", "momentum".into())]);
        assert!(message.starts_with("outer_optimizer = 'momentum' is not for mode 'hogwild'"), "{message}");
        let message = refusal(&[("outer_momentum", 0.9.into())]);
        assert!(message.starts_with("outer_momentum is for outer_optimizer = 'momentum'"), "{message}");
        let message = refusal(&[("mode", "hogwild".into()), ("ema", 0.999.into())]);
        assert!(message.starts_with("ema is not for mode 'hogwild'"), "{message}");
        let given = [("mode".to_owned(), "HOGWILD".into()), ("frequency".to_owned(), "batch".into())];
        let (spec, _) = parse(Architecture::CNN, &given).unwrap();
        assert_eq!((spec.distribution.mode, spec.distribution.frequency), (mode::hogwild::MODE, Frequency::Batch));
        let given = [("outer_optimizer".to_owned(), "momentum".into()), ("outer_momentum".to_owned(), 0.7.into())];
        let (spec, _) = parse(Architecture::CNN, &given).unwrap();
        assert_eq!(
            (
                spec.distribution.outer_optimizer,
                spec.distribution.outer_momentum,
                spec.distribution.outer_learning_rate
            ),
            (outer_optimizer::momentum::OUTER_OPTIMIZER, 0.7, 1.0)
        );
    }
}
