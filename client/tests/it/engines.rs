//! The embedded engine and a cluster give the same models and the same predictions, bit for bit.

use crate::fixture::{Engine, Fixture};

/// Statements whose rows do not depend on what runs them.
const QUERIES: [&str; 4] = [
    "SELECT path, predict('M', image), predict_proba('M', image) FROM xrays ORDER BY path",
    "SELECT path, predict_proba('M', image, 'PNEUMONIA') AS p FROM xrays WHERE width > 0 ORDER BY p, path LIMIT 30",
    "SELECT label, predict('M', image) AS class, count(*) FROM xrays GROUP BY label, class ORDER BY label, class",
    "EVALUATE MODEL M ON xrays",
];

#[tokio::test(flavor = "multi_thread")]
async fn weights_and_predictions_are_the_same_in_this_process_and_on_a_cluster() {
    let (here, there) = (Fixture::on(Engine::Embedded).await, Fixture::on(Engine::Cluster).await);
    for (name, options) in [
        ("one", ""),
        ("two", ", workers = 2"),
        ("averaged", ", workers = 2, averages_per_epoch = 2, ema = 0.9, warm_start = 'one'"),
    ] {
        let epochs = [here.train(name, 2, options, "xrays").await, there.train(name, 2, options, "xrays").await];
        let [of_here, of_there] = epochs.map(|epochs| epochs.iter().map(|row| row[..10].to_vec()).collect::<Vec<_>>());
        assert_eq!(of_here, of_there, "{name}");
        let [of_here, of_there] = [here.weights(name).await, there.weights(name).await].map(|file| blake3::hash(&file));
        assert_eq!(of_here, of_there, "the weights of {name} differ");
        for sql in QUERIES {
            let sql = sql.replace("'M'", &format!("'{name}'")).replace("MODEL M", &format!("MODEL {name}"));
            assert_eq!(here.rows(&sql).await, there.rows(&sql).await, "{sql}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_a_plan_message_would_change_gives_datafusions_rows() {
    let fixture = Fixture::on(Engine::Embedded).await;
    // Ballista's messages drop the filter of a window function, NULL treatment and the quote of a CSV file.
    let sql = "SELECT count(*) FILTER (WHERE path LIKE '%png') OVER () AS n FROM xrays LIMIT 1";
    assert_eq!(fixture.cell(sql).await, "24");
    let sql = "SELECT max(v) FROM (SELECT first_value(x) IGNORE NULLS OVER (ORDER BY path) AS v \
               FROM (SELECT path, CASE WHEN path LIKE '%png' THEN NULL ELSE 1 END AS x FROM xrays))";
    assert_eq!(fixture.cell(sql).await, "1");
    std::fs::write(fixture.path("quoted.csv"), "~a,b~\n~c~\n").unwrap();
    fixture
        .run(
            "CREATE EXTERNAL TABLE quoted (x VARCHAR) STORED AS CSV LOCATION '{dir}/quoted.csv' \
             OPTIONS ('format.has_header' 'false', 'format.quote' '~')",
        )
        .await;
    assert_eq!(fixture.rows("SELECT x FROM quoted ORDER BY x").await, [["a,b"], ["c"]]);
    // The rows of a training table are the same as those of the query.
    let rows = |filter: &str| {
        format!(
            "(SELECT image, label, \"group\", path FROM (SELECT *, count(*) {filter} OVER (PARTITION BY \"group\") AS n \
             FROM xrays) WHERE n = 2)"
        )
    };
    let filtered = rows("FILTER (WHERE path LIKE '%png')");
    assert_eq!(fixture.cell(&format!("SELECT count(*) FROM {filtered}")).await, "48");
    fixture.train("filtered", 1, "", &filtered).await;
    let refusal = fixture.refusal(&crate::fixture::create("none", 1, "", &rows(""))).await;
    assert!(refusal.contains("no rows") || refusal.contains("empty"), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_in_memory_can_be_queried_and_trained_on() {
    let fixture = Fixture::on(Engine::Embedded).await;
    let xrays = fixture.context.read_parquet(fixture.path("xrays.parquet").to_str().unwrap()).await.unwrap();
    let session = fixture.context.session();
    let batches = xrays.collect().await.unwrap();
    let table = datafusion::datasource::MemTable::try_new(batches[0].schema(), vec![batches]).unwrap();
    session.register_table("memory", std::sync::Arc::new(table)).unwrap();
    assert_eq!(fixture.cell("SELECT count(*) FROM memory").await, "48");
    fixture.train("m", 1, "", "memory").await;
    fixture.train("n", 1, "", "xrays").await;
    assert!(fixture.weights("m").await == fixture.weights("n").await);
}
