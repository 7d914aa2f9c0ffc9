//! A response body that fails when it stops moving, and frees its place when it ends.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep};

use super::error::{TimeoutStage, UpstreamError};
use crate::telemetry::UpstreamMetrics;

/// An upstream's body under watch.
///
/// Only the upstream's silence counts: the clock starts when the reader asks and nothing is there, so a slow
/// reader is never taken for a slow upstream. The whole may take as long as it moves.
pub(super) struct WatchedBody {
    inner: Incoming,
    limit: Duration,
    metrics: UpstreamMetrics,
    silence: Option<Pin<Box<Sleep>>>,
    waiting: bool,
    failed: Option<UpstreamError>,
    // Held until the end, so that bodies on their way count as requests.
    permit: Option<OwnedSemaphorePermit>,
}

impl WatchedBody {
    pub(super) fn new(inner: Incoming, limit: Duration, metrics: UpstreamMetrics) -> Self {
        Self { inner, limit, metrics, silence: None, waiting: false, failed: None, permit: None }
    }

    pub(super) fn hold(&mut self, permit: OwnedSemaphorePermit) {
        // A body without bytes, as to a HEAD, is at its end already and may never be polled.
        if !self.inner.is_end_stream() {
            self.permit = Some(permit);
        }
    }

    fn fail(&mut self, error: UpstreamError) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        self.permit = None;
        self.failed = Some(error.clone());
        Poll::Ready(Some(Err(error)))
    }

    /// Whether the silence has lasted too long; wakes the task when it will have.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limit = self.limit;
        let silence = self.silence.get_or_insert_with(|| Box::pin(sleep(limit)));
        if !self.waiting {
            silence.as_mut().reset(Instant::now() + limit);
            self.waiting = true;
        }
        silence.as_mut().poll(cx)
    }
}

impl Body for WatchedBody {
    type Data = Bytes;
    type Error = UpstreamError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        // Asked again after a failure, the answer must not become a clean end.
        if let Some(error) = &self.failed {
            return Poll::Ready(Some(Err(error.clone())));
        }
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.waiting = false;
                self.metrics.received(frame.data_ref().map_or(0, |data| data.len() as u64));
                if self.inner.is_end_stream() {
                    self.permit = None;
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(cause))) => self.fail(UpstreamError::Interrupted { cause: Arc::new(cause) }),
            Poll::Ready(None) => {
                self.permit = None;
                Poll::Ready(None)
            }
            Poll::Pending => match self.poll_silence(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(()) => self.fail(UpstreamError::Timeout { what: TimeoutStage::Body }),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.failed.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
