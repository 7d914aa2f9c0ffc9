//! One connection, from its handshake to its end.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::activity::Activity;
use super::bind::Stream;
use super::peer::{Peer, PeerAddress};
use super::service::Service;
use super::timed_io::TimedIo;
use crate::body::BoxError;
use crate::telemetry::{Gauged, Metrics};
use crate::tls::{ServerTls, client_names};

/// The most a request's head may have: clients send a few hundred bytes, and tokens of a few KiB.
const MAX_HEAD_BYTES: usize = 64 << 10;
/// Streams of one HTTP/2 connection; a client pulls a handful of layers at one time.
const MAX_STREAMS: u32 = 128;
/// What hyper may buffer per HTTP/2 stream, times [`MAX_STREAMS`] per connection.
const MAX_STREAM_BUFFER_BYTES: usize = 128 << 10;
/// How often an HTTP/2 client is asked whether it is still there, and how long it may take to say so.
const PING: Duration = Duration::from_secs(20);

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

/// What is configured now, which may change.
pub(super) type Now = watch::Receiver<Arc<Connections>>;

/// What all connections share: what each begins with, and what answers their requests.
pub(super) struct Connections {
    pub(super) service: Arc<Service>,
    /// Apart, so that a connection from before a change keeps nothing else of what was before.
    pub(super) front: Arc<Front>,
}

/// What a connection begins with, and keeps.
pub(super) struct Front {
    http: auto::Builder<TokioExecutor>,
    metrics: Metrics,
    limits: ServerLimits,
    tls: Option<ServerTls>,
}

impl Connections {
    pub(super) fn new(service: Service, metrics: Metrics, limits: ServerLimits, tls: Option<ServerTls>) -> Self {
        let front = Front { http: http(limits.header_read_timeout), metrics, limits, tls };
        Self { service: Arc::new(service), front: Arc::new(front) }
    }
}

impl Front {
    pub(super) fn limits(&self) -> &ServerLimits {
        &self.limits
    }

    pub(super) fn tls(&self) -> Option<&ServerTls> {
        self.tls.as_ref()
    }

    /// Counts a connection until this is dropped.
    pub(super) fn count(&self) -> Gauged {
        self.metrics.connection()
    }

    /// Whether the same certificates and authorities are to be had from the other.
    fn has_tls_of(&self, other: &Self) -> bool {
        match (&self.tls, &other.tls) {
            (None, None) => true,
            (Some(own), Some(other)) => own.is(other),
            _ => false,
        }
    }

    /// One connection to its end. Each of its requests is answered as is configured `now`; it is closed when that has other
    /// certificates or authorities than those that it was let in by.
    pub(super) async fn serve(
        self: Arc<Self>,
        stream: Stream,
        address: PeerAddress,
        now: Now,
        drain: watch::Receiver<bool>,
    ) {
        let plain = Peer { address, tls: false, certificate: None };
        match (stream, &self.tls) {
            (Stream::Unix(stream), _) => self.serve_http(stream, plain, now, drain).await,
            (Stream::Tcp(stream), tls) => {
                // A manifest is one small write that should not wait for an acknowledgement.
                let _ = stream.set_nodelay(true);
                match tls {
                    None => self.serve_http(stream, plain, now, drain).await,
                    Some(tls) => self.serve_tls(stream, tls, address, now, drain).await,
                }
            }
        }
    }

    async fn serve_tls(
        &self,
        stream: TcpStream,
        tls: &ServerTls,
        client: PeerAddress,
        now: Now,
        drain: watch::Receiver<bool>,
    ) {
        let acceptor = TlsAcceptor::from(tls.config());
        let stream = match timeout(self.limits.header_read_timeout, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(err)) => return tracing::debug!(%client, error = %err, "TLS handshake failed"),
            Err(_) => return tracing::debug!(%client, "TLS handshake took too long"),
        };
        match client_names(stream.get_ref().1) {
            Ok(names) => {
                let peer = Peer { address: client, tls: true, certificate: names.map(Arc::new) };
                self.serve_http(stream, peer, now, drain).await;
            }
            // Told, as whoever has it is somebody the CA vouches for, and nobody else can say why.
            Err(err) => tracing::info!(%client, error = %err, "connection refused"),
        }
    }

    async fn serve_http<S>(&self, stream: S, peer: Peer, mut now: Now, mut drain: watch::Receiver<bool>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let ServerLimits { header_read_timeout, idle_body_timeout, .. } = self.limits;
        let io = TimedIo::new(stream, header_read_timeout, idle_body_timeout);
        let activity = Activity::new();
        let (client, peer) = (peer.address, Arc::new(peer));
        let current = now.clone();
        let service = service_fn(|request: Request<Incoming>| {
            let service = Arc::clone(&current.borrow().service);
            let (peer, busy) = (Arc::clone(&peer), activity.begin());
            async move { Ok::<_, Infallible>(service.answer(&peer, request, busy).await) }
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
            // What runs ends first, however long that takes.
            _ = now.wait_for(|now| !self.has_tls_of(&now.front)) => ("TLS changed", Duration::MAX),
        };
        tracing::debug!(%client, why, "closing the connection");
        connection.as_mut().graceful_shutdown();
        match timeout(grace, connection).await {
            Ok(ended) => tell(client, ended),
            Err(_) => tracing::debug!(%client, why, "connection cut"),
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

/// Clients leave, and networks break; the requests concerned have their own lines.
fn tell(client: PeerAddress, ended: Result<(), BoxError>) {
    if let Err(err) = ended {
        tracing::debug!(%client, error = %err, "connection ended");
    }
}
