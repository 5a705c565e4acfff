//! A worker's client of the parameter server; see [`tusk_core::protocol::parameters`] for the messages.
//!
//! Its methods block and are called from a training thread. While the parameter server cannot be reached, a call is
//! retried with increasing waits for at most [`RETRY_FOR`]. The parameter server applies a push once, even if it is
//! sent twice. A call ends when the task is cancelled.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::Any;
use arrow_flight::{FlightData, FlightDescriptor, Ticket};
use ballista_core::extension::EndpointOverrideFn;
use futures::stream;
use prost::Message;
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tusk_core::ids::{RunId, WorkerId};
use tusk_core::manifest::Timing;
use tusk_core::protocol::WIRE_VERSION;
use tusk_core::protocol::parameters::{
    PULL_TYPE_URL, PUSH_TYPE_URL, Piece, Pull, Pulled, PulledWeights, Push, PushKind, Pushed, SessionKey, piece_of,
    pieces,
};
use tusk_core::state::{ModelState, NamedTensor, OPTIMIZER_PREFIX};

use crate::error::{Error, Result};

/// How long a call is retried while the parameter server cannot be reached.
const RETRY_FOR: Duration = Duration::from_secs(120);

/// The wait before the first retry. It doubles with each retry up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// How long the parameter server may take to accept a connection, to respond to a push, or to send the next piece.
/// These are longer than requests wait in the parameter server's queue.
const CONNECT_WAIT: Duration = Duration::from_secs(10);
const RESPONSE_WAIT: Duration = Duration::from_secs(300);
const PIECE_WAIT: Duration = Duration::from_secs(60);

/// How often a call checks whether its task is cancelled.
const CANCEL_POLL: Duration = Duration::from_millis(100);

/// The largest message: more than a piece with its header.
const MESSAGE_BYTES_MAX: usize = 8 << 20;

/// The address of the scheduler, which is also the address of the parameter server.
#[derive(Clone)]
pub(crate) struct SchedulerAddress {
    /// The URL, as `http://host:port`.
    pub(crate) url: String,
    /// Adds the cluster's certificates to a connection. `None` without TLS.
    pub(crate) endpoint: Option<EndpointOverrideFn>,
}

impl fmt::Debug for SchedulerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SchedulerAddress").field("url", &self.url).finish_non_exhaustive()
    }
}

/// One worker's client of the parameter server.
#[derive(Debug)]
pub(crate) struct ParameterClient {
    client: FlightServiceClient<Channel>,
    url: String,
    session: SessionKey,
    run: RunId,
    worker: WorkerId,
    attempt: Option<u64>,
    runtime: Handle,
    cancelled: Arc<AtomicBool>,
}

impl ParameterClient {
    /// Creates a client, which connects when it is first used. Must be called within a Tokio runtime.
    pub(crate) fn new(
        scheduler: &SchedulerAddress,
        session: SessionKey,
        run: RunId,
        worker: WorkerId,
        cancelled: Arc<AtomicBool>,
    ) -> Result<Self> {
        let url = scheduler.url.clone();
        let failed = |reason: String| Error::Parameters { url: url.clone(), reason };
        let endpoint = Endpoint::from_shared(url.clone())
            .map_err(|e| failed(e.to_string()))?
            .connect_timeout(CONNECT_WAIT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(20))
            .http2_adaptive_window(true);
        let endpoint = match &scheduler.endpoint {
            Some(secure) => secure(endpoint).map_err(|e| failed(e.to_string()))?,
            None => endpoint,
        };
        let client = FlightServiceClient::new(endpoint.connect_lazy())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        Ok(Self { client, url, session, run, worker, attempt: None, runtime: Handle::current(), cancelled })
    }

    /// Pulls the weights if their version is not `have`. The tensors must have the names and shapes of those in `like`.
    pub(crate) fn pull(&mut self, have: Option<u64>, like: &ModelState) -> Result<(Pulled, Option<ModelState>)> {
        let pull = Pull {
            wire_version: WIRE_VERSION,
            run: self.run.clone(),
            session: self.session.clone(),
            worker: self.worker,
            attempt: self.attempt,
            have_version: have,
        };
        let value = serde_json::to_vec(&pull).map_err(|e| self.failed(e.to_string()))?;
        let ticket = Any { type_url: PULL_TYPE_URL.to_owned(), value: value.into() }.encode_to_vec();
        let (pulled, weights) = self.retry(|client| receive(client, Ticket { ticket: ticket.clone().into() }, like))?;
        self.attempt = Some(pulled.attempt);
        Ok((pulled, weights))
    }

