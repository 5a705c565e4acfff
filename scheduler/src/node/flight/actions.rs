//! Tusk's own messages on the Flight service: reports of executors, requests to start or to follow a run, and the state
//! of the cluster. Ballista's tickets are forwarded.

use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::Any;
use arrow_flight::{Action, Result as ActionResult, Ticket};
use futures::{StreamExt, stream};
use tonic::{Request, Response, Status};
use tusk_core::ids::ModelName;
use tusk_core::protocol::parameters::PULL_TYPE_URL;
use tusk_core::protocol::{
    CHECK_ACTION, ClusterStatus, EVENTS_HEADER, ExecutorReport, FOLLOW_TICKET, Follow, MANIFEST_ACTION, REPORT_ACTION,
    STATEMENTS_ACTION, STATUS_ACTION, TRAIN_TICKET, TrainingRequest,
};

use super::stream::{DataStream, of_results, status_of};
use super::{TuskFlight, watcher};
use crate::executors::Executors;
use crate::metrics;
use crate::service::TrainingService;
use crate::service::epoch_rows::{Seen, epoch_rows};
use crate::statements::{check, help};

/// The maximum size of a report in bytes.
const REPORT_BYTES_MAX: usize = 1 << 20;

type ActionStream = <TuskFlight as FlightService>::DoActionStream;

/// Returns the current state of the cluster.
pub(crate) fn cluster_status(executors: &Executors, training: &TrainingService) -> ClusterStatus {
    let (jobs_running, jobs_queued) = training.jobs();
    ClusterStatus { executors: executors.alive(), runs: training.summaries(), jobs_running, jobs_queued }
}

impl TuskFlight {
    /// Handles a ticket that is not one of Flight SQL.
    pub(super) async fn own_ticket(
        &self,
        request: Request<Ticket>,
        message: Any,
    ) -> Result<Response<DataStream>, Status> {
        let identity = Self::identity(request.extensions())?;
        let with_events = request.metadata().contains_key(EVENTS_HEADER);
        let (on_event, events) = if with_events { watcher() } else { (None, None) };
        let run = match message.type_url.as_str() {
            TRAIN_TICKET => {
                self.require_train(identity.may_train)?;
                let session = self.session(&identity).await?;
                let codec = self.training.codec();
                let context = session.local().task_ctx();
                let request = TrainingRequest::decode(&message.value, &context, codec.as_ref());
                let request = request.map_err(|e| status_of(e.into()))?;
                let name = request.name.clone();
                (name, self.training.start(request).await.map_err(status_of)?, Seen::new())
            }
            FOLLOW_TICKET => {
                Self::require_query(&identity)?;
                let follow: Follow = serde_json::from_slice(&message.value).map_err(invalid)?;
                let run = self.training.follow(&follow.model).await.map_err(status_of)?;
                (follow.model, run, follow.seen)
            }
            // The message contains the secret of the run.
            PULL_TYPE_URL => return Ok(Response::new(self.training.parameters().do_get(message).await?)),
            // A ticket of Ballista is not an `Any`, so its type URL is none of those above.
            _ => {
                if !identity.is_node {
                    self.require_train(identity.may_train)?;
                }
                return self.proxy.do_get(request).await;
            }
        };
        let (name, run, seen) = run;
        Ok(Response::new(of_results(epoch_rows(name, run, on_event, seen), events, self.ending.clone())))
    }

    /// Handles an action that is not one of Flight SQL.
    pub(super) async fn own_action(&self, request: Request<Action>) -> Result<Response<ActionStream>, Status> {
        let identity = Self::identity(request.extensions())?;
        let action = request.into_inner();
        let body = match action.r#type.as_str() {
            REPORT_ACTION => {
                if !identity.is_node {
                    return Err(refused("only a node of the cluster may send reports"));
                }
                if action.body.len() > REPORT_BYTES_MAX {
                    let message = format!("a report has at most {REPORT_BYTES_MAX} bytes");
                    return Err(Status::invalid_argument(message));
                }
                let report: ExecutorReport = serde_json::from_slice(&action.body).map_err(invalid)?;
                let taken = self.executors.report(report, self.training.active().as_ref());
                taken.map_err(Status::failed_precondition)?;
                Vec::new()
            }
            MANIFEST_ACTION => {
                Self::require_query(&identity)?;
                let name = String::from_utf8(action.body.to_vec()).map_err(invalid)?;
                let name = ModelName::new(name).map_err(|e| status_of(e.into()))?;
                let manifest = self.training.store().manifest(&name).await.map_err(|e| status_of(e.into()))?;
                serde_json::to_vec(&manifest).map_err(invalid)?
            }
            STATUS_ACTION => {
                Self::require_query(&identity)?;
                serde_json::to_vec(&cluster_status(&self.executors, &self.training)).map_err(invalid)?
            }
            CHECK_ACTION => {
                Self::require_query(&identity)?;
                let sql = String::from_utf8(action.body.to_vec()).map_err(invalid)?;
                check(&sql).map_err(|e| status_of(e.into()))?;
                Vec::new()
            }
            STATEMENTS_ACTION => {
                Self::require_query(&identity)?;
                serde_json::to_vec(&help()).map_err(invalid)?
            }
            other => return Err(Status::invalid_argument(format!("there is no action '{other}'"))),
        };
        let result = ActionResult { body: body.into() };
        Ok(Response::new(stream::once(async move { Ok(result) }).boxed()))
    }

    fn require_train(&self, may_train: bool) -> Result<(), Status> {
        if may_train { Ok(()) } else { Err(refused("this client may only query")) }
    }
}

fn refused(message: &str) -> Status {
    metrics::REFUSED.inc();
    Status::permission_denied(message)
}

fn invalid(error: impl std::fmt::Display) -> Status {
    Status::invalid_argument(format!("the message cannot be read: {error}"))
}
