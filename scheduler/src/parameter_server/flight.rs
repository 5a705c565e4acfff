//! Pulls and pushes over Arrow Flight; see [`tusk_core::protocol::parameters`] for the messages.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arrow_flight::sql::Any;
use arrow_flight::{FlightData, PutResult};
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use prost::Message;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tonic::Status;
use tusk_core::protocol::WIRE_VERSION;
use tusk_core::protocol::parameters::{
    HEADER_BYTES_MAX, PULL_TYPE_URL, PUSH_TYPE_URL, Piece, Pull, Push, piece_of, pieces,
};

use super::incoming::Incoming;
use super::store::{ParameterStore, SharedTensor};
use super::{ParameterStores, Refusal};
use crate::metrics;

/// Maximum time that a pull or push waits for a permit. After that it is refused, and the worker retries it.
const TURN_WAIT: Duration = Duration::from_secs(30);

/// Maximum time until the next piece of a push.
const PIECE_WAIT: Duration = Duration::from_secs(60);

/// A stream of Flight messages.
pub(crate) type FlightStream = Pin<Box<dyn Stream<Item = Result<FlightData, Status>> + Send>>;

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let message = refusal.to_string();
        match refusal {
            Refusal::UnknownRun { .. } => Self::not_found(message),
            Refusal::UnknownWorker { .. } | Refusal::Malformed { .. } | Refusal::Values { .. } => {
                Self::invalid_argument(message)
            }
            Refusal::Superseded { .. } => Self::aborted(message),
            Refusal::OutOfOrder { .. } => Self::failed_precondition(message),
            Refusal::Busy { .. } => Self::unavailable(message),
        }
    }
}

impl ParameterStores {
    /// Handles a `DoGet` whose ticket is this message.
    ///
    /// # Errors
    /// `NOT_FOUND` if the run is not active, `ABORTED` if the task was started again elsewhere, `UNAVAILABLE` if the
    /// worker must retry, `INVALID_ARGUMENT` for every other error of the request.
    pub(crate) async fn do_get(&self, message: Any) -> Result<FlightStream, Status> {
        pull(self, &message).await
    }

    /// Handles a `DoPut` whose first message contains the command.
    ///
    /// # Errors
    /// Those of [`Self::do_get`], `FAILED_PRECONDITION` for a push out of order, `DEADLINE_EXCEEDED` for a push that
    /// stalls.
    pub(crate) async fn do_put(
        &self,
        messages: impl Stream<Item = Result<FlightData, Status>> + Send + Unpin,
    ) -> Result<PutResult, Status> {
        let pushed = push(self, messages).await;
        if pushed.is_err() {
            metrics::PUSHES.with_label_values(&["refused"]).inc();
        }
        pushed
    }
}

/// Decodes a request from an `Any` of this type.
fn request<T: DeserializeOwned>(what: &'static str, type_url: &str, message: &Any) -> Result<T, Refusal> {
    let malformed = |reason: String| Refusal::Malformed { what, reason };
    if message.type_url != type_url {
        return Err(malformed(format!("its type is '{}'", message.type_url)));
    }
    json(what, &message.value)
}

fn json<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, Refusal> {
    let malformed = |reason: String| Refusal::Malformed { what, reason };
    if bytes.len() > HEADER_BYTES_MAX {
        return Err(malformed(format!("it has {} bytes, more than {HEADER_BYTES_MAX}", bytes.len())));
    }
    serde_json::from_slice(bytes).map_err(|e| malformed(e.to_string()))
}

fn check_version(what: &'static str, version: u32) -> Result<(), Refusal> {
    if version == WIRE_VERSION {
        return Ok(());
    }
    Err(Refusal::Malformed { what, reason: format!("its protocol version is {version}, not {WIRE_VERSION}") })
}

async fn turn(semaphore: &Arc<Semaphore>, reason: &'static str) -> Result<OwnedSemaphorePermit, Refusal> {
    match timeout(TURN_WAIT, Arc::clone(semaphore).acquire_owned()).await {
        Ok(Ok(permit)) => Ok(permit),
        Ok(Err(_)) | Err(_) => Err(Refusal::Busy { reason }),
    }
}

