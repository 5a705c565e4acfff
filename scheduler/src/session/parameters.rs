//! Binds values to the parameters of a statement.
//!
//! A value becomes a literal of the plan. In INSERT and UPDATE it is cast to the type of its column, as a literal of the
//! statement would be. An INSERT of many rows of values is one plan that reads them as a table.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, ParamValues, ScalarValue};
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Values, WriteOp, cast};
use tusk_core::sql::Parameters;

use super::Session;
use crate::error::Result;

/// The name of the table of values in a plan.
const TABLE: &str = "parameters";

/// Rows of values for the parameters of a statement, which runs once for each row.
#[derive(Clone, Debug, Default)]
pub(crate) struct ParameterRows {
    /// They have the same columns.
    batches: Vec<RecordBatch>,
}

impl ParameterRows {
    /// The batches must have the same columns.
    pub(crate) fn new(batches: Vec<RecordBatch>) -> Self {
        Self { batches }
    }

    /// The number of rows.
    pub(crate) fn count(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// Their size in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.batches.iter().map(RecordBatch::get_array_memory_size).sum()
    }

    /// The number of values in a row.
    pub(crate) fn columns(&self) -> usize {
        self.batches.first().map_or(0, RecordBatch::num_columns)
    }

    /// Returns the values of each row, for the parameters of a statement.
    ///
    /// # Errors
    /// Returns an error if the values are not as many as the parameters.
    pub(crate) fn each(&self, parameters: &Parameters) -> Result<impl Iterator<Item = Result<ParamValues>>> {
        let columns = self.columns_of(parameters)?;
        let names = match parameters {
            Parameters::Numbered(_) => None,
            Parameters::Named(names) => Some(names.clone()),
        };
        let rows = self.batches.iter().flat_map(|batch| (0..batch.num_rows()).map(move |row| (batch, row)));
        Ok(rows.map(move |(batch, row)| -> Result<ParamValues> {
            let values = columns.iter().map(|column| ScalarValue::try_from_array(batch.column(*column), row));
            let values = values.collect::<datafusion::error::Result<Vec<_>>>()?;
            Ok(match &names {
                None => ParamValues::from(values),
                Some(names) => ParamValues::from(names.iter().cloned().zip(values).collect::<Vec<_>>()),
            })
        }))
    }

    /// Returns the column of each parameter. Names that are not those of the columns stand for them in their order.
    fn columns_of(&self, parameters: &Parameters) -> Result<Vec<usize>> {
        let (wanted, found) = (parameters.count(), self.columns());
        if let (Parameters::Named(names), Some(batch)) = (parameters, self.batches.first()) {
            let schema = batch.schema();
            if let Ok(columns) = names.iter().map(|name| schema.index_of(name)).collect::<Result<Vec<_>, _>>() {
                return Ok(columns);
            }
        }
        if wanted != found {
            let message = format!(
                "the statement has {wanted} parameters and {found} values are bound to them. Bind one value to each"
            );
            return Err(tusk_core::Error::Data { message }.into());
        }
        Ok((0..wanted).collect())
    }
}

impl Session {
    /// Returns this session with values for the parameters of the statements that it runs.
    pub(crate) fn with_parameters(&self, values: ParamValues) -> Self {
        Self { parameters: Some(Arc::new(values)), ..self.clone() }
    }

    /// Puts the session's values in the place of a plan's parameters, if it has values.
    pub(super) fn bind(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        match &self.parameters {
            None => Ok(plan),
            Some(values) => Ok(with_types_of_columns(plan)?.with_param_values(values.as_ref().clone())?),
        }
    }
}

/// Casts the parameters that INSERT and UPDATE store in a column to its type. The planner knows this type, but DataFusion
/// puts a value of another type in its place.
fn with_types_of_columns(plan: LogicalPlan) -> Result<LogicalPlan> {
    if !matches!(plan, LogicalPlan::Dml(_)) {
        return Ok(plan);
    }
    let cast_all = plan.transform_up(|node| match node {
        LogicalPlan::Values(_) | LogicalPlan::Projection(_) => node.map_expressions(|expr| Ok(with_type(expr))),
        other => Ok(Transformed::no(other)),
    });
    Ok(cast_all?.data)
}

fn with_type(expr: Expr) -> Transformed<Expr> {
    match expr {
        Expr::Placeholder(Placeholder { id, field: Some(field) }) => {
            let data_type = field.data_type().clone();
            Transformed::yes(cast(Expr::Placeholder(Placeholder { id, field: Some(field) }), data_type))
        }
        Expr::Alias(mut alias) => {
            let inner = with_type(std::mem::take(alias.expr.as_mut()));
            inner.update_data(|expr| {
                *alias.expr = expr;
                Expr::Alias(alias)
            })
        }
        other => Transformed::no(other),
    }
}

