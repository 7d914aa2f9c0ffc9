//! A server that answers as a closure says, and remembers what it was asked.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::Sleep;
use tokio_rustls::TlsAcceptor;
use url::Url;

/// What a body waits before it breaks, so that what was before is sent.
const PAUSE: Duration = Duration::from_millis(50);

/// A request that came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) version: Version,
    pub(crate) body: Bytes,
    /// Whether the client showed a certificate.
    pub(crate) certificate: bool,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// An answer to give.
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
    delay: Duration,
    end: End,
}

/// How a body ends.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Clean,
    /// Never: nothing more comes.
    Stall,
    /// In the middle.
    Break,
    /// Never: a byte comes now and then.
    Drip,
    /// Never: the same comes again and again.
    Repeat,
}

impl Reply {
    pub(crate) fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Bytes::new(), delay: Duration::ZERO, end: End::Clean }
    }

    pub(crate) fn ok(body: impl Into<Bytes>) -> Self {
        Self::new(200).body(body)
    }

    /// `Content-Type`.
    pub(crate) fn kind(self, media_type: &str) -> Self {
        self.with("content-type", media_type)
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    pub(crate) fn stalling(mut self) -> Self {
        self.end = End::Stall;
        self
    }

    pub(crate) fn dripping(mut self) -> Self {
        self.end = End::Drip;
        self
    }

    pub(crate) fn endless(mut self) -> Self {
        self.end = End::Repeat;
        self
    }

    pub(crate) fn breaking(mut self) -> Self {
        self.end = End::Break;
        self
    }
}

pub(crate) struct Server {
    address: SocketAddr,
    scheme: &'static str,
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub(crate) async fn start(script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::launch(None, script).await
    }

    /// On another address of this machine than the usual one.
    pub(crate) async fn start_at(address: &str, script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::listen(address, None, script).await
    }

    pub(crate) async fn launch(
        tls: Option<TlsAcceptor>,
        script: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::listen("127.0.0.1", tls, script).await
    }

    async fn listen(
        address: &str,
        tls: Option<TlsAcceptor>,
        script: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((address, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let (seen, connections) = (Arc::<Mutex<Vec<Seen>>>::default(), Arc::<AtomicUsize>::default());
        let (log, count, script) = (Arc::clone(&seen), Arc::clone(&connections), Arc::new(script));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let (tls, log, script) = (tls.clone(), Arc::clone(&log), Arc::clone(&script));
                tokio::spawn(async move {
                    match tls {
                        None => converse(stream, false, log, script).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                let certificate = stream.get_ref().1.peer_certificates().is_some();
                                converse(stream, certificate, log, script).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, scheme, seen, connections, task }
    }

    pub(crate) fn url(&self, path: &str) -> Url {
        format!("{}://{}{path}", self.scheme, self.address).parse().unwrap()
    }

    /// The same server by another name for the same address, which to a client is another host.
    pub(crate) fn alias(&self, path: &str) -> Url {
        format!("{}://localhost:{}{path}", self.scheme, self.address.port()).parse().unwrap()
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn count(&self, path: &str) -> usize {
        self.seen().iter().filter(|seen| seen.path == path).count()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn converse<S, F>(stream: S, certificate: bool, log: Arc<Mutex<Vec<Seen>>>, script: Arc<F>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Fn(&Seen) -> Reply + Send + Sync + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let (log, script) = (Arc::clone(&log), Arc::clone(&script));
        async move {
            let (head, body) = request.into_parts();
            let seen = Seen {
                method: head.method,
                path: head.uri.path().to_owned(),
                query: head.uri.query().unwrap_or_default().to_owned(),
                headers: head.headers,
                version: head.version,
                body: colocate::body::collect(body, 1 << 20).await.unwrap_or_default(),
                certificate,
            };
            log.lock().unwrap().push(seen.clone());
            let reply = script(&seen);
            tokio::time::sleep(reply.delay).await;
            Ok::<_, Infallible>(respond(reply))
        }
    });
    // A client that hangs up is part of many tests.
    drop(Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await);
}

fn respond(reply: Reply) -> Response<Script> {
    let pause = Box::pin(tokio::time::sleep(reply.delay + PAUSE));
    let again = reply.body.clone();
    let mut response = Response::new(Script { body: Some(reply.body), again, end: reply.end, pause });
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap();
    for (name, value) in reply.headers {
        response.headers_mut().append(HeaderName::from_static(name), HeaderValue::from_str(&value).unwrap());
    }
    response
}

struct Script {
    body: Option<Bytes>,
    again: Bytes,
    end: End,
    pause: Pin<Box<Sleep>>,
}

impl Body for Script {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<std::io::Result<Frame<Bytes>>>> {
        match (self.body.take(), self.end) {
            (Some(body), _) => Poll::Ready(Some(Ok(Frame::data(body)))),
            (None, End::Clean) => Poll::Ready(None),
            (None, End::Stall) => Poll::Pending,
            (None, End::Repeat) => Poll::Ready(Some(Ok(Frame::data(self.again.clone())))),
            (None, End::Drip) => {
                std::task::ready!(self.pause.as_mut().poll(cx));
                self.pause = Box::pin(tokio::time::sleep(PAUSE));
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b" ")))))
            }
            (None, End::Break) => {
                self.pause.as_mut().poll(cx).map(|()| Some(Err(std::io::Error::other("as the script says"))))
            }
        }
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match (&self.body, self.end) {
            (Some(body), End::Clean) => http_body::SizeHint::with_exact(body.len() as u64),
            (None, End::Clean) => http_body::SizeHint::with_exact(0),
            _ => http_body::SizeHint::default(),
        }
    }
}
