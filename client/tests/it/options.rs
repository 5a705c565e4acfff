//! Options that change the training or the evaluation.

use tusk::CacheLimits;
use tusk_core::options::{Loss, Optimizer};

use crate::fixture::{Fixture, THREE};

#[tokio::test(flavor = "multi_thread")]
async fn three_classes_have_a_probability_each_and_no_threshold() {
    let fixture = Fixture::with(THREE, CacheLimits::default()).await;
    let epochs = fixture.train("m", 8, ", augment = 'none'", "xrays").await;
    assert!(epochs.last().unwrap()[2].parse::<f64>().unwrap() < 0.5 * epochs[0][2].parse::<f64>().unwrap());
    let manifest = fixture.manifest("m").await;
    assert_eq!(manifest.definition.classes, THREE);
    assert_eq!(manifest.definition.loss, Loss::CategoricalCrossentropy);
    assert_eq!((manifest.definition.positive, manifest.threshold), (None, None));
    let sum = "SELECT count(*) FROM xrays WHERE abs(predict_proba('m', image, 'BACTERIA') \
               + predict_proba('m', image, 'NORMAL') + predict_proba('m', image, 'VIRUS') - 1) < 0.0001";
    assert_eq!(fixture.cell(sum).await, "72");
    let accuracy = fixture.cell("SELECT accuracy(label, predict('m', image)) FROM xrays").await;
    assert!(accuracy.parse::<f64>().unwrap() > 0.8, "{accuracy}");
    let evaluation = fixture.rows("EVALUATE MODEL m ON xrays").await.remove(0);
    assert_eq!((evaluation[1].as_str(), evaluation[4].as_str(), &evaluation[5]), ("72", "NULL", &accuracy));
    let message = fixture.refusal(&crate::fixture::create("n", 1, ", positive = 'VIRUS'", "xrays")).await;
    assert_eq!(message, "positive requires two classes, but the table has 3; leave it out");
    let message = fixture.refusal(&crate::fixture::create("n", 1, ", loss = 'binary_crossentropy'", "xrays")).await;
    assert_eq!(
        message,
        "loss = 'binary_crossentropy' is for two classes and the table has 3; use loss = 'categorical_crossentropy'"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_may_be_numbers_and_booleans() {
    let fixture = Fixture::new().await;
    let numbers = "(SELECT image, path, \"group\", CASE WHEN label = 'NORMAL' THEN 9 ELSE 10 END AS label FROM xrays)";
    fixture.train("numbers", 1, "", numbers).await;
    let definition = fixture.manifest("numbers").await.definition;
    assert_eq!((definition.classes, definition.positive), (vec!["9".to_owned(), "10".to_owned()], Some(1)));
    fixture.rows(&format!("EVALUATE MODEL numbers ON {numbers}")).await;
    let booleans = "(SELECT image, path, \"group\", label = 'NORMAL' AS label FROM xrays)";
    fixture.train("booleans", 1, ", positive = false", booleans).await;
    let definition = fixture.manifest("booleans").await.definition;
    assert_eq!((definition.classes, definition.positive), (vec!["false".to_owned(), "true".to_owned()], Some(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_validation_table_leaves_all_other_rows_to_training() {
    let fixture = Fixture::new().await;
    let held = "\"group\" IN ('person000', 'person001', 'person006', 'person007')";
    let on = format!("(SELECT * FROM xrays WHERE NOT {held}) VALIDATE ON (SELECT * FROM xrays WHERE {held})");
    let epochs = fixture.train("m", 2, "", &on).await;
    assert!(epochs.iter().all(|row| row[7] == "32" && row[3] != "NULL" && row[5] != "NULL"), "{epochs:?}");
    let data = fixture.manifest("m").await.data;
    assert_eq!(data.train_rows.values().sum::<u64>(), 32);
    assert_eq!(data.val_rows.values().copied().collect::<Vec<_>>(), [8, 8]);
}

#[tokio::test(flavor = "multi_thread")]
async fn squared_error_and_gradient_descent_learn_too() {
    let fixture = Fixture::new().await;
    let options = ", loss = 'mean_squared_error', optimizer = 'sgd', learning_rate = 0.05, schedule = 'constant', \
                   weight_decay = 0, augment = 'none'";
    let epochs = fixture.train("m", 8, options, "xrays").await;
    let loss = |row: &[String]| row[2].parse::<f64>().unwrap();
    assert!(loss(epochs.last().unwrap()) < loss(&epochs[0]), "{epochs:?}");
    assert!(epochs.iter().all(|row| row[6] == "0.05"), "{epochs:?}");
    let definition = fixture.manifest("m").await.definition;
    assert_eq!((definition.loss, definition.spec.optimizer.algorithm), (Loss::MeanSquaredError, Optimizer::Sgd));
    let sum = "SELECT count(*) FROM xrays WHERE abs(predict_proba('m', image, 'NORMAL') \
               + predict_proba('m', image, 'PNEUMONIA') - 1) < 0.0001";
    assert_eq!(fixture.cell(sum).await, "48");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warm_start_begins_with_the_other_models_weights() {
    let fixture = Fixture::new().await;
    let options = ", augment = 'none', learning_rate = 0.001, schedule = 'constant'";
    fixture.train("first", 8, options, "xrays").await;
    let warm = fixture.train("second", 1, &format!("{options}, warm_start = 'first'"), "xrays").await;
    let cold = fixture.train("third", 1, options, "xrays").await;
    let loss = |rows: &[Vec<String>]| rows[0][2].parse::<f64>().unwrap();
    assert!(loss(&warm) < 0.7 * loss(&cold), "warm {} cold {}", loss(&warm), loss(&cold));
    let refusal = fixture.refusal(&crate::fixture::create("m", 1, ", warm_start = 'frist'", "xrays")).await;
    assert_eq!(
        refusal,
        "there is no model 'frist' in file://{dir}/store; did you mean 'first'? SHOW MODELS lists them"
    );
    // The head is new if the classes are others.
    let three =
        "(SELECT image, path, \"group\", CASE WHEN path LIKE '%png' THEN 'DRAWN' ELSE label END AS label FROM xrays)";
    assert_eq!(fixture.train("head", 1, ", warm_start = 'first'", three).await.len(), 1);
    assert_eq!(fixture.manifest("head").await.definition.classes, ["DRAWN", "NORMAL", "PNEUMONIA"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_given_threshold_and_positive_class_decide() {
    let fixture = Fixture::new().await;
    fixture.train("m", 2, ", threshold = 0.999999, positive = 'NORMAL'", "xrays").await;
    let manifest = fixture.manifest("m").await;
    assert_eq!((manifest.threshold, manifest.definition.positive), (Some(0.999_999), Some(0)));
    let sql = "SELECT count(*) FROM xrays \
               WHERE (predict('m', image) = 'NORMAL') <> (predict_proba('m', image, 'NORMAL') >= 0.999999)";
    assert_eq!(fixture.cell(sql).await, "0");
    let evaluation = fixture.rows("EVALUATE MODEL m ON xrays OPTIONS (threshold = 0.000001)").await.remove(0);
    // With a threshold near zero, everything is positive: recall is 1.
    assert_eq!((evaluation[4].as_str(), evaluation[14].as_str()), ("1e-6", "1.0"), "{evaluation:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn augmentation_changes_the_weights_and_none_does_not() {
    let fixture = Fixture::new().await;
    fixture.train("plain", 1, ", augment = 'none'", "xrays").await;
    fixture.train("again", 1, ", augment = 'none'", "xrays").await;
    fixture.train("moved", 1, ", augment = 'xray'", "xrays").await;
    let plain = fixture.weights("plain").await;
    assert!(plain == fixture.weights("again").await);
    assert!(plain != fixture.weights("moved").await);
    assert_eq!(fixture.manifest("plain").await.definition.spec.input.augment.to_string(), "none");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_early_stop_ends_a_run_and_publishes_its_best_epoch() {
    let fixture = Fixture::new().await;
    // At this learning rate, validation soon stops improving.
    let epochs = fixture.train("m", 30, ", learning_rate = 5, patience = 1, optimizer = 'sgd'", "xrays").await;
    let manifest = fixture.manifest("m").await;
    assert!(epochs.len() < 30, "{epochs:?}");
    assert_eq!(manifest.epochs.len(), epochs.len());
    let best = manifest.epochs.iter().min_by(|a, b| a.val_loss.unwrap().total_cmp(&b.val_loss.unwrap())).unwrap();
    assert_eq!(manifest.best_epoch, best.epoch);
}