    /// Pushes the initial weights of the run.
    pub(crate) fn push_start(&mut self, start: &ModelState) -> Result<()> {
        let tensors: Vec<NamedTensor> =
            start.iter().filter(|tensor| !tensor.name.starts_with(OPTIMIZER_PREFIX)).cloned().collect();
        let push = Push { kind: PushKind::Start, ..self.update() };
        self.push(push, tensors).map(drop)
    }

    /// Returns a push of this worker without content.
    pub(crate) fn update(&self) -> Push {
        Push {
            wire_version: WIRE_VERSION,
            run: self.run.clone(),
            session: self.session.clone(),
            worker: self.worker,
            attempt: self.attempt.unwrap_or(0),
            kind: PushKind::Update,
            step: 0,
            epoch: 0,
            ends_epoch: false,
            base_version: 0,
            rows: 0,
            loss_sum: 0.0,
            learning_rate: 0.0,
            timing: Timing::default(),
            tensors: 0,
        }
    }

    /// Pushes tensors to the parameter server.
    pub(crate) fn push(&mut self, push: Push, tensors: Vec<NamedTensor>) -> Result<Pushed> {
        let push = Push { tensors: u32::try_from(tensors.len()).unwrap_or(u32::MAX), ..push };
        let value = serde_json::to_vec(&push).map_err(|e| self.failed(e.to_string()))?;
        let cmd = Any { type_url: PUSH_TYPE_URL.to_owned(), value: value.into() }.encode_to_vec();
        let tensors = Arc::new(tensors);
        self.retry(|client| send(client, cmd.clone(), Arc::clone(&tensors)))
    }

    fn failed(&self, reason: String) -> Error {
        Error::Parameters { url: self.url.clone(), reason }
    }

    /// Repeats a call until the parameter server responds, the time is up, or the task is cancelled.
    fn retry<T, F>(&self, call: impl Fn(FlightServiceClient<Channel>) -> F) -> Result<T>
    where
        F: Future<Output = Result<T, Status>>,
    {
        self.runtime.block_on(async {
            let (started, mut wait) = (Instant::now(), FIRST_WAIT);
            loop {
                let status = tokio::select! {
                    outcome = call(self.client.clone()) => match outcome {
                        Ok(response) => return Ok(response),
                        Err(status) => status,
                    },
                    () = until(&self.cancelled) => return Err(Error::Cancelled),
                };
                if !is_transient(status.code()) || started.elapsed() + wait > RETRY_FOR {
                    return Err(self.failed(status.message().to_owned()));
                }
                tracing::debug!(worker = %self.worker, %status, "a request to the parameter server failed, will retry");
                tokio::select! {
                    () = sleep(wait) => {}
                    () = until(&self.cancelled) => return Err(Error::Cancelled),
                }
                wait = (wait * 2).min(LONGEST_WAIT);
            }
        })
    }
}

/// Whether the same call may succeed if it is retried.
pub(crate) fn is_transient(code: Code) -> bool {
    matches!(code, Code::Unavailable | Code::DeadlineExceeded | Code::Unknown | Code::Internal | Code::Cancelled)
}

async fn until(cancelled: &AtomicBool) {
    while !cancelled.load(Ordering::Relaxed) {
        sleep(CANCEL_POLL).await;
    }
}

fn malformed(reason: impl std::fmt::Display) -> Status {
    Status::data_loss(format!("the response cannot be read: {reason}. Run the same version of Tusk on every node"))
}

async fn within<T>(wait: Duration, work: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    timeout(wait, work).await.unwrap_or_else(|_| Err(Status::deadline_exceeded("no response in time")))
}

