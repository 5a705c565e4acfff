//! The messages of errors in tasks: each shows its first cause once, on every path to the user.

use tusk::{CacheLimits, TuskContext};

use crate::fixture::{Fixture, cells, context_options, create};

/// Statements whose tasks fail, and the expected messages.
const FAILURES: [(&str, &str); 6] = [
    (
        "SELECT CAST(label AS BIGINT) FROM t WHERE label = 'NORMAL'",
        "Cast error: Cannot cast string 'NORMAL' to value of Int64 type",
    ),
    (
        "SELECT count(*) FROM t a JOIN t b ON a.path = b.path WHERE CAST(a.label AS BIGINT) = b.width",
        "Cast error: Cannot cast string '",
    ),
    ("SELECT 1 / (width - 32) FROM t", "Divide by zero error"),
    ("SELECT * FROM broken", "Parser error: Error while parsing value 'x\"y' as type 'Int64' for column 0 at line "),
    (
        "SELECT decode_image(arrow_cast(path, 'Binary')) FROM t",
        "decode_image: row 0 of the batch: unsupported image format; Tusk reads JPEG, PNG, BMP, TIFF, WebP or GIF. The first",
    ),
    (
        "SELECT predict('nobody', image) FROM t",
        "there is no model 'nobody' in file://{dir}/store. SHOW MODELS lists them",
    ),
];

async fn refusal(context: &TuskContext, sql: &str) -> String {
    let error = match context.sql(sql).await {
        Err(error) => error,
        Ok(results) => match results.collect().await {
            Err(error) => error,
            Ok(batches) => panic!("{sql} was accepted, with {:?}", cells(&batches)),
        },
    };
    error.to_string()
}

/// The tables that the statements read.
async fn prepare(fixture: &Fixture, context: &TuskContext) {
    for sql in [
        "CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION '{dir}/xrays.parquet'",
        "CREATE EXTERNAL TABLE broken (n BIGINT) STORED AS CSV LOCATION '{dir}/broken.csv' \
         OPTIONS ('format.has_header' 'false', 'format.quote' '~')",
    ] {
        context.sql(&fixture.fill(sql)).await.unwrap().collect().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_task_shows_its_cause_once_in_queries_flight_sql_and_runs() {
    let fixture = Fixture::new().await;
    std::fs::write(fixture.path("broken.csv"), "1\nx\"y\n").unwrap();
    let url = fixture.context.scheduler_url().unwrap();
    let options = context_options(&fixture.path(""), CacheLimits::default());
    let remote = TuskContext::remote_with(&url, options).await.unwrap();
    for context in [&fixture.context, &remote] {
        prepare(&fixture, context).await;
        for (sql, message) in FAILURES {
            let found = fixture.normalise(&refusal(context, sql).await);
            assert!(found.starts_with(message), "{sql}: {found}");
            for wrapping in ["Job ", "stage", "DataFusionError", "Shared(", "tusk-error", "External error"] {
                assert!(!found.contains(wrapping), "{sql}: {found}");
            }
        }
        let on = "(SELECT image, CAST(label AS BIGINT) AS label, \"group\" FROM t WHERE label = 'NORMAL')";
        let found = refusal(context, &create("m", 1, "", on)).await;
        assert_eq!(found, "reading the images failed: Cast error: Cannot cast string 'NORMAL' to value of Int64 type");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remote_scheduler_gets_a_statement_unchanged() {
    let fixture = Fixture::new().await;
    let url = fixture.context.scheduler_url().unwrap();
    let options = context_options(&fixture.path(""), CacheLimits::default());
    let remote = TuskContext::remote_with(&url, options).await.unwrap();
    let run = async |sql: &str| remote.sql(&fixture.fill(sql)).await.unwrap().collect().await.unwrap();
    run("CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION '{dir}/xrays.parquet'").await;
    run("COPY (SELECT path, label FROM t) TO '{dir}/labels.csv'").await;
    run("COPY t TO '{dir}/it''s.parquet' STORED AS PARQUET OPTIONS ('format.compression' 'snappy')").await;
    let lines = std::fs::read_to_string(fixture.path("labels.csv")).unwrap().lines().count();
    assert_eq!(lines, 49);
    assert!(fixture.path("it's.parquet").exists());
    let error = remote.sql("SELECT *\n  FORM t").await.unwrap_err().to_string();
    assert!(error.ends_with("found FORM at line 2, column 3"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_gets_the_run_of_a_statement_from_the_scheduler() {
    let fixture = Fixture::new().await;
    let url = fixture.context.scheduler_url().unwrap();
    let options = context_options(&fixture.path(""), CacheLimits::default());
    let remote = TuskContext::remote_with(&url, options).await.unwrap();
    let table = fixture.fill("CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION '{dir}/xrays.parquet'");
    let rows = remote.sql(&table).await.unwrap();
    assert!(rows.model().is_none() && rows.cancellation().is_none());
    rows.collect().await.unwrap();
    let mut epochs = remote.sql(&create("m", 500, ", early_stop = false", "t")).await.unwrap();
    assert_eq!(epochs.model().map(ToString::to_string).as_deref(), Some("m"));
    assert!(epochs.next().await.unwrap().is_some());
    epochs.cancellation().unwrap().cancel();
    let ended = loop {
        match epochs.next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the run was not cancelled"),
            Err(error) => break error.to_string(),
        }
    };
    assert!(ended.starts_with("training of 'm' was cancelled after "), "{ended}");
}
