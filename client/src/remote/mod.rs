//! The client of a remote scheduler, over Arrow Flight: statements as Flight SQL, and training runs from Rust.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use arrow_flight::decode::FlightDataDecoder;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::{Any, CommandStatementQuery, ProstMessageExt};
use arrow_flight::{Action, FlightDescriptor, FlightInfo, HandshakeRequest, Ticket};
use base64::Engine;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::error::DataFusionError;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{Stream, TryStreamExt};
use prost::Message;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tusk_core::event::OnEvent;
use tusk_core::ids::ModelName;
use tusk_core::manifest::Manifest;
use tusk_core::protocol::{
    CHECK_ACTION, ClusterStatus, ENDING, EVENTS_HEADER, MANIFEST_ACTION, RunStarted, STATEMENTS_ACTION, STATUS_ACTION,
    StatementHelp,
};
use tusk_core::results::RunBehind;
use tusk_process::tls::ClientTls;

use self::watch::{Watch, cancel_with};
use crate::error::{Error, Result, Results};

#[cfg(feature = "embedded")]
pub(crate) mod session;
mod watch;

/// The longest time to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The interval of keep-alive probes and the longest wait for their answer. They detect a frozen scheduler.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// The largest gRPC message, in bytes.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// The credentials of a client.
#[derive(Clone, Default)]
pub enum Credentials {
    /// No credentials.
    #[default]
    Nobody,
    /// A user's name and password.
    Password {
        /// The name of the user.
        user: String,
        /// The password of the user.
        password: String,
    },
    /// A bearer token.
    Token(String),
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Nobody => "Nobody",
            Self::Password { .. } => "Password",
            Self::Token(_) => "Token",
        })
    }
}

