//! Certificates that are trusted because the file of the authority lists them, such as self-signed ones.
//!
//! rustls refuses the certificate of an authority as that of a server or a client, and most tools mark a self-signed
//! certificate as that of an authority (`openssl req -x509`). A file that lists it can only mean it.

use std::sync::Arc;

use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::client::{WebPkiServerVerifier, verify_server_name};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

/// Accepts what `signed` accepts, and the listed certificates themselves, for their names and dates.
#[derive(Debug)]
pub(super) struct Listed<V: ?Sized> {
    /// Accepts certificates that a listed authority signed.
    signed: Arc<V>,
    listed: Vec<CertificateDer<'static>>,
}

impl<V: ?Sized> Listed<V> {
    pub(super) fn new(signed: Arc<V>, listed: Vec<CertificateDer<'static>>) -> Self {
        Self { signed, listed }
    }

    /// Returns the error of a certificate, unless the error is that no authority signed it and it is listed. rustls
    /// checks the dates of a certificate before its authority, so a certificate out of date does not get here.
    fn unless_listed(&self, certificate: &CertificateDer<'_>, error: Error) -> Result<(), Error> {
        // `Other` has the error that a certificate is that of an authority.
        let is_unsigned =
            matches!(error, Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::Other(_)));
        let is_listed = self.listed.iter().any(|listed| **listed == **certificate);
        if is_unsigned && is_listed { Ok(()) } else { Err(error) }
    }
}

impl ServerCertVerifier for Listed<WebPkiServerVerifier> {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let signed = self.signed.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        signed.or_else(|error| {
            self.unless_listed(end_entity, error)?;
            verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
            Ok(ServerCertVerified::assertion())
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signed.supported_verify_schemes()
    }
}

impl ClientCertVerifier for Listed<dyn ClientCertVerifier> {
    fn offer_client_auth(&self) -> bool {
        self.signed.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.signed.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.signed.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let signed = self.signed.verify_client_cert(end_entity, intermediates, now);
        signed.or_else(|error| {
            self.unless_listed(end_entity, error)?;
            Ok(ClientCertVerified::assertion())
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signed.supported_verify_schemes()
    }
}
