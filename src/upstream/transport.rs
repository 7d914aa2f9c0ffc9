//! One request sent, with its timeouts, its retry and its redirects; what the answer means is not known here.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::header::{AUTHORIZATION, HeaderName, LOCATION, PROXY_AUTHORIZATION};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, response};
use hyper::Response;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::{HttpConnector, capture_connection};
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use tokio::time::{Instant, sleep};
use url::Url;

use super::courtesy::{Courtesy, Role, Sent};
use super::egress::{Dialer, Egress};
use super::error::{RedirectProblem, TimeoutStage, UpstreamError};
use super::payload::{Pace, Payload};
use super::realm::{Realms, Standing};
use super::retry_after::retry_after;
use super::watched::WatchedBody;
use crate::body::Body;
use crate::telemetry::{Span, SpanKind, UpstreamMetrics, current};

/// Registries redirect once or twice, to their storage.
const MAX_REDIRECTS: usize = 5;
/// Below what servers and load balancers keep idle connections for (a minute and more), so that most are
/// let go before the other side does it in the middle of a request.
const IDLE_CONNECTION: Duration = Duration::from_secs(30);
/// How much one h2 stream may have on its way: at 50 ms the default 64 KiB would be 1.3 MB/s.
const STREAM_WINDOW: u32 = 1 << 20;
/// The same for a connection, which many blobs share.
const CONNECTION_WINDOW: u32 = 8 << 20;
/// How long a registry may take to have done what it was asked to change: some copy a blob of gigabytes to its place, and
/// clients wait for that.
const CHANGE_PATIENCE: Duration = Duration::from_secs(15 * 60);
/// How often an h2 connection in use is pinged, so that a dead one is found before each stream's own timeout.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// The header that tells an upstream how it is wanted to answer. With `exact`, another Colocate answers with originals:
/// what it would rewrite for its own clients, this one will rewrite for its own.
///
/// It goes with every request to an upstream's own origin, unless it was configured otherwise, and to no other host;
/// registries ignore it.
pub const VIEW: HeaderName = HeaderName::from_static("colocate-view");
/// Everything as it stands.
const EXACT: HeaderValue = HeaderValue::from_static("exact");

/// How long is waited, for each step; never for the whole of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection, with its TLS handshake.
    pub connect: Duration,
    /// For the headers of an answer.
    pub response: Duration,
    /// For the next bytes of a body.
    pub progress: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        // imgpkg waits 30 s for headers and does not retry: an upstream that takes longer has lost it anyway.
        Self { connect: Duration::from_secs(10), response: Duration::from_secs(30), progress: Duration::from_secs(30) }
    }
}

/// What TLS is spoken with whom.
pub(super) struct TlsConfigs {
    /// With the upstream's own host.
    pub(super) own: ClientConfig,
    /// With the token servers that the operator listed.
    pub(super) listed: ClientConfig,
    /// With everyone else: where the upstream redirects to, other token servers, and an HTTP proxy.
    pub(super) foreign: ClientConfig,
}

type HttpClient = Client<HttpsConnector<Dialer>, Body>;

/// The HTTP client: the connections of one upstream and what it redirects to.
#[derive(Clone)]
pub(super) struct Transport {
    // Apart, as a connection once made is anyone's who asks the same client for the host.
    own: HttpClient,
    listed: HttpClient,
    foreign: HttpClient,
    egress: Egress,
    timeouts: Timeouts,
    courtesy: Arc<Courtesy>,
    realms: Arc<Realms>,
    originals: bool,
}

/// A request to exactly one URL.
pub(super) struct Outgoing<'a> {
    pub(super) method: &'a Method,
    pub(super) url: &'a Url,
    pub(super) headers: &'a HeaderMap,
    /// Says whether the path may be logged: that of a URL that a redirect gave may hold a signature, as its query does,
    /// also on the upstream's own host.
    pub(super) role: Role,
    /// Says which certificates are shown and wanted.
    pub(super) standing: Standing,
    /// How long the headers of the answer may take, once all is sent.
    pub(super) patience: Duration,
}

