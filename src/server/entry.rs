//! What became of each request: one line, one count, when its body has ended.
//!
//! A response's head is only the promise; a pull that breaks in the middle of a layer has status 200. So the
//! entry travels inside the body and is written when that is dropped, which happens to every body, whether it
//! was sent, failed, or its client went away. A request whose client leaves before there is a response drops
//! the entry itself.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, Response, Version};
use http_body::{Body as _, Frame, SizeHint};
use tracing::field::display;

use super::access::Identity;
use super::activity::Busy;
use super::client::{Client, ClientAddress};
use super::error::causes;
use super::peer::Peer;
use crate::body::{Body, BoxError};
use crate::oci::Repository;
use crate::proxy::{CacheStatus, Outcome};
use crate::telemetry::{Gauged, Metrics, RequestEnd, Span, enter};
use crate::tls::CertificateNames;

/// Paths with more characters are cut in the log: a client may send 64 KiB.
const MAX_LOGGED_PATH: usize = 512;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// All of the body was handed to the connection.
    Complete,
    /// The client went away first, or was cut off.
    Cancelled,
    /// The body broke.
    Failed,
}

impl Ended {
    fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }
}

/// What is known of a request so far.
pub(super) struct Entry {
    metrics: Metrics,
    client: ClientAddress,
    secure: bool,
    /// Of the peer, which may be a proxy in front.
    certificate: Option<Arc<CertificateNames>>,
    identity: Option<String>,
    repository: Option<Repository>,
    method: Method,
    path: String,
    version: Version,
    begun: Instant,
    route: &'static str,
    outcome: Outcome,
    hit: bool,
    stale: Option<&'static str>,
    first_byte: Option<Duration>,
    status: Option<u16>,
    bytes: u64,
    ended: Ended,
    span: Span,
    _in_flight: Gauged,
    _busy: Busy,
}

impl Entry {
    /// Starts with the request's head; its connection is busy until the end. Only the path is kept: a query may hold a signature or a token.
    pub(super) fn new<B>(
        metrics: &Metrics,
        peer: &Peer,
        client: &Client<'_>,
        request: &Request<B>,
        busy: Busy,
        span: Span,
    ) -> Self {
        let path = request.uri().path();
        let cut = path.char_indices().nth(MAX_LOGGED_PATH);
        let path = cut.map_or_else(|| path.to_owned(), |(at, _)| format!("{}…", &path[..at]));
        Self {
            metrics: metrics.clone(),
            client: client.address,
            secure: client.secure,
            certificate: peer.certificate.clone(),
            identity: None,
            repository: None,
            method: request.method().clone(),
            path,
            version: request.version(),
            begun: Instant::now(),
            route: "unknown",
            outcome: Outcome::Unanswered,
            hit: false,
            stale: None,
            first_byte: None,
            status: None,
            bytes: 0,
            ended: Ended::Cancelled,
            span,
            _in_flight: metrics.in_flight(),
            _busy: busy,
        }
    }

    /// Who asks, once that is known.
    pub(super) fn identity(&mut self, identity: Option<String>) {
        self.identity = identity;
    }

    /// What it was let in to, which the path alone does not say.
    pub(super) fn admitted(&mut self, repository: &Repository) {
        self.repository = Some(repository.clone());
    }

    /// Whether it was let in to something.
    pub(super) fn is_admitted(&self) -> bool {
        self.repository.is_some()
    }

    /// What is asked for, once it is known.
    pub(super) fn route(&mut self, route: &'static str) {
        self.route = route;
    }

    /// The same for people who read traces: a path with its names left out.
    pub(super) fn template(&mut self, template: &'static str) {
        let method = self.method();
        self.span.rename(|| format!("{method} {template}"));
        self.span.note("http.route", template);
    }

    /// Ties the rest of the entry's life to the response's body.
    pub(super) fn respond(mut self, response: Response<Body>, cache: &CacheStatus) -> Response<Logged> {
        (self.outcome, self.hit) = (cache.outcome, cache.is_from_cache());
        self.stale = cache.detail.filter(|_| cache.outcome == Outcome::Stale);
        self.status = Some(response.status().as_u16());
        response.map(|body| Logged { expected: body.size_hint().exact(), body, entry: self })
    }

    fn method(&self) -> &'static str {
        match self.method {
            Method::GET => "GET",
            Method::HEAD => "HEAD",
            Method::POST => "POST",
            Method::PATCH => "PATCH",
            Method::PUT => "PUT",
            Method::DELETE => "DELETE",
            _ => "other",
        }
    }

    /// What a trace tells of it, which is less than its line: nothing of who it was.
    fn record(&mut self) {
        let span = &mut self.span;
        span.note("url.scheme", if self.secure { "https" } else { "http" });
        span.note("url.path", &self.path);
        span.note("client.address", self.client);
        span.note("colocate.outcome", self.outcome.as_str());
        span.note("colocate.ended", self.ended.as_str());
        span.count("http.response.body.size", self.bytes);
        if let Some(status) = self.status {
            span.count("http.response.status_code", status.into());
        }
        match self.status {
            Some(status @ 500..) => span.fail(status),
            _ if self.ended != Ended::Complete => span.fail(self.ended.as_str()),
            _ => {}
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let duration = self.begun.elapsed();
        let (route, outcome, status, bytes) = (self.route, self.outcome.as_str(), self.status, self.bytes);
        self.metrics.request(&RequestEnd {
            route,
            method: self.method(),
            status,
            outcome,
            hit: self.hit,
            stale: self.stale,
            bytes,
            first_byte: self.first_byte.or((self.ended == Ended::Complete).then_some(duration)),
            duration,
        });
        // By the name that rules, and `identity`, have for it.
        let certificate = self.certificate.take().map(|names| Identity::Certificate(names).to_string());
        self.record();
        let context = self.span.context();
        tracing::info!(
            target: "colocate::access",
            client = %self.client,
            secure = self.secure,
            certificate = certificate.as_deref(),
            identity = self.identity.as_deref(),
            repository = self.repository.as_ref().map(display),
            method = %self.method,
            path = %self.path,
            version = ?self.version,
            status,
            bytes,
            outcome,
            duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            ended = self.ended.as_str(),
            request_id = context.map(|context| display(context.id())),
            trace_id = context.map(|context| display(context.trace_id())),
            "request",
        );
    }
}

/// A body that knows how it ended.
pub(super) struct Logged {
    body: Body,
    expected: Option<u64>,
    entry: Entry,
}

impl http_body::Body for Logged {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let context = self.entry.span.context().cloned();
        let polled = ready!(enter(context, || Pin::new(&mut self.body).poll_frame(cx)));
        match &polled {
            Some(Ok(frame)) => {
                let entry = &mut self.entry;
                entry.first_byte.get_or_insert_with(|| entry.begun.elapsed());
                entry.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
            }
            Some(Err(err)) => {
                self.entry.ended = Ended::Failed;
                let causes = causes(&**err);
                let request_id = self.entry.span.context().map(|context| display(context.id()));
                tracing::warn!(path = %self.entry.path, error = %err, %causes, request_id, "response broke off");
            }
            None => self.entry.ended = Ended::Complete,
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Logged {
    fn drop(&mut self) {
        // hyper drops a body of known length after its last byte, and an empty one at once, without asking for
        // the end.
        if self.entry.ended == Ended::Cancelled && self.expected == Some(self.entry.bytes) {
            self.entry.ended = Ended::Complete;
        }
    }
}
