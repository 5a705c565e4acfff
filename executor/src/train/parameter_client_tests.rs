//! Tests of the client with a parameter server that cannot be reached, refuses calls or sends wrong weights.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arrow_flight::flight_service_server::{FlightService, FlightServiceServer};
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest, HandshakeResponse,
    PollInfo, PutResult, SchemaResult, Ticket,
};
use futures::{Stream, StreamExt, stream};
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Response, Status, Streaming};
use tusk_core::ids::{RunId, WorkerId};
use tusk_core::options::{Architecture, Device};
use tusk_core::protocol::DeviceWork;
use tusk_core::protocol::parameters::{Piece, Pulled, PulledWeights, Pushed, SessionKey};
use tusk_core::state::{ModelState, NamedTensor};

use crate::error::Error;
use crate::job::exchange::{Turns, exchange};
use crate::nets::loaded::initial_state;
use crate::runtime::devices::DevicePool;
use crate::testing::{definition, environment, epoch, squares_shard, task};
use crate::train::parameter_client::{ParameterClient, SchedulerAddress, is_transient, take};

type MessageStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Fails the first calls with these errors. Then it behaves like a parameter server that has these weights and counts
/// pushes.
struct Service {
    errors: Vec<Code>,
    calls: AtomicU32,
    weights: ModelState,
    step: AtomicU64,
}

impl Service {
    fn call(&self) -> Result<(), Status> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed) as usize;
        self.errors.get(call).map_or(Ok(()), |code| Err(Status::new(*code, "injected error")))
    }
}

fn data(header: &impl serde::Serialize, values: &[f32]) -> FlightData {
    let body: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let app_metadata = serde_json::to_vec(header).unwrap().into();
    FlightData { app_metadata, data_body: body.into(), ..FlightData::default() }
}

#[tonic::async_trait]
impl FlightService for Service {
    type HandshakeStream = MessageStream<HandshakeResponse>;
    type ListFlightsStream = MessageStream<FlightInfo>;
    type DoGetStream = MessageStream<FlightData>;
    type DoPutStream = MessageStream<PutResult>;
    type DoExchangeStream = MessageStream<FlightData>;
    type DoActionStream = MessageStream<arrow_flight::Result>;
    type ListActionsStream = MessageStream<ActionType>;

    async fn do_get(&self, _request: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        self.call()?;
        let weights = PulledWeights::Follow(self.weights.iter().count() as u32);
        let step = self.step.load(Ordering::Relaxed);
        let mut messages = vec![Ok(data(&Pulled { attempt: 7, version: 3, step, stop: false, weights }, &[]))];
        for tensor in self.weights.iter() {
            let piece = Piece { name: tensor.name.clone(), piece: 0, shape: Some(tensor.shape.clone()) };
            messages.push(Ok(data(&piece, &tensor.data)));
        }
        Ok(Response::new(stream::iter(messages).boxed()))
    }

    async fn do_put(&self, request: Request<Streaming<FlightData>>) -> Result<Response<Self::DoPutStream>, Status> {
        self.call()?;
        let messages = request.into_inner().collect::<Vec<_>>().await;
        let step = self.step.fetch_add(1, Ordering::Relaxed) + 1;
        let pushed = Pushed { applied: true, version: messages.len() as u64, step, stop: false };
        let result = PutResult { app_metadata: serde_json::to_vec(&pushed).unwrap().into() };
        Ok(Response::new(stream::iter([Ok(result)]).boxed()))
    }

