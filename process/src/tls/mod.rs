//! TLS for servers and clients.
//!
//! Every port of the cluster is served through [`Listener`]. Clients connect with [`ClientTls::endpoint_override`].

mod listener;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ballista_core::extension::EndpointOverrideFn;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

pub use listener::{Listener, Peer};

/// The time limit for opening a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// The time limit for the start of a response.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// The interval of keep-alive pings.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// An error in a certificate or key file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// The error of the system.
        source: std::io::Error,
    },
    /// The file has no such content.
    #[error("{path} contains no {what} in PEM format: {reason}")]
    Pem {
        /// The file.
        path: String,
        /// The expected content.
        what: &'static str,
        /// The error of the parser.
        reason: String,
    },
    /// The certificate and the key do not match or are not accepted.
    #[error("cannot use the certificate {path}: {source}")]
    Unusable {
        /// The file of the certificate.
        path: String,
        /// The cause.
        source: rustls::Error,
    },
    /// The certificate authority cannot be used.
    #[error("cannot use the certificate authority {path}: {source}")]
    Authority {
        /// The file of the authority.
        path: String,
        /// The cause.
        source: VerifierBuilderError,
    },
    /// Tonic refuses the certificates of a client.
    #[error("cannot use the client certificates: {source}")]
    Client {
        /// The cause.
        source: tonic::transport::Error,
    },
}

/// The certificate files of a server, in PEM format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerTls {
    /// The certificate, followed by those of the intermediate authorities.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
    /// The authority that signs client certificates. Without it, clients are not asked for a certificate.
    pub client_ca: Option<PathBuf>,
    /// Whether a client without a certificate is refused.
    pub client_certificate_required: bool,
}

impl ServerTls {
    /// Returns an acceptor of TLS connections for HTTP/2 and HTTP/1.1.
    ///
    /// # Errors
    /// Returns an error if a file cannot be read or has the wrong content.
    pub fn acceptor(&self) -> Result<TlsAcceptor, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let unusable = |source| TlsError::Unusable { path: self.cert.display().to_string(), source };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().map_err(unusable)?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(ca) => {
                let authority = |source| TlsError::Authority { path: ca.display().to_string(), source };
                let mut roots = RootCertStore::empty();
                for certificate in certificates(ca)? {
                    roots
                        .add(certificate)
                        .map_err(|source| TlsError::Unusable { path: ca.display().to_string(), source })?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                let verifier =
                    if self.client_certificate_required { verifier } else { verifier.allow_unauthenticated() };
                builder.with_client_cert_verifier(verifier.build().map_err(authority)?)
            }
        };
        let key = PrivateKeyDer::from_pem_slice(&read(&self.key)?);
        let key = key.map_err(|e| pem(&self.key, "private key", &e))?;
        let mut config = builder.with_single_cert(certificates(&self.cert)?, key).map_err(unusable)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

/// The certificate files of a client, in PEM format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientTls {
    /// The authority that signs server certificates.
    pub ca: PathBuf,
    /// The certificate and private key of the client.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl ClientTls {
    /// Returns the TLS configuration for tonic.
    ///
    /// # Errors
    /// Returns an error if a file cannot be read or contains no certificate.
    pub fn config(&self) -> Result<ClientTlsConfig, TlsError> {
        certificates(&self.ca)?;
        let config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(&self.ca)?));
        Ok(match &self.identity {
            None => config,
            Some((cert, key)) => {
                certificates(cert)?;
                config.identity(Identity::from_pem(read(cert)?, read(key)?))
            }
        })
    }

    /// Returns a function that makes every Ballista endpoint use TLS. Ballista writes most addresses with `http`, for
    /// which tonic would not use TLS.
    ///
    /// # Errors
    /// The same as [`Self::config`].
    pub fn endpoint_override(&self) -> Result<EndpointOverrideFn, TlsError> {
        let config = self.config()?;
        Ok(Arc::new(move |endpoint: Endpoint| {
            let address = endpoint.uri().to_string();
            let endpoint = match address.strip_prefix("http://") {
                None => endpoint,
                Some(rest) => Endpoint::from_shared(format!("https://{rest}"))?
                    .connect_timeout(endpoint.get_connect_timeout().unwrap_or(CONNECT_TIMEOUT))
                    .timeout(REQUEST_TIMEOUT)
                    .tcp_nodelay(endpoint.get_tcp_nodelay())
                    .tcp_keepalive(endpoint.get_tcp_keepalive()),
            };
            let endpoint = endpoint.http2_keep_alive_interval(KEEP_ALIVE).keep_alive_while_idle(true);
            Ok(endpoint.tls_config(config.clone())?)
        }))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Read { path: path.display().to_string(), source })
}

fn pem(path: &Path, what: &'static str, reason: &dyn std::fmt::Display) -> TlsError {
    TlsError::Pem { path: path.display().to_string(), what, reason: reason.to_string() }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    let found = found.map_err(|e| pem(path, "certificate", &e))?;
    if found.is_empty() {
        return Err(pem(path, "certificate", &"none found"));
    }
    Ok(found)
}
