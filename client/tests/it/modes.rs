//! The training modes: how workers exchange weights.

use tusk_core::ids::ModelName;
use tusk_core::manifest::ExchangeRecord;
use tusk_core::state::{ModelState, checksum};

use crate::fixture::{Fixture, PER_CLASS, create};
use crate::resume::cancel_after_an_epoch;

const EASY: &str = ", augment = 'none', learning_rate = 0.003";

/// The asynchronous and hogwild modes, with every frequency.
const WITHOUT_WAITING: [(&str, &str); 4] =
    [("asynchronous", "epoch"), ("asynchronous", "batch"), ("hogwild", "epoch"), ("hogwild", "batch")];

async fn state(fixture: &Fixture, name: &str) -> ModelState {
    let bytes = fixture.weights(name).await;
    ModelState::from_safetensors(name, &bytes, &checksum(&bytes)).unwrap()
}

async fn auc(fixture: &Fixture, name: &str) -> f64 {
    let sql = format!("SELECT roc_auc(label = 'PNEUMONIA', predict_proba('{name}', image, 'PNEUMONIA')) FROM xrays");
    fixture.cell(&sql).await.parse().unwrap()
}

/// The progress of the workers of a model's run.
async fn exchange_of(fixture: &Fixture, name: &str) -> ExchangeRecord {
    let record = fixture.context.store().unwrap().run(&ModelName::new(name).unwrap()).await.unwrap();
    record.unwrap().exchange.unwrap()
}

