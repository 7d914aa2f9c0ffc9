//! HTTP/2 connections that want nothing, or take nothing: neither keeps its place for ever.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::limits::large_layout;
use super::{Proxy, ask, get, proxy, sample};
use crate::support::eventually;

/// How long a test waits for what is a matter of milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// A client that takes at most `window` bytes of each response it does not read.
struct Client {
    requests: SendRequest<Empty<Bytes>>,
    address: SocketAddr,
    connection: JoinHandle<hyper::Result<()>>,
}

impl Client {
    async fn connect(address: SocketAddr, window: u32) -> Self {
        let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
        let mut builder = Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(window);
        let (requests, connection) = builder.handshake(stream).await.unwrap();
        Self { requests, address, connection: tokio::spawn(connection) }
    }

    async fn get(&mut self, path: &str) -> Response<Incoming> {
        let uri = format!("http://{}{path}", self.address);
        self.requests.send_request(Request::get(uri).body(Empty::new()).unwrap()).await.unwrap()
    }

    async fn closed(self) {
        let Self { requests, connection, .. } = self;
        tokio::time::timeout(PATIENCE, connection).await.expect("closed by the server").unwrap().ok();
        drop(requests);
    }
}

async fn in_flight(proxy: &Proxy) -> String {
    let metrics = ask(proxy.running.admin().unwrap(), "GET", "/metrics", &[]).await;
    let metrics = String::from_utf8(metrics.body).unwrap();
    metrics.lines().find_map(|line| line.strip_prefix("colocate_requests_in_flight ")).unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_without_requests_makes_room() {
    let proxy = proxy(&sample(), "server: {max_connections: 1, header_read_timeout: 200ms}").await;
    let mut client = Client::connect(proxy.running.address().expect("an address"), 1 << 16).await;
    assert_eq!(client.get("/v2/").await.into_body().collect().await.unwrap().to_bytes(), "{}");
    let next = tokio::time::timeout(PATIENCE, get(&proxy, "/v2/", &[])).await.unwrap();
    assert_eq!(next.status, 200);
    client.closed().await;
    // Nor does one that never asks anything.
    Client::connect(proxy.running.address().expect("an address"), 1 << 16).await.closed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_on_its_way_keeps_the_connection() {
    let (layout, path) = large_layout(1 << 20);
    let proxy = proxy(layout.path(), "server: {header_read_timeout: 100ms}").await;
    let mut client = Client::connect(proxy.running.address().expect("an address"), 1 << 16).await;
    let response = client.get(&path).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes().len(), 1 << 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_response_however_short_closes_its_connection() {
    let (layout, path) = large_layout(1 << 20);
    let proxy = proxy(layout.path(), "server: {idle_body_timeout: 200ms}").await;
    for path in [path.as_str(), "/v2/large/blob/manifests/v1", "/v2/large/blob/tags/list", "/v2/", "/v2/none/tags/list"]
    {
        let mut client = Client::connect(proxy.running.address().expect("an address"), 0).await;
        let response = client.get(path).await;
        client.closed().await;
        eventually("the request ends", PATIENCE, async || in_flight(&proxy).await == "0").await;
        assert!(response.into_body().collect().await.is_err(), "{path}: cut, not ended");
    }
}
