//! Runs statements, with the values of their parameters.

use arrow_flight::FlightDescriptor;
use arrow_flight::sql::TicketStatementQuery;
use datafusion::arrow::array::AsArray;
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::{DataType, Schema, SchemaRef, UInt64Type};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::ParamValues;
use datafusion::error::DataFusionError;
use datafusion::sql::parser::Statement as DataFusionStatement;
use datafusion::sql::sqlparser::ast::Statement as SqlStatement;
use futures::future::BoxFuture;
use tonic::{Request, Response, Status};
use tusk_core::Error as CoreError;
use tusk_core::event::OnEvent;
use tusk_core::protocol::{EVENTS_HEADER, RunStarted};
use tusk_core::sql::Parameters;

use super::sessions::{Prepared, Rows};
use super::sql::{InfoResponse, info};
use super::wire::wire_schema;
use super::{TuskFlight, metadata, transactions, watcher};
use crate::access::users::{Identity, Right};
use crate::error::{Result, Results};
use crate::metrics;
use crate::session::{ParameterRows, Session, insert_of};
use crate::statements::{Statement, one_statement};
use crate::status::{NO_RIGHT, status_of};

/// The maximum number of times that a statement runs in one request.
const EXECUTIONS_MAX: usize = 10_000;

impl TuskFlight {
    /// Parses a statement and checks that the client may run it.
    pub(super) fn statement(identity: &Identity, sql: &str) -> Result<Prepared, Status> {
        let failed = |error: CoreError| status_of(error.into());
        let statement = one_statement(sql).map_err(failed)?;
        transactions::refuse_statement(&statement)?;
        if statement.right() == Right::Train {
            Self::require_train(identity)?;
        }
        let parameters = Parameters::of(sql).map_err(failed)?;
        Ok(Prepared { statement, parameters, bound: ParameterRows::default() })
    }

    /// Returns an error if the client may only query.
    pub(super) fn require_train(identity: &Identity) -> Result<(), Status> {
        if identity.may_train {
            return Ok(());
        }
        metrics::REFUSED.inc();
        let user = identity.user.as_deref().unwrap_or("this client");
        Err(NO_RIGHT.status(format!(
            "{user} may only query: it has no right to train or to change anything. Ask the cluster's administrator \
             for rights = [\"query\", \"train\"]"
        )))
    }

    /// Starts a statement, which the client must be allowed to run.
    fn start<'a>(
        &'a self,
        identity: &'a Identity,
        prepared: Prepared,
        with_events: bool,
    ) -> BoxFuture<'a, Result<Rows, Status>> {
        Box::pin(async move {
            let (kind, is_change) = (kind_of(&prepared), is_change(&prepared.statement));
            let session = self.session(identity).await?;
            let _in_use = self.sessions.in_use(&identity.session);
            let (on_event, events) = if with_events { watcher() } else { (None, None) };
            let results = match started(&session, prepared, on_event).await {
                // Most clients do not fetch its rows. If the client gives up this request, the statement ends.
                Ok(results) if is_change => finished(results).await,
                results => results,
            };
            count(kind, results.is_ok());
            Ok(Rows { results: results.map_err(status_of)?, events, is_done: is_change })
        })
    }

    /// Starts a statement. Returns where its rows are fetched, and the run whose epochs they are, if it starts one.
    pub(super) async fn run(
        &self,
        identity: &Identity,
        prepared: Prepared,
        request: Request<FlightDescriptor>,
    ) -> InfoResponse {
        let with_events = request.metadata().contains_key(EVENTS_HEADER);
        let rows = self.start(identity, prepared, with_events).await?;
        let schema = wire_schema(&rows.results.schema());
        let run =
            rows.results.model().map(|model| serde_json::to_vec(&RunStarted { model: model.clone() })).transpose();
        let run = run.map_err(|e| Status::internal(e.to_string()))?.unwrap_or_default();
        let handle = self.sessions.keep(&identity.session, rows)?;
        let ticket = TicketStatementQuery { statement_handle: handle.into() };
        let info = info(&schema, &ticket, request.into_inner())?.into_inner();
        Ok(Response::new(info.with_app_metadata(run)))
    }

    /// Runs a statement to its end, once for each row of values, for clients that do not fetch its rows. Returns the number
    /// of rows that it changed, or else of those that it returned.
    pub(super) fn run_to_end<'a>(
        &'a self,
        identity: &'a Identity,
        prepared: Prepared,
    ) -> BoxFuture<'a, Result<i64, Status>> {
        Box::pin(async move {
            let kind = kind_of(&prepared);
            let session = self.session(identity).await?;
            let _in_use = self.sessions.in_use(&identity.session);
            let rows = all_started(&session, prepared).await;
            count(kind, rows.is_ok());
            rows.map_err(status_of)
        })
    }

    /// Returns the columns of a statement's rows and of its parameters, without running it.
    pub(super) fn describe<'a>(
        &'a self,
        identity: &'a Identity,
        prepared: &'a Prepared,
    ) -> BoxFuture<'a, Result<(SchemaRef, Schema), Status>> {
        Box::pin(async move {
            let session = self.session(identity).await?;
            let (rows, plan) = match &prepared.statement {
                Statement::Model(statement) => (statement.schema(), None),
                Statement::DataFusion(statement) => {
                    let plan = session.plan(statement.as_ref().clone()).await.map_err(status_of)?;
                    (SchemaRef::new(plan.schema().as_arrow().clone()), Some(plan))
                }
            };
            Ok((wire_schema(&rows), metadata::parameter_schema(&prepared.parameters, plan.as_ref())))
        })
    }
}

