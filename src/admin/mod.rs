//! The operator's side: health, readiness and metrics, on a listener of their own.
//!
//! Apart from the clients' listener, so that metrics are not public by accident, and so that a proxy whose
//! clients use up every connection can still say so. It outlives draining: `/readyz` turns to 503 first, which
//! is how a load balancer learns to send clients elsewhere. What changes anything is not on that listener but on
//! the `control` socket.

mod answer;
pub mod control;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{self, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Request;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::telemetry::Metrics;

/// Connections at one time; scrapers and probes need a handful.
const MAX_CONNECTIONS: usize = 64;
/// How long a request's head may take, and a connection idle.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a connection may live: what bounds a client that stops reading.
const CONNECTION_TIME: Duration = Duration::from_secs(600);
/// How long to wait after accept failed.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Whether clients should be sent here; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Says so, or that they should not.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Relaxed);
    }

    fn is_ready(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A bound admin listener.
pub struct Admin {
    listener: TcpListener,
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    metrics: Metrics,
    readiness: Readiness,
}

impl Admin {
    /// Binds `address`.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub async fn bind(address: SocketAddr, metrics: Metrics, readiness: Readiness) -> io::Result<Self> {
        Self::on(TcpListener::bind(address).await?, metrics, readiness)
    }

    /// Takes a socket that is bound already and does not block.
    ///
    /// # Errors
    /// When the system does not take it.
    pub fn inherit(listener: net::TcpListener, metrics: Metrics, readiness: Readiness) -> io::Result<Self> {
        Self::on(TcpListener::from_std(listener)?, metrics, readiness)
    }

    fn on(listener: TcpListener, metrics: Metrics, readiness: Readiness) -> io::Result<Self> {
        let address = listener.local_addr()?;
        Ok(Self { listener, address, state: Arc::new(State { metrics, readiness }) })
    }

    /// The address bound, with the port the system chose.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown`; answers are small, so nothing is drained.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let mut connections = JoinSet::new();
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => return,
                accepted = self.listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(serve(stream, Arc::clone(&self.state)));
                    }
                    Err(err) => {
                        tracing::error!(error = %err, "cannot accept admin connections");
                        sleep(ACCEPT_RETRY).await;
                    }
                },
                Some(_) = connections.join_next() => {}
            }
        }
    }
}

async fn serve(stream: TcpStream, state: Arc<State>) {
    let service = service_fn(|request: Request<hyper::body::Incoming>| {
        let response = answer::answer(&request, &state);
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_READ_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    // Probes hang up as they please.
    let _ = tokio::time::timeout(CONNECTION_TIME, connection).await;
}
