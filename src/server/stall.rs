//! Letting go of what a client asked for and does not take.
//!
//! A response's body holds on to an open file or a running download, and hyper polls it only when there is room
//! to send. Over HTTP/1.1 a client that stops reading stops the connection, which [`super::timed_io`] then
//! closes. Over HTTP/2 one stream can stand still while the connection lives, and no wrapper *around* the body
//! would ever be polled to notice. So a timer beside it drops the body.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use crate::body::{Body, BoxError};

/// The client took nothing for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client took nothing of the response for {0:?}")]
pub(super) struct Stalled(Duration);

/// `body`, dropped as soon as the client has taken nothing for `idle`. Waiting for the body's own next bytes
/// does not count: that is the upstream's time, which has its own limit.
pub(super) fn watch(body: Body, idle: Duration) -> Body {
    let held = Arc::new(Mutex::new(Held { body: Some(body), untouched_since: Some(Instant::now()) }));
    let timer = tokio::spawn(let_go(Arc::downgrade(&held), idle)).abort_handle();
    Watched { held, idle, timer }.boxed()
}

struct Held {
    body: Option<Body>,
    /// Since when it is the client's turn; `None` while it is the body's.
    untouched_since: Option<Instant>,
}

async fn let_go(held: Weak<Mutex<Held>>, idle: Duration) {
    let mut check = Instant::now() + idle;
    loop {
        sleep_until(check).await;
        let Some(held) = held.upgrade() else { return };
        let mut held = lock(&held);
        check = held.untouched_since.unwrap_or_else(Instant::now) + idle;
        if held.untouched_since.is_some() && check <= Instant::now() {
            // Dropped after the lock is gone: ending a download may take a moment.
            let body = held.body.take();
            drop(held);
            drop(body);
            return;
        }
    }
}

struct Watched {
    held: Arc<Mutex<Held>>,
    idle: Duration,
    timer: AbortHandle,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut held = lock(&self.held);
        let Some(body) = held.body.as_mut() else { return Poll::Ready(Some(Err(Stalled(self.idle).into()))) };
        let polled = Pin::new(body).poll_frame(cx);
        held.untouched_since = polled.is_ready().then(Instant::now);
        polled
    }

    fn is_end_stream(&self) -> bool {
        lock(&self.held).body.as_ref().is_some_and(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        lock(&self.held).body.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // Otherwise every finished response would leave a sleeping task behind for the length of `idle`.
        self.timer.abort();
    }
}

/// A panic inside a body poisons its lock; the body is then as good as broken, not the process.
fn lock(held: &Mutex<Held>) -> MutexGuard<'_, Held> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests {
    use http_body::Body as _;

    use super::*;
    use crate::body::{find_source, full, sized};

    const IDLE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn lets_go_of_what_nobody_takes() {
        let token = Arc::new(());
        let body = sized(2, (0, Arc::clone(&token)), |(at, token)| async move {
            Ok((at < 2).then(|| (Bytes::from_static(b"x"), (at + 1, token))))
        });
        let mut body = watch(body, IDLE);
        assert!(body.frame().await.unwrap().is_ok());
        tokio::time::sleep(IDLE / 2).await;
        assert!(body.frame().await.unwrap().is_ok(), "half the time is no stall");
        tokio::time::sleep(IDLE * 2 + Duration::from_millis(5)).await;
        assert_eq!(Arc::strong_count(&token), 1, "let go without being polled");
        let err = body.frame().await.unwrap().unwrap_err();
        assert!(find_source::<Stalled>(&*err).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn waits_for_a_slow_body_as_long_as_it_takes() {
        let slow = sized(1, false, |done| async move {
            tokio::time::sleep(IDLE * 10).await;
            Ok((!done).then(|| (Bytes::from_static(b"x"), true)))
        });
        assert_eq!(watch(slow, IDLE).collect().await.unwrap().to_bytes(), "x");
        assert_eq!(watch(full("abc"), IDLE).size_hint().exact(), Some(3));
    }
}
