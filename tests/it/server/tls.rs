//! TLS with clients: what is spoken, and who is let in.

use std::sync::Arc;

use base64::Engine as _;
use colocate::tls::{ServerTls, TlsFiles};
use rcgen::{KeyPair, PKCS_RSA_SHA256, SanType};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind};
use tempfile::TempDir;

use super::authority::{Authority, Files, Issued, as_client, client, connect};
use super::serving::{LOOPBACK, Serving, base, parts};
use crate::support::log::Log;

/// The protocol a server chose.
type Taken = Option<&'static [u8]>;

/// A server with a certificate of `authority`, that asks for those of `clients`.
async fn serve(authority: &Authority, clients: &Authority, required: bool) -> (Serving, ServerTls, Files, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let files = Files::write(directory.path(), &authority.server());
    files.ca(&clients.pem());
    let (serving, tls) = start(files.with_clients(required)).await;
    (serving, tls, files, directory)
}

async fn start(files: TlsFiles) -> (Serving, ServerTls) {
    let tls = ServerTls::load(files).unwrap();
    let mut parts = parts();
    parts.tls = Some(tls.clone());
    (Serving::start(&[LOOPBACK], parts).await, tls)
}

/// Whether a request is answered.
async fn served(serving: &Serving, config: &Arc<ClientConfig>) -> bool {
    match connect(serving.tcp(), config).await {
        Ok(mut stream) => base(&mut stream).await.is_ok(),
        Err(_) => false,
    }
}

#[tokio::test]
async fn both_versions_and_both_protocols() {
    let authority = Authority::new();
    let directory = tempfile::tempdir().unwrap();
    let (serving, _) = start(Files::write(directory.path(), &authority.server()).plain()).await;
    let offers: [(&[&[u8]], Taken); 4] = [
        (&[b"http/1.1", b"h2"], Some(b"h2")),
        (&[b"h2"], Some(b"h2")),
        (&[b"http/1.1"], Some(b"http/1.1")),
        (&[], None),
    ];
    for version in [&TLS12, &TLS13] {
        for (offered, taken) in offers {
            let mut config = client(&authority, &[version], None);
            config.alpn_protocols = offered.iter().map(|name| name.to_vec()).collect();
            let mut stream = connect(serving.tcp(), &Arc::new(config)).await.unwrap();
            let tls = stream.get_ref().1;
            assert_eq!((tls.protocol_version(), tls.alpn_protocol()), (Some(version.version), taken));
            if taken != Some(b"h2") {
                base(&mut stream).await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn only_certificates_of_the_client_ca_let_anybody_in() {
    let (authority, clients, others) = (Authority::new(), Authority::new(), Authority::new());
    let key = || KeyPair::generate().unwrap();
    let good = clients.client("node-7");
    let foreign = others.client("node-7");
    let expired = clients.issue(key(), |params| {
        as_client(params, "node-7");
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    });
    // Also the server's own authority vouches for no client.
    let own = authority.client("node-7");
    for required in [true, false] {
        let (serving, ..) = serve(&authority, &clients, required).await;
        for version in [&TLS12, &TLS13] {
            let served = async |identity: Option<&Issued>| {
                served(&serving, &Arc::new(client(&authority, &[version], identity))).await
            };
            assert!(served(Some(&good)).await);
            assert_eq!(served(None).await, !required);
            for bad in [&foreign, &expired, &own] {
                assert!(!served(Some(bad)).await, "required: {required}");
            }
        }
    }
}

// One thread, so that the log of this test is its own.
#[tokio::test]
async fn the_names_of_a_client_are_known_to_its_requests() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let (serving, ..) = serve(&authority, &clients, false).await;
    let (log, _capture) = Log::capture("colocate=info");
    let named = clients.client("node-7");
    let workload = clients.issue(KeyPair::generate().unwrap(), |params| {
        as_client(params, "");
        params.subject_alt_names = vec![SanType::URI("spiffe://example/ns/a".try_into().unwrap())];
    });
    for (identity, line) in [
        (Some(&named), "secure=true certificate=\"cn:node-7\""),
        (Some(&workload), "secure=true certificate=\"uri:spiffe://example/ns/a\""),
        (None, "secure=true method"),
    ] {
        assert!(served(&serving, &Arc::new(client(&authority, &[&TLS13], identity))).await);
        log.until(line).await;
    }
}

#[tokio::test]
async fn a_resumed_session_ends_with_the_client_ca() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let (serving, tls, files, _directory) = serve(&authority, &clients, true).await;
    for version in [&TLS12, &TLS13] {
        files.ca(&clients.pem());
        tls.reload();
        let config = Arc::new(client(&authority, &[version], Some(&clients.client("node-7"))));
        let kind = async || {
            let mut stream = connect(serving.tcp(), &config).await.ok()?;
            base(&mut stream).await.ok()?;
            stream.get_ref().1.handshake_kind()
        };
        assert_eq!(kind().await, Some(HandshakeKind::Full));
        assert_eq!(kind().await, Some(HandshakeKind::Resumed));
        files.ca(&Authority::new().pem());
        tls.reload();
        assert_eq!(kind().await, None);
    }
}

#[tokio::test]
async fn private_keys_of_every_form() {
    let authority = Authority::new();
    let directory = tempfile::tempdir().unwrap();
    let ecdsa = authority.server();
    let rsa = authority.issue(KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap(), |_| ());
    // The older forms are what PKCS#8 wraps: for ECDSA, from `version 1, 32 bytes of key` on, for RSA, the octet
    // string after `rsaEncryption, NULL`.
    let inner = |issued: &Issued, pattern: &[u8], from: isize| {
        let der = issued.key.serialize_der();
        let at = der.windows(pattern.len()).position(|window| window == pattern).unwrap();
        der[at.checked_add_signed(from).unwrap()..].to_vec()
    };
    let sec1 = inner(&ecdsa, &[2, 1, 1, 4, 32], -2);
    let pkcs1 = inner(&rsa, &[5, 0, 4, 0x82], 6);
    for (issued, label, der) in [
        (&ecdsa, "PRIVATE KEY", ecdsa.key.serialize_der()),
        (&ecdsa, "EC PRIVATE KEY", sec1),
        (&rsa, "PRIVATE KEY", rsa.key.serialize_der()),
        (&rsa, "RSA PRIVATE KEY", pkcs1),
    ] {
        let files = Files::write(directory.path(), issued);
        let text = base64::engine::general_purpose::STANDARD.encode(der);
        files.key(&format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n"));
        let (serving, _) = start(files.plain()).await;
        assert!(served(&serving, &Arc::new(client(&authority, &[&TLS13], None))).await, "{label}");
    }
}
