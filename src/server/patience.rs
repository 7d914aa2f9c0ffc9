//! A request's body that fails when the client stops sending.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::header::EXPECT;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::time::{Sleep, sleep, timeout};

use crate::body::{Body, BoxError};

/// How much of a body that nobody wants is taken in, and for how long.
const MAX_UNWANTED_BYTES: usize = 8 << 20;
const UNWANTED_FOR: Duration = Duration::from_secs(2);

/// The client sent nothing for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client sent nothing for {0:?}")]
pub(super) struct Silent(Duration);

/// `body`, which breaks when nothing of it comes for `idle`. The whole may take as long as it moves.
pub(super) fn watch<B>(body: B, idle: Duration) -> Body
where
    B: http_body::Body<Data = Bytes> + Send + Sync + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    // Most requests have none.
    if body.is_end_stream() {
        return crate::body::empty();
    }
    Watched { body, idle, silence: None }.boxed()
}

/// Takes in what is left of a body that nobody wants, as far as that is little: a connection that is closed with bytes of
/// the client's unread may take the answer along.
pub(super) async fn let_finish(mut body: Body, headers: &HeaderMap) {
    // Who asks first whether to send it has not.
    if headers.contains_key(EXPECT) {
        return;
    }
    let mut left = MAX_UNWANTED_BYTES;
    let drained = async {
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                return;
            }
        }
    };
    let _ = timeout(UNWANTED_FOR, drained).await;
}

struct Watched<B> {
    body: B,
    idle: Duration,
    /// Runs while the client is waited for.
    silence: Option<Pin<Box<Sleep>>>,
}

impl<B> http_body::Body for Watched<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Self { body, idle, silence } = self.get_mut();
        if let Poll::Ready(frame) = Pin::new(body).poll_frame(cx) {
            *silence = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let silence = silence.get_or_insert_with(|| Box::pin(sleep(*idle)));
        match silence.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Some(Err(Silent(*idle).into()))),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