/// An answer whose headers have come.
pub(super) struct Answer {
    pub(super) head: response::Parts,
    pub(super) body: WatchedBody,
    /// Whether it comes from another origin than the one asked: what that says of permissions is about its
    /// own, such as a signed URL that has expired.
    pub(super) foreign: bool,
    /// The request it answers.
    pub(super) sent: Sent,
    /// Which of its challenges are good for anyone.
    pub(super) realms: Arc<Realms>,
}

impl Transport {
    pub(super) fn new(tls: TlsConfigs, egress: Egress, timeouts: Timeouts, courtesy: Courtesy, realms: Realms) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(Duration::from_secs(60)));
        // Requests to a proxy are HTTP/1.1, as is CONNECT here.
        let to_proxy = HttpsConnectorBuilder::new().with_tls_config(tls.foreign.clone()).https_or_http().enable_http1();
        let dialer = Dialer::new(egress.clone(), tcp.clone(), to_proxy.wrap_connector(tcp));
        let client = |tls: ClientConfig| {
            let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_all_versions();
            Client::builder(TokioExecutor::new())
                .timer(TokioTimer::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE_CONNECTION)
                .http2_initial_stream_window_size(STREAM_WINDOW)
                .http2_initial_connection_window_size(CONNECTION_WINDOW)
                .http2_keep_alive_interval(KEEP_ALIVE)
                .http2_keep_alive_timeout(timeouts.progress)
                .build(connector.wrap_connector(dialer.clone()))
        };
        Self {
            own: client(tls.own),
            listed: client(tls.listed),
            foreign: client(tls.foreign),
            egress,
            timeouts,
            courtesy: Arc::new(courtesy),
            realms: Arc::new(realms),
            originals: false,
        }
    }

    /// The same that says with each request to the upstream that it wants originals ([`VIEW`]).
    pub(super) fn asking_for_originals(self) -> Self {
        Self { originals: true, ..self }
    }

    /// The same for one client of many: with the same connections, but left alone only by what it was told itself.
    pub(super) fn for_client(&self) -> Self {
        Self { courtesy: Arc::new(self.courtesy.for_client()), ..self.clone() }
    }

    pub(super) fn realms(&self) -> &Realms {
        &self.realms
    }

    pub(super) fn timeouts(&self) -> Timeouts {
        self.timeouts
    }

    pub(super) fn metrics(&self) -> &UpstreamMetrics {
        self.courtesy.metrics()
    }

    /// Whether a request to the registry would be sent now, so that nothing is prepared for one that would not.
    ///
    /// # Errors
    /// As [`send`](Self::send), when the host asked to be left alone.
    pub(super) fn admits(&self, url: &Url) -> Result<(), UpstreamError> {
        self.courtesy.admit(url, Role::Registry).map(|_| ())
    }

    /// Sends a request and follows redirects.
    ///
    /// `authorization` stays with the origin it is meant for: after the first hop to another one it is gone,
    /// also if a later hop leads back. The other headers, `Range` among them, go everywhere.
    pub(super) async fn follow(
        &self,
        method: &Method,
        url: &Url,
        headers: &HeaderMap,
        authorization: Option<&HeaderValue>,
    ) -> Result<Answer, UpstreamError> {
        let mut at = url.clone();
        let mut foreign = false;
        for hop in 0..=MAX_REDIRECTS {
            let mut headers = headers.clone();
            if let Some(authorization) = authorization.filter(|_| !foreign) {
                headers.insert(AUTHORIZATION, authorization.clone());
            }
            let role = if hop == 0 { Role::Registry } else { Role::Storage };
            let standing = self.realms.redirected(&at);
            let patience = self.timeouts.response;
            let outgoing = Outgoing { method, url: &at, headers: &headers, role, standing, patience };
            let answer = self.send(outgoing, &mut Payload::none()).await?;
            if !is_redirect(answer.status()) {
                return Ok(Answer { foreign, ..answer });
            }
            let next = target(&at, &answer.head.headers).map_err(|why| UpstreamError::Redirect { why })?;
            foreign |= next.origin() != url.origin();
            at = next;
        }
        Err(UpstreamError::Redirect { why: RedirectProblem::TooMany })
    }

    /// Sends a request that changes something, and follows no redirect: what it carries may come only once, and is for the
    /// upstream alone.
    pub(super) async fn submit(
        &self,
        method: &Method,
        url: &Url,
        headers: &HeaderMap,
        authorization: Option<&HeaderValue>,
        payload: &mut Payload,
    ) -> Result<Answer, UpstreamError> {
        let mut headers = headers.clone();
        headers.extend(authorization.map(|authorization| (AUTHORIZATION, authorization.clone())));
        let standing = self.realms.redirected(url);
        let patience = self.timeouts.response.max(CHANGE_PATIENCE);
        let outgoing = Outgoing { method, url, headers: &headers, role: Role::Registry, standing, patience };
        let answer = self.send(outgoing, payload).await?;
        if is_redirect(answer.status()) {
            return Err(UpstreamError::Redirect { why: RedirectProblem::Sending });
        }
        Ok(answer)
    }

    /// Sends a request to exactly this URL, unless its host asked to be left alone.
    pub(super) async fn send(&self, outgoing: Outgoing<'_>, payload: &mut Payload) -> Result<Answer, UpstreamError> {
        let Outgoing { method, url, role, .. } = outgoing;
        let sent = self.courtesy.admit(url, role)?;
        let started = Instant::now();
        let mut span = client_span(&outgoing);
        let uri: Uri = url.as_str().parse().map_err(|_| UpstreamError::malformed("names a URL that is not valid"))?;
        let response = match span.around(self.attempt(&outgoing, &uri, payload)).await {
            // A pooled connection that the other side closes while the request is on its way is no trouble of
            // the upstream's. Asking twice, or putting the same twice, changes nothing; what is deleted twice is not found.
            Err(Failure::Client(error))
                if !error.is_connect() && payload.is_at_hand() && *outgoing.method != Method::DELETE =>
            {
                span.around(self.attempt(&outgoing, &uri, payload)).await
            }
            other => other,
        };
        let own = role != Role::Storage;
        let (host, path) = (url.host_str().unwrap_or_default(), if own { url.path() } else { "(redirected)" });
        let elapsed = started.elapsed();
        match response.map_err(Failure::into_error) {
            Ok(response) => {
                let status = response.status().as_u16();
                tracing::debug!(host, %method, path, status, ?elapsed, "upstream answered");
                span.count("http.response.status_code", status.into());
                if status >= 400 {
                    span.fail(status);
                }
                let (head, body) = response.into_parts();
                sent.answered(head.status, &head.headers, retry_after(&head.headers, SystemTime::now()));
                let body = WatchedBody::new(body, self.timeouts.progress, self.metrics().clone());
                Ok(Answer { head, body, foreign: false, sent, realms: Arc::clone(&self.realms) })
            }
            Err(error) => {
                // Where it was what was sent that broke off, the host had nothing to answer.
                if !matches!(error, UpstreamError::Aborted) {
                    sent.unanswered();
                }
                tracing::debug!(host, %method, path, %error, ?elapsed, "upstream did not answer");
                span.fail("no_answer");
                Err(error)
            }
        }
    }

    async fn attempt(
        &self,
        outgoing: &Outgoing<'_>,
        uri: &Uri,
        payload: &mut Payload,
    ) -> Result<Response<Incoming>, Failure> {
        let (pace, body) = Pace::of(payload.take().ok_or(Failure::Body)?, self.metrics());
        let mut request = Request::new(body);
        *request.method_mut() = outgoing.method.clone();
        *request.uri_mut() = uri.clone();
        *request.headers_mut() = outgoing.headers.clone();
        let own = outgoing.url.origin() == self.realms.upstream.origin();
        if self.originals && own {
            request.headers_mut().insert(VIEW, EXACT);
        }
        // What a client calls its request is for the registry that it means: not for where that redirects to, nor for
        // whoever gives out tokens, at whatever address.
        if own
            && outgoing.role != Role::Token
            && let Some(context) = current()
        {
            context.pass_on(request.headers_mut());
        }
        if let Some(authorization) = self.egress.authorization(uri) {
            request.headers_mut().insert(PROXY_AUTHORIZATION, authorization);
        }
        let client = match outgoing.standing {
            Standing::Own => &self.own,
            Standing::Listed => &self.listed,
            Standing::Foreign => &self.foreign,
        };
        let mut captured = capture_connection(&mut request);
        let connected = async {
            captured.wait_for_connection_metadata().await;
        };
        let response = client.request(request);
        tokio::pin!(response);
        // Two waits rather than one: a host that is not there is told from one that thinks.
        tokio::select! {
            biased;
            response = &mut response => return response.map_err(|error| failure(error, &pace)),
            () = connected => {}
            () = sleep(self.timeouts.connect) => return Err(Failure::Timeout(TimeoutStage::Connect)),
        }
        tokio::select! {
            biased;
            response = response => response.map_err(|error| failure(error, &pace)),
            stage = pace.stalled(self.timeouts.progress, outgoing.patience) => Err(Failure::Timeout(stage)),
        }
    }
}

