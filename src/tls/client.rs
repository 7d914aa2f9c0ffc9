//! What an upstream's certificate is checked against.

use std::sync::{Arc, OnceLock};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};

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
    /// The cryptographic provider has no protocol version in common with this program.
    #[error("TLS cannot be set up")]
    Provider(#[source] rustls::Error),
}

/// The configuration to speak to upstreams: the system's roots and `extra_ca`, TLS 1.2 and 1.3.
///
/// ALPN is left empty: the connector that takes this fills in the HTTP versions it speaks. A machine without
/// any root, as in a container from scratch, is no error here; there only `extra_ca` is trusted.
///
/// # Errors
/// When a certificate of `extra_ca` cannot be a trust anchor.
pub fn client_config(extra_ca: &[CertificateDer<'static>]) -> Result<ClientConfig, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(system_roots().iter().cloned());
    for certificate in extra_ca {
        roots.add(certificate.clone()).map_err(TlsError::Certificate)?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Provider)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
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
        assert!(matches!(client_config(&[garbage]), Err(TlsError::Certificate(_))));
    }
}
