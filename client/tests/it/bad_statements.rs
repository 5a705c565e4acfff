//! Statements whose refusal depends on earlier statements. The others are in `refusals.slt`.

use crate::fixture::{Fixture, create};

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_statement_changes_no_model() {
    let fixture = Fixture::new().await;
    fixture.train("m", 1, "", "xrays").await;
    let before = fixture.weights("m").await;
    assert_eq!(
        fixture.refusal(&create("m", 1, "", "xrays")).await,
        "model 'm' exists. Use CREATE OR REPLACE MODEL, CREATE MODEL IF NOT EXISTS, another name, or DROP MODEL m"
    );
    let replace = "CREATE OR REPLACE MODEL m OPTIONS (image_size = 32, epochs = 1) TRAIN ON ";
    assert_eq!(
        fixture.refusal(&format!("{replace} (SELECT * FROM xrays WHERE label = 'NORMAL')")).await,
        "column 'label' of the query holds one class (NORMAL); a classifier needs two or more"
    );
    assert_eq!(before, fixture.weights("m").await);
    // The refused statements have not changed the store.
    assert_eq!(fixture.rows("SHOW TRAINING m").await[0][2], "finished");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_ends_early_leaves_the_name_free() {
    let fixture = Fixture::new().await;
    for on in ["(SELECT * FROM xrays WHERE label = 'COVID')", "(SELECT * FROM xrays WHERE label = 'NORMAL')"] {
        fixture.refusal(&create("m", 1, "", on)).await;
        assert_eq!(fixture.refusal("CANCEL TRAINING m").await, "no training of 'm' is running");
    }
    fixture.train("m", 1, "", "xrays").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn random_text_is_refused_without_a_panic() {
    let fixture = Fixture::new().await;
    let words = [
        "CREATE", "MODEL", "OR", "REPLACE", "m", "USING", "cnn", "OPTIONS", "(", ")", "=", "epochs", "1", "'x'",
        "TRAIN", "ON", "xrays", "EXPLAIN", "EVALUATE", "SHOW", "TRAINING", "DROP", "IF", "EXISTS", ";", "\"", "'", "-",
        "é", "SELECT", "*", ",",
    ];
    let mut state = 5;
    for _ in 0..2000 {
        let count = crate::fixture::next(&mut state) % 12;
        let pick = |_| words[crate::fixture::next(&mut state) as usize % words.len()];
        let sql = (0..count).map(pick).collect::<Vec<_>>().join(" ");
        // This only parses the text. Nothing is run.
        if let Err(error) = tusk_scheduler::check(&sql) {
            assert!(!error.to_string().is_empty(), "{sql}");
        }
    }
    assert_eq!(fixture.refusal("").await, "expected one statement, found 0 at line 1, column 1");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_tasks_are_shown_unchanged() {
    let fixture = Fixture::new().await;
    fixture.train("bars", 1, "", "xrays").await;
    for (sql, message) in [
        (
            "SELECT predict('bar', image) FROM xrays",
            "there is no model 'bar' in file://{dir}/store; did you mean 'bars'? SHOW MODELS lists them",
        ),
        (
            "SELECT predict_proba('bars', image, 'COVID') FROM xrays",
            "model 'bars' has no class 'COVID'; its classes are NORMAL, PNEUMONIA",
        ),
        ("SELECT predict(label, image) FROM xrays", "predict(model, image): model must be a constant, not a column"),
        ("SELECT resize_image(image, 0, 4) FROM xrays", "resize_image: width is 0; use 1 to 65535 pixels"),
    ] {
        let found = fixture.refusal(sql).await;
        assert!(found.contains(message), "{sql}: {found}");
        assert!(!found.contains("Job ") && !found.contains("Shared("), "{sql}: {found}");
    }
}
