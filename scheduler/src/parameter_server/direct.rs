//! Pulls and pushes of workers in this process, without messages.

use tusk_core::protocol::parameters::{ParameterServer, Pull, Pulled, Push, Pushed, Refused, SharedTensor};
use tusk_core::state::NamedTensor;

use super::incoming::Incoming;
use super::{ParameterStores, Refusal, attempt};
use crate::metrics;

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self { reason: refusal.to_string() }
    }
}

impl ParameterServer for ParameterStores {
    fn pull(&self, pull: &Pull) -> Result<(Pulled, Vec<SharedTensor>), Refused> {
        Ok(self.find(&pull.run, &pull.session)?.pull(pull, attempt())?)
    }

    fn push(&self, push: &Push, tensors: Vec<NamedTensor>) -> Result<Pushed, Refused> {
        let pushed = apply(self, push, tensors);
        let outcome = match &pushed {
            Ok(pushed) if pushed.applied => "applied",
            Ok(_) => "repeated",
            Err(_) => "refused",
        };
        metrics::PUSHES.with_label_values(&[outcome]).inc();
        Ok(pushed?)
    }
}

fn apply(stores: &ParameterStores, push: &Push, tensors: Vec<NamedTensor>) -> Result<Pushed, Refusal> {
    let store = stores.find(&push.run, &push.session)?;
    match store.acknowledge_repeated(push)? {
        Some(pushed) => Ok(pushed),
        None => store.push(push, Incoming::whole(&store, push, tensors)?),
    }
}

#[cfg(test)]
mod tests {
    use tusk_core::mode::asynchronous;
    use tusk_core::protocol::parameters::{PulledWeights, SessionKey};

    use super::super::tests::{pull, push, run, settings, start, tensor};
    use super::*;

    #[test]
    fn a_worker_in_this_process_pulls_and_pushes_as_over_flight() {
        let stores = ParameterStores::default();
        let exchange = stores.open(&run(), settings(asynchronous::MODE, 3, &[1]));
        let server: &dyn ParameterServer = &stores;
        let (pulled, tensors) = server.pull(&pull(0, None, None)).unwrap();
        assert_eq!((pulled.weights, tensors.len()), (PulledWeights::Missing, 0));
        let attempt = pulled.attempt;
        let values = |values: &[f32]| vec![tensor("w", values)];
        let start = Push { tensors: 1, ..start(0, attempt) };
        assert!(server.push(&start, values(&[1.0, 2.0])).unwrap().applied);
        let update = Push { tensors: 1, ..push(0, attempt, 1, 0) };
        for (bad, reason) in [
            (tensor("w", &[1.0]), "w is [1] and should be [2]"),
            (tensor("v", &[1.0, 2.0]), "the model has no tensor v"),
            (tensor("w", &[f32::NAN, 2.0]), "value 0 of w is NaN; lower the learning rate"),
            (NamedTensor { shape: vec![2], ..tensor("w", &[1.0]) }, "wrong number of values: w has shape [2]"),
        ] {
            let refused = server.push(&update, vec![bad]).unwrap_err().to_string();
            assert!(refused.contains(reason), "{refused} does not say {reason}");
        }
        assert_eq!(exchange.store.record().workers[0].step, 0, "a refused push counts");
        for applied in [true, false] {
            let pushed = server.push(&update, values(&[1.0, -1.0])).unwrap();
            assert_eq!((pushed.applied, pushed.version, pushed.step), (applied, 1, 1));
        }
        let (pulled, tensors) = server.pull(&pull(0, Some(attempt), Some(0))).unwrap();
        assert_eq!((pulled.version, pulled.weights), (1, PulledWeights::Follow(1)));
        assert_eq!(*tensors[0].data, [2.0, 1.0]);
        let stranger = Pull { session: SessionKey("guess".to_owned()), ..pull(0, None, None) };
        assert!(server.pull(&stranger).is_err());
        drop(exchange);
        assert!(server.pull(&pull(0, None, None)).is_err());
    }
}
