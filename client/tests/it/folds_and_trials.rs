//! Cross-validation, search, ensembles, leaks and preprocessing.

use std::collections::{BTreeMap, BTreeSet};

use tusk_core::manifest::{ChildStatus, Leak};
use tusk_core::metrics::definitions::roc_auc;

use crate::fixture::{Fixture, create};
use crate::resume::cancel_after_an_epoch;

/// A cross-validation without other held-out rows. `options` begin with a comma.
fn folds(name: &str, options: &str) -> String {
    format!(
        "CREATE MODEL {name} USING cnn OPTIONS (image_size = 32, batch_size = 8, precision = 'f32', \"group\" = 'group', \
         epochs = 2, folds = 3{options}) TRAIN ON xrays"
    )
}

fn number(cell: &str) -> f64 {
    cell.parse().unwrap_or_else(|_| panic!("'{cell}' is not a number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_row_is_tested_out_of_fold_and_the_model_is_the_mean_of_the_folds() {
    let fixture = Fixture::new().await;
    let rows = fixture.rows(&folds("m", "")).await;
    let names: Vec<(&str, &str)> = rows.iter().map(|row| (row[0].as_str(), row[1].as_str())).collect();
    let expected = [("m.fold-1", "1"), ("m.fold-1", "2"), ("m.fold-2", "1"), ("m.fold-2", "2"), ("m.fold-3", "1")];
    assert_eq!(names[..5], expected);
    let trained: u64 = rows.iter().step_by(2).map(|row| row[7].parse::<u64>().unwrap()).sum();
    assert_eq!(trained, 2 * 48, "each row is in the training rows of all folds but one");
    let manifest = fixture.manifest("m").await;
    assert_eq!(manifest.members.len(), 3);
    assert_eq!(manifest.data.val_rows.values().sum::<u64>(), 48);
    let report = manifest.validation.as_ref().unwrap();
    assert_eq!(report.rows, 48);
    let row = fixture.rows("SHOW MODELS").await.remove(0);
    assert_eq!(number(&row[6]), report.metric(&roc_auc::METRIC).value.unwrap());

    // The mean of the folds, each copied to a model of its own.
    let sql = "SELECT predict_proba('m', image, 'PNEUMONIA') FROM xrays ORDER BY path";
    let whole: Vec<f64> = fixture.rows(sql).await.iter().map(|row| number(&row[0])).collect();
    let mut mean = vec![0.0; whole.len()];
    let store = fixture.context.store().unwrap();
    let state = store.read_state(&manifest.weights).await.unwrap();
    for member in &manifest.members {
        let mut alone = manifest.clone();
        alone.name = tusk_core::ids::ModelName::new(format!("alone-{}", member.name)).unwrap();
        alone.definition = member.definition.clone();
        alone.members.clear();
        alone.weights = store.write_weights(&alone.name, &state.member(&member.name)).await.unwrap();
        store.publish(&alone).await.unwrap();
        let rows = fixture.rows(&sql.replace("'m'", &format!("'{}'", alone.name))).await;
        mean.iter_mut().zip(&rows).for_each(|(sum, row)| *sum += number(&row[0]) / 3.0);
    }
    for (found, wanted) in whole.iter().zip(&mean) {
        assert!((found - wanted).abs() < 1e-6, "{found} is not {wanted}");
    }
    // An ensemble of the same three nets, whose threshold comes from rows.
    fixture
        .run(
            "CREATE MODEL e USING ensemble OPTIONS (members = 'alone-fold-1, alone-fold-2, alone-fold-3') \
             VALIDATE ON xrays",
        )
        .await;
    let ensemble = fixture.rows(&sql.replace("'m'", "'e'")).await;
    assert!(whole.iter().zip(&ensemble).all(|(found, row)| (found - number(&row[0])).abs() < 1e-6));
    let ensemble = fixture.manifest("e").await;
    assert_eq!(ensemble.validation.unwrap().rows, 48);
    assert!(ensemble.threshold_range.is_some());
    assert_eq!(fixture.rows("SHOW MODELS").await.len(), 5, "the draft of the ensemble is still in the store");
    let card = fixture.cell("DESCRIBE MODEL m CARD").await;
    assert!(card.contains("(3 nets, averaged)"), "{card}");
    let warm = fixture.refusal(&folds("n", ", warm_start = 'm'")).await;
    assert!(warm.contains("warm_start = 'm' has 3 nets"), "{warm}");
    let explained = "SELECT count(explain('e', image)) FROM (SELECT * FROM xrays ORDER BY path LIMIT 2)";
    assert_eq!(fixture.cell(explained).await, "2");
    // The map is the sum of three, divided by its largest value.
    let hottest = "SELECT max(array_max(explain_map('m', image)['data'])) FROM xrays";
    assert_eq!(fixture.cell(hottest).await, "1.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn nets_of_different_sizes_are_averaged_but_not_explained_together() {
    let fixture = Fixture::new().await;
    fixture.train("small", 1, "", "xrays").await;
    let large = create("large", 1, "", "xrays").replace("USING cnn", "USING cnn_reference");
    fixture.run(&large.replace("image_size = 32", "image_size = 64")).await;
    fixture.run("CREATE MODEL both USING ensemble OPTIONS (members = 'small, large')").await;
    let manifest = fixture.manifest("both").await;
    let sizes: Vec<u32> = manifest.members.iter().map(|member| member.definition.preprocessing.image_size).collect();
    assert_eq!(sizes, [32, 64]);
    // Half of the images cannot be read. The others keep their positions.
    let [small, large, both] =
        ["small", "large", "both"].map(|name| format!("predict_proba('{name}', image, 'PNEUMONIA')"));
    let sql = format!(
        "SELECT {small}, {large}, {both} FROM (SELECT path, CASE WHEN path LIKE '%jpeg' THEN nullif(image, image) ELSE \
         image END AS image FROM xrays) AS t ORDER BY path"
    );
    let (unread, read): (Vec<_>, Vec<_>) = fixture.rows(&sql).await.into_iter().partition(|row| row[2] == "NULL");
    assert_eq!((unread.len(), read.len()), (24, 24));
    let read: Vec<[f64; 3]> = read.iter().map(|row| [0_usize, 1, 2].map(|column| number(&row[column]))).collect();
    assert!(
        read.iter().any(|[small, large, _]| (small - large).abs() > 0.01),
        "the nets agree too much for a test: {read:?}"
    );
    for [small, large, both] in read {
        assert!((both - (small + large) / 2.0).abs() < 1e-5, "{both} is not the mean of {small} and {large}");
    }
    let refusal = fixture.refusal("SELECT explain('both', image) FROM xrays").await;
    let reason = "model 'both' has members with different image sizes; use explain with one of the members";
    assert!(refusal.contains(reason), "{refusal}");
    assert_eq!(fixture.cell("SELECT count(explain('large', image)) FROM xrays").await, "48");
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_ensembles_are_refused() {
    let fixture = Fixture::new().await;
    fixture.train("a", 1, "", "xrays").await;
    let labels =
        "(SELECT image, CASE WHEN label = 'NORMAL' THEN 'N' ELSE 'P' END AS label, \"group\", path FROM xrays)";
    fixture.train("b", 1, "", labels).await;
    let refusal = fixture.refusal("CREATE MODEL e USING ensemble OPTIONS (members = 'a, b')").await;
    assert!(refusal.starts_with("'a' has the classes NORMAL, PNEUMONIA and 'b' has N, P;"), "{refusal}");
    let refusal = fixture.refusal("CREATE MODEL e USING ensemble OPTIONS (members = 'a, c')").await;
    assert!(refusal.contains("'c'"), "{refusal}");
    let refusal = fixture.refusal("CREATE MODEL e USING ensemble OPTIONS (members = 'a') TRAIN ON xrays").await;
    assert!(refusal.starts_with("an ensemble is not trained"), "{refusal}");
    fixture.run("CREATE MODEL e USING ensemble OPTIONS (members = 'a')").await;
    let refusal = fixture.refusal("CREATE MODEL e USING ensemble OPTIONS (members = 'a')").await;
    assert!(refusal.contains("'e'") && refusal.contains("exists"), "{refusal}");
    let refusal = fixture.refusal("CREATE MODEL g USING ensemble OPTIONS (members = 'a', tta = 8)").await;
    assert!(refusal.starts_with("tta is not for an ensemble: its nets stay as they were trained"), "{refusal}");
    // The data of one net is not shown as that of the ensemble.
    let described = fixture.rows("DESCRIBE MODEL e").await;
    let has = |property: &str| described.iter().any(|row| row[0] == property);
    assert!(has("members") && has("threshold") && !has("seed") && !has("spec") && !has("training_rows"));
    // The rows of VALIDATE ON have another column of labels.
    let kinds = "(SELECT image, label AS kind FROM xrays)";
    let create = "CREATE MODEL f USING ensemble OPTIONS (members = 'a', label = 'kind') VALIDATE ON";
    fixture.run(&format!("{create} {kinds}")).await;
    assert_eq!(fixture.manifest("f").await.definition.spec.data.label, "kind");
    for named in
        ["CREATE MODEL \"a.new\" USING ensemble OPTIONS (members = 'a')", "CREATE MODEL \"a.fold-1\" TRAIN ON xrays"]
    {
        let refusal = fixture.refusal(named).await;
        assert!(refusal.contains("are reserved for folds, trials and ensembles"), "{refusal}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelled_folds_resume_to_the_bytes_of_uninterrupted_ones() {
    let fixture = Fixture::new().await;
    let message = cancel_after_an_epoch(&fixture, &folds("m", "")).await;
    assert!(message.starts_with("training of 'm' was cancelled after "), "{message}");
    let fixture = fixture.reopen().await;
    fixture.run(&folds("m", ", resume = true")).await;
    fixture.run(&folds("whole", "")).await;
    assert!(fixture.weights("m").await == fixture.weights("whole").await, "the resumed run differs");
    let runs = || std::fs::read_dir(fixture.path("store/runs")).unwrap().count();
    assert_eq!(runs(), 2, "runs of folds are still in the store");
    cancel_after_an_epoch(&fixture, &folds("n", "")).await;
    assert!(runs() > 3, "the folds of a cancelled run are not kept");
    fixture.run("DROP MODEL IF EXISTS n").await;
    assert_eq!(runs(), 2, "runs of cancelled folds are still in the store");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_run_leaves_interrupted_folds_as_they_were() {
    let fixture = Fixture::new().await;
    cancel_after_an_epoch(&fixture, &folds("m", "")).await;
    let files = || {
        let folders = std::fs::read_dir(fixture.path("store/runs")).unwrap().map(|folder| folder.unwrap().path());
        let files = folders.flat_map(|folder| std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()));
        files.map(|file| (file.clone(), std::fs::read(file).unwrap())).collect::<BTreeMap<_, _>>()
    };
    let before = files();
    let on = "(SELECT X'00' AS image, label, path, \"group\" FROM xrays)";
    let message = fixture.refusal(&create("m", 1, "", on)).await;
    assert!(message.contains("cannot be read"), "{message}");
    assert!(before.len() > 3 && files() == before, "the refused run changed files of the interrupted one");
    fixture.run(&folds("m", ", resume = true")).await;
}

const SEARCH: &str = ", learning_rate = range(0.0001, 0.01), augment = candidates('none', 'xray')";

#[tokio::test(flavor = "multi_thread")]
async fn the_best_trial_becomes_the_model_also_if_trials_run_in_parallel() {
    let fixture = Fixture::new().await;
    fixture.train("m", 2, &format!("{SEARCH}, trials = 4, objective = 'loss'"), "xrays").await;
    let trials = fixture.rows("SHOW TRIALS m").await;
    assert_eq!(trials.len(), 4);
    let losses: Vec<f64> = trials.iter().map(|row| number(&row[4])).collect();
    let best = (0..4).min_by(|a, b| losses[*a].total_cmp(&losses[*b])).unwrap();
    let manifest = fixture.manifest("m").await;
    assert_eq!(manifest.best().unwrap().val_loss, Some(losses[best]));
    let spec = &manifest.definition.spec;
    assert!(trials[best][2].contains(&format!("learning_rate = {}", spec.optimizer.learning_rate)), "{trials:?}");
    assert!(spec.search.space.is_empty());
    let shown = fixture.run("SHOW TRIALS m").await;
    assert!(shown[0].schema().column_with_name("loss").is_some(), "{:?}", shown[0].schema());
    let options: BTreeSet<&str> = trials.iter().map(|row| row[2].as_str()).collect();
    assert_eq!(options.len(), 4, "{options:?}");

    let side_by_side = format!("{SEARCH}, trials = 4, parallel_trials = 3, objective = 'loss'");
    fixture.train("n", 2, &side_by_side, "xrays").await;
    assert!(fixture.weights("m").await == fixture.weights("n").await, "the order of the trials changes the model");
    let nothing = format!("CREATE MODEL o OPTIONS (validation_fraction = 0{SEARCH}) TRAIN ON xrays");
    let refusal = fixture.refusal(&nothing).await;
    assert!(refusal.starts_with("a search compares trials on validation rows, but there are none"), "{refusal}");
    let refusal = fixture.refusal(&create("o", 2, ", learning_rate = range(1, 2, 3)", "xrays")).await;
    assert!(refusal.contains("two numbers in range(low, high)"), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_trials_end_early_and_a_cancelled_search_resumes() {
    let fixture = Fixture::new().await;
    let options = format!("{SEARCH}, early_stop = false, trials = 4, search = 'halving', objective = 'loss'");
    cancel_after_an_epoch(&fixture, &create("m", 8, &options, "xrays")).await;
    let fixture = fixture.reopen().await;
    let trials = fixture.rows("SHOW TRIALS m").await;
    assert!(trials.iter().any(|row| row[1] == "waiting"), "{trials:?}");
    fixture.train("m", 8, &format!("{options}, resume = true"), "xrays").await;
    let trials = fixture.rows("SHOW TRIALS m").await;
    let of = |status: ChildStatus| {
        let rows = trials.iter().filter(|row| row[1] == status.word());
        rows.map(|row| row[3].as_str()).collect::<Vec<_>>()
    };
    assert_eq!(of(ChildStatus::Finished), ["8"]);
    let mut stopped = of(ChildStatus::Stopped);
    stopped.sort_unstable();
    assert_eq!(stopped, ["1", "1", "2"], "{trials:?}");
    fixture.train("whole", 8, &options, "xrays").await;
    assert!(fixture.weights("m").await == fixture.weights("whole").await, "the resumed search differs");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_on_both_sides_of_a_split_are_counted_refused_or_left_out() {
    let fixture = Fixture::new().await;
    let sql = |name: &str, options: &str| {
        let statement = create(name, 1, options, "xrays");
        format!("{statement} VALIDATE ON (SELECT * FROM xrays WHERE \"group\" IN ('person001', 'person008'))")
    };
    let rows = fixture.rows(&sql("m", "")).await;
    assert_eq!(rows[0][7], "48");
    let leak = Leak { content: 8, ..Leak::default() };
    assert_eq!(fixture.manifest("m").await.data.leak, Some(leak));
    let refusal = fixture.refusal(&sql("n", ", on_leak = 'fail'")).await;
    assert!(
        refusal.starts_with("of xrays, 8 training rows are among the validation rows, too: 8 by content"),
        "{refusal}"
    );
    let rows = fixture.rows(&sql("o", ", on_leak = 'drop'")).await;
    assert_eq!(rows[0][7], "40");
    let manifest = fixture.manifest("o").await;
    assert_eq!(manifest.data.leak, Some(Leak { dropped: 8, ..leak }));
    assert_eq!(manifest.data.train_rows.values().sum::<u64>(), 40);
    assert_eq!(manifest.data.val_rows.values().sum::<u64>(), 8);
    // Other bytes but nearly the same pixels. The perceptual hash finds most of them.
    let again = "(SELECT encode_image(decode_image(image), 'png') AS image, label, 'other' AS \"group\", path FROM xrays \
                 WHERE path LIKE '%jpeg')";
    let statement = format!("{} VALIDATE ON {again}", create("p", 1, "", "xrays"));
    fixture.run(&statement).await;
    let leak = fixture.manifest("p").await.data.leak.unwrap();
    assert!((20..=24).contains(&leak.look) && leak.rows() == leak.look, "{leak}");
}

#[tokio::test(flavor = "multi_thread")]
async fn prediction_preprocesses_images_as_training_does() {
    let fixture = Fixture::new().await;
    let options = ", intensity = 'stretch', resize = 'pad', border_crop = 0.05, mixup = 0.2, \
                   augment = 'rotate, shear, stretch, frame, processing', ema = 0.9, tta = 3";
    let held_out = "(SELECT * FROM xrays WHERE \"group\" IN ('person001', 'person008'))";
    let training = "(SELECT * FROM xrays WHERE \"group\" NOT IN ('person001', 'person008'))";
    fixture.run(&format!("{} VALIDATE ON {held_out}", create("m", 1, options, training))).await;
    let manifest = fixture.manifest("m").await;
    let of = |class: &str| format!("WHEN label = '{class}' THEN predict_proba('m', image, '{class}')");
    let sql = format!("SELECT CASE {} {} END FROM {held_out} AS t", of("NORMAL"), of("PNEUMONIA"));
    // Both classes have the same weight here, so the training loss is the plain mean.
    let losses: Vec<f64> = fixture.rows(&sql).await.iter().map(|row| -number(&row[0]).ln()).collect();
    let (found, wanted) = (losses.iter().sum::<f64>() / 8.0, manifest.best().unwrap().val_loss.unwrap());
    assert!((found - wanted).abs() < 1e-5, "{found} is not {wanted}");
    let described = fixture.rows("DESCRIBE MODEL m").await;
    let value = |name: &str| described.iter().find(|row| row[0] == name).map(|row| row[1].as_str());
    assert_eq!(value("held_out"), Some("the rows of VALIDATE ON"));
    let card = fixture.cell("DESCRIBE MODEL m CARD").await;
    assert!(
        card.contains("Held out: the rows of VALIDATE ON. Shortcuts, which tell") && card.contains(", mixup 0.2. EMA"),
        "{card}"
    );
    assert_eq!(
        (value("border_crop"), value("resize"), value("intensity"), value("mixup")),
        (Some("0.05"), Some("pad"), Some("stretch"), Some("0.2"))
    );
    let refusal = fixture.refusal(&create("n", 1, ", intensity = 'clahe', resize = 'pad'", "xrays")).await;
    assert!(
        refusal.starts_with("intensity = 'clahe' would equalize the black borders of resize = 'pad' too"),
        "{refusal}"
    );
    let seen = "SELECT count(DISTINCT augment_image(image, 'xray', seed, 64)) FROM (SELECT image FROM xrays ORDER BY path \
                LIMIT 1) CROSS JOIN (VALUES (1), (2), (3), (1)) AS s(seed)";
    assert_eq!(fixture.cell(seen).await, "3");
}
