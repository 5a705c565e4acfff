//! Access control of the scheduler's port: identifies each client and checks its rights.

pub(crate) mod users;

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tonic::Status;
use tusk_process::tls::Peer;

use crate::access::users::{Identity, Users};
use crate::metrics;

/// Paths that need no authentication: health, and metrics, which contain no data of users.
const OPEN: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// The path of the Flight call that checks passwords.
const HANDSHAKE: &str = "/arrow.flight.protocol.FlightService/Handshake";

/// The path prefix of Ballista's calls.
const BALLISTA: &str = "/ballista.protobuf.SchedulerGrpc/";

/// Ballista's calls that only executors make.
const OF_NODES: [&str; 6] =
    ["PollWork", "RegisterExecutor", "HeartBeatFromExecutor", "UpdateTaskStatus", "ExecutorStopped", "GetFileMetadata"];

/// The settings of access control.
pub(crate) struct AccessControl {
    /// The users. Without them, every client has full access.
    pub(crate) users: Option<Arc<Users>>,
    /// Whether nodes present certificates.
    pub(crate) nodes_have_certificates: bool,
    /// The bearer token of this process's requests to itself.
    pub(crate) own_token: String,
}

impl AccessControl {
    /// Returns the identity of the client, if it can be determined.
    fn identity(&self, headers: &HeaderMap, peer: Option<Peer>) -> Option<Identity> {
        let connection = peer.map_or_else(|| "unknown peer".to_owned(), |peer| peer.addr.to_string());
        let authorization = headers.get("authorization").and_then(|value| value.to_str().ok());
        let bearer = authorization.and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
        });
        if bearer == Some(self.own_token.as_str()) || peer.is_some_and(|peer| peer.certificate) {
            return Some(Identity::node(connection));
        }
        match (&self.users, bearer) {
            (None, Some(token)) => {
                // Without users, the token of a handshake only distinguishes sessions.
                let is_node = !self.nodes_have_certificates;
                Some(Identity { is_node, ..Identity::anybody(format!("login {token}")) })
            }
            (None, None) => {
                let is_node = !self.nodes_have_certificates;
                Some(Identity { is_node, ..Identity::anybody(connection) })
            }
            (Some(users), Some(token)) => users.bearer(token, &connection),
            // Nodes have no certificates, so this is an executor on the scheduler's own machine. It takes tasks and
            // sends
            // reports, and needs no other right.
            (Some(_), None) if !self.nodes_have_certificates && peer.is_some_and(is_local) => {
                Some(Identity { may_query: false, may_train: false, ..Identity::node(connection) })
            }
            (Some(_), None) => None,
        }
    }
}

fn is_local(peer: Peer) -> bool {
    match peer.addr.ip() {
        IpAddr::V4(ip) => ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_loopback(),
    }
}

/// Returns the reason for which an identity may not use a path, or `None` if it may.
fn missing(identity: &Identity, method: &Method, path: &str) -> Option<&'static str> {
    if let Some(call) = path.strip_prefix(BALLISTA) {
        // A plan may write files, so submitting a plan needs the right to train.
        return match OF_NODES.contains(&call) {
            true if !identity.is_node => Some("only nodes of the cluster may do this; configure a certificate"),
            false if !identity.may_train => Some("submitting plans requires the train right; use Flight SQL to query"),
            _ => None,
        };
    }
    if path.starts_with("/api/") && !identity.may_query {
        return Some("authentication required: send a user name and password, or a bearer token");
    }
    let changes = path.starts_with("/api/") && method != Method::GET && method != Method::OPTIONS;
    (changes && !identity.may_train).then_some("changing jobs requires the train right")
}

