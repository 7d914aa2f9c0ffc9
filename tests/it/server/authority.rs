//! Certificates for servers and clients, and clients that use them.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use colocate::tls::{ClientFiles, TlsFiles};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key.
pub(super) struct Issued {
    pub(super) certificate: Certificate,
    pub(super) key: KeyPair,
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// For `localhost`.
    pub(super) fn server(&self) -> Issued {
        self.issue(KeyPair::generate().unwrap(), |_| ())
    }

    /// For a client of this common name.
    pub(super) fn client(&self, name: &str) -> Issued {
        self.issue(KeyPair::generate().unwrap(), |params| as_client(params, name))
    }

    pub(super) fn issue(&self, key: KeyPair, change: impl FnOnce(&mut CertificateParams)) -> Issued {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        change(&mut params);
        Issued { certificate: params.signed_by(&key, &self.0).unwrap(), key }
    }

    pub(super) fn pem(&self) -> String {
        self.0.pem()
    }
}

pub(super) fn as_client(params: &mut CertificateParams, name: &str) {
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.distinguished_name.push(DnType::CommonName, name);
}

/// Files in a directory, under the names a Kubernetes secret gives them.
pub(super) struct Files(pub(super) PathBuf);

impl Files {
    pub(super) fn write(directory: &Path, issued: &Issued) -> Self {
        let files = Self(directory.to_owned());
        files.certificate(&issued.certificate.pem());
        files.key(&issued.key.serialize_pem());
        files
    }

    pub(super) fn certificate(&self, pem: &str) {
        fs::write(self.0.join("tls.crt"), pem).unwrap();
    }

    pub(super) fn key(&self, pem: &str) {
        fs::write(self.0.join("tls.key"), pem).unwrap();
    }

    pub(super) fn ca(&self, pem: &str) {
        fs::write(self.0.join("ca.crt"), pem).unwrap();
    }

    /// Without client certificates.
    pub(super) fn plain(&self) -> TlsFiles {
        TlsFiles { certificate: self.0.join("tls.crt"), key: self.0.join("tls.key"), clients: None }
    }

    /// With client certificates.
    pub(super) fn with_clients(&self, required: bool) -> TlsFiles {
        TlsFiles { clients: Some(ClientFiles { ca: self.0.join("ca.crt"), required }), ..self.plain() }
    }
}

/// A client that trusts one authority.
pub(super) fn client(
    authority: &Authority,
    versions: &[&'static SupportedProtocolVersion],
    identity: Option<&Issued>,
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(authority.0.der().clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots);
    match identity {
        None => builder.with_no_client_auth(),
        Some(Issued { certificate, key }) => builder
            .with_client_auth_cert(
                vec![certificate.der().clone()],
                PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            )
            .unwrap(),
    }
}

/// The client's side of a handshake. With TLS 1.3, a refusal of its certificate shows in the first read only.
pub(super) async fn connect(address: SocketAddr, config: &Arc<ClientConfig>) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(Arc::clone(config)).connect("localhost".try_into().unwrap(), stream).await
}

/// The certificate the server showed.
pub(super) fn shown(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0].clone()
}
