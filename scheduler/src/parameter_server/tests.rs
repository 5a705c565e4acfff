//! Tests of the parameter store: which pushes are applied, what they change, and which are refused.

use std::sync::Arc;

use tusk_core::ids::{RunId, WorkerId};
use tusk_core::manifest::{ExchangeRecord, Timing, WorkerExchange};
use tusk_core::mode::{Exchange, Mode, asynchronous, hogwild};
use tusk_core::protocol::WIRE_VERSION;
use tusk_core::protocol::parameters::{Pull, PulledWeights, Push, PushKind, Pushed, SessionKey};
use tusk_core::state::NamedTensor;

use super::{ExchangeSettings, ParameterStore, Refusal};

pub(super) fn secret() -> SessionKey {
    SessionKey("secret".to_owned())
}

pub(super) fn run() -> RunId {
    RunId::from("run-1".to_owned())
}

pub(super) fn settings(mode: Mode, epochs: u32, rows: &[u64]) -> ExchangeSettings {
    let (session, record) = (secret(), ExchangeRecord::default());
    ExchangeSettings {
        is_exclusive: mode.exchange() == Exchange::ParameterServer { is_exclusive: true },
        session,
        epochs,
        rows: rows.to_vec(),
        record,
    }
}

pub(super) fn tensor(name: &str, data: &[f32]) -> NamedTensor {
    NamedTensor { name: name.to_owned(), shape: vec![data.len()], data: data.to_vec() }
}

pub(super) fn pull(worker: u32, attempt: Option<u64>, have_version: Option<u64>) -> Pull {
    let session = secret();
    Pull { wire_version: WIRE_VERSION, run: run(), session, worker: WorkerId(worker), attempt, have_version }
}

/// Returns the push of an epoch of four rows.
pub(super) fn push(worker: u32, attempt: u64, step: u64, base_version: u64) -> Push {
    Push {
        wire_version: WIRE_VERSION,
        run: run(),
        session: secret(),
        worker: WorkerId(worker),
        attempt,
        kind: PushKind::Update,
        step,
        epoch: u32::try_from(step).unwrap(),
        ends_epoch: true,
        base_version,
        rows: 4,
        loss_sum: 2.0,
        learning_rate: 0.1,
        timing: Timing { train: 1.0, ..Timing::default() },
        tensors: 2,
    }
}

pub(super) fn start(worker: u32, attempt: u64) -> Push {
    Push { kind: PushKind::Start, step: 0, epoch: 0, ends_epoch: false, ..push(worker, attempt, 1, 0) }
}

/// Returns a store of two workers with three quarters and one quarter of the rows, with attempts 10 and 11.
pub(super) fn started(mode: Mode) -> ParameterStore {
    let store = ParameterStore::new(settings(mode, 3, &[12, 4]));
    for worker in [0, 1] {
        let (pulled, tensors) = store.pull(&pull(worker, None, None), 10 + u64::from(worker)).unwrap();
        assert_eq!((pulled.weights, pulled.step, tensors.len()), (PulledWeights::Missing, 0, 0));
    }
    let weights = || vec![tensor("w", &[1.0, 2.0]), tensor("bn.running_var", &[4.0])];
    assert!(store.push(&start(0, 10), weights()).unwrap().applied);
    assert!(!store.push(&start(1, 11), weights()).unwrap().applied, "the second start was applied too");
    store
}

fn update(w: [f32; 2], variance: f32) -> Vec<NamedTensor> {
    vec![tensor("w", &w), tensor("bn.running_var", &[variance])]
}

fn values(store: &ParameterStore, name: &str) -> Vec<f32> {
    store.snapshot().unwrap().0.get(name).unwrap().data.clone()
}

#[test]
fn a_push_moves_weights_by_its_share_and_mixes_variances_as_computed_by_hand() {
    for mode in [asynchronous::MODE, hogwild::MODE] {
        let store = started(mode);
        let pushed = store.push(&push(0, 10, 1, 0), update([4.0, -8.0], 0.0)).unwrap();
        assert_eq!(pushed, Pushed { applied: true, version: 1, step: 1, stop: false });
        // 1 + 3/4 * 4 = 4, 2 - 3/4 * 8 = -4; 1/4 * 4 + 3/4 * 0 = 1.
        assert_eq!((values(&store, "w"), values(&store, "bn.running_var")), (vec![4.0, -4.0], vec![1.0]));
        store.push(&push(1, 11, 1, 0), update([8.0, 0.0], 5.0)).unwrap();
        // 4 + 1/4 * 8 = 6; 3/4 * 1 + 1/4 * 5 = 2.
        assert_eq!((values(&store, "w"), values(&store, "bn.running_var")), (vec![6.0, -4.0], vec![2.0]));
    }
}

