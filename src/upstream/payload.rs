//! What goes with a request, and who is waited for while it goes.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::error::TimeoutStage;
use crate::body::{self, Body, BoxError};
use crate::telemetry::UpstreamMetrics;

/// The body of a request.
pub(super) enum Payload {
    /// At hand, so that it can be sent again.
    Whole(Bytes),
    /// On its way from a client, once; nothing once it was sent.
    Stream(Option<Body>),
}

impl Payload {
    /// No body.
    pub(super) fn none() -> Self {
        Self::Whole(Bytes::new())
    }

    /// The body as it can be sent now; `None` for one that comes once, the second time.
    pub(super) fn take(&mut self) -> Option<Body> {
        match self {
            Self::Whole(bytes) => Some(body::full(bytes.clone())),
            Self::Stream(stream) => stream.take(),
        }
    }

    /// Whether it could be sent again.
    pub(super) fn is_at_hand(&self) -> bool {
        matches!(self, Self::Whole(_))
    }
}

/// Who is waited for.
#[derive(Clone, Copy)]
enum Turn {
    /// The upstream has to take what is there.
    Upstream(Instant),
    /// The client has to send more, for which it has a time limit elsewhere.
    Client,
    /// All was sent, and the upstream has to answer.
    Sent(Instant),
    /// The body broke off.
    Broken,
}

/// How a request's body is getting on.
pub(super) struct Pace(watch::Receiver<Turn>);

impl Pace {
    /// A body, and how it gets on once it is sent.
    pub(super) fn of(inner: Body, metrics: &UpstreamMetrics) -> (Self, Body) {
        let now = Instant::now();
        let (turn, seen) = watch::channel(if inner.is_end_stream() { Turn::Sent(now) } else { Turn::Upstream(now) });
        (Self(seen), Paced { inner, turn, metrics: metrics.clone() }.boxed())
    }

    /// Whether it was the body that broke, and not the connection it was sent by.
    pub(super) fn is_broken(&self) -> bool {
        matches!(*self.0.borrow(), Turn::Broken)
    }

    /// Waits until the upstream has done nothing for too long, from now on: has taken nothing for `progress`, or not answered
    /// for `response` once it has all.
    pub(super) async fn stalled(&self, progress: Duration, response: Duration) -> TimeoutStage {
        let begun = Instant::now();
        let limits = |turn| match turn {
            Turn::Upstream(since) => Some((since.max(begun), progress, TimeoutStage::Taking)),
            Turn::Sent(since) => Some((since.max(begun), response, TimeoutStage::Response)),
            Turn::Client | Turn::Broken => None,
        };
        let mut seen = self.0.clone();
        loop {
            let turn = *seen.borrow_and_update();
            match limits(turn) {
                Some((since, limit, stage)) => match timeout_at(since + limit, seen.changed()).await {
                    Ok(Ok(())) => {}
                    // hyper lets go of a body when it has all of it.
                    Ok(Err(_)) => {
                        tokio::time::sleep_until(since + limit).await;
                        return stage;
                    }
                    Err(_) => return stage,
                },
                None => {
                    if seen.changed().await.is_err() {
                        return std::future::pending().await;
                    }
                }
            }
        }
    }
}

struct Paced {
    inner: Body,
    turn: watch::Sender<Turn>,
    metrics: UpstreamMetrics,
}

impl http_body::Body for Paced {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        let now = Instant::now();
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            self.metrics.sent(frame.data_ref().map_or(0, |data| data.len() as u64));
        }
        self.turn.send_replace(match &polled {
            Poll::Pending => Turn::Client,
            Poll::Ready(Some(Ok(_))) if !self.inner.is_end_stream() => Turn::Upstream(now),
            Poll::Ready(Some(Ok(_)) | None) => Turn::Sent(now),
            Poll::Ready(Some(Err(_))) => Turn::Broken,
        });
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