    async fn handshake(
        &self,
        _request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn list_flights(&self, _request: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn get_flight_info(&self, _request: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn poll_flight_info(&self, _request: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn get_schema(&self, _request: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn do_exchange(
        &self,
        _request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn do_action(&self, _request: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn list_actions(&self, _request: Request<Empty>) -> Result<Response<Self::ListActionsStream>, Status> {
        Err(Status::unimplemented(""))
    }
}

fn serve(listener: TcpListener, errors: &[Code], weights: ModelState) {
    let (errors, calls, step) = (errors.to_vec(), AtomicU32::new(0), AtomicU64::new(2));
    let service = FlightServiceServer::new(Service { errors, calls, weights, step });
    let server = tonic::transport::Server::builder().add_service(service);
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
}

async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}

fn client(url: &str, cancelled: &Arc<AtomicBool>) -> ParameterClient {
    let scheduler = SchedulerAddress { url: url.to_owned(), endpoint: None };
    let (session, run) = (SessionKey("secret".to_owned()), RunId::from("run-1".to_owned()));
    ParameterClient::new(&scheduler, session, run, WorkerId(0), Arc::clone(cancelled)).unwrap()
}

fn tensor(name: &str, data: &[f32]) -> NamedTensor {
    NamedTensor { name: name.to_owned(), shape: vec![data.len()], data: data.to_vec() }
}

fn like() -> ModelState {
    ModelState::new([tensor("w", &[0.0, 0.0])])
}

/// Runs blocking calls on another thread, as training does.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_retried_while_the_parameter_server_cannot_be_reached() {
    let (listener, url) = listener().await;
    serve(listener, &[Code::Unavailable, Code::DeadlineExceeded], ModelState::new([tensor("w", &[1.0, 2.0])]));
    let mut client = client(&url, &Arc::default());
    let (pulled, weights, pushed) = blocking(move || {
        let (pulled, weights) = client.pull(None, &like()).unwrap();
        let update = client.update();
        assert_eq!(update.attempt, 7, "the number of the attempt comes from the parameter server");
        let pushed = client.push(update, vec![tensor("w", &[1.0, 2.0])]).unwrap();
        (pulled, weights, pushed)
    })
    .await;
    assert_eq!((pulled.version, pulled.step), (3, 2));
    assert_eq!(weights.unwrap(), ModelState::new([tensor("w", &[1.0, 2.0])]));
    assert_eq!((pushed.step, pushed.version), (3, 2), "a command and one piece were sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_not_retried_and_names_the_parameter_server() {
    let (listener, url) = listener().await;
    serve(listener, &[Code::NotFound], like());
    let mut client = client(&url, &Arc::default());
    let error = blocking(move || client.pull(None, &like()).unwrap_err()).await;
    let wanted = format!("cannot exchange weights with the parameter server at {url}: injected error");
    assert_eq!(error.to_string(), wanted);
    for code in [Code::InvalidArgument, Code::FailedPrecondition, Code::Aborted, Code::DataLoss, Code::Unauthenticated]
    {
        assert!(!is_transient(code), "{code:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_task_does_not_wait_for_a_stopped_parameter_server() {
    let (listener, url) = listener().await;
    drop(listener);
    let cancelled = Arc::new(AtomicBool::new(false));
    let mut client = client(&url, &cancelled);
    let started = Instant::now();
    let call = tokio::task::spawn_blocking(move || client.pull(None, &like()));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!call.is_finished(), "it gave up at once");
    cancelled.store(true, Ordering::Relaxed);
    assert!(matches!(call.await.unwrap(), Err(Error::Cancelled)));
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retried_task_continues_after_its_last_push() {
    let (listener, url) = listener().await;
    let mut definition = definition(Architecture::CNN);
    definition.spec.training.epochs = 4;
    let start = initial_state(&definition);
    // An earlier attempt has pushed two epochs.
    serve(listener, &[], start.clone());
    let mut client = client(&url, &Arc::default());
    let report = blocking(move || {
        let task = task(&definition, 1);
        let (pool, cancelled) = (Arc::new(DevicePool::new("cpu", 1).unwrap()), AtomicBool::new(false));
        let work = DeviceWork { run: task.run.clone(), worker: WorkerId(0), epoch: 1 };
        let lease = pool.acquire(Device::Cpu, work.clone(), &cancelled).unwrap();
        let mut turns = Turns::new(lease, &pool, work, &cancelled);
        let rows = epoch(1).selection;
        exchange(&environment(&task), &rows, &squares_shard(24), &start, &mut client, &mut turns).unwrap()
    })
    .await;
    assert_eq!(report.task.rows, 2 * 24, "the last two of four epochs");
    assert!(report.task.timing.train > 0.0 && report.task.timing.exchange > 0.0, "{report:?}");
}

#[test]
fn weights_that_do_not_fit_the_model_are_refused() {
    let piece = |name: &str, shape: Option<Vec<usize>>| Piece { name: name.to_owned(), piece: 0, shape };
    let mut tensors = Vec::new();
    for (piece, bytes) in [
        (piece("v", Some(vec![2])), 8),
        (piece("w", Some(vec![3])), 12),
        (piece("w", None), 8),
        (piece("w", Some(vec![2])), 12),
        (piece("w", Some(vec![2])), 7),
    ] {
        tensors.clear();
        let text = format!("{piece:?}");
        assert_eq!(take(&mut tensors, piece, &vec![0; bytes], &like()).unwrap_err().code(), Code::DataLoss, "{text}");
    }
}
