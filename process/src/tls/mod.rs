//! Certificates: who a process says it is, and whom it believes.
//!
//! Every port of the cluster is served through [`Listener`]; clients become [`ClientTls::endpoint_override`].

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

/// How long a client waits for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a client waits for the beginning of an answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// How often a client asks whether the other side lives.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// What is wrong with certificates.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file that cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// The system's words.
        source: std::io::Error,
    },
    /// A file that holds something else.
    #[error("{path} contains no {what} in PEM format: {reason}")]
    Pem {
        /// The file.
        path: String,
        /// What it should hold.
        what: &'static str,
        /// What the parser says.
        reason: String,
    },
    /// A certificate and a key that do not belong together, or are not accepted.
    #[error("cannot use the certificate {path}: {source}")]
    Unusable {
        /// The certificate's file.
        path: String,
        /// Why not.
        source: rustls::Error,
    },
    /// An authority that cannot be used.
    #[error("cannot use the certificate authority {path}: {source}")]
    Authority {
        /// Its file.
        path: String,
        /// Why not.
        source: VerifierBuilderError,
    },
    /// A client's certificates that tonic does not take.
    #[error("cannot use the client certificates: {source}")]
    Client {
        /// Why not.
        source: tonic::transport::Error,
    },
}

/// What a server shows and asks for: files in PEM form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerTls {
    /// Its certificate, followed by those of the authorities in between.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authority that signs clients; without it no client is asked for a certificate.
    pub client_ca: Option<PathBuf>,
    /// Whether a client without a certificate is refused.
    pub client_certificate_required: bool,
}

impl ServerTls {
    /// What turns connections into TLS connections, for HTTP/2 and HTTP/1.1.
    ///
    /// # Errors
    /// When a file cannot be read or does not hold what it should.
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

/// Whom a client believes, and what it shows: files in PEM form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientTls {
    /// The authority that signs servers.
    pub ca: PathBuf,
    /// Its own certificate and private key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl ClientTls {
    /// The same for tonic.
    ///
    /// # Errors
    /// When a file cannot be read or holds no certificate.
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

    /// Makes every endpoint of Ballista one that speaks TLS. Ballista writes most of its addresses with `http`, for
    /// which tonic would speak plaintext.
    ///
    /// # Errors
    /// As [`Self::config`].
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