/// Checks that the weights have changed, have no negative variance, and contain no optimizer state.
async fn assert_sound(fixture: &Fixture, name: &str) {
    let state = state(fixture, name).await;
    assert!(state.iter().all(|tensor| !tensor.name.starts_with("optimizer.")), "{name} has moments");
    let variances: Vec<_> = state.iter().filter(|tensor| tensor.name.ends_with("running_var")).collect();
    assert!(!variances.is_empty());
    for tensor in variances {
        assert!(tensor.data.iter().all(|v| *v >= 0.0 && v.is_finite()), "{name}: {} is negative", tensor.name);
        assert!(tensor.data.iter().any(|v| *v != 1.0), "{name}: {} has not changed", tensor.name);
    }
    let auc = auc(fixture, name).await;
    assert!(auc > 0.95, "{name}: {auc}");
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_do_not_wait_learn_and_use_each_row_once_per_epoch() {
    let fixture = Fixture::new().await;
    fixture.train("synchronous", 1, "", "xrays").await;
    let rows: u64 = fixture.manifest("synchronous").await.data.train_rows.values().sum();
    assert!(rows < 2 * PER_CLASS);
    for (mode, frequency) in WITHOUT_WAITING {
        let name = format!("{mode}_{frequency}");
        let options = format!("{EASY}, mode = '{mode}', frequency = '{frequency}', workers = 2, early_stop = false");
        let epochs = fixture.train(&name, 8, &options, "xrays").await;
        let numbers: Vec<&str> = epochs.iter().map(|row| row[1].as_str()).collect();
        assert_eq!(numbers, ["1", "2", "3", "4", "5", "6", "7", "8"], "{name}: {epochs:?}");
        for row in &epochs {
            assert_eq!((row[7].as_str(), row[9].as_str()), (rows.to_string().as_str(), "2"), "{name}: {row:?}");
            assert!(row[3] != "NULL" && row[5] != "NULL", "{name}: {row:?}");
        }
        assert_sound(&fixture, &name).await;
        let training = fixture.rows(&format!("SHOW TRAINING {name}")).await.remove(0);
        assert!(training[18].parse::<f64>().unwrap() > 0.0, "no time for the exchange: {training:?}");
        assert!(training[21].starts_with("worker 0: ") && training[21].contains("\nworker 1: "), "{training:?}");
        let exchange = exchange_of(&fixture, &name).await;
        assert!(exchange.unvalidated.is_empty() && exchange.open.is_empty(), "{name}: {exchange:?}");
        for worker in &exchange.workers {
            assert_eq!((worker.epochs, worker.staleness.pushes), (8, worker.step), "{name}");
            assert!(frequency == "epoch" || worker.step > 8, "{name}: {worker:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_workers_than_slots_run_side_by_side() {
    let fixture = Fixture::new().await;
    let options = format!("{EASY}, mode = 'asynchronous', frequency = 'batch', workers = 5, early_stop = false");
    let epochs = fixture.train("m", 8, &options, "xrays").await;
    assert_eq!(epochs.len(), 8);
    assert_sound(&fixture, "m").await;
    let stale = exchange_of(&fixture, "m").await.workers.iter().map(|worker| worker.staleness.max).max();
    assert!(stale > Some(0), "no push was stale");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_asynchronous_worker_learns_the_same_as_a_synchronous_one() {
    let fixture = Fixture::new().await;
    let plain = ", augment = 'none', optimizer = 'sgd', momentum = 0, learning_rate = 0.01";
    fixture.train("synchronous", 2, plain, "xrays").await;
    fixture.train("asynchronous", 2, &format!("{plain}, mode = 'asynchronous', frequency = 'batch'"), "xrays").await;
    let (one, other) = (state(&fixture, "synchronous").await, state(&fixture, "asynchronous").await);
    for (one, other) in one.iter().zip(other.iter()) {
        assert_eq!((&one.name, &one.shape), (&other.name, &other.shape));
        for (a, b) in one.data.iter().zip(&other.data) {
            assert!((a - b).abs() < 1e-3 * a.abs().max(1.0), "{}: {a} and {b}", one.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_exchange_resumes_at_the_position_of_every_worker() {
    let fixture = Fixture::new().await;
    let options = format!("{EASY}, mode = 'hogwild', frequency = 'batch', workers = 2, early_stop = false");
    let message = cancel_after_an_epoch(&fixture, &create("m", 12, &options, "xrays")).await;
    assert!(message.starts_with("training of 'm' was cancelled after "), "{message}");
    let fixture = fixture.reopen().await;
    let done: usize = fixture.rows("SHOW TRAINING m").await[0][3].parse().unwrap();
    let resumed = fixture.train("m", 12, &format!("{options}, resume = true"), "xrays").await;
    assert_eq!(resumed.len(), 12 - done, "{resumed:?}");
    let manifest = fixture.manifest("m").await;
    let rows: u64 = manifest.data.train_rows.values().sum();
    assert!(manifest.epochs.iter().zip(1..).all(|(epoch, number)| epoch.epoch == number && epoch.images == rows));
    assert_sound(&fixture, "m").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_early_stop_ends_an_exchange() {
    let fixture = Fixture::new().await;
    let options = ", learning_rate = 1, patience = 1, optimizer = 'sgd', mode = 'asynchronous', workers = 2";
    let epochs = fixture.train("m", 2000, options, "xrays").await;
    assert!(epochs.len() < 2000, "{}", epochs.len());
    let manifest = fixture.manifest("m").await;
    assert_eq!(manifest.epochs.len(), epochs.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn server_momentum_learns_and_is_reproducible_and_resumable() {
    let fixture = Fixture::new().await;
    let options = format!("{EASY}, outer_optimizer = 'momentum', outer_momentum = 0.3, workers = 2");
    fixture.train("whole", 6, &options, "xrays").await;
    assert_sound(&fixture, "whole").await;
    fixture.train("average", 6, &format!("{EASY}, workers = 2"), "xrays").await;
    assert!(fixture.weights("whole").await != fixture.weights("average").await, "momentum has no effect");
    cancel_after_an_epoch(&fixture, &create("m", 6, &options, "xrays")).await;
    let fixture = fixture.reopen().await;
    fixture.train("m", 6, &format!("{options}, resume = true"), "xrays").await;
    assert!(fixture.weights("m").await == fixture.weights("whole").await, "the resumed run differs");
}