/// A connection to a scheduler. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Remote {
    url: String,
    endpoint: Endpoint,
    channel: Channel,
    /// The value of the header `authorization`.
    authorization: Option<String>,
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remote").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Remote {
    /// Connects, and logs in if there is a password.
    pub(crate) async fn connect(url: &str, credentials: &Credentials, tls: Option<&ClientTls>) -> Result<Self> {
        let failed = |reason: String| Error::Unreachable { url: url.to_owned(), reason };
        let address = http_url(url);
        let endpoint = Endpoint::from_shared(address).map_err(|e| failed(root_cause(&e)))?;
        let mut endpoint = endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE);
        if let Some(tls) = tls {
            let secure = tls.endpoint_override().map_err(|e| failed(e.to_string()))?;
            endpoint = secure(endpoint).map_err(|e| failed(e.to_string()))?;
        }
        let channel = endpoint.connect().await.map_err(|e| failed(root_cause(&e)))?;
        let mut remote = Self { url: url.to_owned(), endpoint, channel, authorization: None };
        match credentials {
            Credentials::Nobody => {
                // A random token identifies the session, across all its connections.
                let session = uuid::Uuid::new_v4().simple();
                remote.authorization = Some(format!("Bearer {session}"));
                // A scheduler with users refuses this request, and its message says how to log in.
                remote.action(STATUS_ACTION, Vec::new()).await?;
            }
            Credentials::Token(token) => remote.authorization = Some(format!("Bearer {token}")),
            Credentials::Password { user, password } => remote.log_in(user, password).await?,
        }
        Ok(remote)
    }

    async fn log_in(&mut self, user: &str, password: &str) -> Result<()> {
        let basic = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        let mut request = Request::new(futures::stream::once(async { HandshakeRequest::default() }));
        let header = format!("Basic {basic}")
            .parse()
            .map_err(|_| self.refused("the password or user name cannot be sent as a header".into()))?;
        request.metadata_mut().insert("authorization", header);
        let mut answers = self.client().handshake(request).await.map_err(|e| self.status(&e))?.into_inner();
        let answer = answers.message().await.map_err(|e| self.status(&e))?.unwrap_or_default();
        self.authorization = Some(format!("Bearer {}", String::from_utf8_lossy(&answer.payload)));
        Ok(())
    }

    /// The value of the header `authorization`, for Ballista's client.
    #[cfg(feature = "embedded")]
    pub(crate) fn authorization(&self) -> Option<&str> {
        self.authorization.as_deref()
    }

    fn client(&self) -> FlightServiceClient<Channel> {
        FlightServiceClient::new(self.channel.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(Ok(header)) = self.authorization.as_ref().map(|text| text.parse()) {
            request.metadata_mut().insert("authorization", header);
        }
        request.metadata_mut().insert(EVENTS_HEADER, tonic::metadata::MetadataValue::from_static("1"));
        request
    }

    /// Runs a statement. Its text is sent unchanged.
    pub(crate) async fn sql(&self, sql: &str, on_event: Option<OnEvent>) -> Result<Results> {
        let info = self.start(sql).await?;
        let run: Option<RunStarted> = match info.app_metadata.as_ref() {
            [] => None,
            json => Some(serde_json::from_slice(json).map_err(|e| self.refused(e.to_string()))?),
        };
        let ticket = info.endpoint.first().and_then(|endpoint| endpoint.ticket.clone()).unwrap_or_default();
        let schema = info.try_decode_schema().map_err(|e| self.refused(e.to_string()))?;
        self.rows(Arc::new(schema), ticket, run.map(|run| run.model), on_event).await
    }

    /// Starts a statement, and returns where its rows are.
    async fn start(&self, sql: &str) -> Result<FlightInfo> {
        let command = CommandStatementQuery { query: sql.to_owned(), transaction_id: None };
        let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
        let info = self.client().get_flight_info(self.request(descriptor)).await;
        Ok(info.map_err(|e| self.status(&e))?.into_inner())
    }

    /// Starts a run. `request` is a [`tusk_core::protocol::TrainingRequest`] as bytes.
    #[cfg(feature = "embedded")]
    pub(crate) async fn train(&self, model: ModelName, request: Vec<u8>, on_event: Option<OnEvent>) -> Result<Results> {
        use tusk_core::protocol::{TRAIN_TICKET, epoch_schema};
        self.rows(epoch_schema(), ticket(TRAIN_TICKET, request), Some(model), on_event).await
    }

    /// The manifest of a model.
    pub(crate) async fn manifest(&self, name: &ModelName) -> Result<Manifest> {
        let body = self.action(MANIFEST_ACTION, name.as_str().as_bytes().to_vec()).await?;
        serde_json::from_slice(&body).map_err(|e| self.refused(e.to_string()))
    }

    /// The current activity of the cluster.
    pub(crate) async fn cluster_status(&self) -> Result<ClusterStatus> {
        let body = self.action(STATUS_ACTION, Vec::new()).await?;
        serde_json::from_slice(&body).map_err(|e| self.refused(e.to_string()))
    }

    /// Checks that a text is one statement.
    pub(crate) async fn check(&self, sql: &str) -> Result<()> {
        self.action(CHECK_ACTION, sql.as_bytes().to_vec()).await.map(drop)
    }

    /// The help of the statements about models.
    pub(crate) async fn statements(&self) -> Result<Vec<StatementHelp>> {
        let body = self.action(STATEMENTS_ACTION, Vec::new()).await?;
        serde_json::from_slice(&body).map_err(|e| self.refused(e.to_string()))
    }

    async fn action(&self, name: &str, body: Vec<u8>) -> Result<Vec<u8>> {
        let action = Action { r#type: name.to_owned(), body: body.into() };
        let mut answers =
            self.client().do_action(self.request(action)).await.map_err(|e| self.status(&e))?.into_inner();
        let answer = answers.message().await.map_err(|e| self.status(&e))?.unwrap_or_default();
        Ok(answer.body.to_vec())
    }

    /// Fetches the rows of a ticket. If they belong to a run, `model` is its name.
    async fn rows(
        &self,
        schema: SchemaRef,
        ticket: Ticket,
        model: Option<ModelName>,
        on_event: Option<OnEvent>,
    ) -> Result<Results> {
        let messages = self.messages(ticket).await?;
        let cancel = CancellationToken::new();
        if let Some(model) = &model {
            tokio::spawn(cancel_with(self.clone(), model.clone(), cancel.clone()));
        }
        let watch = Watch { remote: self.clone(), model: model.clone(), on_event, seen: HashSet::new() };
        let rows = futures::stream::try_unfold((watch, Some(messages)), |(mut watch, messages)| async move {
            let Some(mut messages) = messages else { return Ok(None) };
            Ok(watch.next(&mut messages).await?.map(|batch| (batch, (watch, Some(messages)))))
        });
        let rows = Box::pin(RecordBatchStreamAdapter::new(schema, rows.map_err(|e: Error| DataFusionError::from(e))));
        Ok(match model {
            Some(model) => Results::of_run(rows, RunBehind { model, cancel }),
            None => Results::new(rows),
        })
    }

    async fn messages(&self, ticket: Ticket) -> Result<Messages> {
        let data = self.client().do_get(self.request(ticket)).await.map_err(|e| self.status(&e))?.into_inner();
        Ok(Box::pin(FlightDataDecoder::new(data.map_err(|status| FlightError::Tonic(Box::new(status))))))
    }

    fn refused(&self, message: String) -> Error {
        Error::Refused { message }
    }

    /// Converts a status to the scheduler's own message, or to an error that it cannot be reached.
    fn status(&self, status: &Status) -> Error {
        if is_transport(status) {
            return Error::Unreachable { url: self.url.clone(), reason: root_cause(status) };
        }
        Error::Refused { message: status.message().to_owned() }
    }
}

type Messages =
    std::pin::Pin<Box<dyn Stream<Item = Result<arrow_flight::decode::DecodedFlightData, FlightError>> + Send>>;

fn ticket(type_url: &str, value: Vec<u8>) -> Ticket {
    let any = Any { type_url: type_url.to_owned(), value: value.into() };
    Ticket::new(any.encode_to_vec())
}

/// Whether the connection failed, as opposed to the request.
fn is_transport(status: &Status) -> bool {
    std::error::Error::source(status).is_some()
}

/// Whether the scheduler has stopped or is stopping.
fn is_gone(status: &Status) -> bool {
    is_transport(status) || status.message() == ENDING
}

/// The message of an error's innermost cause.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = error.to_string();
        cause = error.source();
    }
    text
}

