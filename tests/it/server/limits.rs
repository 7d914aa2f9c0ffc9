//! What a listener bears, and how it ends.

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use colocate::oci::Digest;
use colocate::server::Drained;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{ask, get, proxy, sample};

/// A layout with one blob of `size` bytes, larger than what sockets buffer; gives the blob's path on the proxy.
pub(super) fn large_layout(size: usize) -> (TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let blobs = dir.path().join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let write = |bytes: &[u8]| {
        let digest = Digest::of(bytes);
        fs::write(blobs.join(digest.hex()), bytes).unwrap();
        (digest.to_string(), bytes.len())
    };
    let (layer, layer_size) = write(&vec![7; size]);
    let (config, config_size) = write(b"{}");
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": config_size},
        "layers": [{"mediaType": "application/octet-stream", "digest": layer, "size": layer_size}],
    });
    let (manifest, manifest_size) = write(manifest.to_string().as_bytes());
    let index = json!({"schemaVersion": 2, "manifests": [{
        "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": manifest, "size": manifest_size,
        "annotations": {"org.opencontainers.image.ref.name": "large/blob:v1"},
    }]});
    fs::write(dir.path().join("index.json"), index.to_string()).unwrap();
    fs::write(dir.path().join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    (dir, format!("/v2/large/blob/blobs/{layer}"))
}

const LARGE: usize = 48 << 20;

/// Asks for `path` and reads only the first bytes of the answer.
async fn begin(address: SocketAddr, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n\r\n").as_bytes()).await.unwrap();
    let mut start = [0; 12];
    stream.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 200");
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn draining_lets_running_responses_end_and_takes_no_new_ones() {
    let (layout, path) = large_layout(LARGE);
    let proxy = proxy(layout.path(), "").await;
    let (address, admin) = (proxy.running.address().expect("an address"), proxy.running.admin().unwrap());
    assert_eq!(ask(admin, "GET", "/readyz", &[]).await.status, 200);
    let mut stream = begin(address, &path).await;
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(b"GET /v2/ HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
    idle.read_exact(&mut [0; 12]).await.unwrap();

    let stopping = tokio::spawn(proxy.running.stop());
    // An idle connection is closed at once, which also tells that draining has begun.
    tokio::time::timeout(Duration::from_secs(10), idle.read_to_end(&mut Vec::new())).await.unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err());
    assert_eq!(ask(admin, "GET", "/readyz", &[]).await.status, 503);
    assert_eq!(ask(admin, "GET", "/healthz", &[]).await.status, 200);

    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert!(rest.len() > LARGE && rest[rest.len() - LARGE..].iter().all(|&byte| byte == 7));
    assert_eq!(stopping.await.unwrap(), Drained::Complete);
    assert!(TcpStream::connect(admin).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn draining_has_an_end() {
    let (layout, path) = large_layout(LARGE);
    let proxy = proxy(layout.path(), "server: {drain_timeout: 200ms}").await;
    let _stream = begin(proxy.running.address().expect("an address"), &path).await;
    assert_eq!(proxy.running.stop().await, Drained::Cut(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_stops_reading_is_cut() {
    let (layout, path) = large_layout(LARGE);
    let proxy = proxy(layout.path(), "server: {idle_body_timeout: 300ms}").await;
    let mut stream = begin(proxy.running.address().expect("an address"), &path).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut rest = Vec::new();
    let broken = stream.read_to_end(&mut rest).await;
    assert!(rest.len() < LARGE, "cut before the end: {broken:?}");
    let metrics = ask(proxy.running.admin().unwrap(), "GET", "/metrics", &[]).await;
    let metrics = String::from_utf8(metrics.body).unwrap();
    assert!(metrics.contains("colocate_requests_in_flight 0"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_sends_no_request_is_cut() {
    let proxy = proxy(&sample(), "server: {header_read_timeout: 200ms}").await;
    for start in ["", "P", "PRI * HTTP/2.0\r\n", "GET /v2/ HTTP/1.1\r\nHost: a"] {
        let mut stream = TcpStream::connect(proxy.running.address().expect("an address")).await.unwrap();
        stream.write_all(start.as_bytes()).await.unwrap();
        let begun = Instant::now();
        let _ = stream.read_to_end(&mut Vec::new()).await;
        assert!(begun.elapsed() < Duration::from_secs(5), "{start:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_limit_wait_for_room() {
    let proxy = proxy(&sample(), "server: {max_connections: 1}").await;
    let mut first = TcpStream::connect(proxy.running.address().expect("an address")).await.unwrap();
    first.write_all(b"GET /v2/ HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
    first.read_exact(&mut [0; 12]).await.unwrap();
    let second = get(&proxy, "/v2/", &[]);
    tokio::pin!(second);
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut second).await.is_err());
    drop(first);
    let second = tokio::time::timeout(Duration::from_secs(10), second).await.unwrap();
    assert_eq!(second.status, 200);
}
