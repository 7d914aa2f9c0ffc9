//! The operator's side: health, readiness, metrics and the status page, on a listener of their own.
//!
//! Apart from the clients' listener, so that metrics are not public by accident, and so that a proxy whose
//! clients use up every connection can still say so. It outlives draining: `/readyz` turns to 503 first, which
//! is how a load balancer learns to send clients elsewhere. What changes anything is not on that listener but on
//! the `control` socket.
//!
//! `answer` knows the paths. The status page (`page`) is a few files that ask for JSON: how everything stands (`status`,
//! with the last hour of `history`), the bundles pulled lately, and the explanation of a reference. All of it is about
//! what a [`Board`] has of the configuration that runs. `guard` says who may look.

mod answer;
mod board;
pub mod control;
mod guard;
mod history;
mod page;
mod status;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{self, SocketAddr};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use http::Request;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};

pub use board::{Board, Refused, Site};
use history::History;

use crate::body::unix_seconds;
use crate::telemetry::Metrics;

/// Connections at one time; scrapers and probes need a handful.
const MAX_CONNECTIONS: usize = 64;
/// How long a request's head may take, and a connection idle.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may live: what bounds a client that stops reading.
const CONNECTION_TIME: Duration = Duration::from_secs(600);
/// How long to wait after accept failed.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// How often the last hour is brought up to date.
const SAMPLE_EVERY: Duration = Duration::from_secs(5);
/// References that are explained at one time: each may ask the registries behind for thousands of images.
const MAX_EXPLANATIONS: usize = 2;

/// Whether clients should be sent here; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicU8>);

/// How far a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Starting,
    Ready,
    Draining,
}

impl Readiness {
    /// They should, from now on.
    pub fn begin(&self) {
        self.0.store(Standing::Ready as u8, Ordering::Relaxed);
    }

    /// They should not any more: it will stop.
    pub fn end(&self) {
        self.0.store(Standing::Draining as u8, Ordering::Relaxed);
    }

    fn standing(&self) -> Standing {
        match self.0.load(Ordering::Relaxed) {
            ready if ready == Standing::Ready as u8 => Standing::Ready,
            draining if draining == Standing::Draining as u8 => Standing::Draining,
            _ => Standing::Starting,
        }
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
    board: Board,
    started: SystemTime,
    history: Mutex<History>,
    explanations: Semaphore,
}

impl State {
    fn new(metrics: Metrics, readiness: Readiness, board: Board) -> Self {
        let (started, explanations) = (SystemTime::now(), Semaphore::new(MAX_EXPLANATIONS));
        Self { metrics, readiness, board, started, history: Mutex::default(), explanations }
    }

    /// The last hour, up to now.
    fn history(&self) -> MutexGuard<'_, History> {
        // Nothing panics while it is held.
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        history.take(unix_seconds(SystemTime::now()), self.metrics.totals());
        history
    }
}

impl Admin {
    /// Binds `address`.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub async fn bind(address: SocketAddr, metrics: Metrics, readiness: Readiness, board: Board) -> io::Result<Self> {
        Self::on(TcpListener::bind(address).await?, metrics, readiness, board)
    }

    /// Takes a socket that is bound already and does not block.
    ///
    /// # Errors
    /// When the system does not take it.
    pub fn inherit(
        listener: net::TcpListener,
        metrics: Metrics,
        readiness: Readiness,
        board: Board,
    ) -> io::Result<Self> {
        Self::on(TcpListener::from_std(listener)?, metrics, readiness, board)
    }

    fn on(listener: TcpListener, metrics: Metrics, readiness: Readiness, board: Board) -> io::Result<Self> {
        let address = listener.local_addr()?;
        Ok(Self { listener, address, state: Arc::new(State::new(metrics, readiness, board)) })
    }

    /// The address bound, with the port the system chose.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown`; answers are small, so nothing is drained.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let mut connections = JoinSet::new();
        let mut shutdown = std::pin::pin!(shutdown);
        let mut sample = interval(SAMPLE_EVERY);
        loop {
            tokio::select! {
                () = &mut shutdown => return,
                _ = sample.tick() => drop(self.state.history()),
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
        let state = Arc::clone(&state);
        async move { Ok::<_, Infallible>(answer::answer(&request, &state).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_READ_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    // Probes hang up as they please.
    let _ = tokio::time::timeout(CONNECTION_TIME, connection).await;
}
