//! A request's body whose bytes are counted.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;

use crate::body::{Body, BoxError};
use crate::telemetry::ReceivedBytes;

/// `body`, which counts what comes of it.
pub(super) fn count(body: Body, bytes: ReceivedBytes) -> Body {
    if body.is_end_stream() { body } else { Counted { body, bytes }.boxed() }
}

struct Counted {
    body: Body,
    bytes: ReceivedBytes,
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &polled {
            self.bytes.add(frame.data_ref().map_or(0, |data| data.len() as u64));
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
