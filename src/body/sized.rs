//! A body of known length, made step by step.

use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;

use super::{Body, BoxError, BoxFuture};

/// A body turned out longer or shorter than it said.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body has {actual} bytes where {expected} were announced")]
pub struct SizeError {
    /// What was announced.
    pub expected: u64,
    /// What had come when it was noticed.
    pub actual: u64,
}

/// A body of exactly `size` bytes: `step` takes a state and gives the next piece and the next state, or `None`
/// at the end.
///
/// The length is exact in `size_hint`, and held: too many bytes or too few end the body in a [`SizeError`].
/// Each step runs only when the body is polled, so a slow client costs one piece.
pub fn sized<S, F, Fut>(size: u64, state: S, step: F) -> Body
where
    S: Send + 'static,
    F: FnMut(S) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Option<(Bytes, S)>, BoxError>> + Send + 'static,
{
    let next = Mutex::new((size > 0).then_some(Next::Ready(state)));
    Sized { size, sent: 0, next, step }.boxed()
}

struct Sized<S, F> {
    size: u64,
    sent: u64,
    // Never locked: futures are `Send` but not `Sync`, a `BoxBody` has to be both, and a mutex gives that.
    next: Mutex<Option<Next<S>>>,
    step: F,
}

enum Next<S> {
    Ready(S),
    Running(BoxFuture<'static, Step<S>>),
}

type Step<S> = Result<Option<(Bytes, S)>, BoxError>;

// Nothing in it is pinned in place; the future has its own box.
impl<S, F> Unpin for Sized<S, F> {}

impl<S, F, Fut> http_body::Body for Sized<S, F>
where
    S: Send + 'static,
    F: FnMut(S) -> Fut,
    Fut: Future<Output = Step<S>> + Send + 'static,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let next = this.next.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner());
        // Taken out first: after an error or the end nothing is left to poll.
        let mut running = match next.take() {
            None => return Poll::Ready(None),
            Some(Next::Running(running)) => running,
            Some(Next::Ready(state)) => Box::pin((this.step)(state)),
        };
        let Poll::Ready(outcome) = running.as_mut().poll(cx) else {
            *next = Some(Next::Running(running));
            return Poll::Pending;
        };
        let (piece, state) = match outcome {
            Ok(Some(step)) => step,
            Ok(None) => {
                let short = SizeError { expected: this.size, actual: this.sent };
                return Poll::Ready((this.sent < this.size).then(|| Err(short.into())));
            }
            Err(err) => return Poll::Ready(Some(Err(err))),
        };
        let total = this.sent + piece.len() as u64;
        if total > this.size {
            // The surplus is not sent: with HTTP/1.1 it would read as the start of the next response.
            let long = SizeError { expected: this.size, actual: total };
            return Poll::Ready(Some(Err(long.into())));
        }
        this.sent = total;
        if total < this.size {
            *next = Some(Next::Ready(state));
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.sent == self.size
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.size - self.sent)
    }
}
