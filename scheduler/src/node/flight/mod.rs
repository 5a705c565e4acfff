//! Arrow Flight on the scheduler's port: Flight SQL for all clients, Tusk's own messages, and Ballista's partitions.
//!
//! * `sql`: the calls of Flight SQL
//! * `sessions`: what is kept between two calls of a client
//! * `login`: user names and passwords
//! * `stream`: rows as Flight messages
//! * `metadata`: what drivers ask about the server
//! * `actions`: Tusk's own messages, such as the reports of executors and requests for runs

mod actions;
mod login;
mod metadata;
mod sessions;
mod sql;
mod stream;

use std::sync::Arc;

use arrow_flight::sql::metadata::{SqlInfoData, XdbcTypeInfoData};
use ballista_core::flight_proxy_service::BallistaFlightProxyService;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::LogicalPlan;
use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::{Extensions, Status};
use tusk_core::event::{OnEvent, RunEvent};

pub(crate) use actions::cluster_status;

use crate::access::users::{Identity, Right, Users};
use crate::error::{Error, Result, Results};
use crate::executors::SharedExecutors;
use crate::metrics;
use crate::node::catalog::Catalog;
use crate::opaque::Opaque;
use crate::service::TrainingService;
use crate::session::{Session, SessionSettings};
use crate::statements::{Statement, one_statement};
use sessions::SharedSessions;
use stream::{EVENTS_WAITING_MAX, status_of};

/// The rows of a statement, and the events of its run if the client asks for them.
type Started = (Results, Option<mpsc::Receiver<RunEvent>>);

/// Returns the settings of a new session.
pub(crate) type SessionFactory = Arc<dyn Fn() -> SessionSettings + Send + Sync>;

/// The Flight service. Cheap to clone.
#[derive(Clone)]
pub(crate) struct TuskFlight(Opaque<Parts>);

/// The fields of [`TuskFlight`].
pub(crate) struct Parts {
    new_session: SessionFactory,
    catalog: Catalog,
    training: TrainingService,
    executors: SharedExecutors,
    sessions: SharedSessions,
    users: Option<Arc<Users>>,
    proxy: BallistaFlightProxyService,
    /// Cancelled when the scheduler begins to shut down.
    ending: CancellationToken,
    sql_info: Arc<SqlInfoData>,
    type_info: Arc<XdbcTypeInfoData>,
}

impl std::ops::Deref for TuskFlight {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl TuskFlight {
    pub(crate) fn new(
        new_session: SessionFactory,
        catalog: Catalog,
        training: TrainingService,
        executors: SharedExecutors,
        users: Option<Arc<Users>>,
        proxy: BallistaFlightProxyService,
        ending: CancellationToken,
    ) -> Result<Self> {
        let failed = |status: Status| Error::Cluster { reason: status.message().to_owned() };
        Ok(Self(Opaque::new(Parts {
            new_session,
            catalog,
            training,
            executors,
            sessions: SharedSessions::default(),
            users,
            proxy,
            ending,
            sql_info: Arc::new(metadata::sql_info().map_err(failed)?),
            type_info: Arc::new(metadata::type_info().map_err(failed)?),
        })))
    }

    /// Returns the identity of the client. The router adds it to every request that it does not refuse.
    fn identity(extensions: &Extensions) -> Result<Identity, Status> {
        extensions.get::<Identity>().cloned().ok_or_else(|| Status::unauthenticated("the client is not authenticated"))
    }

    /// Returns the client's session. The future is boxed, like every future that holds a plan or a session across an
    /// await: see `opaque`.
    fn session<'a>(&'a self, identity: &'a Identity) -> BoxFuture<'a, Result<Session, Status>> {
        Box::pin(async move {
            Self::require_query(identity)?;
            let open = async {
                // A session has one client, whose rights do not change.
                let settings = SessionSettings { may_train: identity.may_train, ..(self.new_session)() };
                let session = Session::open(settings).await.map_err(status_of)?;
                self.catalog.register(session.local()).await.map_err(status_of)?;
                Ok(session)
            };
            self.sessions.get(&identity.session, open).await
        })
    }

    /// Returns an error if the client may not query.
    fn require_query(identity: &Identity) -> Result<(), Status> {
        if identity.may_query {
            return Ok(());
        }
        metrics::REFUSED.inc();
        Err(Status::unauthenticated("log in with a user name and password, or send a valid bearer token"))
    }

    /// Parses a statement and checks that the client may run it.
    fn statement(identity: &Identity, sql: &str) -> Result<Statement, Status> {
        let statement = one_statement(sql).map_err(|e| status_of(e.into()))?;
        if identity.may_train || statement.right() == Right::Query {
            return Ok(statement);
        }
        metrics::REFUSED.inc();
        let user = identity.user.as_deref().unwrap_or("this client");
        Err(Status::permission_denied(format!(
            "{user} may only query: it has no right to train or to change anything. Ask the cluster's administrator \
             for rights = [\"query\", \"train\"]"
        )))
    }

    /// Starts a statement, which the client must be allowed to run.
    fn start<'a>(
        &'a self,
        identity: &'a Identity,
        statement: Statement,
        parameters: Vec<ScalarValue>,
        with_events: bool,
    ) -> BoxFuture<'a, Result<Started, Status>> {
        Box::pin(async move {
            let kind = if matches!(statement, Statement::Model(_)) { "model" } else { "query" };
            let session = self.session(identity).await?;
            let (on_event, events) = if with_events { watcher() } else { (None, None) };
            let results = match statement {
                Statement::DataFusion(_) if !parameters.is_empty() => {
                    let plan = plan_of(&session, statement).await?;
                    let plan = plan.with_param_values(parameters).map_err(|e| status_of(e.into()))?;
                    session.execute_plan(plan).await
                }
                statement => session.execute(statement, on_event).await,
            };
            let outcome = if results.is_ok() { "started" } else { "refused" };
            metrics::STATEMENTS.with_label_values(&[kind, outcome]).inc();
            Ok((results.map_err(status_of)?, events))
        })
    }
}

/// Returns the plan of a statement of DataFusion.
async fn plan_of(session: &Session, statement: Statement) -> Result<LogicalPlan, Status> {
    match statement {
        Statement::DataFusion(statement) => {
            session.local().state().statement_to_plan(*statement).await.map_err(|e| status_of(e.into()))
        }
        Statement::Model(_) => Err(Status::invalid_argument("a statement about models has no parameters")),
    }
}

/// Returns a listener for the events of a run, and the receiver of these events. Events that do not fit into the
/// channel are dropped.
fn watcher() -> (Option<OnEvent>, Option<mpsc::Receiver<RunEvent>>) {
    let (sender, receiver) = mpsc::channel(EVENTS_WAITING_MAX);
    let on_event: OnEvent = Arc::new(move |event: &RunEvent| drop(sender.try_send(event.clone())));
    (Some(on_event), Some(receiver))
}
