//! Letting go of what a client asked for and does not take.
//!
//! A response's body holds on to an open file or a running download, and hyper polls it only when there is room
//! to send. Over HTTP/1.1 a client that stops reading stops the connection, which [`super::timed_io`] then
//! closes. Over HTTP/2 one stream can stand still while the connection lives, and no wrapper *around* the body
//! would ever be polled to notice. So a timer beside it drops the body.
//!
//! What hyper has taken in by then, it keeps for as long as the connection lives. So the connection is told to
//! close, and a body is handed out in pieces, that it is little until then.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use super::activity::Activity;
use crate::body::{Body, BoxError};

/// What a larger chunk is cut into.
const PIECE_BYTES: usize = 128 << 10;
/// The most handed out at once. Layers come in chunks of this at most, so that only documents have to be cut.
const MAX_PIECE_BYTES: usize = 256 << 10;

/// The client took nothing for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client took nothing of the response for {0:?}")]
pub(super) struct Stalled(Duration);

/// `body`, dropped as soon as the client has taken nothing for `idle`, of which its connection is told. Waiting for
/// the body's own next bytes does not count: that is the upstream's time, which has its own limit.
pub(super) fn watch(body: Body, idle: Duration, connection: Arc<Activity>) -> Body {
    let held = Held { body: Some(body), rest: Bytes::new(), untouched_since: Some(Instant::now()) };
    let held = Arc::new(Mutex::new(held));
    let timer = tokio::spawn(let_go(Arc::downgrade(&held), idle, connection)).abort_handle();
    Watched { held, idle, timer }.boxed()
}

struct Held {
    body: Option<Body>,
    /// What the body gave and was not handed out yet.
    rest: Bytes,
    /// Since when it is the client's turn; `None` while it is the body's.
    untouched_since: Option<Instant>,
}

impl Held {
    /// The next piece of what is left, or of `data`, which comes when nothing is left.
    fn piece(&mut self, data: Bytes) -> Bytes {
        if self.rest.is_empty() && data.len() <= MAX_PIECE_BYTES {
            return data;
        }
        if self.rest.is_empty() {
            self.rest = data;
        }
        let length = self.rest.len().min(PIECE_BYTES);
        // Copied, since a slice in hyper's hands would keep all of it.
        Bytes::copy_from_slice(&self.rest.split_to(length))
    }
}

async fn let_go(held: Weak<Mutex<Held>>, idle: Duration, connection: Arc<Activity>) {
    let mut check = Instant::now() + idle;
    loop {
        sleep_until(check).await;
        let Some(held) = held.upgrade() else { return };
        let mut held = lock(&held);
        check = held.untouched_since.unwrap_or_else(Instant::now) + idle;
        if held.untouched_since.is_some() && check <= Instant::now() {
            // Dropped after the lock is gone: ending a download may take a moment.
            let body = (held.body.take(), std::mem::take(&mut held.rest));
            drop(held);
            drop(body);
            return connection.stall();
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
        let left = !held.rest.is_empty();
        let Some(body) = held.body.as_mut() else { return Poll::Ready(Some(Err(Stalled(self.idle).into()))) };
        let polled = match left {
            true => Poll::Ready(Some(Ok(Frame::data(Bytes::new())))),
            false => Pin::new(body).poll_frame(cx),
        };
        held.untouched_since = polled.is_ready().then(Instant::now);
        polled.map_ok(|frame| frame.map_data(|data| held.piece(data)))
    }

    fn is_end_stream(&self) -> bool {
        let held = lock(&self.held);
        held.rest.is_empty() && held.body.as_ref().is_some_and(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let held = lock(&self.held);
        let Some(body) = &held.body else { return SizeHint::default() };
        let (rest, coming) = (held.rest.len() as u64, body.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(coming.lower() + rest);
        if let Some(upper) = coming.upper() {
            hint.set_upper(upper + rest);
        }
        hint
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
        let connection = Activity::new();
        let mut body = watch(body, IDLE, Arc::clone(&connection));
        assert!(body.frame().await.unwrap().is_ok());
        tokio::time::sleep(IDLE / 2).await;
        assert!(body.frame().await.unwrap().is_ok(), "half the time is no stall");
        tokio::time::sleep(IDLE * 2 + Duration::from_millis(5)).await;
        assert_eq!(Arc::strong_count(&token), 1, "let go without being polled");
        let err = body.frame().await.unwrap().unwrap_err();
        assert!(find_source::<Stalled>(&*err).is_some());
        connection.stalled().await;
    }

    #[tokio::test(start_paused = true)]
    async fn waits_for_a_slow_body_as_long_as_it_takes() {
        let slow = sized(1, false, |done| async move {
            tokio::time::sleep(IDLE * 10).await;
            Ok((!done).then(|| (Bytes::from_static(b"x"), true)))
        });
        assert_eq!(watch(slow, IDLE, Activity::new()).collect().await.unwrap().to_bytes(), "x");
        assert_eq!(watch(full("abc"), IDLE, Activity::new()).size_hint().exact(), Some(3));
    }

    #[tokio::test]
    async fn a_large_document_is_handed_out_in_pieces_that_do_not_hold_it() {
        let document: Bytes = (0..PIECE_BYTES * 2 + 5).map(|at| at as u8).collect();
        let mut body = watch(full(document.clone()), IDLE, Activity::new());
        let mut taken = Vec::new();
        for length in [PIECE_BYTES, PIECE_BYTES, 5] {
            assert!(!body.is_end_stream());
            assert_eq!(body.size_hint().exact(), Some((document.len() - taken.len()) as u64));
            let piece = body.frame().await.unwrap().unwrap().into_data().unwrap();
            assert_eq!(piece.len(), length);
            taken.extend_from_slice(&piece);
        }
        assert!(body.is_end_stream());
        assert_eq!(taken, document);
    }
}
