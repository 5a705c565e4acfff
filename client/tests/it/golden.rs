//! Plans as golden files. `UPDATE_GOLDEN=1` rewrites them.

use datafusion::physical_plan::displayable;

use crate::fixture::{Fixture, assert_golden, create};

#[tokio::test(flavor = "multi_thread")]
async fn the_plan_of_an_epoch_reads_four_columns_below_the_training_operator() {
    let fixture = Fixture::new().await;
    let statement = create("m", 5, ", workers = 3", "xrays VALIDATE ON (SELECT * FROM xrays WHERE width > 0)");
    let plan: Vec<String> = fixture.rows(&format!("EXPLAIN {statement}")).await.into_iter().flatten().collect();
    assert_golden("create_model.txt", &format!("{}\n", fixture.normalise(&plan.join("\n"))));
    assert!(fixture.rows("SHOW MODELS").await.is_empty(), "EXPLAIN trained");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plan_of_a_query_predicts_next_to_its_scan() {
    let fixture = Fixture::new().await;
    let sql = "SELECT label, predict('m', image) AS class, count(*) FROM xrays WHERE width > 10 GROUP BY label, class";
    let state = fixture.context.session().state();
    let logical = fixture.context.query(sql).await.unwrap().into_optimized_plan().unwrap();
    let local = datafusion::physical_planner::DefaultPhysicalPlanner::default();
    let physical =
        datafusion::physical_planner::PhysicalPlanner::create_physical_plan(&local, &logical, &state).await.unwrap();
    let text =
        format!("logical:\n{}\nphysical:\n{}", logical.display_indent(), displayable(physical.as_ref()).indent(false));
    assert_golden("predict.txt", &fixture.normalise(&text));
}