/// Passes a request on with the identity of its client, or refuses it.
pub(crate) async fn authorize(State(gate): State<Arc<AccessControl>>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    if OPEN.contains(&path.as_str()) || path == HANDSHAKE {
        return next.run(request).await;
    }
    let peer = request.extensions().get::<ConnectInfo<Peer>>().map(|info| info.0);
    let is_rest = path.starts_with("/api/") || path == "/";
    let Some(identity) = gate.identity(request.headers(), peer) else {
        metrics::REFUSED.inc();
        tracing::info!(path, peer = ?peer.map(|p| p.addr), "rejected an unauthenticated request");
        let what = "authentication required: send a user name and password, or a bearer token";
        return refusal(is_rest, StatusCode::UNAUTHORIZED, Status::unauthenticated(what));
    };
    if let Some(missing) = missing(&identity, request.method(), &path) {
        metrics::REFUSED.inc();
        tracing::info!(path, user = identity.user, peer = ?peer.map(|p| p.addr), missing, "rejected a request");
        return refusal(is_rest, StatusCode::FORBIDDEN, Status::permission_denied(missing));
    }
    request.extensions_mut().insert(identity);
    next.run(request).await
}

fn refusal(is_rest: bool, code: StatusCode, status: Status) -> Response {
    if is_rest { (code, format!("{}\n", status.message())).into_response() } else { status.into_http() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(users: Option<Arc<Users>>, nodes_have_certificates: bool) -> AccessControl {
        AccessControl { users, nodes_have_certificates, own_token: "own".into() }
    }

    fn users() -> Arc<Users> {
        let file = tempfile::NamedTempFile::new().unwrap();
        let hash = blake3::hash(b"reader").to_hex();
        std::fs::write(file.path(), format!("[users.r]\ntoken = \"{hash}\"\nrights = [\"query\"]\n")).unwrap();
        Arc::new(Users::read(file.path()).unwrap())
    }

    fn headers(token: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        headers
    }

    fn peer(addr: &str, certificate: bool) -> Option<Peer> {
        Some(Peer { addr: addr.parse().unwrap(), certificate })
    }

    #[test]
    fn without_users_every_client_may_train_and_without_certificates_it_is_a_node() {
        let identity = gate(None, false).identity(&headers(None), peer("10.0.0.7:99", false)).unwrap();
        assert!(identity.may_train && identity.is_node);
        let identity = gate(None, true).identity(&headers(None), peer("10.0.0.7:99", false)).unwrap();
        assert!(identity.may_train && !identity.is_node);
    }

    #[test]
    fn with_users_an_unknown_client_is_refused_and_a_reader_may_only_read() {
        let gate = gate(Some(users()), true);
        assert_eq!(gate.identity(&headers(None), peer("127.0.0.1:99", false)), None);
        assert_eq!(gate.identity(&headers(Some("guess")), peer("127.0.0.1:99", false)), None);
        let reader = gate.identity(&headers(Some("reader")), peer("10.0.0.7:99", false)).unwrap();
        let plan = format!("{BALLISTA}ExecuteQueryPush");
        assert!(missing(&reader, &Method::POST, &plan).is_some());
        assert!(missing(&reader, &Method::POST, &format!("{BALLISTA}RegisterExecutor")).is_some());
        assert!(missing(&reader, &Method::PATCH, "/api/job/x").is_some());
        assert!(missing(&reader, &Method::GET, "/api/jobs").is_none());
        let node = gate.identity(&headers(None), peer("10.0.0.7:99", true)).unwrap();
        assert!(missing(&node, &Method::POST, &format!("{BALLISTA}RegisterExecutor")).is_none());
    }

    #[test]
    fn without_certificates_an_executor_must_be_on_this_machine() {
        let gate = gate(Some(users()), false);
        let local = gate.identity(&headers(None), peer("127.0.0.1:99", false)).unwrap();
        assert!(local.is_node && !local.may_query);
        assert!(missing(&local, &Method::POST, &format!("{BALLISTA}HeartBeatFromExecutor")).is_none());
        assert!(missing(&local, &Method::POST, &format!("{BALLISTA}ExecuteQueryPush")).is_some());
        assert!(missing(&local, &Method::GET, "/api/jobs").is_some());
        assert_eq!(gate.identity(&headers(None), peer("10.0.0.7:99", false)), None);
    }
}
