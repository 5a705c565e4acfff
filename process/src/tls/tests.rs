//! Tests of TLS handshakes with generated certificates.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use super::*;

/// An authority and a certificate for localhost signed by it.
struct Certificates {
    folder: TempDir,
}

impl Certificates {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &authority).unwrap();
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        std::fs::write(folder.path().join("cert.pem"), certificate.pem()).unwrap();
        std::fs::write(folder.path().join("key.pem"), key.serialize_pem()).unwrap();
        Self { folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn server(&self, required: bool) -> ServerTls {
        ServerTls {
            cert: self.file("cert.pem"),
            key: self.file("key.pem"),
            client_ca: Some(self.file("ca.pem")),
            client_certificate_required: required,
        }
    }

    fn connector(&self, with_certificate: bool) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        certificates(&self.file("ca.pem")).unwrap().into_iter().for_each(|c| roots.add(c).unwrap());
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = if with_certificate {
            let key = PrivateKeyDer::from_pem_slice(&read(&self.file("key.pem")).unwrap()).unwrap();
            builder.with_client_auth_cert(certificates(&self.file("cert.pem")).unwrap(), key).unwrap()
        } else {
            builder.with_no_client_auth()
        };
        TlsConnector::from(Arc::new(config))
    }
}

async fn socket() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

use std::net::SocketAddr;

/// Returns the response to a GET request over TLS.
async fn ask(connector: &TlsConnector, address: SocketAddr) -> std::io::Result<String> {
    let stream = TcpStream::connect(address).await?;
    let mut stream = connector.connect(ServerName::try_from("localhost").unwrap(), stream).await?;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

fn app() -> axum::extract::connect_info::IntoMakeServiceWithConnectInfo<Router, Peer> {
    let show = |ConnectInfo(peer): ConnectInfo<Peer>| async move { format!("certificate: {}", peer.certificate) };
    Router::new().route("/", get(show)).into_make_service_with_connect_info::<Peer>()
}

#[tokio::test]
async fn a_server_knows_which_clients_have_a_certificate_and_a_silent_client_delays_no_other() {
    let certificates = Certificates::new();
    let (socket, address) = socket().await;
    let listener = Listener::tls(socket, certificates.server(false).acceptor().unwrap()).unwrap();
    let server = tokio::spawn(async { axum::serve(listener, app()).await });
    let _silent = TcpStream::connect(address).await.unwrap();
    for shown in [true, false] {
        let answer = ask(&certificates.connector(shown), address).await.unwrap();
        assert!(answer.ends_with(&format!("certificate: {shown}")), "{answer}");
    }
    let stranger = Certificates::new();
    assert!(ask(&stranger.connector(false), address).await.is_err(), "a client accepts only its own authority");
    server.abort();
}

#[tokio::test]
async fn a_plain_listener_serves_the_same_app() {
    let (socket, address) = socket().await;
    let listener = Listener::plain(socket).unwrap();
    let server = tokio::spawn(async { axum::serve(listener, app()).await });
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("certificate: false"), "{answer}");
    server.abort();
}

#[tokio::test]
async fn a_listener_that_requires_certificates_refuses_clients_without_one() {
    let certificates = Certificates::new();
    let (socket, address) = socket().await;
    let listener = Listener::tls(socket, certificates.server(true).acceptor().unwrap()).unwrap();
    let server = tokio::spawn(async { axum::serve(listener, app()).await });
    let answer = ask(&certificates.connector(true), address).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(ask(&certificates.connector(false), address).await.is_err());
    assert!(ask(&Certificates::new().connector(true), address).await.is_err());
    server.abort();
}

#[tokio::test]
async fn ballista_endpoints_use_tls_whatever_their_scheme() {
    let certificates = Certificates::new();
    let (socket, address) = socket().await;
    let listener = Listener::tls(socket, certificates.server(true).acceptor().unwrap()).unwrap();
    let server = tokio::spawn(async { axum::serve(listener, app()).await });
    let identity = Some((certificates.file("cert.pem"), certificates.file("key.pem")));
    let tls = ClientTls { ca: certificates.file("ca.pem"), identity };
    let secure = tls.endpoint_override().unwrap();
    for scheme in ["http", "https"] {
        let endpoint = Endpoint::from_shared(format!("{scheme}://{address}")).unwrap();
        secure(endpoint).unwrap().connect().await.unwrap();
    }
    let stranger = ClientTls { ca: Certificates::new().file("ca.pem"), identity: None };
    assert!(matches!(stranger.endpoint_override(), Err(TlsError::Read { .. })), "its folder is gone");
    server.abort();
}

#[test]
fn an_error_names_the_file_with_the_wrong_content() {
    let certificates = Certificates::new();
    let swapped = ServerTls { cert: certificates.file("key.pem"), ..certificates.server(false) };
    let error = swapped.acceptor().map(|_| ()).unwrap_err().to_string();
    assert!(error.ends_with("key.pem contains no certificate in PEM format: none found"), "{error}");
    let missing = ServerTls { key: certificates.file("none.pem"), ..certificates.server(false) };
    let error = missing.acceptor().map(|_| ()).unwrap_err().to_string();
    assert!(error.starts_with("cannot read ") && error.contains("none.pem: "), "{error}");
}
