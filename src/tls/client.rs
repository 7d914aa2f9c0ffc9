//! What an upstream's certificate is checked against, and what is shown to it in return.

use std::fmt;
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

/// Why there is no TLS configuration.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Not PEM, or no `CERTIFICATE` block in it.
    #[error("no certificate in PEM form (-----BEGIN CERTIFICATE-----) was found")]
    NoCertificate,
    /// PEM that is damaged.
    #[error("the PEM file cannot be read")]
    Pem(#[source] rustls::pki_types::pem::Error),
    /// PEM that holds something that is no certificate.
    #[error("a CA certificate cannot be used")]
    Certificate(#[source] rustls::Error),
    /// A client certificate that cannot be shown.
    #[error("the client certificate cannot be used; the key must be the certificate's")]
    Identity(#[source] rustls::Error),
    /// The cryptographic provider has no protocol version in common with this program.
    #[error("TLS cannot be set up")]
    Provider(#[source] rustls::Error),
}

/// A certificate to show to a server that asks for one, with its key.
pub struct ClientIdentity {
    /// The certificate, and those that lead from it to a CA the server knows.
    pub chain: Vec<CertificateDer<'static>>,
    /// The certificate's private key.
    pub key: PrivateKeyDer<'static>,
}

impl Clone for ClientIdentity {
    fn clone(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key() }
    }
}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientIdentity").field("certificates", &self.chain.len()).finish_non_exhaustive()
    }
}

/// What a server's certificate is held against.
#[derive(Clone, Copy, Debug)]
pub enum Verification<'a> {
    /// The system's roots, and these CAs.
    Roots(&'a [CertificateDer<'static>]),
    /// Nothing: whoever answers is believed to be the server, and may read and change everything. That it has the
    /// key of the certificate it shows is still checked.
    Nothing,
}

/// The configuration to speak to upstreams, with TLS 1.2 and 1.3; `identity` is for servers that want to see a
/// certificate (mTLS).
///
/// ALPN is left empty: the connector that takes this fills in the HTTP versions it speaks. A machine without
/// any root, as in a container from scratch, is no error here; there only the extra CAs are trusted.
///
/// # Errors
/// When one of the CAs cannot be a trust anchor, or the identity's key is not its certificate's.
pub fn client_config(
    verification: Verification<'_>,
    identity: Option<&ClientIdentity>,
) -> Result<ClientConfig, TlsError> {
    let provider = aws_lc_rs::default_provider();
    let algorithms = provider.signature_verification_algorithms;
    let builder = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Provider)?;
    let builder = match verification {
        Verification::Roots(extra_ca) => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(system_roots().iter().cloned());
            for certificate in extra_ca {
                roots.add(certificate.clone()).map_err(TlsError::Certificate)?;
            }
            builder.with_root_certificates(roots)
        }
        Verification::Nothing => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(algorithms)))
        }
    };
    match identity {
        None => Ok(builder.with_no_client_auth()),
        Some(ClientIdentity { chain, key }) => {
            builder.with_client_auth_cert(chain.clone(), key.clone_key()).map_err(TlsError::Identity)
        }
    }
}

/// Takes every certificate for the server's; the handshake's signature is checked against it all the same.
#[derive(Debug)]
struct AnyCertificate(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

/// The certificates of a PEM file, such as a private CA's; other blocks in it are skipped.
///
/// # Errors
/// When the PEM is damaged or holds no certificate.
pub fn read_certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(TlsError::Pem)?;
    if certificates.is_empty() { Err(TlsError::NoCertificate) } else { Ok(certificates) }
}

/// Read once: it is some hundred files on some systems, and every upstream wants them.
fn system_roots() -> &'static [CertificateDer<'static>] {
    static ROOTS: OnceLock<Vec<CertificateDer<'static>>> = OnceLock::new();
    ROOTS.get_or_init(|| {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(%error, "part of the system's root certificates cannot be read");
        }
        if found.certs.is_empty() {
            tracing::warn!("the system has no root certificates; only configured CAs are trusted");
        }
        found.certs
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pem_without_a_certificate_is_refused() {
        assert!(matches!(read_certificates(b"hello"), Err(TlsError::NoCertificate)));
        let damaged = b"-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n";
        assert!(matches!(read_certificates(damaged), Err(TlsError::Pem(_))));
    }

    #[test]
    fn bytes_that_are_no_certificate_are_refused() {
        let garbage = CertificateDer::from(vec![0x30, 0x03, 1, 2, 3]);
        let garbage = [garbage];
        assert!(matches!(client_config(Verification::Roots(&garbage), None), Err(TlsError::Certificate(_))));
    }
}
