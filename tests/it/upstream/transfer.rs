//! Blobs on their way: ranges, redirects, silence, and broken connections.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use colocate::upstream::{
    CredentialSource, Credentials, RedirectProblem, RegistryConfig, RegistryUpstream, TimeoutStage, Upstream,
    UpstreamError,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::server::{Reply, Server};
use super::{IMAGE, OCI, SHORT, bytes, config, digest_of, repository, tag, upstream};
use crate::support::log::Log;

const BLOB: &str = "0123456789";

#[tokio::test]
async fn a_blob_from_its_start_and_from_an_offset() {
    let server = Server::start(|seen| match seen.header("range") {
        None => Reply::ok(BLOB),
        Some("bytes=4-") => Reply::new(206).with("content-range", "bytes 4-9/10").body(&BLOB[4..]),
        Some("bytes=5-") => Reply::new(206).with("content-range", "bytes 4-9/10").body(&BLOB[4..]),
        Some(_) => Reply::new(416).with("content-range", "bytes */10"),
    })
    .await;
    let upstream = upstream(&server);
    let digest = digest_of(BLOB);
    let whole = upstream.blob(&repository(), &digest, 0).await.unwrap();
    assert_eq!((whole.offset, whole.size), (0, Some(10)));
    assert_eq!(bytes(whole).await.unwrap(), BLOB);
    let rest = upstream.blob(&repository(), &digest, 4).await.unwrap();
    assert_eq!((rest.offset, rest.size), (4, Some(10)));
    assert_eq!(bytes(rest).await.unwrap(), &BLOB[4..]);
    let other = upstream.blob(&repository(), &digest, 5).await.map(|_| ()).unwrap_err();
    assert!(matches!(other, UpstreamError::Malformed { .. }), "{other:?}");
    let beyond = upstream.blob(&repository(), &digest, 10).await.map(|_| ()).unwrap_err();
    assert!(matches!(beyond, UpstreamError::RangeNotSatisfiable { offset: 10 }), "{beyond:?}");
    assert_eq!(upstream.blob_head(&repository(), &digest).await.unwrap(), 10);
}

#[tokio::test]
async fn a_range_that_is_ignored_is_said_so() {
    let server = Server::start(|_| Reply::ok(BLOB)).await;
    let blob = upstream(&server).blob(&repository(), &digest_of(BLOB), 4).await.unwrap();
    assert_eq!((blob.offset, blob.size), (0, Some(10)));
    assert_eq!(bytes(blob).await.unwrap(), BLOB);
}

// One thread, so that the log of this test is its own.
#[tokio::test]
async fn a_signed_url_is_not_logged_wherever_it_leads() {
    let (log, _capture) = Log::capture("colocate=trace");
    let storage = Server::start(|_| Reply::ok(BLOB)).await;
    let elsewhere = String::from(storage.url("/hunter2/x?sig=hunter2"));
    let digest = digest_of(BLOB);
    let asked = format!("/v2/acme/app/blobs/{digest}");
    for location in ["/hunter2/x?sig=hunter2".to_owned(), elsewhere] {
        let path = asked.clone();
        let server = Server::start(move |seen| match seen.path == path {
            true => Reply::new(307).with("location", &location),
            false => Reply::ok(BLOB),
        })
        .await;
        assert_eq!(bytes(upstream(&server).blob(&repository(), &digest, 0).await.unwrap()).await.unwrap(), BLOB);
    }
    let log = log.text();
    assert!(log.contains(&asked) && log.contains("(redirected)"), "{log}");
    assert!(!log.contains("hunter2"), "{log}");
}

#[tokio::test]
async fn a_redirect_to_another_host_takes_the_range_and_not_the_password() {
    let storage = Server::start(|seen| match seen.header("range") {
        Some("bytes=4-") => Reply::new(206).with("content-range", "bytes 4-9/10").body(&BLOB[4..]),
        _ => Reply::new(403),
    })
    .await;
    let target = String::from(storage.url("/bucket/x?X-Signature=abc"));
    let server = Server::start(move |seen| match (seen.path.as_str(), seen.header("authorization")) {
        (_, None) => Reply::new(401).with("www-authenticate", "Basic"),
        ("/moved", _) => Reply::new(302).with("location", &target),
        _ => Reply::new(307).with("location", "/moved"),
    })
    .await;
    let credentials = CredentialSource::Password(Credentials { user: "u".to_owned(), password: "p".to_owned() });
    let upstream = RegistryUpstream::new(RegistryConfig { credentials, ..config(&server) }).unwrap();
    let blob = upstream.blob(&repository(), &digest_of(BLOB), 4).await.unwrap();
    assert_eq!(bytes(blob).await.unwrap(), &BLOB[4..]);
    let seen = storage.seen();
    assert_eq!((seen.len(), seen[0].query.as_str()), (1, "X-Signature=abc"));
    assert_eq!(seen[0].header("authorization"), None);
    assert_eq!(seen[0].header("range"), Some("bytes=4-"));
    assert!(server.seen()[2].path == "/moved" && server.seen()[2].header("authorization").is_some());
    // What the storage denies says nothing of the registry's permissions, and starts no token hunt.
    let error = upstream.blob(&repository(), &digest_of(BLOB), 0).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, UpstreamError::Unavailable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_redirect_that_leads_back_has_lost_the_password() {
    let home: Arc<OnceLock<String>> = Arc::default();
    let back = Arc::clone(&home);
    let away = Server::start(move |_| Reply::new(302).with("location", back.get().unwrap())).await;
    let target = String::from(away.url("/"));
    let server = Server::start(move |seen| match (seen.path.as_str(), seen.header("authorization")) {
        ("/back", _) => Reply::ok(BLOB),
        (_, None) => Reply::new(401).with("www-authenticate", "Basic"),
        _ => Reply::new(302).with("location", &target),
    })
    .await;
    home.set(server.url("/back").into()).unwrap();
    let credentials = CredentialSource::Password(Credentials { user: "u".to_owned(), password: "p".to_owned() });
    let upstream = RegistryUpstream::new(RegistryConfig { credentials, ..config(&server) }).unwrap();
    upstream.blob(&repository(), &digest_of(BLOB), 0).await.unwrap();
    let seen = server.seen();
    let last = seen.last().unwrap();
    assert_eq!((last.path.as_str(), last.header("authorization")), ("/back", None));
}

#[tokio::test]
async fn redirects_end() {
    let server = Server::start(|_| Reply::new(307).with("location", "/again")).await;
    let error = upstream(&server).blob(&repository(), &digest_of(BLOB), 0).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, UpstreamError::Redirect { why: RedirectProblem::TooMany }), "{error:?}");
    assert_eq!(server.seen().len(), 6);
    let server = Server::start(|_| Reply::new(307).with("location", "file:///etc/passwd")).await;
    let error = upstream(&server).blob(&repository(), &digest_of(BLOB), 0).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, UpstreamError::Redirect { why: RedirectProblem::Unsupported }), "{error:?}");
}

