//! A registry in this process, as cheap as it can be, that counts what it is asked.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use colocate::oci::Digest;
use http::{Request, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::pattern::Pattern;

/// Where everything is.
pub(crate) const REPOSITORY: &str = "bench/app";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

#[derive(Clone)]
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    content: Arc<RwLock<HashMap<String, Found>>>,
    requests: Arc<AtomicU64>,
}

#[derive(Clone)]
struct Found {
    digest: Digest,
    media_type: &'static str,
    content: Content,
}

#[derive(Clone)]
enum Content {
    Document(Bytes),
    Blob(Pattern),
}

impl Upstream {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
        let address = listener.local_addr().expect("a bound address");
        let upstream = Self { address, content: Arc::default(), requests: Arc::default() };
        let serving = upstream.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                let serving = serving.clone();
                let service =
                    service_fn(move |request| std::future::ready(Ok::<_, Infallible>(serving.answer(&request))));
                let connection = hyper::server::conn::http1::Builder::new();
                tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
            }
        });
        upstream
    }

    /// Adds a manifest, also under `tag`; gives its path by digest.
    pub(crate) fn manifest(&self, json: String, tag: Option<&str>) -> String {
        let bytes = Bytes::from(json);
        let found = Found { digest: Digest::of(&bytes), media_type: MANIFEST, content: Content::Document(bytes) };
        let path = |reference: &str| format!("/v2/{REPOSITORY}/manifests/{reference}");
        if let Some(tag) = tag {
            self.put(path(tag), found.clone());
        }
        self.put(path(&found.digest.to_string()), found)
    }

    /// Adds a blob; gives its path.
    pub(crate) fn blob(&self, blob: Pattern) -> String {
        let digest = blob.digest();
        let found = Found { digest, media_type: "application/octet-stream", content: Content::Blob(blob) };
        self.put(format!("/v2/{REPOSITORY}/blobs/{digest}"), found)
    }

    fn put(&self, path: String, found: Found) -> String {
        self.content.write().unwrap_or_else(PoisonError::into_inner).insert(path.clone(), found);
        path
    }

    /// How often it was asked for anything.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Sent> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let found = self.content.read().unwrap_or_else(PoisonError::into_inner).get(request.uri().path()).cloned();
        let Some(found) = found else {
            let mut response = Response::new(Sent { content: Content::Document(Bytes::new()), at: 0, size: 0 });
            if request.uri().path() != "/v2/" {
                *response.status_mut() = StatusCode::NOT_FOUND;
            }
            return response;
        };
        let size = match &found.content {
            Content::Document(bytes) => bytes.len() as u64,
            Content::Blob(blob) => blob.size(),
        };
        let response = Response::builder()
            .header(header::CONTENT_TYPE, found.media_type)
            .header("docker-content-digest", found.digest.to_string());
        response.body(Sent { content: found.content, at: 0, size }).expect("a response")
    }
}

/// A body, and how much of it was sent.
struct Sent {
    content: Content,
    at: u64,
    size: u64,
}

impl Body for Sent {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.at == self.size {
            return Poll::Ready(None);
        }
        let data = match &self.content {
            Content::Document(bytes) => bytes.clone(),
            Content::Blob(blob) => blob.piece(self.at..self.size),
        };
        self.at += data.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.at == self.size
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.size - self.at)
    }
}
