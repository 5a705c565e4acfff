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
    CHECK_ACTION, EVENTS_HEADER, ExecutorReport, FOLLOW_TICKET, Follow, MANIFEST_ACTION, REPORT_ACTION,
    STATEMENTS_ACTION, STATUS_ACTION, TRAIN_TICKET, TrainingRequest,
};

use super::cancel::CANCEL_ACTION;
use super::options::{CLOSE_SESSION, GET_SESSION_OPTIONS, SET_SESSION_OPTIONS};
use super::stream::{DataStream, of_results};
use super::{TuskFlight, watcher};
use crate::metrics;
use crate::service::epoch_rows::{Seen, epoch_rows};
use crate::statements::{check, help};
use crate::status::{NO_RIGHT, PROTOCOL, status_of};

/// The maximum size of a report in bytes.
const REPORT_BYTES_MAX: usize = 1 << 20;

type ActionStream = <TuskFlight as FlightService>::DoActionStream;

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
                Self::require_train(&identity)?;
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
                    Self::require_train(&identity)?;
                }
                return self.proxy.do_get(request).await;
            }
        };
        let (name, run, seen) = run;
        let in_use = self.sessions.in_use(&identity.session);
        Ok(Response::new(of_results(epoch_rows(name, run, on_event, seen), events, self.ending.clone(), in_use)))
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
                serde_json::to_vec(&self.training.status()).map_err(invalid)?
            }
            CANCEL_ACTION => self.cancel_flight_info(&identity, &action.body)?,
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
            GET_SESSION_OPTIONS => self.session_options(&identity).await?,
            SET_SESSION_OPTIONS => self.set_session_options(&identity, &action.body).await?,
            CLOSE_SESSION => self.close_session(&identity),
            other => return Err(Status::invalid_argument(format!("there is no action '{other}'"))),
        };
        let result = ActionResult { body: body.into() };
        Ok(Response::new(stream::once(async move { Ok(result) }).boxed()))
    }
}

fn refused(message: &str) -> Status {
    metrics::REFUSED.inc();
    NO_RIGHT.status(message)
}

fn invalid(error: impl std::fmt::Display) -> Status {
    PROTOCOL.status(format!("the message cannot be read: {error}"))
}
