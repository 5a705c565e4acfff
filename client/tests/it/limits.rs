//! Limits of statements: how deep they may be, the memory of their queries, and how they end.

use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};
use tusk::{Results, TuskContext};

use crate::fixture::{Engine, Fixture};

/// The longest time until a statement that is not needed any more has ended.
const END_MAX: Duration = Duration::from_secs(30);

/// The stacks of this test's own threads are too small for these statements: Tusk runs them on others.
#[tokio::test(flavor = "multi_thread")]
async fn deep_statements_are_computed_or_refused() {
    let fixture = Fixture::new().await;
    let cases: String = (0..3000).map(|n| format!(" WHEN {n} THEN {}", n + 1)).collect();
    let union = "SELECT 1 AS n UNION ALL ".repeat(100);
    let mut nested = "SELECT 7 AS n".to_owned();
    (0..15).for_each(|_| nested = format!("SELECT * FROM ({nested})"));
    for (sql, expected) in [
        (format!("SELECT 1{} AS n", "+1".repeat(1199)), "1200"),
        (format!("SELECT 1 AS n WHERE 1 = 1{}", " AND 2 > 1".repeat(1000)), "1"),
        (format!("SELECT count(*) FROM range(0, 9) WHERE value = 1{}", " OR value = 2".repeat(300)), "2"),
        (format!("SELECT CASE 2999{cases} END AS n"), "3000"),
        (format!("SELECT {}1{} AS n", "(".repeat(20), ")".repeat(20)), "1"),
        (nested, "7"),
        (format!("SELECT sum(n) FROM ({union} SELECT 1)"), "101"),
    ] {
        assert_eq!(fixture.cell(&sql).await, expected, "{sql:.60}");
    }
    for (sql, message) in [
        (format!("SELECT 1{}", "+1".repeat(50_000)), "the statement is too long a chain of operations"),
        (format!("SELECT {}1{}", "(".repeat(500), ")".repeat(500)), "nested too deeply"),
    ] {
        let error = fixture.refusal(&sql).await;
        assert!(error.contains(message), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_about_models_may_be_deep_as_well() {
    let fixture = Fixture::new().await;
    let source = format!("(SELECT * FROM xrays WHERE width > 0{})", "+0".repeat(1000));
    let plan =
        fixture.rows(&format!("EXPLAIN CREATE MODEL m USING cnn OPTIONS (image_size = 32) TRAIN ON {source}")).await;
    assert!(plan.iter().any(|row| row[0].contains("TrainExec")), "{plan:?}");
    // Operators that take turns are not one message but many in each other, which no decoder reads.
    let sql = format!("SELECT count(*) FROM xrays WHERE width > 0{}", "+1-1".repeat(200));
    assert_eq!(fixture.cell(&sql).await, "48");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sort_that_does_not_fit_into_memory_is_written_to_disk_and_a_join_is_refused_with_the_limit() {
    let fixture = Fixture::limited(64 << 20).await;
    // 120 MB of text.
    let sql = "SELECT CAST(max(r) AS BIGINT) + CAST(max(character_length(t)) AS BIGINT) FROM \
               (SELECT t, row_number() OVER (ORDER BY value % 1000) AS r FROM \
               (SELECT value, repeat('x', 1000 + value % 2) AS t FROM range(0, 120000)))";
    assert_eq!(fixture.cell(sql).await, "121001");
    for sql in [
        "SELECT count(*) FROM range(0, 9000000) a JOIN range(0, 9000000) b ON a.value = b.value",
        "SELECT max(n) FROM (SELECT sum(value) OVER () AS n FROM range(0, 9000000))",
    ] {
        let error = fixture.refusal(sql).await;
        for part in ["not enough memory: ", "64.0 MB", "--memory-limit-bytes", "TUSK_MEMORY_LIMIT_BYTES"] {
            assert!(error.contains(part), "{part}: {error}");
        }
    }
    // What the queries had is free again.
    assert_eq!(fixture.cell("SELECT count(*) FROM range(0, 9)").await, "9");
}

async fn wait_for_jobs(context: &TuskContext, what: &str, holds: impl Fn(usize) -> bool) {
    let deadline = Instant::now() + END_MAX;
    loop {
        let status = context.cluster_status().await.unwrap();
        if holds(status.jobs_running + status.jobs_queued) {
            return;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}: {status:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_job_of_rows_that_are_dropped_is_cancelled() {
    let fixture = Fixture::on(Engine::Cluster).await;
    // Minutes of hashing, of five million rows.
    let endless = "SELECT sum(character_length(md5(repeat(concat(a.path, d.path), 100)))) \
                   FROM xrays a CROSS JOIN xrays b CROSS JOIN xrays c CROSS JOIN xrays d";
    let mut rows: Results = fixture.context.sql(endless).await.unwrap();
    assert!(timeout(Duration::from_millis(500), rows.next()).await.is_err());
    wait_for_jobs(&fixture.context, "the job to start", |jobs| jobs > 0).await;
    drop(rows);
    wait_for_jobs(&fixture.context, "the job to be cancelled", |jobs| jobs == 0).await;
    // Its tasks have given their processors back.
    assert_eq!(fixture.cell("SELECT count(*) FROM xrays").await, "48");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_only_computes_delays_no_other_and_ends_with_its_rows() {
    let fixture = Fixture::new().await;
    let endless = "SELECT sum(a.value % (b.value + 1)) FROM range(1, 100000) a CROSS JOIN range(1, 1000000000) b";
    let mut rows = Vec::new();
    for _ in 0..4 {
        let mut started = fixture.context.sql(endless).await.unwrap();
        assert!(timeout(Duration::from_millis(100), started.next()).await.is_err());
        rows.push(started);
    }
    assert_eq!(fixture.cell("SELECT 1 + 1 AS n").await, "2");
    drop(rows);
    assert_eq!(fixture.cell("SELECT 1 + 2 AS n").await, "3");
}
