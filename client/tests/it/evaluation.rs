//! The options of EVALUATE, model cards, calibration and explanations.

use tusk_core::metrics::definitions::{accuracy, roc_auc};
use tusk_core::metrics::{Calibration, Interval};

use crate::fixture::Fixture;

fn number(cell: &str) -> f64 {
    cell.parse().unwrap_or_else(|_| panic!("'{cell}' is not a number"))
}

/// A model of the bars that makes some mistakes.
async fn trained() -> Fixture {
    let fixture = Fixture::new().await;
    fixture.train("m", 1, ", learning_rate = 0.0003, threshold = 0.5", "xrays").await;
    fixture
}

#[tokio::test(flavor = "multi_thread")]
async fn curves_and_matrices_match_the_models_probabilities() {
    let fixture = trained().await;
    let show = async |what: &str| fixture.rows(&format!("EVALUATE MODEL m ON xrays OPTIONS (show = '{what}')")).await;
    let roc = show("roc_curve").await;
    assert_eq!((roc[0][0].as_str(), &roc[0][1..]), ("inf", &["0.0".to_owned(), "0.0".to_owned()][..]));
    assert_eq!(roc.last().unwrap()[1..], ["1.0", "1.0"]);
    // The area under the ROC curve, by trapezoids, is the ROC AUC.
    let area: f64 = roc
        .windows(2)
        .map(|pair| (number(&pair[1][1]) - number(&pair[0][1])) * (number(&pair[1][2]) + number(&pair[0][2])) / 2.0)
        .sum();
    let summary = fixture.rows("EVALUATE MODEL m ON xrays").await.remove(0);
    assert!((area - number(&summary[23])).abs() < 1e-9, "{area} is not {}", summary[23]);
    // The area under the precision-recall curve, as a sum of steps, is the average precision.
    let curve = show("pr_curve").await;
    assert_eq!(curve.len(), roc.len());
    let area: f64 =
        curve.windows(2).map(|pair| (number(&pair[1][1]) - number(&pair[0][1])) * number(&pair[1][2])).sum();
    assert!((area - number(&summary[26])).abs() < 1e-9, "{area} is not {}", summary[26]);
    let calibration = show("calibration").await;
    assert_eq!(calibration.iter().map(|bin| number(&bin[2])).sum::<f64>(), 48.0);
    let matrix = show("confusion_matrix").await;
    let sql = "SELECT label, CASE WHEN predict_proba('m', image, 'PNEUMONIA') >= 0.5 THEN 'PNEUMONIA' ELSE 'NORMAL' END \
               AS p, count(*) FROM xrays GROUP BY 1, 2 ORDER BY 1, 2";
    let filled: Vec<Vec<String>> = matrix.into_iter().filter(|row| row[2] != "0").collect();
    assert_eq!(filled, fixture.rows(sql).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_are_evaluated_separately_with_one_threshold() {
    let fixture = trained().await;
    let by = "(SELECT *, CASE WHEN path LIKE '%png' THEN 'png' ELSE 'jpeg' END AS kind FROM xrays)";
    let rows = fixture
        .rows(&format!(
            "EVALUATE MODEL m ON {by} OPTIONS (by = 'kind', threshold_for = 'sensitivity >= 0.95', \"group\" = 'group')"
        ))
        .await;
    assert_eq!(
        rows.iter().map(|row| (row[0].as_str(), row[2].as_str())).collect::<Vec<_>>(),
        [("jpeg", "24"), ("png", "24")]
    );
    assert_eq!(rows[0][5], rows[1][5], "one threshold for all");
    let recall = (number(&rows[0][15]) + number(&rows[1][15])) / 2.0;
    assert!(recall >= 0.95, "{recall}");
    let matrix =
        fixture.rows(&format!("EVALUATE MODEL m ON {by} OPTIONS (by = 'kind', show = 'confusion_matrix')")).await;
    assert_eq!(matrix.len(), 8);
    let refusal = fixture.refusal(&format!("EVALUATE MODEL m ON {by} OPTIONS (by = 'knd')")).await;
    assert!(refusal.contains("knd") && refusal.contains("kind"), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_models_are_compared_on_the_same_rows() {
    let fixture = trained().await;
    fixture.train("better", 6, "", "xrays").await;
    let compared =
        fixture.rows("EVALUATE MODEL better ON xrays OPTIONS (against = 'm', \"group\" = 'group')").await.remove(0);
    assert_eq!(compared[..4], ["better", "m", "48", "0"]);
    let (one, other, difference) = (number(&compared[4]), number(&compared[7]), number(&compared[10]));
    assert!((one - other - difference).abs() < 1e-9 && difference > 0.0, "{compared:?}");
    assert!((0.0..=1.0).contains(&number(&compared[13])), "{compared:?}");
    let own = fixture.rows("EVALUATE MODEL m ON xrays OPTIONS (against = 'm')").await.remove(0);
    assert_eq!((number(&own[10]), number(&own[13])), (0.0, 1.0));
    assert!(
        fixture
            .refusal("EVALUATE MODEL m ON xrays OPTIONS (against = 'none')")
            .await
            .contains("there is no model 'none'")
    );
}

/// Each image four times, as the images of one patient, whose name is in the column `patient`. The labels are random,
/// so that a model is right about half of the time.
fn copies(patient: &str) -> String {
    let once = format!(
        "SELECT image, path AS \"{patient}\", CASE WHEN path LIKE '%png' THEN 'NORMAL' ELSE 'PNEUMONIA' END AS label \
         FROM xrays"
    );
    format!("({})", [once.as_str(); 4].join(" UNION ALL "))
}

/// Four copies widen an interval by a factor of two.
fn assert_twice_as_wide(together: f64, alone: f64) {
    assert!((1.5..2.7).contains(&(together / alone)), "{together} is not twice as wide as {alone}");
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_of_a_patients_images_do_not_narrow_intervals() {
    let fixture = trained().await;
    let rows = copies("patient");
    let evaluated = async |rows: &str, options: &str| {
        let row = fixture.rows(&format!("EVALUATE MODEL m ON {rows} OPTIONS ({options})")).await.remove(0);
        assert!(row.contains(&"192".to_owned()), "{row:?}");
        row
    };
    let width = |row: &[String], low: usize| number(&row[low + 1]) - number(&row[low]);
    // The indexes of the lower bounds: of accuracy and ROC AUC, and of the difference of two ROC AUCs.
    for (options, lows) in [("threshold = 0.5", &[6_usize, 24][..]), ("against = 'm'", &[5][..])] {
        let alone = evaluated(&rows, options).await;
        let together = evaluated(&rows, &format!("{options}, \"group\" = 'patient'")).await;
        for &low in lows {
            assert_eq!(together[low - 1], alone[low - 1]);
            assert_twice_as_wide(width(&together, low), width(&alone, low));
        }
        // The group is the default if the column has the same name as in training.
        let unasked = evaluated(&copies("group"), options).await;
        assert!(lows.iter().all(|&low| unasked[low..=low + 1] == together[low..=low + 1]), "{unasked:?} {together:?}");
    }
    let width = |interval: Interval| interval.high.unwrap() - interval.low.unwrap();
    let mut accuracies = Vec::new();
    // The same holds for the validation metrics of an ensemble, whose rows also choose its threshold.
    for (name, group) in [("alone", ""), ("together", ", \"group\" = 'patient'")] {
        fixture
            .run(&format!("CREATE MODEL {name} USING ensemble OPTIONS (members = 'm'{group}) VALIDATE ON {rows}"))
            .await;
        accuracies.push(fixture.manifest(name).await.validation.unwrap().metric(&accuracy::METRIC));
    }
    assert_eq!(accuracies[0].value, accuracies[1].value);
    assert_twice_as_wide(width(accuracies[1]), width(accuracies[0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_describes_the_model() {
    let fixture = trained().await;
    let card = fixture.cell("DESCRIBE MODEL m CARD").await;
    let manifest = fixture.manifest("m").await;
    for section in ["# Model card: m", "## Intended use", "## Data", "## Metrics", "## Training", "## Limits"] {
        assert!(card.lines().any(|line| line == section), "no {section} in\n{card}");
    }
    let report = manifest.validation.unwrap();
    let auc = report.metric(&roc_auc::METRIC);
    let [value, low, high] = [auc.value, auc.low, auc.high].map(|value| format!("{:.4}", value.unwrap()));
    assert!(card.contains(&format!("| roc auc | {value} | {low} | {high} |")), "{card}");
    assert!(card.contains("| NORMAL | 8 | 16 |") && card.contains("Rows with the same `group`"), "{card}");
    assert!(card.contains("classified as PNEUMONIA if its probability is at least 0.5000, as given"), "{card}");
    assert!(card.contains("validation rows, which also chose the epoch, so the metrics may be optimistic"), "{card}");
    assert!(card.contains("Started from the seed. 1 epochs of 1"), "{card}");
    let epochs = manifest.epochs.first().unwrap().val_roc_auc;
    assert!((auc.value.unwrap() - epochs.unwrap()).abs() < 1e-9, "{epochs:?}");
}

/// The bars with a few wrong labels, which no net can learn to distinguish.
const DOUBTFUL: &str = "(SELECT image, \"group\", CASE WHEN \"group\" = 'person001' THEN 'PNEUMONIA' ELSE label END \
                        AS label FROM xrays)";

/// An ensemble of one net, whose threshold and calibration come from these rows.
async fn calibrated() -> Fixture {
    let fixture = Fixture::new().await;
    fixture.train("m", 4, "", "xrays").await;
    fixture.run(&format!("CREATE MODEL e USING ensemble OPTIONS (members = 'm') VALIDATE ON {DOUBTFUL}")).await;
    fixture
}

#[tokio::test(flavor = "multi_thread")]
async fn calibration_lowers_the_loss_and_keeps_the_order_and_the_decisions() {
    let fixture = calibrated().await;
    let calibration = fixture.manifest("e").await.calibration.unwrap();
    let (temperature, bias) = (calibration.temperature, calibration.bias[1] - calibration.bias[0]);
    assert!(
        (temperature - 1.0).abs() > 0.01 && bias.abs() > 0.01,
        "{temperature} and {bias} are too close to no calibration"
    );
    let [raw, calibrated] =
        ["", " OPTIONS (calibrated = true)"].map(|options| format!("EVALUATE MODEL e ON {DOUBTFUL}{options}"));
    let (raw, calibrated) = (fixture.rows(&raw).await.remove(0), fixture.rows(&calibrated).await.remove(0));
    // Calibration lowers the loss of the rows that it was fitted to, and changes neither the order nor the decisions.
    assert!(number(&calibrated[3]) < number(&raw[3]), "{calibrated:?} {raw:?}");
    assert_eq!(calibrated[5..=25], raw[5..=25]);
    let logit = |p: &str| (number(p) / (1.0 - number(p))).ln();
    assert!((logit(&calibrated[4]) - logit(&raw[4]) / temperature - bias).abs() < 1e-4, "{calibrated:?} {raw:?}");
    let matrix = format!("EVALUATE MODEL e ON {DOUBTFUL} OPTIONS (show = 'confusion_matrix', calibrated = ");
    let (one, other) = (fixture.rows(&format!("{matrix}true)")).await, fixture.rows(&format!("{matrix}false)")).await);
    assert_eq!(one, other);
    // A model of an older version has a temperature but no bias.
    let path = fixture.path("store/models/e/manifest.json");
    let mut older: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert!(older.as_object_mut().unwrap().remove("bias").is_some());
    older["format_version"] = 2.into();
    std::fs::write(&path, older.to_string()).unwrap();
    assert_eq!(fixture.manifest("e").await.calibration, Some(Calibration { temperature, bias: Vec::new() }));
    older["temperature"] = serde_json::Value::Null;
    std::fs::write(&path, older.to_string()).unwrap();
    assert_eq!(fixture.manifest("e").await.calibration, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_card_of_an_ensemble_describes_its_nets_and_rows() {
    let fixture = calibrated().await;
    let card = fixture.cell("DESCRIBE MODEL e CARD").await;
    for said in [
        "where balanced accuracy was best on the validation rows",
        "Held out from all of them: the rows of VALIDATE ON.",
        "On 48 validation rows, which also chose the threshold, so the metrics may be optimistic.",
        "Made of the existing models m (seed 42).",
    ] {
        assert!(card.contains(said), "no '{said}' in\n{card}");
    }
    fixture.run("CREATE MODEL f USING ensemble OPTIONS (members = 'm, e')").await;
    let card = fixture.cell("DESCRIBE MODEL f CARD").await;
    assert!(
        card.contains("the mean of its nets' own thresholds") && card.contains("There were no validation rows"),
        "{card}"
    );
    assert!(!card.contains("It was trained on"), "{card}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_image_can_be_explained_by_a_net_of_its_size() {
    let fixture = trained().await;
    let explained = "SELECT count(*) FROM xrays WHERE image_info(explain('m', image))['width'] = 32";
    assert_eq!(fixture.cell(explained).await, "48");
    let hottest = "SELECT max(array_max(explain_map('m', image)['data'])) <= 1 AND \
                   min(array_min(explain_map('m', image)['data'])) >= 0 FROM xrays";
    assert_eq!(fixture.cell(hottest).await, "true");
    assert_eq!(fixture.cell("SELECT explain('m', X'00') IS NULL").await, "true");
    let svm = crate::fixture::create("linear", 1, "", "xrays").replace("USING cnn", "USING svm");
    fixture.run(&svm).await;
    let refusal = fixture.refusal("SELECT explain('linear', image) FROM xrays").await;
    assert!(refusal.contains("is an svm, which has no feature maps"), "{refusal}");
}
