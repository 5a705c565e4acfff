//! EVALUATE with `show = 'stress'`: the same rows, as they are and changed.

use tusk::CacheLimits;
use tusk_pixels::CHANGES;

use crate::fixture::{Fixture, THREE};

fn number(cell: &str) -> f64 {
    cell.parse().unwrap_or_else(|_| panic!("'{cell}' is not a number"))
}

/// The names in the column `change`, in their order.
fn names() -> Vec<&'static str> {
    std::iter::once("as is").chain(CHANGES.iter().map(|change| change.name)).collect()
}

/// Asserts that the rows of one part are complete. Their first column is `change`.
fn assert_complete(rows: &[Vec<String>]) {
    assert_eq!(rows.iter().map(|row| row[0].as_str()).collect::<Vec<_>>(), names());
    assert_eq!(number(&rows[0][1]), 0.0, "{:?}", rows[0]);
    assert!(rows.iter().all(|row| number(&row[1]).abs() <= 1.0 && row[3..=4] == rows[0][3..=4]), "{rows:?}");
    assert!(rows[1..].iter().any(|row| number(&row[1]) != 0.0), "no change has an effect: {rows:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_has_a_row_of_metrics() {
    let fixture = Fixture::new().await;
    fixture.train("m", 1, ", learning_rate = 0.0003, threshold = 0.5", "xrays").await;
    let rows = fixture.rows("EVALUATE MODEL m ON xrays OPTIONS (show = 'stress')").await;
    assert_complete(&rows);
    let summary = fixture.rows("EVALUATE MODEL m ON xrays").await.remove(0);
    assert_eq!(rows[0][2..], summary);
    // The change of the score is that of the SQL functions.
    for row in rows.iter().filter(|row| ["narrow", "shifted", "dark"].contains(&row[0].as_str())) {
        let mean = async |image: &str| {
            number(&fixture.cell(&format!("SELECT avg(predict_proba('m', {image}, 'PNEUMONIA')) FROM xrays")).await)
        };
        let wanted = mean(&format!("change_image(image, '{}')", row[0])).await - mean("image").await;
        assert!((number(&row[1]) - wanted).abs() < 1e-5, "{row:?}: {wanted}");
    }
    let refusal = fixture.refusal("EVALUATE MODEL m ON xrays OPTIONS (show = 'stress', against = 'm')").await;
    assert_eq!(refusal, "against compares two models in one row; leave out show = 'stress'");
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_are_stressed_separately_with_one_threshold() {
    let fixture = Fixture::new().await;
    fixture.train("m", 1, ", learning_rate = 0.0003, threshold = 0.5", "xrays").await;
    // One image is unreadable, with every change.
    let on = "(SELECT label, \"group\", CASE WHEN path LIKE '%png' THEN 'png' ELSE 'jpeg' END AS kind, \
              CASE WHEN path = 'NORMAL/person000_0.png' THEN X'00' ELSE image END AS image \
              FROM xrays)";
    let options = "by = 'kind', threshold_for = 'sensitivity >= 0.95'";
    let rows = fixture.rows(&format!("EVALUATE MODEL m ON {on} OPTIONS (show = 'stress', {options})")).await;
    let part = |kind: &str| -> Vec<Vec<String>> {
        rows.iter().filter(|row| row[0] == kind).map(|row| row[1..].to_vec()).collect()
    };
    let (jpeg, png) = (part("jpeg"), part("png"));
    assert_eq!(rows.iter().map(|row| row[0].as_str()).collect::<Vec<_>>(), [["jpeg"; 16], ["png"; 16]].concat());
    assert_complete(&jpeg);
    assert_complete(&png);
    assert_eq!(jpeg[0][3..=4], ["24", "0"]);
    assert_eq!(png[0][3..=4], ["23", "1"]);
    let plain = fixture.rows(&format!("EVALUATE MODEL m ON {on} OPTIONS ({options})")).await;
    assert_eq!([&jpeg[0][2..], &png[0][2..]], [&plain[0][1..], &plain[1][1..]]);
    assert!(rows.iter().all(|row| row[7] == rows[0][7]), "one threshold for all: {rows:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_of_three_classes_is_scored_by_the_true_class() {
    let fixture = Fixture::with(THREE, CacheLimits::default()).await;
    fixture.train("m", 1, "", "xrays").await;
    let rows = fixture.rows("EVALUATE MODEL m ON xrays OPTIONS (show = 'stress')").await;
    assert_complete(&rows);
    assert!(rows.iter().all(|row| row[6] == "NULL"), "there is no threshold: {rows:?}");
}
