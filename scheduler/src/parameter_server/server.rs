//! A parameter server on its own port, for tests.

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;

use arrow_flight::flight_service_server::{FlightService, FlightServiceServer};
use arrow_flight::sql::Any;
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest, HandshakeResponse,
    PollInfo, PutResult, SchemaResult, Ticket,
};
use futures::{Stream, StreamExt, stream};
use prost::Message;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

use super::ParameterStores;
use super::flight::FlightStream;

/// Maximum bytes of a message. It is larger than a piece and its header.
const MESSAGE_BYTES_MAX: usize = 8 << 20;

/// A running server. Stops when dropped.
#[derive(Debug)]
pub(crate) struct ParameterServer {
    address: SocketAddr,
    server: JoinHandle<()>,
}

impl ParameterServer {
    /// Serves on a port of the loopback interface that the system chooses.
    pub(crate) async fn start(service: ParameterStores) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let flight = FlightServiceServer::new(Flight(service))
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let server = tokio::spawn(async move {
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            if let Err(error) =
                tonic::transport::Server::builder().add_service(flight).serve_with_incoming(incoming).await
            {
                tracing::error!(%error, "the parameter server stopped");
            }
        });
        Ok(Self { address, server })
    }

    /// The URL of the server.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for ParameterServer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

struct Flight(ParameterStores);

type TaskOutput<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn other<T>(name: &str) -> Result<T, Status> {
    Err(Status::unimplemented(format!("{name}: the parameter server supports only DoGet and DoPut")))
}

#[tonic::async_trait]
impl FlightService for Flight {
    type HandshakeStream = TaskOutput<HandshakeResponse>;
    type ListFlightsStream = TaskOutput<FlightInfo>;
    type DoGetStream = FlightStream;
    type DoPutStream = TaskOutput<PutResult>;
    type DoExchangeStream = TaskOutput<FlightData>;
    type DoActionStream = TaskOutput<arrow_flight::Result>;
    type ListActionsStream = TaskOutput<ActionType>;

    async fn do_get(&self, request: Request<Ticket>) -> Result<Response<FlightStream>, Status> {
        let message = Any::decode(request.into_inner().ticket).map_err(|e| Status::invalid_argument(e.to_string()))?;
        Ok(Response::new(self.0.do_get(message).await?))
    }

    async fn do_put(&self, request: Request<Streaming<FlightData>>) -> Result<Response<Self::DoPutStream>, Status> {
        let result = self.0.do_put(request.into_inner()).await?;
        Ok(Response::new(stream::once(async { Ok(result) }).boxed()))
    }

    async fn handshake(
        &self,
        _request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        other("handshake")
    }

    async fn list_flights(&self, _request: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        other("list_flights")
    }

    async fn get_flight_info(&self, _request: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
        other("get_flight_info")
    }

    async fn poll_flight_info(&self, _request: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        other("poll_flight_info")
    }

    async fn get_schema(&self, _request: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        other("get_schema")
    }

    async fn do_exchange(
        &self,
        _request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        other("do_exchange")
    }

    async fn do_action(&self, _request: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        other("do_action")
    }

    async fn list_actions(&self, _request: Request<Empty>) -> Result<Response<Self::ListActionsStream>, Status> {
        other("list_actions")
    }
}