#[test]
fn a_snapshot_contains_exactly_the_pushes_that_it_counts() {
    const STEPS: u64 = 200;
    for mode in [asynchronous::MODE, hogwild::MODE] {
        let store = ParameterStore::new(settings(mode, STEPS as u32, &[1]));
        store.pull(&pull(0, None, None), 0).unwrap();
        let names: Vec<String> = (0..8).map(|tensor| format!("w{tensor}")).collect();
        let all = |value: f32| names.iter().map(|name| tensor(name, &[value; 4096])).collect::<Vec<_>>();
        store.push(&start(0, 0), all(0.0)).unwrap();
        std::thread::scope(|scope| {
            let pushes = scope.spawn(|| {
                for step in 1..=STEPS {
                    store.push(&push(0, 0, step, step - 1), all(1.0)).unwrap();
                }
            });
            while !pushes.is_finished() {
                let (state, record, _) = store.snapshot().unwrap();
                let counted = record.workers[0].step as f32;
                for name in &names {
                    assert!(state.get(name).unwrap().data.iter().all(|value| *value == counted), "{name}, {mode:?}");
                }
            }
        });
    }
}

#[test]
fn falling_variances_of_two_workers_never_become_negative() {
    let store = ParameterStore::new(settings(hogwild::MODE, 1000, &[1, 1]));
    for worker in [0, 1] {
        store.pull(&pull(worker, None, None), u64::from(worker)).unwrap();
    }
    store.push(&start(0, 0), update([0.0, 0.0], 1e3)).unwrap();
    for step in 1..=1000 {
        for worker in [0, 1] {
            // Both workers pulled the same variance and push a tenth of it. A sum of the differences is negative.
            let version = (step - 1) * 2;
            let variance = values(&store, "bn.running_var")[0] * 0.1;
            store.push(&push(worker, u64::from(worker), step, version), update([0.0, 0.0], variance)).unwrap();
            let mixed = values(&store, "bn.running_var")[0];
            assert!(mixed >= 0.0 && mixed.is_finite(), "step {step}: {mixed}");
        }
    }
}

#[test]
fn a_repeated_push_is_not_applied_again() {
    let store = started(asynchronous::MODE);
    store.push(&push(0, 10, 1, 0), update([4.0, 4.0], 4.0)).unwrap();
    let once = values(&store, "w");
    // The client lost the response.
    let again = store.push(&push(0, 10, 1, 0), update([4.0, 4.0], 4.0)).unwrap();
    assert_eq!(again, Pushed { applied: false, version: 1, step: 1, stop: false });
    // The task is retried elsewhere and learns where to continue.
    let (pulled, _) = store.pull(&pull(0, None, None), 20).unwrap();
    assert_eq!((pulled.attempt, pulled.step, pulled.version), (20, 1, 1));
    assert!(!store.push(&push(0, 20, 1, 1), update([4.0, 4.0], 4.0)).unwrap().applied);
    assert_eq!(store.acknowledge_repeated(&push(0, 20, 1, 1)).unwrap().map(|pushed| pushed.applied), Some(false));
    assert_eq!(store.acknowledge_repeated(&push(0, 20, 2, 1)).unwrap(), None);
    assert_eq!(values(&store, "w"), once);
    // The first attempt was only frozen, and continues.
    let refusal = store.push(&push(0, 10, 2, 1), update([4.0, 4.0], 4.0)).unwrap_err();
    assert_eq!(refusal, Refusal::Superseded { worker: 0 });
    assert_eq!(store.pull(&pull(0, Some(10), None), 0).unwrap_err(), Refusal::Superseded { worker: 0 });
    assert!(store.push(&push(0, 20, 2, 1), update([4.0, 4.0], 4.0)).unwrap().applied);
}

