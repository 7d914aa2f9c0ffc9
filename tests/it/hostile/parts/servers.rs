//! Upstreams that want to be shown something, and servers that speak TLS.

use std::sync::Arc;

use bytes::Bytes;
use colocate::oci::Digest;
use http::Response;
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio_rustls::TlsAcceptor;

use crate::support::certificates::{Authority, Identity};
use crate::support::scripted::{Fault, ScriptedUpstream};

/// What a token server gives to whom it believes.
pub(crate) const TOKEN: &str = r#"{"token":"let-me-in","expires_in":300}"#;

/// An image without layers, and its config.
pub(crate) fn image(name: &str) -> (String, String) {
    let config = format!("{{\"name\":\"{name}\"}}");
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{}","size":{}}},"layers":[]}}"#,
        Digest::of(config.as_bytes()),
        config.len()
    );
    (manifest, config)
}

/// Has an upstream answer the paths that match only to who shows `accepted`, and all others with this challenge.
pub(crate) fn guard(upstream: &ScriptedUpstream, path: &str, accepted: &str, challenge: &str) {
    let (accepted, challenge) = (accepted.to_owned(), challenge.to_owned());
    upstream.on(path).fails(Fault::make(move |seen| {
        let shown = seen.headers.get("authorization").is_some_and(|shown| *shown == *accepted);
        (!shown).then(|| unauthorized(&challenge))
    }));
}

fn unauthorized(challenge: &str) -> Response<Bytes> {
    let body = Bytes::from_static(br#"{"errors":[{"code":"UNAUTHORIZED","message":"who are you?"}]}"#);
    Response::builder().status(401).header("www-authenticate", challenge).body(body).unwrap()
}

/// A challenge that sends clients to this realm.
pub(crate) fn challenge(realm: &str) -> String {
    format!(r#"Bearer realm="{realm}",service="registry""#)
}

/// Has an upstream want [`TOKEN`], which its own `/token` gives to who shows `accepted`; a client that brings
/// `accepted` itself is let in as well.
pub(crate) fn own_realm(upstream: &ScriptedUpstream, accepted: &str) {
    let (own, realm) = (accepted.to_owned(), challenge(&format!("{}/token", upstream.url())));
    upstream.on("/v2/*").fails(Fault::make(move |seen| {
        let shown = seen.headers.get("authorization");
        let let_in = shown.is_some_and(|shown| *shown == *own || *shown == "Bearer let-me-in");
        (!let_in).then(|| unauthorized(&realm))
    }));
    upstream.on("/token").fails(Fault::make({
        let accepted = accepted.to_owned();
        move |seen| {
            let shown = seen.headers.get("authorization").is_some_and(|shown| *shown == *accepted);
            Some(if shown { Response::new(Bytes::from_static(TOKEN.as_bytes())) } else { unauthorized("Basic") })
        }
    }));
}

/// TLS with this certificate; with `clients`, their certificates are asked for, and not insisted on.
pub(crate) fn acceptor(identity: &Identity, clients: Option<&Authority>) -> TlsAcceptor {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(authority.file()).unwrap()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.allow_unauthenticated().build().unwrap())
        }
    };
    let chain = vec![CertificateDer::from_pem_file(&identity.certificate).unwrap()];
    let key = PrivateKeyDer::from_pem_file(&identity.key).unwrap();
    TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key).unwrap()))
}
