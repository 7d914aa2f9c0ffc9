//! Accepting connections, serving them, and draining them.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::activity::Activity;
use super::directory::Directory;
use super::service::Service;
use super::timed_io::TimedIo;
use crate::body::BoxError;
use crate::config::Endpoint;
use crate::proxy::Proxy;
use crate::telemetry::{Gauged, Metrics};

/// The most a request's head may have: clients send a few hundred bytes, and tokens of a few KiB.
const MAX_HEAD_BYTES: usize = 64 << 10;
/// Streams of one HTTP/2 connection; a client pulls a handful of layers at one time.
const MAX_STREAMS: u32 = 128;
/// What hyper may buffer per HTTP/2 stream, times [`MAX_STREAMS`] per connection.
const MAX_STREAM_BUFFER_BYTES: usize = 128 << 10;
/// How often an HTTP/2 client is asked whether it is still there, and how long it may take to say so.
const PING: Duration = Duration::from_secs(20);
/// How long to wait after accept failed for want of file descriptors or memory.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Limits on connections.
#[derive(Clone, Copy, Debug)]
pub struct ServerLimits {
    /// How long a request's head, a TLS handshake, and a connection without any request may each take.
    pub header_read_timeout: Duration,
    /// Connections at one time.
    pub max_connections: usize,
    /// How long running requests may take to end once draining began.
    pub drain_timeout: Duration,
    /// How long a client may take nothing of a response, and a connection that is to be closed may last.
    pub idle_body_timeout: Duration,
}

/// What a server is made of.
pub struct ServerParts {
    /// Answers the requests.
    pub proxy: Proxy,
    /// Counts them.
    pub metrics: Metrics,
    /// What clients mean by names.
    pub directory: Directory,
    /// Limits on connections.
    pub limits: ServerLimits,
    /// Speaks TLS with clients; plain HTTP when `None`.
    pub tls: Option<TlsAcceptor>,
}

/// How draining ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Every request ran to its end.
    Complete,
    /// Time ran out; so many connections were cut.
    Cut(usize),
}

/// A bound listener.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    connections: Connections,
}

impl Server {
    /// Binds `address`. Clients can connect from here on, and are served once [`run`](Self::run) is.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub async fn bind(address: SocketAddr, parts: ServerParts) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let own = || (!address.ip().is_unspecified()).then(|| Endpoint::of(address));
        let service = Service {
            proxy: parts.proxy,
            metrics: parts.metrics.clone(),
            directory: parts.directory.or_called(own()),
            idle_body_timeout: parts.limits.idle_body_timeout,
        };
        let connections = Connections {
            service: Arc::new(service),
            http: http(parts.limits.header_read_timeout),
            metrics: parts.metrics,
            limits: parts.limits,
            tls: parts.tls,
        };
        Ok(Self { listener, address, connections })
    }

    /// The address bound, with the port the system chose.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown`, then lets running requests end: no new connection is accepted, idle ones are
    /// closed, and after the drain timeout the rest is cut.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Drained {
        let Self { listener, connections, .. } = self;
        let connections = Arc::new(connections);
        let room = Arc::new(Semaphore::new(connections.limits.max_connections));
        let (draining, drain) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut shutdown => break,
                accepted = accept(&listener, &room) => accepted,
                // Keeps the set from growing with connections that are over.
                Some(_) = tasks.join_next() => continue,
            };
            let Some((stream, client, permit)) = accepted else { continue };
            let held = (permit, connections.metrics.connection());
            tasks.spawn(Arc::clone(&connections).serve(stream, client, drain.clone(), held));
        }
        drop(listener);
        tracing::info!(connections = tasks.len(), "draining");
        draining.send_replace(true);
        // The tasks rather than what they serve: one whose connection is closed may still be on its way out, and
        // would be taken for one that was cut.
        let drained = async { while tasks.join_next().await.is_some() {} };
        let _ = timeout(connections.limits.drain_timeout, drained).await;
        match tasks.len() {
            0 => Drained::Complete,
            cut => {
                tasks.shutdown().await;
                Drained::Cut(cut)
            }
        }
    }
}

/// The next connection, once there is room: until then it waits in the kernel's queue.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    // The semaphore is never closed.
    let permit = Arc::clone(room).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, client)) => Some((stream, client, permit)),
        Err(err) => {
            // A connection that was reset in the queue is gone; anything else is a shortage, which a tight loop
            // would only make worse.
            if !matches!(err.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
                tracing::error!(error = %err, "cannot accept connections");
                sleep(ACCEPT_RETRY).await;
            }
            None
        }
    }
}

fn http(header_read_timeout: Duration) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(header_read_timeout).max_buf_size(MAX_HEAD_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(MAX_HEAD_BYTES as u32)
        .max_concurrent_streams(MAX_STREAMS)
        .max_send_buf_size(MAX_STREAM_BUFFER_BYTES)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING);
    builder
}

/// What all connections share.
struct Connections {
    service: Arc<Service>,
    http: auto::Builder<TokioExecutor>,
    metrics: Metrics,
    limits: ServerLimits,
    tls: Option<TlsAcceptor>,
}

impl Connections {
    /// One connection to its end; `_held` is given back then.
    async fn serve(
        self: Arc<Self>,
        stream: TcpStream,
        client: SocketAddr,
        drain: watch::Receiver<bool>,
        _held: (OwnedSemaphorePermit, Gauged),
    ) {
        // A manifest is one small write that should not wait for an acknowledgement.
        let _ = stream.set_nodelay(true);
        let Some(tls) = &self.tls else { return self.serve_http(stream, client, drain).await };
        match timeout(self.limits.header_read_timeout, tls.accept(stream)).await {
            Ok(Ok(stream)) => self.serve_http(stream, client, drain).await,
            Ok(Err(err)) => tracing::debug!(%client, error = %err, "TLS handshake failed"),
            Err(_) => tracing::debug!(%client, "TLS handshake took too long"),
        }
    }

    async fn serve_http<S>(&self, stream: S, client: SocketAddr, mut drain: watch::Receiver<bool>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let ServerLimits { header_read_timeout, idle_body_timeout, .. } = self.limits;
        let io = TimedIo::new(stream, header_read_timeout, idle_body_timeout);
        let activity = Activity::new();
        let service = service_fn(|request: Request<Incoming>| {
            let (service, busy) = (Arc::clone(&self.service), activity.begin());
            async move { Ok::<_, Infallible>(service.answer(client, request, busy).await) }
        });
        let mut connection = pin!(self.http.serve_connection(TokioIo::new(io), service));
        let (why, grace) = tokio::select! {
            ended = connection.as_mut() => return tell(client, ended),
            // Draining has a time limit of its own, for all connections together.
            _ = drain.wait_for(|draining| *draining) => ("draining", Duration::MAX),
            // What has no request may still have the end of a response on its way, and with a response that stalls
            // there may be others that do not. They get as long as any client that takes nothing.
            () = activity.idle(header_read_timeout) => ("idle", idle_body_timeout),
            () = activity.stalled() => ("stalled", idle_body_timeout),
        };
        tracing::debug!(%client, why, "closing the connection");
        connection.as_mut().graceful_shutdown();
        match timeout(grace, connection).await {
            Ok(ended) => tell(client, ended),
            Err(_) => tracing::debug!(%client, why, "connection cut"),
        }
    }
}

/// Clients leave, and networks break; the requests concerned have their own lines.
fn tell(client: SocketAddr, ended: Result<(), BoxError>) {
    if let Err(err) = ended {
        tracing::debug!(%client, error = %err, "connection ended");
    }
}
