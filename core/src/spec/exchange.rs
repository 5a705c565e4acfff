//! Which ways to exchange go together.

use super::{Frequency, Mode, ModelSpec, OuterOptimizer};
use crate::error::{Error, Result};

/// Refuses ways to exchange that exclude each other.
pub(super) fn check(spec: &ModelSpec, is_given: impl Fn(&str) -> bool) -> Result<()> {
    let refuse = |message: String| Err(Error::ConflictingOptions { message });
    if spec.ema.is_some() && spec.mode != Mode::Synchronous {
        return refuse(format!(
            "ema is not for mode '{}', in which workers take over each other's weights between batches; leave one of \
             them out",
            spec.mode
        ));
    }
    match (spec.mode, spec.frequency, spec.outer_optimizer) {
        (Mode::Synchronous, Frequency::Batch, _) => refuse(
            "frequency = 'batch' is not for mode 'synchronous': all workers would wait for each other after every \
             batch; use mode = 'asynchronous' or 'hogwild', or frequency = 'epoch'"
                .to_owned(),
        ),
        (Mode::Asynchronous | Mode::Hogwild, _, OuterOptimizer::Momentum) => refuse(format!(
            "outer_optimizer = 'momentum' is not for mode '{}': it steps towards the mean of all workers, which only \
             mode 'synchronous' takes; leave one of them out",
            spec.mode
        )),
        (_, _, OuterOptimizer::Average) => {
            let unused = ["outer_momentum", "outer_learning_rate"].into_iter().find(|name| is_given(name));
            match unused {
                Some(name) => refuse(format!(
                    "{name} is for outer_optimizer = 'momentum' and the outer optimizer is 'average'; leave it out, or \
                     choose 'momentum'"
                )),
                None => Ok(()),
            }
        }
        (Mode::Synchronous, Frequency::Epoch, OuterOptimizer::Momentum) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use crate::spec::{Architecture, Frequency, Mode, ModelSpec, OptionValue, OuterOptimizer, parse};

    #[test]
    fn ways_to_exchange_that_exclude_each_other_are_refused_with_the_reason() {
        let refusal = |options: &[(&str, OptionValue)]| {
            let options: Vec<_> = options.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
            parse(Architecture::CNN, &options).map(|(spec, _)| spec.mode).unwrap_err().to_string()
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
        assert_eq!((spec.mode, spec.frequency), (Mode::Hogwild, Frequency::Batch));
        let given = [("outer_optimizer".to_owned(), "momentum".into()), ("outer_momentum".to_owned(), 0.7.into())];
        let (spec, _) = parse(Architecture::CNN, &given).unwrap();
        assert_eq!(
            (spec.outer_optimizer, spec.outer_momentum, spec.outer_learning_rate),
            (OuterOptimizer::Momentum, 0.7, 1.0)
        );
    }

    #[test]
    fn a_spec_from_before_the_training_modes_is_read_as_it_was_meant() {
        let spec = ModelSpec::new(Architecture::CNN);
        let mut json = serde_json::to_value(&spec).unwrap();
        for later in ["frequency", "outer_optimizer", "outer_momentum", "outer_learning_rate"] {
            json.as_object_mut().unwrap().remove(later).unwrap();
        }
        assert_eq!(serde_json::from_value::<ModelSpec>(json).unwrap(), spec);
    }
}
