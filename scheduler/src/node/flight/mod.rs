//! Arrow Flight on the scheduler's port: Flight SQL for all clients, Tusk's own messages, and Ballista's partitions.
//!
//! * `sql`: the calls of Flight SQL
//! * `execute`: statements, with the values of their parameters; `transactions` refuses some
//! * `sessions`: what is kept between two calls of a client; `options` has the current catalog and schema
//! * `login`: user names and passwords
//! * `stream`: results as Flight messages, which `encode` and `wire` make of rows
//! * `incoming`: rows that clients send; `ingest` makes tables of them
//! * `metadata`: what drivers ask about the server
//! * `actions`: Tusk's own messages, such as the reports of executors and requests for runs
//! * `cancel`: ends the rows of a statement

mod actions;
mod cancel;
mod encode;
mod execute;
mod incoming;
mod ingest;
mod kept;
mod login;
mod metadata;
mod options;
mod sessions;
mod sql;
mod stream;
mod transactions;
mod wire;

use std::sync::Arc;

use arrow_flight::sql::metadata::{SqlInfoData, XdbcTypeInfoData};
use ballista_core::flight_proxy_service::BallistaFlightProxyService;
use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::{Extensions, Status};
use tusk_core::event::{OnEvent, RunEvent};

pub(crate) use encode::MESSAGE_BYTES_MAX;

use crate::access::users::{Identity, Users};
use crate::error::{Error, Result};
use crate::executors::SharedExecutors;
use crate::metrics;
use crate::node::catalog::Catalog;
use crate::opaque::Opaque;
use crate::service::TrainingService;
use crate::session::{Session, SessionSettings};
use crate::status::{UNAUTHENTICATED, status_of};
use cancel::Fetches;
use sessions::{SharedSessions, shared_sessions};
use stream::EVENTS_WAITING_MAX;

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
    fetches: Arc<Fetches>,
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
            sessions: shared_sessions(),
            fetches: Arc::default(),
            users,
            proxy,
            ending,
            sql_info: Arc::new(metadata::sql_info().map_err(failed)?),
            type_info: Arc::new(metadata::type_info().map_err(failed)?),
        })))
    }

    /// Returns the identity of the client. The router adds it to every request that it does not refuse.
    fn identity(extensions: &Extensions) -> Result<Identity, Status> {
        let identity = extensions.get::<Identity>().cloned();
        identity.ok_or_else(|| UNAUTHENTICATED.status("the client is not authenticated"))
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
        Err(UNAUTHENTICATED.status("log in with a user name and password, or send a valid bearer token"))
    }
}

/// Returns a listener for the events of a run, and the receiver of these events. Events that do not fit into the
/// channel are dropped.
fn watcher() -> (Option<OnEvent>, Option<mpsc::Receiver<RunEvent>>) {
    let (sender, receiver) = mpsc::channel(EVENTS_WAITING_MAX);
    let on_event: OnEvent = Arc::new(move |event: &RunEvent| drop(sender.try_send(event.clone())));
    (Some(on_event), Some(receiver))
}