/// Returns one INSERT of all rows, or `None` if the plan is not an INSERT of VALUES with one row of parameters.
///
/// # Errors
/// Returns an error if the values are not as many as the parameters.
pub(crate) fn insert_of(
    plan: &LogicalPlan,
    rows: &ParameterRows,
    parameters: &Parameters,
) -> Result<Option<LogicalPlan>> {
    let (LogicalPlan::Dml(dml), Some(batch)) = (plan, rows.batches.first()) else { return Ok(None) };
    if !matches!(dml.op, WriteOp::Insert(_)) {
        return Ok(None);
    }
    let columns = rows.columns_of(parameters)?;
    let names = parameters.names();
    let column_of = |id: &str| {
        let place = names.iter().position(|name| name == id).and_then(|place| columns.get(place));
        place.map(|column| Expr::Column(Column::new(Some(TABLE), column_name(*column))))
    };
    let table = table_of(&rows.batches, batch.schema_ref())?;
    let mut is_replaced = false;
    let plan = plan.clone().transform_up(|node| match node {
        LogicalPlan::Values(values) if values.values.len() == 1 && !is_replaced => {
            is_replaced = true;
            Ok(Transformed::yes(projected(&table, values, &column_of)?))
        }
        // It has the types of the values in its schema.
        other if is_replaced => Ok(Transformed::yes(other.recompute_schema()?)),
        other => Ok(Transformed::no(other)),
    })?;
    let plan = plan.data;
    Ok((is_replaced && plan.get_parameter_names()?.is_empty()).then_some(plan))
}