#[test]
fn a_push_that_is_not_the_next_is_refused() {
    let store = started(asynchronous::MODE);
    let refused = |push: &Push| store.push(push, update([0.0, 0.0], 1.0)).unwrap_err().to_string();
    assert_eq!(refused(&push(0, 10, 2, 0)), "worker 0 pushed step 2; expected step 1");
    let early = Push { epoch: 2, ..push(0, 10, 1, 0) };
    assert_eq!(refused(&early), "worker 0 pushed epoch 2; expected epoch 1 of 3");
    assert_eq!(refused(&push(0, 10, 1, 7)), "worker 0 pushed on version 7; expected at most version 0");
    let lost = Push { loss_sum: f64::NAN, ..push(0, 10, 1, 0) };
    assert_eq!(refused(&lost), "the push of worker 0 is refused: its loss is NaN; lower the learning rate");
    assert_eq!(refused(&push(2, 10, 1, 0)), "the run has 2 workers; there is no worker 2");
    for step in 1..=3 {
        store.push(&push(0, 10, step, 0), update([0.0, 0.0], 1.0)).unwrap();
    }
    assert_eq!(refused(&push(0, 10, 4, 0)), "worker 0 pushed epoch 4; expected epoch 4 of 3");
    let cold = ParameterStore::new(settings(hogwild::MODE, 1, &[1]));
    cold.pull(&pull(0, None, None), 1).unwrap();
    let refusal = cold.push(&push(0, 1, 1, 0), update([0.0, 0.0], 1.0)).unwrap_err();
    assert_eq!(refusal.to_string(), "worker 0 pushed an update; expected the starting weights");
}

#[test]
fn staleness_counts_the_pushes_of_others_since_the_pull() {
    let store = started(asynchronous::MODE);
    store.push(&push(0, 10, 1, 0), update([0.0, 0.0], 1.0)).unwrap();
    store.push(&push(0, 10, 2, 1), update([0.0, 0.0], 1.0)).unwrap();
    store.push(&push(1, 11, 1, 0), update([0.0, 0.0], 1.0)).unwrap();
    let workers = store.record().workers;
    assert_eq!((workers[0].staleness.mean(), workers[0].staleness.max), (Some(0.0), 0));
    assert_eq!((workers[1].staleness.mean(), workers[1].staleness.max), (Some(2.0), 2));
    assert_eq!((workers[0].step, workers[0].epochs, workers[1].step), (2, 2, 1));
}

#[test]
fn an_epoch_ends_when_all_workers_with_rows_have_ended_it() {
    let store = ParameterStore::new(settings(asynchronous::MODE, 3, &[4, 0, 4]));
    for worker in [0, 2] {
        store.pull(&pull(worker, None, None), u64::from(worker)).unwrap();
    }
    store.push(&start(0, 0), update([0.0, 0.0], 1.0)).unwrap();
    let mut watch = store.watch();
    for step in 1..=2 {
        store.push(&push(0, 0, step, 0), update([1.0, 0.0], 1.0)).unwrap();
    }
    assert!(!store.has_ended() && !watch.has_changed().unwrap());
    store.push(&push(2, 2, 1, 0), update([1.0, 0.0], 1.0)).unwrap();
    assert!(store.has_ended() && watch.has_changed().unwrap());
    watch.mark_unchanged();
    let (_, record, ended) = store.snapshot().unwrap();
    assert_eq!(ended.iter().map(|tally| (tally.epoch, tally.rows, tally.workers)).collect::<Vec<_>>(), [(1, 8, 2)]);
    assert_eq!((ended[0].loss_sum, ended[0].timing.train), (4.0, 2.0));
    assert_eq!(record.open.iter().map(|tally| (tally.epoch, tally.rows)).collect::<Vec<_>>(), [(2, 4)]);
    assert!(!store.has_ended() && store.snapshot().unwrap().2.is_empty(), "the epoch was taken twice");
    // After a restart, the run continues from the record. The second epoch ends with the slower worker.
    let again = ParameterStore::new(ExchangeSettings { record, ..settings(asynchronous::MODE, 3, &[4, 0, 4]) });
    let (pulled, _) = again.pull(&pull(2, None, None), 5).unwrap();
    assert_eq!((pulled.step, pulled.version, pulled.weights), (1, 3, PulledWeights::Missing));
    again.push(&start(2, 5), update([0.0, 0.0], 1.0)).unwrap();
    again.push(&push(2, 5, 2, 3), update([1.0, 0.0], 1.0)).unwrap();
    let (_, record, ended) = again.snapshot().unwrap();
    assert_eq!(ended.iter().map(|tally| (tally.epoch, tally.rows)).collect::<Vec<_>>(), [(2, 8)]);
    let step = |worker: &WorkerExchange| worker.step;
    assert_eq!(record.workers.iter().map(step).collect::<Vec<_>>(), [2, 0, 2]);
}

