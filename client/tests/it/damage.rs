//! Stores that cannot be written, and damaged models.

use tusk::{CacheLimits, TuskContext};

use crate::fixture::{Fixture, context_options, create};

#[tokio::test(flavor = "multi_thread")]
async fn a_store_below_a_file_is_refused_when_it_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, b"no folder").unwrap();
    let error = TuskContext::embedded_with(context_options(&file, CacheLimits::default())).await.unwrap_err();
    let expected = format!(
        "'{}/store' is not a model store: the folder cannot be made (Not a directory (os error 20)); give --store a \
         folder you may write to",
        file.display()
    );
    assert_eq!(error.to_string(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_cannot_be_written_ends_the_run_with_the_reason() {
    let fixture = Fixture::new().await;
    std::fs::write(fixture.path("store/runs"), b"in the way").unwrap();
    let message = fixture.refusal(&create("m", 1, "", "xrays")).await;
    assert!(message.starts_with("the model store file://{dir}/store failed to "), "{message}");
    assert!(message.contains("runs/m"), "{message}");
    std::fs::remove_file(fixture.path("store/runs")).unwrap();
    fixture.train("m", 1, "", "xrays").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_weights_file_is_named_with_its_checksum() {
    let fixture = Fixture::new().await;
    fixture.train("m", 1, "", "xrays").await;
    let path = fixture.weights_path("m").await;
    let whole = std::fs::read(&path).unwrap();
    let stored = fixture.manifest("m").await.weights;
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 4;
    let mut fixture = fixture;
    for damaged in [flipped.as_slice(), &whole[..whole.len() / 3], &[]] {
        // A new context, because the old one may continue with the model that it has loaded.
        fixture = fixture.reopen().await;
        std::fs::write(&path, damaged).unwrap();
        let expected = format!("{} is damaged: its checksum is ", stored.path);
        let advice = format!("and should be {}. Restore it from a copy, or train the model again", stored.checksum);
        for sql in [
            "SELECT predict('m', image) FROM xrays",
            "SELECT predict_proba('m', X'00')",
            "EVALUATE MODEL m ON xrays",
            &create("n", 1, ", warm_start = 'm'", "xrays"),
        ] {
            let message = fixture.refusal(sql).await;
            assert!(message.contains(&expected) && message.ends_with(&advice), "{sql}: {message}");
        }
    }
    std::fs::remove_file(&path).unwrap();
    let message = fixture.refusal("SELECT predict('m', image) FROM xrays").await;
    assert!(message.contains(&format!("{} is damaged: it is missing", stored.path)), "{message}");
    std::fs::write(&path, whole).unwrap();
    fixture.run("SELECT predict('m', image) FROM xrays").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_manifest_is_named_and_does_not_hide_other_models() {
    let fixture = Fixture::new().await;
    fixture.train("m", 1, "", "xrays").await;
    fixture.train("n", 1, "", "xrays").await;
    let path = fixture.path("store/models/m/manifest.json");
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    for sql in ["SELECT predict('m', image) FROM xrays", "EVALUATE MODEL m ON xrays", "DESCRIBE MODEL m"] {
        let message = fixture.refusal(sql).await;
        assert!(message.contains("models/m/manifest.json is damaged: EOF while parsing"), "{sql}: {message}");
    }
    assert_eq!(fixture.rows("SHOW MODELS").await.iter().map(|row| row[0].as_str()).collect::<Vec<_>>(), ["n"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contradictory_manifest_causes_no_panic() {
    let fixture = Fixture::new().await;
    fixture.train("m", 1, "", "xrays").await;
    let path = fixture.path("store/models/m/manifest.json");
    let whole = std::fs::read_to_string(&path).unwrap();
    let edit = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut manifest: serde_json::Value = serde_json::from_str(&whole).unwrap();
        change(&mut manifest);
        std::fs::write(&path, manifest.to_string()).unwrap();
    };
    let edits: [&dyn Fn(&mut serde_json::Value); 9] = [
        &|m| m["definition"]["positive"] = 7.into(),
        &|m| m["definition"]["classes"] = serde_json::json!([]),
        &|m| m["definition"]["classes"] = serde_json::json!(["NORMAL", "PNEUMONIA", "COVID"]),
        &|m| m["definition"]["preprocessing"]["image_size"] = 0.into(),
        &|m| m["definition"]["preprocessing"]["channels"] = 2.into(),
        &|m| m["best_epoch"] = 99.into(),
        &|m| m["temperature"] = 0.into(),
        &|m| (m["temperature"], m["bias"]) = (1.into(), serde_json::json!([1, 2, 3])),
        &|m| m["adapted"] = serde_json::json!([adaptation([0.5, 0.0])]),
    ];
    for change in edits {
        edit(change);
        for sql in [
            "SHOW MODELS",
            "DESCRIBE MODEL m",
            "SELECT predict('m', image) FROM xrays",
            "SELECT predict_proba('m', image) FROM xrays",
            "EVALUATE MODEL m ON xrays",
        ] {
            // A result or an error is fine. A panic in a task would be in the message, or the statement would hang.
            if let Err(error) = attempt(&fixture, sql).await {
                assert!(!error.contains("panic"), "{sql}: {error}");
            }
        }
    }
    std::fs::write(&path, &whole).unwrap();
    fixture.run("SELECT predict('m', image) FROM xrays").await;
}

/// An adaptation with these class frequencies.
fn adaptation(site: [f64; 2]) -> serde_json::Value {
    serde_json::json!({
        "source": "t", "images": 40, "skipped": 0, "workers": 1, "batch_size": 8, "strength": 1.0, "unix_ms": 0, "model": "m",
        "weights": "", "prior": {"site": site, "raw": [0.5, 0.5], "calibrated": [0.5, 0.5]}
    })
}

async fn attempt(fixture: &Fixture, sql: &str) -> Result<(), String> {
    let results = fixture.context.sql(sql).await.map_err(|error| error.to_string())?;
    results.collect().await.map(drop).map_err(|error| error.to_string())
}