/// Returns the scan of a table of the values.
fn table_of(batches: &[RecordBatch], schema: &Schema) -> Result<LogicalPlan> {
    let fields = schema.fields().iter().enumerate();
    let fields = fields.map(|(column, field)| Field::new(column_name(column), field.data_type().clone(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let renamed = |batch: &RecordBatch| RecordBatch::try_new(Arc::clone(&schema), batch.columns().to_vec());
    let batches = batches.iter().map(renamed).collect::<Result<Vec<_>, _>>().map_err(DataFusionError::from)?;
    let table = provider_as_source(Arc::new(MemTable::try_new(schema, vec![batches])?));
    Ok(LogicalPlanBuilder::scan(TABLE, table, None)?.build()?)
}

/// The name of a column of the table of values. The client's names may be repeated.
fn column_name(column: usize) -> String {
    format!("p{}", column + 1)
}

/// Returns the rows of VALUES, with the table's columns in the place of parameters.
fn projected(
    table: &LogicalPlan,
    values: Values,
    column_of: impl Fn(&str) -> Option<Expr>,
) -> datafusion::error::Result<LogicalPlan> {
    let Values { schema, values } = values;
    let exprs =
        values.into_iter().flatten().zip(schema.fields()).map(|(expr, field)| -> datafusion::error::Result<Expr> {
            let expr = expr.transform_up(|expr| {
                let column = match &expr {
                    Expr::Placeholder(Placeholder { id, .. }) => column_of(id),
                    _ => None,
                };
                Ok(column.map_or_else(|| Transformed::no(expr), Transformed::yes))
            })?;
            let data_type: DataType = field.data_type().clone();
            Ok(cast(expr.data, data_type).alias(field.name()))
        });
    let exprs = exprs.collect::<datafusion::error::Result<Vec<Expr>>>()?;
    LogicalPlanBuilder::from(table.clone()).project(exprs)?.build()
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};
    use datafusion::arrow::util::pretty::pretty_format_batches;
    use datafusion::prelude::SessionContext;
    use tusk_udfs::predict::PlanOnly;
    use tusk_udfs::session::local_config;

    use super::*;
    use crate::session::{Queries, Rows, SessionSettings};

    fn rows() -> ParameterRows {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]));
        let words: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "c"]));
        ParameterRows::new(vec![RecordBatch::try_from_iter([("n", numbers), ("word", words)]).unwrap()])
    }

    async fn context() -> SessionContext {
        let context = SessionContext::new();
        context.sql("CREATE TABLE t (a INT, b VARCHAR, c INT)").await.unwrap().collect().await.unwrap();
        context
    }

    async fn plan(context: &SessionContext, sql: &str) -> LogicalPlan {
        context.state().create_logical_plan(sql).await.unwrap()
    }

    async fn run(context: &SessionContext, plan: LogicalPlan) -> String {
        let batches = context.execute_logical_plan(plan).await.unwrap().collect().await.unwrap();
        pretty_format_batches(&batches).unwrap().to_string()
    }

    async fn table(context: &SessionContext) -> String {
        run(context, plan(context, "SELECT a, b, c FROM t ORDER BY b").await).await
    }

    #[tokio::test]
    async fn an_insert_of_many_rows_is_one_plan_and_casts_the_values_to_the_columns() {
        let context = context().await;
        let insert = plan(&context, "INSERT INTO t (b, a, c) VALUES ($2, $1, $1 * 10)").await;
        let all = insert_of(&insert, &rows(), &Parameters::Numbered(2)).unwrap().unwrap();
        let counted = run(&context, all).await;
        assert!(counted.contains("| 3     |"), "{counted}");
        let expected = "\
+---+---+----+
| a | b | c  |
+---+---+----+
| 1 | a | 10 |
|   | b |    |
| 3 | c | 30 |
+---+---+----+";
        assert_eq!(table(&context).await, expected);
    }

    #[tokio::test]
    async fn one_row_of_values_is_cast_to_the_columns() {
        let context = context().await;
        let insert = plan(&context, "INSERT INTO t VALUES ($1, $2, 5), (2, 'z', $1)").await;
        let values = rows().each(&Parameters::Numbered(2)).unwrap().next().unwrap().unwrap();
        let bound = with_types_of_columns(insert).unwrap().with_param_values(values).unwrap();
        run(&context, bound).await;
        let found = table(&context).await;
        assert!(found.contains("| 1 | a | 5 |") && found.contains("| 2 | z | 1 |"), "{found}");
    }

    #[tokio::test]
    async fn values_of_a_query_keep_their_type() {
        let context = context().await;
        run(&context, plan(&context, "INSERT INTO t VALUES (1, 'x', 1)").await).await;
        let half: ArrayRef = Arc::new(Float64Array::from(vec![1.5]));
        let half = ParameterRows::new(vec![RecordBatch::try_from_iter([("0", half)]).unwrap()]);
        let query = plan(&context, "SELECT count(*) AS n FROM t WHERE a = $1").await;
        let values = half.each(&Parameters::Numbered(1)).unwrap().next().unwrap().unwrap();
        let bound = with_types_of_columns(query).unwrap().with_param_values(values).unwrap();
        let found = run(&context, bound).await;
        assert!(found.contains("| 0 |"), "1 is not 1.5: {found}");
    }

    #[tokio::test]
    async fn other_statements_run_once_per_row() {
        let context = context().await;
        for sql in ["INSERT INTO t SELECT $1, $2, 1", "INSERT INTO t VALUES ($1, $2, 1), (1, 'x', 1)", "SELECT $1, $2"]
        {
            let plan = plan(&context, sql).await;
            assert!(insert_of(&plan, &rows(), &Parameters::Numbered(2)).unwrap().is_none(), "{sql}");
        }
    }

    #[tokio::test]
    async fn a_session_without_a_cluster_binds_values_in_statements_and_in_the_rows_that_they_read() {
        let session = Session::open(SessionSettings {
            queries: Queries::Here,
            config: local_config(),
            runtime: Arc::default(),
            predictor: Arc::new(PlanOnly),
            training: None,
            on_event: None,
            tables: None,
            url_tables: false,
            may_train: true,
        });
        let session = session.await.unwrap();
        session.sql("CREATE TABLE t (a INT)").await.unwrap().collect().await.unwrap();
        let bound = session.with_parameters(ParamValues::from(vec![ScalarValue::from(2_i64)]));
        bound.sql("INSERT INTO t VALUES (?), (3)").await.unwrap().collect().await.unwrap();
        let found = bound.sql("SELECT a FROM t WHERE a = ?").await.unwrap().collect().await.unwrap();
        assert_eq!(found.iter().map(RecordBatch::num_rows).sum::<usize>(), 1);
        let source =
            tusk_core::sql::parse("(SELECT a FROM t WHERE a > ?)", |parser| parser.source()).unwrap().remove(0);
        let rows = Rows::of_source(&bound, &source).await.unwrap();
        assert_eq!(bound.data_frame(rows.plan).count().await.unwrap(), 1);
        let error = session.sql("SELECT a FROM t WHERE a = ?").await.unwrap_err().to_string();
        assert!(error.contains("$1"), "{error}");
    }

    #[test]
    fn names_are_those_of_columns_or_stand_for_them_in_order_and_counts_are_checked() {
        let rows = rows();
        let named = |names: [&str; 2]| Parameters::Named(names.map(str::to_owned).to_vec());
        assert_eq!(rows.columns_of(&named(["word", "n"])).unwrap(), [1, 0]);
        assert_eq!(rows.columns_of(&named(["x", "y"])).unwrap(), [0, 1]);
        let message = rows.columns_of(&Parameters::Numbered(3)).unwrap_err().to_string();
        assert!(message.starts_with("the statement has 3 parameters and 2 values are bound"), "{message}");
        assert_eq!(rows.each(&named(["word", "n"])).unwrap().count(), 3);
    }
}
