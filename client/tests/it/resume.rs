//! Runs that are cancelled, resumed and replaced.

use crate::fixture::{Fixture, create};

/// Starts a run and cancels it after its first epoch. Returns its error.
pub(crate) async fn cancel_after_an_epoch(fixture: &Fixture, sql: &str) -> String {
    let mut results = fixture.context.sql(sql).await.unwrap();
    let cancellation = results.cancellation().unwrap();
    assert_eq!(results.next().await.unwrap().map(|batch| batch.num_rows()), Some(1));
    cancellation.cancel();
    loop {
        match results.next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the run was not cancelled"),
            Err(error) => return error.to_string(),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resumed_run_gives_the_bytes_of_an_uninterrupted_one() {
    let fixture = Fixture::new().await;
    let message = cancel_after_an_epoch(&fixture, &create("m", 6, "", "xrays")).await;
    assert!(message.starts_with("training of 'm' was cancelled after "), "{message}");
    assert!(message.ends_with(" epochs. Continue it with OPTIONS (resume = true)"), "{message}");
    assert!(fixture.rows("SHOW MODELS").await.is_empty());
    let row = fixture.rows("SHOW TRAINING m").await.remove(0);
    assert_eq!((row[2].as_str(), row[4].as_str()), ("cancelled", "6"), "{row:?}");
    let done: u32 = row[3].parse().unwrap();
    assert!((1..6).contains(&done), "{done}");

    let other = fixture.refusal(&create("m", 6, ", seed = 1, resume = true", "xrays")).await;
    assert_eq!(
        other,
        "cannot resume training of 'm': its options are different. Repeat the original statement, or remove resume to \
         start over"
    );
    let rows = "(SELECT * FROM xrays WHERE path NOT LIKE '%person000%')";
    let changed = fixture.refusal(&create("m", 6, ", resume = true", rows)).await;
    assert_eq!(changed, other.replace("its options are different", "the rows have changed"));

    let fixture = fixture.reopen().await;
    let resumed = fixture.train("m", 6, ", resume = true", "xrays").await;
    assert_eq!(resumed.len() as u32, 6 - done, "{resumed:?}");
    assert_eq!(resumed[0][1], (done + 1).to_string());
    fixture.train("whole", 6, "", "xrays").await;
    assert!(fixture.weights("m").await == fixture.weights("whole").await, "the resumed run differs");
    let (resumed, whole) = (fixture.manifest("m").await, fixture.manifest("whole").await);
    assert_eq!((resumed.best_epoch, resumed.threshold), (whole.best_epoch, whole.threshold));
    assert_eq!(resumed.epochs.len(), whole.epochs.len());
    for (one, other) in resumed.epochs.iter().zip(&whole.epochs) {
        assert_eq!((one.epoch, one.train_loss, one.val_loss), (other.epoch, other.train_loss, other.val_loss));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn resume_without_an_unfinished_run_trains_from_the_start() {
    let fixture = Fixture::new().await;
    assert_eq!(fixture.train("m", 2, ", resume = true", "xrays").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_model_predicts_until_the_new_one_is_published() {
    let fixture = Fixture::new().await;
    fixture.train("m", 1, "", "xrays").await;
    let sql = "SELECT path, predict_proba('m', image, 'NORMAL') FROM xrays ORDER BY path";
    let (before, run) = (fixture.rows(sql).await, fixture.manifest("m").await.run);
    let replace = create("m", 6, ", seed = 3", "xrays").replace("CREATE MODEL", "CREATE OR REPLACE MODEL");
    cancel_after_an_epoch(&fixture, &replace).await;
    assert_eq!(before, fixture.rows(sql).await, "a cancelled replacement changed the model");
    assert_eq!(fixture.manifest("m").await.run, run);
    let fixture = fixture.reopen().await;
    assert_eq!(before, fixture.rows(sql).await, "the old model's weights are gone");

    fixture.run(&replace.replace("epochs = 6", "epochs = 2")).await;
    assert_ne!(before, fixture.rows(sql).await, "the predictor kept the old model");
    let files = std::fs::read_dir(fixture.path("store/models/m")).unwrap();
    let weights = files.filter(|f| f.as_ref().unwrap().file_name().to_string_lossy().ends_with(".safetensors"));
    assert_eq!(weights.count(), 1, "the replaced weights were left behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_name_is_trained_once_at_a_time_and_cancelled_by_sql() {
    let fixture = Fixture::new().await;
    let mut results = fixture.context.sql(&create("m", 200, ", early_stop = false", "xrays")).await.unwrap();
    results.next().await.unwrap().unwrap();
    let message = fixture.refusal(&create("m", 2, "", "xrays")).await;
    assert_eq!(message, "model 'm' is already being trained; SHOW TRAINING m shows it, CANCEL TRAINING m stops it");
    assert_eq!(fixture.rows("SHOW TRAINING m").await[0][2], "running");
    assert_eq!(fixture.cell("CANCEL TRAINING m").await, "training of 'm' is cancelled");
    assert_eq!(fixture.rows("SHOW TRAINING m").await[0][2], "cancelled");
    assert_eq!(fixture.refusal("CANCEL TRAINING m").await, "no training of 'm' is running");
}