/// Converts the address of a scheduler to an HTTP URL.
pub(crate) fn http_url(url: &str) -> String {
    for (scheme, http) in [("df://", "http://"), ("grpc://", "http://"), ("grpc+tls://", "https://")] {
        if let Some(rest) = url.strip_prefix(scheme) {
            return format!("{http}{rest}");
        }
    }
    if url.contains("://") { url.to_owned() } else { format!("http://{url}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_forms_of_address_are_accepted() {
        for (url, expected) in [
            ("df://host:50050", "http://host:50050"),
            ("grpc+tls://host:1", "https://host:1"),
            ("http://host:1", "http://host:1"),
            ("host:50050", "http://host:50050"),
        ] {
            assert_eq!(http_url(url), expected);
        }
    }

    #[test]
    fn credentials_are_not_shown() {
        let password = Credentials::Password { user: "alice".into(), password: "secret".into() };
        assert_eq!(format!("{password:?} {:?}", Credentials::Token("secret".into())), "Password Token");
    }

    #[tokio::test]
    async fn an_unreachable_scheduler_is_named() {
        let error = Remote::connect("df://127.0.0.1:9", &Credentials::Nobody, None).await.unwrap_err().to_string();
        assert!(error.starts_with("cannot reach the scheduler at df://127.0.0.1:9: "), "{error}");
    }
}