/// The request in its trace. A path that a redirect gave is as secret as a query.
fn client_span(outgoing: &Outgoing<'_>) -> Span {
    let Outgoing { method, url, role, .. } = outgoing;
    let mut span = Span::child(
        SpanKind::Client,
        match role {
            Role::Registry => "upstream",
            Role::Storage => "upstream storage",
            Role::Token => "upstream token",
        },
    );
    span.note("http.request.method", method);
    span.note("server.address", url.host_str().unwrap_or_default());
    if let Some(port) = url.port_or_known_default() {
        span.count("server.port", port.into());
    }
    if *role == Role::Registry {
        span.note("url.path", url.path());
    }
    span
}

/// What broke a request: the connection, or the body that was to be sent.
fn failure(error: ClientError, pace: &Pace) -> Failure {
    if pace.is_broken() { Failure::Body } else { Failure::Client(error) }
}

enum Failure {
    Timeout(TimeoutStage),
    Client(ClientError),
    Body,
}

impl Failure {
    fn into_error(self) -> UpstreamError {
        match self {
            Self::Timeout(what) => UpstreamError::Timeout { what },
            Self::Body => UpstreamError::Aborted,
            Self::Client(error) if error.is_connect() => UpstreamError::Connect { cause: Arc::new(error) },
            Self::Client(error) => UpstreamError::Interrupted { cause: Arc::new(error) },
        }
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    )
}