#[tokio::test]
async fn silence_is_a_timeout_wherever_it_falls() {
    let server = Server::start(|seen| match seen.path.ends_with("manifests/v1") {
        true => Reply::ok(IMAGE).kind(OCI).after(SHORT * 20),
        false => Reply::ok(BLOB).stalling(),
    })
    .await;
    let upstream = upstream(&server);
    let started = Instant::now();
    let error = upstream.manifest(&repository(), &tag("v1")).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Timeout { what: TimeoutStage::Response }), "{error:?}");
    let blob = upstream.blob(&repository(), &digest_of(BLOB), 0).await.unwrap();
    let error = bytes(blob).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Timeout { what: TimeoutStage::Body }), "{error:?}");
    assert!(started.elapsed() < SHORT * 10);
}

#[tokio::test]
async fn a_handshake_that_never_comes_is_a_timeout_to_connect() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap()).parse().unwrap();
    let mut config = RegistryConfig::new(url);
    config.timeouts.connect = SHORT;
    let upstream = RegistryUpstream::new(config).unwrap();
    let error = upstream.manifest(&repository(), &tag("v1")).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Timeout { what: TimeoutStage::Connect }), "{error:?}");
}

#[tokio::test]
async fn a_slow_reader_is_no_silent_upstream() {
    let server = Server::start(|_| Reply::ok(vec![7; 8 << 20])).await;
    let blob = upstream(&server).blob(&repository(), &digest_of(BLOB), 0).await.unwrap();
    tokio::time::sleep(SHORT * 2).await;
    assert_eq!(bytes(blob).await.unwrap().len(), 8 << 20);
}

#[tokio::test]
async fn a_body_that_breaks_is_interrupted() {
    let server = Server::start(|_| Reply::ok(BLOB).breaking()).await;
    let blob = upstream(&server).blob(&repository(), &digest_of(BLOB), 0).await.unwrap();
    let error = bytes(blob).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Interrupted { .. }) && error.is_transient(), "{error:?}");
}

#[tokio::test]
async fn no_server_is_no_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    drop(listener);
    let upstream = RegistryUpstream::new(RegistryConfig::new(url)).unwrap();
    let error = upstream.manifest(&repository(), &tag("v1")).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Connect { .. }), "{error:?}");
    assert!(std::error::Error::source(&error).is_some());
}

/// A server that answers one request on each connection and closes it while the second is on its way.
#[tokio::test]
async fn a_stale_connection_costs_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let server = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let count = Arc::clone(&count);
            tokio::spawn(async move {
                for answers in [true, false] {
                    let mut request = [0; 4096];
                    if stream.read(&mut request).await.unwrap_or(0) == 0 {
                        return;
                    }
                    count.fetch_add(1, Ordering::SeqCst);
                    if answers {
                        let head =
                            format!("HTTP/1.1 200 OK\r\ncontent-type: {OCI}\r\ncontent-length: {}\r\n", IMAGE.len());
                        stream.write_all(format!("{head}\r\n{IMAGE}").as_bytes()).await.unwrap();
                    }
                }
            });
        }
    });
    let upstream = RegistryUpstream::new(RegistryConfig::new(url)).unwrap();
    for _ in 0..2 {
        upstream.manifest(&repository(), &tag("v1")).await.unwrap();
    }
    assert_eq!(asked.load(Ordering::SeqCst), 3);
    server.abort();
}

#[tokio::test]
async fn a_body_on_its_way_counts_as_a_request() {
    let server = Server::start(|seen| match seen.path.contains("/blobs/") {
        true => Reply::ok(BLOB).stalling(),
        false => Reply::ok(IMAGE).kind(OCI),
    })
    .await;
    let mut config = RegistryConfig { concurrency: 1, ..config(&server) };
    config.timeouts.progress = Duration::from_secs(60);
    let upstream = RegistryUpstream::new(config).unwrap();
    let digest = digest_of(BLOB);
    let first = upstream.blob(&repository(), &digest, 0).await.unwrap();
    let name = repository();
    let mut second = upstream.blob(&name, &digest, 0);
    assert!(tokio::time::timeout(SHORT, &mut second).await.is_err(), "one at a time");
    // The others have their own places.
    upstream.manifest(&name, &tag("v1")).await.unwrap();
    drop(first);
    second.await.unwrap();
}
