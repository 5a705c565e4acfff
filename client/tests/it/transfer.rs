//! Runs that start from the weights in a file.

use tusk_core::state::{ModelState, checksum};

use crate::fixture::{Fixture, create};

fn state(bytes: &[u8]) -> ModelState {
    ModelState::from_safetensors("w", bytes, &checksum(bytes)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_starts_from_a_file_and_a_frozen_backbone_does_not_change() {
    let fixture = Fixture::new().await;
    let options = ", augment = 'none', learning_rate = 0.001, schedule = 'constant'";
    let cold = fixture.train("first", 6, options, "xrays").await;
    let file = fixture.weights_path("first").await.display().to_string();
    let loss = |rows: &[Vec<String>]| rows[0][2].parse::<f64>().unwrap();
    for mode in ["synchronous", "asynchronous"] {
        let options = format!("{options}, weights = '{file}', freeze = 'backbone', mode = '{mode}'");
        let warm = fixture.train(&format!("second_{mode}"), 1, &options, "xrays").await;
        assert!(loss(&warm) < 0.8 * loss(&cold), "warm {} cold {}", loss(&warm), loss(&cold));
        let (before, after) =
            (state(&fixture.weights("first").await), state(&fixture.weights(&format!("second_{mode}")).await));
        for tensor in after.iter() {
            let is_head = tensor.name.starts_with("fc.");
            assert_eq!(before.get(&tensor.name) != Some(tensor), is_head, "{mode}: {}", tensor.name);
        }
    }
    let described = fixture.rows("DESCRIBE MODEL second_synchronous").await;
    let started_from = described.iter().find(|row| row[0] == "started_from").unwrap();
    let tensors = state(&fixture.weights("first").await).iter().count();
    assert_eq!(started_from[1], format!("'{file}': {tensors} of {tensors} tensors taken"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsuitable_file_is_refused_with_the_reason() {
    let fixture = Fixture::new().await;
    fixture.train("first", 1, "", "xrays").await;
    let file = fixture.weights_path("first").await.display().to_string();
    let dense = create("dense", 1, &format!(", weights = '{file}'"), "xrays").replace("USING cnn", "USING densenet121");
    let message = fixture.refusal(&dense).await;
    assert!(message.contains("fits densenet121: 0 of "), "{message}");
    assert!(message.contains("the tensors must have torchvision's names for densenet121"), "{message}");
    let message = fixture.refusal(&create("m", 1, ", weights = '{dir}/none.safetensors'", "xrays")).await;
    assert!(message.starts_with("weights = '{dir}/none.safetensors' cannot be read: "), "{message}");
    let message = fixture.refusal(&create("m", 1, ", weights = '{dir}/xrays.parquet'", "xrays")).await;
    assert!(
        message.starts_with("weights = '{dir}/xrays.parquet' cannot be used: it is not a safetensors"),
        "{message}"
    );
    // A net with three channels can start from one with one channel.
    fixture.train("rgb", 1, &format!(", channels = 3, weights = '{file}'"), "xrays").await;
    let transfer = fixture.manifest("rgb").await.transfer.unwrap();
    assert_eq!((transfer.adapted, transfer.fresh), (vec!["conv1.weight".to_owned()], Vec::<String>::new()));
}