/// Where a redirect from `at` leads.
fn target(at: &Url, headers: &HeaderMap) -> Result<Url, RedirectProblem> {
    let location = headers.get(LOCATION).and_then(|location| location.to_str().ok());
    let mut next = location.and_then(|text| at.join(text).ok()).ok_or(RedirectProblem::NoLocation)?;
    let plain = matches!(next.scheme(), "http" | "https") && next.username().is_empty() && next.password().is_none();
    if !plain {
        return Err(RedirectProblem::Unsupported);
    }
    if at.scheme() == "https" && next.scheme() == "http" {
        return Err(RedirectProblem::Downgrade);
    }
    next.set_fragment(None);
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(at: &str, location: &'static str) -> Result<String, RedirectProblem> {
        let mut headers = HeaderMap::new();
        headers.insert(LOCATION, HeaderValue::from_static(location));
        target(&at.parse().expect("a URL"), &headers).map(String::from)
    }

    #[test]
    fn redirect_targets() {
        let at = "https://registry.example/v2/a/blobs/x";
        assert_eq!(to(at, "/other?sig=1#f"), Ok("https://registry.example/other?sig=1".to_owned()));
        assert_eq!(to(at, "//cdn.example/x"), Ok("https://cdn.example/x".to_owned()));
        assert_eq!(to(at, "http://cdn.example/x"), Err(RedirectProblem::Downgrade));
        assert_eq!(to("http://a.example/", "https://b.example/"), Ok("https://b.example/".to_owned()));
        assert_eq!(to(at, "https://user@cdn.example/x"), Err(RedirectProblem::Unsupported));
        for odd in ["file:///etc/passwd", "ftp://x/", "data:,x", "javascript:0"] {
            assert_eq!(to(at, odd), Err(RedirectProblem::Unsupported), "{odd}");
        }
        assert_eq!(to(at, "https://"), Err(RedirectProblem::NoLocation));
        assert_eq!(target(&at.parse().expect("a URL"), &HeaderMap::new()), Err(RedirectProblem::NoLocation));
    }
}
