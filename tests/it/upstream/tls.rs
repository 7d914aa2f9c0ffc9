//! HTTPS with a private CA, and the HTTP version that comes of it.

use std::sync::Arc;

use colocate::upstream::{RegistryConfig, RegistryUpstream, Upstream, UpstreamError};
use http::Version;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

use super::server::{Reply, Server};
use super::{IMAGE, OCI, config, repository, tag};

/// A CA, and a server for `127.0.0.1` with a certificate of it.
async fn private(alpn: &[&[u8]]) -> (CertificateDer<'static>, Server) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let mut server = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
        .unwrap();
    server.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(server));
    (issuer.der().clone(), Server::launch(Some(acceptor), |_| Reply::ok(IMAGE).kind(OCI)).await)
}

#[tokio::test]
async fn a_private_ca_over_both_versions() {
    let offers: [(&[&[u8]], Version); 3] =
        [(&[b"h2", b"http/1.1"], Version::HTTP_2), (&[b"http/1.1"], Version::HTTP_11), (&[], Version::HTTP_11)];
    for (alpn, version) in offers {
        let (ca, server) = private(alpn).await;
        let upstream = RegistryUpstream::new(RegistryConfig { extra_ca: vec![ca], ..config(&server) }).unwrap();
        let name = repository();
        let reference = tag("v1");
        for _ in 0..4 {
            upstream.manifest(&name, &reference).await.unwrap();
        }
        assert!(server.seen().iter().all(|seen| seen.version == version), "{version:?}");
        assert_eq!(server.connections(), 1);
    }
}

#[tokio::test]
async fn an_unknown_ca_is_no_connection() {
    let (_, server) = private(&[]).await;
    let upstream = RegistryUpstream::new(config(&server)).unwrap();
    let error = upstream.manifest(&repository(), &tag("v1")).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Connect { .. }), "{error:?}");
    assert!(server.seen().is_empty());
}