fn kind_of(prepared: &Prepared) -> &'static str {
    if matches!(prepared.statement, Statement::Model(_)) { "model" } else { "query" }
}

fn count(kind: &str, is_started: bool) {
    let outcome = if is_started { "started" } else { "refused" };
    metrics::STATEMENTS.with_label_values(&[kind, outcome]).inc();
}

/// Starts a statement with one row of values, or an INSERT with any number.
fn started(session: &Session, prepared: Prepared, on_event: Option<OnEvent>) -> BoxFuture<'_, Result<Results>> {
    let Prepared { statement, parameters, bound } = prepared;
    Box::pin(async move {
        match bound.count() {
            0 if parameters.count() == 0 => session.execute(statement, on_event).await,
            0 => {
                let message = format!(
                    "the statement has the parameters {}, and no values are bound to them. Bind them again for each execution",
                    parameters.names().join(", ")
                );
                Err(CoreError::Data { message }.into())
            }
            1 => {
                let values = bound.each(&parameters)?.next().transpose()?.unwrap_or(ParamValues::List(Vec::new()));
                session.with_parameters(values).execute(statement, on_event).await
            }
            rows => match inserted(session, &statement, &parameters, &bound).await? {
                Some(results) => Ok(results),
                None => {
                    let message = format!(
                        "{rows} rows of values are bound to a statement that returns rows. Bind one row at a time, or use \
                         executemany, which returns none"
                    );
                    Err(CoreError::Data { message }.into())
                }
            },
        }
    })
}

/// Inserts all rows of values with one plan. Returns `None` if the statement is not an INSERT of such rows.
fn inserted<'a>(
    session: &'a Session,
    statement: &'a Statement,
    parameters: &'a Parameters,
    bound: &'a ParameterRows,
) -> BoxFuture<'a, Result<Option<Results>>> {
    Box::pin(async move {
        let Statement::DataFusion(statement) = statement else { return Ok(None) };
        let plan = session.plan(statement.as_ref().clone()).await?;
        match insert_of(&plan, bound, parameters)? {
            Some(insert) => session.execute_plan(insert).await.map(Some),
            None => Ok(None),
        }
    })
}

/// Runs a statement to its end for each row of values.
async fn all_started(session: &Session, prepared: Prepared) -> Result<i64> {
    let Prepared { statement, parameters, bound } = &prepared;
    let rows = bound.count();
    if rows == 0 && bound.columns() > 0 {
        return Ok(0);
    }
    let is_change = is_change(statement);
    if rows < 2 {
        let results = started(session, prepared, None).await?;
        return ended(results, is_change).await;
    }
    if let Some(results) = inserted(session, statement, parameters, bound).await? {
        return ended(results, is_change).await;
    }
    if rows > EXECUTIONS_MAX {
        let message = format!(
            "{rows} rows of values are bound to a statement that runs once for each, and at most {EXECUTIONS_MAX} are \
             accepted. Only INSERT INTO t VALUES (?, ...) runs once for all"
        );
        return Err(CoreError::Data { message }.into());
    }
    let mut changed = 0;
    for values in bound.each(parameters)? {
        let session = session.with_parameters(values?);
        let results = Box::pin(session.execute(statement.clone(), None)).await?;
        changed += ended(results, is_change).await?;
    }
    Ok(changed)
}

/// Runs a statement to its end and returns its rows, which are few.
async fn finished(results: Results) -> Result<Results> {
    let schema = results.schema();
    let batches = results.collect().await?;
    Ok(Results::of_batch(concat_batches(&schema, &batches).map_err(DataFusionError::from)?))
}

/// Reads all rows. Returns their number, or that of the changed rows which they tell.
async fn ended(mut results: Results, is_change: bool) -> Result<i64> {
    let mut rows = 0;
    while let Some(batch) = results.next().await? {
        let changed = if is_change { changed(&batch) } else { None };
        rows += changed.unwrap_or(batch.num_rows() as i64);
    }
    Ok(rows)
}

/// Whether a statement returns the number of rows that it changed.
fn is_change(statement: &Statement) -> bool {
    let Statement::DataFusion(statement) = statement else { return false };
    match statement.as_ref() {
        // COPY writes rows, and returns their number.
        DataFusionStatement::CopyTo(_) => true,
        DataFusionStatement::Statement(statement) => matches!(
            statement.as_ref(),
            SqlStatement::Insert(_) | SqlStatement::Update(_) | SqlStatement::Delete(_) | SqlStatement::Merge(_)
        ),
        _ => false,
    }
}

fn changed(batch: &RecordBatch) -> Option<i64> {
    let [count] = batch.columns() else { return None };
    if *count.data_type() != DataType::UInt64 {
        return None;
    }
    let sum: u64 = count.as_primitive_opt::<UInt64Type>()?.iter().flatten().sum();
    Some(i64::try_from(sum).unwrap_or(i64::MAX))
}
