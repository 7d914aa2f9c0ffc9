//! A client that pushes a blob as skopeo and podman do: POST, one PATCH of all of it whose length nobody says, PUT.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::pattern::Pattern;

/// A connection to a registry.
pub(crate) struct Connection {
    sender: SendRequest<Streamed>,
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

    /// Pushes a blob into a repository, which has to have it then.
    pub(crate) async fn push(&mut self, repository: &str, blob: Pattern) {
        let start = format!("/v2/{repository}/blobs/uploads/");
        let begun = self.ask(Method::POST, &start, Streamed::nothing(), StatusCode::ACCEPTED).await;
        let sent = self.ask(Method::PATCH, &location(&begun), Streamed::all(blob), StatusCode::ACCEPTED).await;
        let location = location(&sent);
        let separator = if location.contains('?') { '&' } else { '?' };
        let end = format!("{location}{separator}digest={}", blob.digest());
        self.ask(Method::PUT, &end, Streamed::nothing(), StatusCode::CREATED).await;
        let path = format!("/v2/{repository}/blobs/{}", blob.digest());
        let there = self.ask(Method::HEAD, &path, Streamed::nothing(), StatusCode::OK).await;
        let length = there.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        assert_eq!(length, Some(&*blob.size().to_string()), "{path}");
    }

    async fn ask(&mut self, method: Method, path: &str, body: Streamed, wanted: StatusCode) -> Response<Incoming> {
        let request = Request::builder()
            .method(&method)
            .uri(path)
            .header(header::HOST, self.address.to_string())
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .body(body)
            .expect("a request");
        self.sender.ready().await.expect("an open connection");
        let response = self.sender.send_request(request).await.expect("an answer");
        assert_eq!(response.status(), wanted, "{method} {path}");
        response
    }
}

/// Where an upload goes on, as a path: registries also say it as a URL.
fn location(response: &Response<Incoming>) -> String {
    let location = response.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
    let location = location.expect("a location");
    location[location.find("/v2/").expect("a path of the registry's")..].to_owned()
}

/// A blob on its way, made as it goes.
struct Streamed {
    blob: Option<Pattern>,
    at: u64,
}

impl Streamed {
    fn nothing() -> Self {
        Self { blob: None, at: 0 }
    }

    fn all(blob: Pattern) -> Self {
        Self { blob: Some(blob), at: 0 }
    }
}

impl Body for Streamed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(blob) = self.blob.filter(|blob| self.at < blob.size()) else { return Poll::Ready(None) };
        let piece = blob.piece(self.at..blob.size());
        self.at += piece.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.blob.is_none()
    }
}
