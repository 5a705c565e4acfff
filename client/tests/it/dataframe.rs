//! The Rust API, and contexts on an existing cluster.

use datafusion::prelude::{col, lit};
use tusk::metrics::definitions::accuracy;
use tusk::{CacheLimits, ImageClassifier, Model, TuskContext};

use crate::fixture::{Fixture, SIDE, cells, context_options};

fn tiny() -> ImageClassifier {
    ImageClassifier::cnn()
        .group("group")
        .epochs(2)
        .seed(42)
        .option("image_size", u64::from(SIDE))
        .option("batch_size", 8_u64)
        .option("precision", "f32")
        .option("validation_fraction", 0.4)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_estimator_fits_transforms_and_evaluates() {
    let fixture = Fixture::new().await;
    let xrays = fixture.context.read_parquet(fixture.path("xrays.parquet").to_str().unwrap()).await.unwrap();
    let model = tiny().name("frames").fit(&fixture.context, &xrays).await.unwrap();
    assert_eq!(model.history().len(), 2);
    assert_eq!(model.manifest().name.as_str(), "frames");

    let scored = model.transform(xrays.clone()).unwrap();
    let names: Vec<&str> = scored.schema().fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names[names.len() - 2..], ["prediction", "probability"]);
    let rows = scored.filter(col("label").eq(lit("NORMAL"))).unwrap();
    let rows = rows.select_columns(&["path", "prediction", "probability"]).unwrap();
    let rows = cells(&rows.sort(vec![col("path").sort(true, false)]).unwrap().collect().await.unwrap());
    let sql = "SELECT path, predict('frames', image), predict_proba('frames', image) FROM xrays \
               WHERE label = 'NORMAL' ORDER BY path";
    assert_eq!(rows.len(), 24);
    assert_eq!(rows, fixture.rows(sql).await, "the DataFrame and SQL give different predictions");

    let evaluation = model.evaluate(&xrays).await.unwrap();
    assert_eq!((evaluation.rows, evaluation.skipped), (48, 0));
    assert_eq!(evaluation.threshold, model.manifest().threshold);
    let by_sql = fixture.rows("EVALUATE MODEL frames ON xrays").await.remove(0);
    assert_eq!(by_sql[5].parse::<f64>().unwrap(), evaluation.report.metric(&accuracy::METRIC).value.unwrap());

    // The statement trains the same model, bit for bit.
    fixture.train("statement", 2, "", "xrays").await;
    assert!(fixture.weights("frames").await == fixture.weights("statement").await);
    let loaded = Model::load(&fixture.context, "frames").await.unwrap();
    assert_eq!(loaded.manifest(), model.manifest());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_images_is_a_frame_and_a_wrong_option_is_refused_by_fit() {
    let fixture = Fixture::new().await;
    let images = fixture.context.read_images(fixture.path("pictures").to_str().unwrap()).unwrap();
    let message = tiny().fit(&fixture.context, &images).await.unwrap_err().to_string();
    assert_eq!(
        message,
        "the DataFrame has no column 'group'. Its columns are path, image, label, width, height, format. Use OPTIONS \
         (\"group\" = '...') for another"
    );
    let message = tiny().option("epoch", 3_u64).fit(&fixture.context, &images).await.unwrap_err().to_string();
    assert!(message.starts_with("unknown option 'epoch'; did you mean 'epochs'?"), "{message}");
    let error = Model::load(&fixture.context, "nobody").await.unwrap_err().to_string();
    assert!(error.starts_with("there is no model 'nobody' in "), "{error}");
    let grouped = images.with_column("group", col("label")).unwrap();
    assert!(tiny().group("path").fit(&fixture.context, &grouped).await.unwrap().history().len() == 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remote_context_trains_and_predicts_on_the_cluster_of_another() {
    let fixture = Fixture::new().await;
    let url = fixture.context.scheduler_url().unwrap().replace("http://", "df://");
    let options = context_options(&fixture.path(""), CacheLimits::default());
    let remote = TuskContext::remote_with(&url, options).await.unwrap();
    assert_eq!(remote.scheduler_url(), None);
    let run = async |sql: &str| cells(&remote.sql(&fixture.fill(sql)).await.unwrap().collect().await.unwrap());
    run("CREATE EXTERNAL TABLE far STORED AS PARQUET LOCATION '{dir}/xrays.parquet'").await;
    let epochs = run(&crate::fixture::create("m", 2, "", "far")).await;
    assert_eq!(epochs.len(), 2);
    let sql = "SELECT path, predict('m', image) FROM far ORDER BY path";
    let far = run(sql).await;
    assert_eq!(far.len(), 48);
    assert_eq!(far, fixture.rows(&sql.replace("far", "xrays")).await);
    assert_eq!(run("EVALUATE MODEL m ON far").await[0][1], "48");
    fixture.train("here", 2, "", "xrays").await;
    assert!(fixture.weights("m").await == fixture.weights("here").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_scheduler_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let options = context_options(folder.path(), CacheLimits::default());
    let message = TuskContext::remote_with("df://127.0.0.1:1", options).await.unwrap_err().to_string();
    assert!(message.starts_with("cannot reach the scheduler at df://127.0.0.1:1: "), "{message}");
    assert!(message.ends_with("Check that it is running and that the address is correct"), "{message}");
}
