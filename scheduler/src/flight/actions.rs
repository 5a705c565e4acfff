//! Tusk's own messages on the Flight service: executors' reports, runs that are asked for or followed from elsewhere,
//! what the cluster is doing, and Ballista's tickets, which are handed on.

use std::collections::HashSet;

use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::Any;
use arrow_flight::{Action, Result as ActionResult, Ticket};
use futures::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use tonic::{Request, Response, Status as GrpcStatus};
use tusk_core::ids::ModelName;
use tusk_core::parameters::PULL_TYPE_URL;
use tusk_core::report::{ExecutorReport, REPORT_ACTION};

use super::stream::{DataStream, EVENTS_HEADER, of_results, status_of};
use super::{TuskFlight, watcher};
use crate::active::RunSummary;
use crate::executors::Executors;
use crate::metrics;
use crate::run::TrainingRequest;
use crate::service::TrainingService;
use crate::session::{Seen, epoch_rows};

/// The ticket that starts a run: its value is a [`TrainingRequest`] as bytes, its rows are the epochs.
pub const TRAIN: &str = "type.googleapis.com/tusk.Train";

/// The ticket that follows a run: its value is a [`Follow`] as JSON, its rows are the epochs.
pub const FOLLOW: &str = "type.googleapis.com/tusk.Follow";

/// The action that gives the manifest of a model, whose name is its body, as JSON.
pub const MANIFEST_ACTION: &str = "tusk.manifest";

/// The action that gives a [`Status`] as JSON.
pub const STATUS_ACTION: &str = "tusk.status";

/// The most bytes of an executor's report.
const REPORT_BYTES_MAX: usize = 1 << 20;

type ActionStream = <TuskFlight as FlightService>::DoActionStream;

/// Which run to follow.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Follow {
    /// The model.
    pub model: ModelName,
    /// The epochs that are known already: the model's name in their rows, and their number.
    pub seen: HashSet<(String, u32)>,
}

/// What a cluster is doing.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Status {
    /// The executors that have reported lately.
    pub executors: Vec<ExecutorReport>,
    /// The runs under way.
    pub runs: Vec<RunSummary>,
    /// Jobs under way, of runs and queries alike.
    pub jobs_running: usize,
    /// Jobs that wait to be planned.
    pub jobs_queued: usize,
}

impl Status {
    /// What is going on now.
    pub(crate) fn of(executors: &Executors, training: &TrainingService) -> Self {
        let (jobs_running, jobs_queued) = training.jobs();
        Self { executors: executors.alive(), runs: training.summaries(), jobs_running, jobs_queued }
    }
}

impl TuskFlight {
    /// A ticket that is not Flight SQL's.
    pub(super) async fn own_ticket(
        &self,
        request: Request<Ticket>,
        message: Any,
    ) -> Result<Response<DataStream>, GrpcStatus> {
        let identity = Self::identity(request.extensions())?;
        let with_events = request.metadata().contains_key(EVENTS_HEADER);
        let (on_event, events) = if with_events { watcher() } else { (None, None) };
        let run = match message.type_url.as_str() {
            TRAIN => {
                self.require_train(identity.may_train)?;
                let session = self.session(&identity).await?;
                let codec = self.training.codec();
                let context = session.local().task_ctx();
                let request = TrainingRequest::decode(&message.value, &context, codec.as_ref()).map_err(status_of)?;
                let name = request.name.clone();
                (name, self.training.start(request).await.map_err(status_of)?, Seen::new())
            }
            FOLLOW => {
                Self::require_query(&identity)?;
                let follow: Follow = serde_json::from_slice(&message.value).map_err(invalid)?;
                let run = self.training.follow(&follow.model).await.map_err(status_of)?;
                (follow.model, run, follow.seen)
            }
            // The run's own secret stands in the message.
            PULL_TYPE_URL => return Ok(Response::new(self.training.parameters().do_get(message).await?)),
            // Ballista's tickets are no `Any`: what is left of one names no type of ours.
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

    /// An action that is not Flight SQL's.
    pub(super) async fn own_action(&self, request: Request<Action>) -> Result<Response<ActionStream>, GrpcStatus> {
        let identity = Self::identity(request.extensions())?;
        let action = request.into_inner();
        let body = match action.r#type.as_str() {
            REPORT_ACTION => {
                if !identity.is_node {
                    return Err(refused("only a node of the cluster reports"));
                }
                if action.body.len() > REPORT_BYTES_MAX {
                    let message = format!("a report has at most {REPORT_BYTES_MAX} bytes");
                    return Err(GrpcStatus::invalid_argument(message));
                }
                let report: ExecutorReport = serde_json::from_slice(&action.body).map_err(invalid)?;
                let taken = self.executors.report(report, self.training.active().as_ref());
                taken.map_err(GrpcStatus::failed_precondition)?;
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
                serde_json::to_vec(&Status::of(&self.executors, &self.training)).map_err(invalid)?
            }
            other => return Err(GrpcStatus::invalid_argument(format!("there is no action '{other}'"))),
        };
        let answer = ActionResult { body: body.into() };
        Ok(Response::new(stream::once(async move { Ok(answer) }).boxed()))
    }

    fn require_train(&self, may_train: bool) -> Result<(), GrpcStatus> {
        if may_train { Ok(()) } else { Err(refused("this client may only query")) }
    }
}

fn refused(message: &str) -> GrpcStatus {
    metrics::REFUSED.inc();
    GrpcStatus::permission_denied(message)
}

fn invalid(error: impl std::fmt::Display) -> GrpcStatus {
    GrpcStatus::invalid_argument(format!("the message cannot be read: {error}"))
}