/// Returns an attempt number that no other attempt of a task has.
fn attempt() -> u64 {
    // 53 bits, so that every JSON reader reads it exactly.
    uuid::Uuid::new_v4().as_u64_pair().0 >> 11
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Refusal> + Send + 'static) -> Result<T, Status> {
    let done = tokio::task::spawn_blocking(work).await;
    Ok(done.map_err(|e| Status::internal(format!("the parameter server stopped: {e}")))??)
}

pub(crate) async fn pull(service: &ParameterStores, message: &Any) -> Result<FlightStream, Status> {
    let pull: Pull = request("pull", PULL_TYPE_URL, message)?;
    check_version("pull", pull.wire_version)?;
    let store = service.find(&pull.run, &pull.session)?;
    let permit = turn(&store.pulls, "too many workers pull at once").await?;
    let (pulled, tensors) = blocking(move || store.pull(&pull, attempt())).await?;
    let first = data(&pulled, Bytes::new())?;
    // The permit is released with the last message.
    let pieces = tensors.into_iter().flat_map(messages);
    let rest = stream::iter(pieces).map(move |piece| {
        let _turn = &permit;
        piece
    });
    Ok(stream::once(async { Ok(first) }).chain(rest).boxed())
}

fn data(header: &impl Serialize, body: Bytes) -> Result<FlightData, Status> {
    let json = serde_json::to_vec(header).map_err(|e| Status::internal(e.to_string()))?;
    Ok(FlightData { app_metadata: json.into(), data_body: body, ..FlightData::default() })
}

/// Returns the messages of a tensor. Each is created when it is requested.
fn messages(tensor: SharedTensor) -> impl Iterator<Item = Result<FlightData, Status>> {
    (0..pieces(tensor.data.len())).map(move |piece| {
        let (header, body) = piece_of(&tensor.name, &tensor.shape, &tensor.data, piece);
        data(&header, body.into())
    })
}

pub(crate) async fn push(
    service: &ParameterStores,
    mut messages: impl Stream<Item = Result<FlightData, Status>> + Send + Unpin,
) -> Result<PutResult, Status> {
    let malformed = |reason: &str| Refusal::Malformed { what: "push", reason: reason.to_owned() };
    let first = next(&mut messages).await?.ok_or_else(|| malformed("it is empty"))?;
    let command = first.flight_descriptor.ok_or_else(|| malformed("its first message has no descriptor"))?.cmd;
    let command = Any::decode(command).map_err(|e| malformed(&e.to_string()))?;
    let push: Push = request("push", PUSH_TYPE_URL, &command)?;
    check_version("push", push.wire_version)?;
    let store = service.find(&push.run, &push.session)?;
    let pushed = match store.acknowledge_repeated(&push)? {
        Some(pushed) => pushed,
        None => {
            let _turn = turn(&store.pushes, "too many workers push at once").await?;
            receive(store, push, &mut messages).await?
        }
    };
    metrics::PUSHES.with_label_values(&[if pushed.applied { "applied" } else { "repeated" }]).inc();
    let json = serde_json::to_vec(&pushed).map_err(|e| Status::internal(e.to_string()))?;
    Ok(PutResult { app_metadata: json.into() })
}

async fn next(
    messages: &mut (impl Stream<Item = Result<FlightData, Status>> + Send + Unpin),
) -> Result<Option<FlightData>, Status> {
    match timeout(PIECE_WAIT, messages.next()).await {
        Ok(message) => message.transpose(),
        Err(_) => Err(Status::deadline_exceeded("the next piece of the push did not arrive in time")),
    }
}

async fn receive(
    store: Arc<ParameterStore>,
    push: Push,
    messages: &mut (impl Stream<Item = Result<FlightData, Status>> + Send + Unpin),
) -> Result<tusk_core::protocol::parameters::Pushed, Status> {
    let mut incoming = Incoming::new(&store, &push)?;
    while let Some(message) = next(messages).await? {
        let piece: Piece = json("piece of a push", &message.app_metadata)?;
        incoming.piece(piece, &message.data_body)?;
    }
    let tensors = incoming.finish()?;
    blocking(move || store.push(&push, tensors)).await
}
