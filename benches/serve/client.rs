//! One client for all servers: plain HTTP/1.1, connections that stay open, and no look at the bytes.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use colocate::oci::{Algorithm, Digest, Hasher};
use http::{Request, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// A connection to a server.
pub(crate) struct Connection {
    sender: SendRequest<Empty<Bytes>>,
    address: SocketAddr,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("a server");
        stream.set_nodelay(true).expect("a socket");
        let (sender, connection) = handshake(TokioIo::new(stream)).await.expect("HTTP");
        tokio::spawn(connection);
        Self { sender, address }
    }

    async fn body(&mut self, path: &str) -> Incoming {
        let request = Request::get(path)
            .header(header::HOST, self.address.to_string())
            .header(header::ACCEPT, colocate::oci::MANIFEST_ACCEPT)
            .body(Empty::new())
            .expect("a request");
        self.sender.ready().await.expect("an open connection");
        let response = self.sender.send_request(request).await.expect("an answer");
        assert_eq!(response.status(), 200, "{path}");
        response.into_body()
    }

    /// Gets all of it; gives its length.
    pub(crate) async fn get(&mut self, path: &str) -> u64 {
        let mut body = self.body(path).await;
        let mut length = 0;
        while let Some(frame) = body.frame().await {
            length += frame.expect("a whole body").data_ref().map_or(0, Bytes::len) as u64;
        }
        length
    }

    /// Gets all of it; gives the time to its first byte.
    pub(crate) async fn first_byte(&mut self, path: &str) -> Duration {
        let begun = Instant::now();
        let mut body = self.body(path).await;
        let first = body.frame().await.expect("a first byte").expect("a whole body");
        let took = begun.elapsed();
        drop(first);
        while let Some(frame) = body.frame().await {
            frame.expect("a whole body");
        }
        took
    }

    /// Gets all of it, which has to be the bytes of this digest.
    pub(crate) async fn verify(&mut self, path: &str, digest: &Digest) {
        let mut body = self.body(path).await;
        let mut hasher = Hasher::new(Algorithm::Sha256);
        while let Some(frame) = body.frame().await {
            hasher.update(frame.expect("a whole body").data_ref().unwrap_or(&Bytes::new()));
        }
        assert_eq!(hasher.finish(), *digest, "{path}");
    }
}

/// What clients had of a server.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Served {
    pub(crate) requests: u64,
    pub(crate) bytes: u64,
    pub(crate) seconds: f64,
}

/// So many connections, each asking again and again until the time is over; none of them stops in the middle.
pub(crate) async fn load(address: SocketAddr, path: &str, connections: usize, time: Duration) -> Served {
    let mut open = Vec::new();
    for _ in 0..connections {
        open.push(Connection::open(address).await);
    }
    let begun = Instant::now();
    let clients = open.into_iter().map(|mut connection| {
        let path = path.to_owned();
        tokio::spawn(async move {
            let mut served = Served::default();
            while begun.elapsed() < time {
                served.bytes += connection.get(&path).await;
                served.requests += 1;
            }
            served
        })
    });
    let mut total = Served::default();
    for client in clients.collect::<Vec<_>>() {
        let served = client.await.expect("a client");
        total.requests += served.requests;
        total.bytes += served.bytes;
    }
    total.seconds = begun.elapsed().as_secs_f64();
    total
}
