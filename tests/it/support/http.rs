//! A small HTTP client for plain registries on loopback. It shows what came, also when it came broken.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use colocate::oci::Digest;
pub(crate) use http::Method;
use http::{HeaderMap, Request, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::Connect;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// Every manifest type a client may take.
pub(crate) const ACCEPT: &str = colocate::oci::MANIFEST_ACCEPT;

/// What a server answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// What came of the body.
    pub(crate) body: Bytes,
    /// Why the body ended early, if it did.
    pub(crate) broken: Option<String>,
}

impl Answer {
    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("a header of plain text"))
    }

    /// `Docker-Content-Digest`.
    #[track_caller]
    pub(crate) fn digest(&self) -> Digest {
        let digest = self.header("docker-content-digest").unwrap_or_else(|| panic!("no digest: {self:?}"));
        digest.parse().expect("a valid digest")
    }

    /// The body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("not JSON ({error}): {self:?}"))
    }

    /// The first code in the distribution error document.
    pub(crate) fn error_code(&self) -> Option<String> {
        let document: Value = serde_json::from_slice(&self.body).ok()?;
        document.pointer("/errors/0/code")?.as_str().map(str::to_owned)
    }

    /// Insists on a status and on a whole body.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert!(self.status.as_u16() == status && self.broken.is_none(), "wanted {status}, got {self:?}");
        self
    }
}

/// GET, with an `Accept` for every manifest type.
pub(crate) async fn get(url: &str) -> Answer {
    send(Method::GET, url, &[("accept", ACCEPT)], Bytes::new()).await
}

/// HEAD, with the same `Accept`.
pub(crate) async fn head(url: &str) -> Answer {
    send(Method::HEAD, url, &[("accept", ACCEPT)], Bytes::new()).await
}

/// Any request, to a server that answers.
pub(crate) async fn send(method: Method, url: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
    let what = format!("{method} {url}");
    try_send(method, url, headers, body).await.unwrap_or_else(|error| panic!("{what}: {error}"))
}

/// Any request; without an answer, what went wrong.
pub(crate) async fn try_send(
    method: Method,
    url: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Result<Answer, String> {
    whole(open(method, url, headers, body).await?).await
}

/// As [`try_send`], by another client.
pub(crate) async fn send_by<C>(
    client: &Client<C, Full<Bytes>>,
    method: Method,
    url: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Result<Answer, String>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    whole(open_by(client, method, url, headers, Full::new(body.into())).await?).await
}

/// As [`try_send`], with a body of these pieces whose length is not said before.
pub(crate) async fn try_stream(
    method: Method,
    url: &str,
    headers: &[(&str, &str)],
    pieces: impl IntoIterator<Item = Bytes>,
) -> Result<Answer, String> {
    let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http();
    whole(open_by(&client, method, url, headers, Pieces(pieces.into_iter().collect())).await?).await
}

/// A body that tells nobody how long it is.
struct Pieces(VecDeque<Bytes>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
    }
}

async fn whole(mut arriving: Arriving) -> Result<Answer, String> {
    let mut body = BytesMut::new();
    let broken = loop {
        match arriving.next().await {
            Some(Ok(piece)) => body.extend_from_slice(&piece),
            Some(Err(error)) => break Some(error),
            None => break None,
        }
    };
    Ok(Answer { status: arriving.status, headers: arriving.headers, body: body.freeze(), broken })
}

/// An answer whose body is still to come. Dropping it is how a client leaves.
pub(crate) struct Arriving {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    body: Incoming,
}

impl Arriving {
    /// The next bytes, or why there are none; `None` at a clean end.
    pub(crate) async fn next(&mut self) -> Option<Result<Bytes, String>> {
        let frame = self.body.frame().await?;
        Some(frame.map(|frame| frame.into_data().unwrap_or_default()).map_err(|error| format!("{error:?}")))
    }
}

/// Any request, up to the answer's head; without one, what went wrong.
pub(crate) async fn open(
    method: Method,
    url: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Result<Arriving, String> {
    // A connection each: a pooled one may belong to a server that has been restarted since.
    let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http();
    open_by(&client, method, url, headers, Full::new(body.into())).await
}

async fn open_by<C, B>(
    client: &Client<C, B>,
    method: Method,
    url: &str,
    headers: &[(&str, &str)],
    body: B,
) -> Result<Arriving, String>
where
    C: Connect + Clone + Send + Sync + 'static,
    B: Body<Data = Bytes, Error = Infallible> + Send + Unpin + 'static,
{
    let mut request = Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(body).map_err(|error| error.to_string())?;
    let (parts, body) = client.request(request).await.map_err(|error| format!("{error:?}"))?.into_parts();
    Ok(Arriving { status: parts.status, headers: parts.headers, body })
}