#[test]
fn a_worker_is_told_to_stop_and_receives_no_version_that_it_has() {
    let store = started(asynchronous::MODE);
    let (pulled, tensors) = store.pull(&pull(0, Some(10), None), 0).unwrap();
    assert_eq!((pulled.weights, tensors.len()), (PulledWeights::Follow(2), 2));
    let (pulled, tensors) = store.pull(&pull(0, Some(10), Some(0)), 0).unwrap();
    assert_eq!((pulled.weights, tensors.len(), pulled.stop), (PulledWeights::Unchanged, 0, false));
    store.stop();
    assert!(store.pull(&pull(0, Some(10), None), 0).unwrap().0.stop);
    assert!(store.push(&push(0, 10, 1, 0), update([0.0, 0.0], 1.0)).unwrap().stop);
}

#[test]
fn a_pull_keeps_its_version_during_later_pushes() {
    let store = started(asynchronous::MODE);
    let (_, pulled) = store.pull(&pull(1, Some(11), None), 0).unwrap();
    store.push(&push(0, 10, 1, 0), update([4.0, 4.0], 4.0)).unwrap();
    let w = pulled.iter().find(|tensor| tensor.name == "w").unwrap();
    assert_eq!(*w.data, [1.0, 2.0]);
}

#[test]
fn weights_that_are_not_finite_are_not_checkpointed() {
    let store = started(asynchronous::MODE);
    for step in 1..=3 {
        store.push(&push(0, 10, step, 0), update([f32::MAX, 0.0], 1.0)).unwrap();
    }
    let refusal = store.snapshot().unwrap_err().to_string();
    assert!(refusal.ends_with("value 0 of w has become inf; lower the learning rate"), "{refusal}");
}

#[test]
fn pushes_from_many_threads_are_all_applied() {
    for mode in [asynchronous::MODE, hogwild::MODE] {
        let workers = 8_u32;
        let store = Arc::new(ParameterStore::new(settings(mode, 100, &vec![1; workers as usize])));
        for worker in 0..workers {
            store.pull(&pull(worker, None, None), u64::from(worker)).unwrap();
        }
        store.push(&start(0, 0), update([0.0, 0.0], 1.0)).unwrap();
        std::thread::scope(|scope| {
            for worker in 0..workers {
                let store = Arc::clone(&store);
                scope.spawn(move || {
                    for step in 1..=100 {
                        store.push(&push(worker, u64::from(worker), step, 0), update([8.0, 0.0], 1.0)).unwrap();
                        store.pull(&pull(worker, Some(u64::from(worker)), None), 0).unwrap();
                    }
                });
            }
        });
        assert_eq!(values(&store, "w"), [800.0, 0.0], "{mode}");
        assert_eq!(store.record().workers.iter().map(|w| w.step).sum::<u64>(), 800);
    }
}

#[test]
fn an_asynchronous_pull_sees_only_complete_pushes() {
    let store = Arc::new(ParameterStore::new(settings(asynchronous::MODE, 500, &[1])));
    store.pull(&pull(0, None, None), 1).unwrap();
    let both = |value: f32| vec![tensor("a", &[value]), tensor("z", &[value])];
    store.push(&start(0, 1), both(0.0)).unwrap();
    std::thread::scope(|scope| {
        let pushing = Arc::clone(&store);
        let pushes = scope.spawn(move || {
            for step in 1..=500 {
                pushing.push(&push(0, 1, step, 0), both(1.0)).unwrap();
            }
        });
        while !pushes.is_finished() {
            let (pulled, tensors) = store.pull(&pull(0, Some(1), None), 0).unwrap();
            let version = pulled.version as f32;
            assert!(tensors.iter().all(|tensor| *tensor.data == [version]), "{pulled:?}: {tensors:?}");
        }
    });
}
