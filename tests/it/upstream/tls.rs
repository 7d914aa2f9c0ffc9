//! HTTPS: a private CA, the HTTP version that comes of it, certificates of clients, and none verified.

use std::sync::Arc;

use colocate::tls::ClientIdentity;
use colocate::upstream::{CredentialSource, Credentials, RegistryConfig, RegistryConfigError};
use colocate::upstream::{RegistryUpstream, Upstream, UpstreamError};
use http::Version;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use super::server::{Reply, Seen, Server};
use super::{IMAGE, OCI, bytes, config, digest_of, patient, repository, tag};

/// A CA.
pub(super) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// What a server makes of its clients' certificates.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Clients {
    Ignored,
    /// Asked for, and remembered.
    Asked,
    /// None is served without.
    Required,
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    pub(super) fn certificate(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    fn issue(&self, names: &[&str]) -> ClientIdentity {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        ClientIdentity {
            chain: vec![certificate.der().clone()],
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        }
    }

    /// A server for `127.0.0.1` and `localhost` with a certificate of this CA.
    pub(super) async fn serve(
        &self,
        clients: Clients,
        script: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Server {
        self.serve_by(&[], clients, script).await
    }

    async fn serve_by(
        &self,
        alpn: &[&[u8]],
        clients: Clients,
        script: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Server {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let builder = match clients {
            Clients::Ignored => builder.with_no_client_auth(),
            Clients::Asked => builder.with_client_cert_verifier(verifier.allow_unauthenticated().build().unwrap()),
            Clients::Required => builder.with_client_cert_verifier(verifier.build().unwrap()),
        };
        let ClientIdentity { chain, key } = self.issue(&["127.0.0.1", "localhost"]);
        let mut server = builder.with_single_cert(chain, key).unwrap();
        server.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Server::launch(Some(TlsAcceptor::from(Arc::new(server))), script).await
    }
}

fn image(_: &Seen) -> Reply {
    Reply::ok(IMAGE).kind(OCI)
}

#[tokio::test]
async fn a_private_ca_over_both_versions() {
    let offers: [(&[&[u8]], Version); 3] =
        [(&[b"h2", b"http/1.1"], Version::HTTP_2), (&[b"http/1.1"], Version::HTTP_11), (&[], Version::HTTP_11)];
    for (alpn, version) in offers {
        let authority = Authority::new();
        let server = authority.serve_by(alpn, Clients::Ignored, image).await;
        let extra_ca = vec![authority.certificate()];
        let upstream = RegistryUpstream::new(RegistryConfig { extra_ca, ..config(&server) }).unwrap();
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
    let server = Authority::new().serve(Clients::Ignored, image).await;
    let upstream = RegistryUpstream::new(config(&server)).unwrap();
    let error = upstream.manifest(&repository(), &tag("v1")).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Connect { .. }), "{error:?}");
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn an_upstream_that_wants_a_certificate_is_shown_it_and_nobody_else_is() {
    let authority = Authority::new();
    let other = authority.serve(Clients::Asked, |_| Reply::ok(r#"{"token":"good"}"#)).await;
    let (token, storage) = (String::from(other.alias("/token")), String::from(other.alias("/blob")));
    let server = authority
        .serve(Clients::Required, move |seen| match seen.header("authorization") {
            None => Reply::new(401).with("www-authenticate", format!(r#"Bearer realm="{token}""#)),
            Some(_) => Reply::new(307).with("location", &storage),
        })
        .await;
    let password = Credentials { user: "u".to_owned(), password: "p".to_owned() };
    let with = |identity, realm_hosts| RegistryConfig {
        identity,
        realm_hosts,
        extra_ca: vec![authority.certificate()],
        credentials: CredentialSource::Password(password.clone()),
        ..patient(&server)
    };
    let pull = async |config| {
        let upstream = RegistryUpstream::new(config).unwrap();
        bytes(upstream.blob(&repository(), &digest_of("x"), 0).await?).await
    };
    let error = pull(with(None, Vec::new())).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Connect { .. } | UpstreamError::Interrupted { .. }), "{error:?}");
    assert!(server.seen().is_empty());

    let identity = authority.issue(&["client.example"]);
    assert!(!format!("{identity:?}").contains(&format!("{:?}", identity.key.secret_der())));
    pull(with(Some(identity.clone()), Vec::new())).await.unwrap();
    assert!(server.seen().iter().all(|seen| seen.certificate));
    assert_eq!(other.seen().len(), 2);
    assert!(other.seen().iter().all(|seen| !seen.certificate && seen.header("authorization").is_none()));

    // A token server on the list is shown it; the same host as a redirect's target is not.
    pull(with(Some(identity), vec!["localhost".to_owned()])).await.unwrap();
    let seen = other.seen().split_off(2);
    let shown: Vec<_> = seen.iter().map(|seen| (seen.path.as_str(), seen.certificate)).collect();
    assert_eq!(shown, [("/token", true), ("/blob", false)]);
}

#[tokio::test]
async fn a_key_of_another_certificate_is_refused() {
    let authority = Authority::new();
    let (one, other) = (authority.issue(&["a.example"]), authority.issue(&["b.example"]));
    let identity = Some(ClientIdentity { chain: one.chain, key: other.key });
    let config = RegistryConfig { identity, ..RegistryConfig::new("https://r.example/".parse().unwrap()) };
    assert!(matches!(RegistryUpstream::new(config), Err(RegistryConfigError::Tls(_))));
}

#[tokio::test]
async fn unverified_is_the_upstream_s_own_host_and_no_other() {
    let authority = Authority::new();
    let other = authority.serve(Clients::Ignored, |_| Reply::ok(IMAGE)).await;
    let target = String::from(other.alias("/blob"));
    let server = authority
        .serve(Clients::Ignored, move |seen| match (seen.path.as_str(), seen.header("authorization")) {
            ("/token", _) => Reply::ok(r#"{"token":"good"}"#),
            (_, None) => {
                let realm = format!("https://{}/token", seen.header("host").unwrap());
                Reply::new(401).with("www-authenticate", format!(r#"Bearer realm="{realm}""#))
            }
            (path, _) if path.contains("/blobs/") => Reply::new(307).with("location", &target),
            _ => Reply::ok(IMAGE).kind(OCI),
        })
        .await;
    let upstream = RegistryUpstream::new(RegistryConfig { verify: false, ..patient(&server) }).unwrap();
    upstream.manifest(&repository(), &tag("v1")).await.unwrap();
    let error = upstream.blob(&repository(), &digest_of(IMAGE), 0).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, UpstreamError::Connect { .. }), "{error:?}");
    assert!(other.seen().is_empty());
}