async fn receive(
    mut client: FlightServiceClient<Channel>,
    ticket: Ticket,
    like: &ModelState,
) -> Result<(Pulled, Option<ModelState>), Status> {
    let mut messages = within(PIECE_WAIT, client.do_get(ticket)).await?.into_inner();
    let first = within(PIECE_WAIT, messages.message()).await?.ok_or_else(|| malformed("it is empty"))?;
    let pulled: Pulled = serde_json::from_slice(&first.app_metadata).map_err(malformed)?;
    let PulledWeights::Follow(count) = pulled.weights else { return Ok((pulled, None)) };
    let mut tensors: Vec<NamedTensor> = Vec::new();
    while let Some(message) = within(PIECE_WAIT, messages.message()).await? {
        let piece: Piece = serde_json::from_slice(&message.app_metadata).map_err(malformed)?;
        take(&mut tensors, piece, &message.data_body, like)?;
    }
    let is_whole = |tensor: &NamedTensor| like.get(&tensor.name).is_some_and(|t| t.data.len() == tensor.data.len());
    if tensors.len() != count as usize || !tensors.iter().all(is_whole) {
        // The stream ended early because the parameter server stopped.
        return Err(Status::unavailable("the weights are incomplete"));
    }
    Ok((pulled, Some(ModelState::new(tensors))))
}

/// Appends a piece to its tensor. It refuses pieces that do not fit `like`, so the weights never take more memory than
/// the model has.
pub(crate) fn take(
    tensors: &mut Vec<NamedTensor>,
    piece: Piece,
    bytes: &[u8],
    like: &ModelState,
) -> Result<(), Status> {
    let Some(model) = like.get(&piece.name) else {
        return Err(malformed(format!("the model has no tensor {}", piece.name)));
    };
    if let Some(shape) = piece.shape {
        if shape != model.shape || tensors.len() >= like.iter().count() {
            return Err(malformed(format!("{} is {shape:?} and should be {:?}", piece.name, model.shape)));
        }
        tensors.push(NamedTensor { name: piece.name.clone(), shape, data: Vec::with_capacity(model.data.len()) });
    }
    let Some(tensor) = tensors.last_mut().filter(|tensor| tensor.name == piece.name) else {
        return Err(malformed(format!("a piece of {} is out of order", piece.name)));
    };
    let (values, rest) = bytes.as_chunks::<4>();
    if !rest.is_empty() || tensor.data.len() + values.len() > model.data.len() {
        return Err(malformed(format!("{} has more values than its shape {:?}", piece.name, model.shape)));
    }
    tensor.data.extend(values.iter().map(|value| f32::from_le_bytes(*value)));
    Ok(())
}

async fn send(
    mut client: FlightServiceClient<Channel>,
    cmd: Vec<u8>,
    tensors: Arc<Vec<NamedTensor>>,
) -> Result<Pushed, Status> {
    let descriptor = FlightDescriptor { cmd: cmd.into(), ..FlightDescriptor::default() };
    let descriptor =
        FlightDescriptor { r#type: arrow_flight::flight_descriptor::DescriptorType::Cmd.into(), ..descriptor };
    let first = FlightData { flight_descriptor: Some(descriptor), ..FlightData::default() };
    let pieces = (0..tensors.len()).flat_map(move |tensor| messages(Arc::clone(&tensors), tensor));
    let messages = stream::iter(std::iter::once(first).chain(pieces));
    within(RESPONSE_WAIT, async {
        let mut responses = client.do_put(messages).await?.into_inner();
        let response = responses.message().await?.ok_or_else(|| Status::unavailable("no response to the push"))?;
        serde_json::from_slice(&response.app_metadata).map_err(malformed)
    })
    .await
}

/// The messages of a tensor. Each is created when it is sent.
fn messages(tensors: Arc<Vec<NamedTensor>>, tensor: usize) -> impl Iterator<Item = FlightData> {
    let count = tensors.get(tensor).map_or(0, |tensor| pieces(tensor.data.len()));
    (0..count).filter_map(move |piece| {
        let tensor = tensors.get(tensor)?;
        let (header, body) = piece_of(&tensor.name, &tensor.shape, &tensor.data, piece);
        let header = serde_json::to_vec(&header).ok()?;
        Some(FlightData { app_metadata: header.into(), data_body: body.into(), ..FlightData::default() })
    })
}
