//! What a connection is doing: how many requests run on it, since when none does, and whether one stands still.
//!
//! hyper closes idle connections of HTTP/1.1 only. An HTTP/2 client that answers pings could otherwise keep its
//! place among the connections for ever, without asking for anything.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// Shared by a connection and its requests.
#[derive(Debug)]
pub(super) struct Activity {
    state: Mutex<State>,
    stalled: Notify,
}

#[derive(Debug)]
struct State {
    in_flight: usize,
    /// When the last request ended; says something only while none runs.
    idle_since: Instant,
}

/// A request on its way, until this is dropped; it travels inside the response's body.
#[derive(Debug)]
pub(super) struct Busy(Arc<Activity>);

impl Activity {
    /// A connection that is idle from now on.
    pub(super) fn new() -> Arc<Self> {
        let state = State { in_flight: 0, idle_since: Instant::now() };
        Arc::new(Self { state: Mutex::new(state), stalled: Notify::new() })
    }

    /// Counts a request.
    pub(super) fn begin(self: &Arc<Self>) -> Busy {
        self.state().in_flight += 1;
        Busy(Arc::clone(self))
    }

    /// Says that a response is no longer taken.
    pub(super) fn stall(&self) {
        // Remembered, if the connection does not wait for it right now.
        self.stalled.notify_one();
    }

    /// Returns when a response has stalled.
    pub(super) async fn stalled(&self) {
        self.stalled.notified().await;
    }

    /// Returns when there has been no request for as long as `limit`.
    pub(super) async fn idle(&self, limit: Duration) {
        loop {
            // Looked at when time may be up rather than told of every request, which would wake the connection
            // twice for each.
            let now = Instant::now();
            let end = {
                let state = self.state();
                if state.in_flight == 0 { state.idle_since + limit } else { now + limit }
            };
            if end <= now {
                return;
            }
            sleep_until(end).await;
        }
    }

    /// Nothing in here panics while it holds the lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Busy {
    /// The connection it runs on.
    pub(super) fn activity(&self) -> Arc<Activity> {
        Arc::clone(&self.0)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.in_flight -= 1;
        state.idle_since = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn idle_is_counted_from_the_end_of_the_last_request() {
        let activity = Activity::new();
        let begun = Instant::now();
        let (one, other) = (activity.begin(), activity.begin());
        drop(one);
        tokio::spawn(async move {
            tokio::time::sleep(LIMIT * 5 / 2).await;
            drop(other);
        });
        activity.idle(LIMIT).await;
        let elapsed = begun.elapsed();
        assert!(elapsed >= LIMIT * 7 / 2 && elapsed < LIMIT * 4, "{elapsed:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn requests_too_short_to_be_seen_still_count() {
        let activity = Activity::new();
        let mut idle = std::pin::pin!(activity.idle(LIMIT));
        for _ in 0..9 {
            assert!(tokio::time::timeout(LIMIT / 2, &mut idle).await.is_err());
            drop(activity.begin());
        }
        idle.await;
    }
}
