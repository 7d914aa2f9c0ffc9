//! Work that is done once for everybody who asks for it at the same time. It is that of the request which started it.

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::sync::{Notify, watch};

use super::view::Payer;
use crate::telemetry::carry;

/// The board of work that is under way, by what it is about. Clones share it.
pub(super) struct Flights<K, T>(Arc<Mutex<HashMap<K, Listing<T>>>>);

struct Listing<T> {
    since: SystemTime,
    /// Whose request started it.
    payer: Option<Payer>,
    crowd: Arc<Crowd>,
    landing: watch::Receiver<Option<T>>,
}

/// Whether others than who started some work wait for it, too.
#[derive(Default)]
pub(super) struct Crowd(Notify);

impl Crowd {
    /// Ready when somebody else waits. For one who asks.
    pub(super) async fn gathers(&self) {
        self.0.notified().await;
    }
}

/// A place in the work on something.
pub(super) struct Flight<T> {
    /// Whether somebody else had started it.
    pub(super) joined: bool,
    /// When it was started.
    pub(super) since: SystemTime,
    landing: watch::Receiver<Option<T>>,
}

impl<K, T> Flights<K, T>
where
    K: Clone + Eq + Hash + Send + 'static,
    T: Clone + Send + Sync + 'static,
{
    /// Joins the work on `key`, or starts it for `payer`. It goes on when everyone has stopped waiting for it.
    pub(super) fn join<F>(
        &self,
        key: &K,
        now: SystemTime,
        payer: Option<&Payer>,
        work: impl FnOnce(Arc<Crowd>) -> F,
    ) -> Flight<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut board = self.board();
        if let Some(Listing { since, landing, payer: first, crowd }) = board.get(key) {
            if first.as_ref() != payer {
                crowd.0.notify_one();
            }
            return Flight { joined: true, since: *since, landing: landing.clone() };
        }
        let (land, landing) = watch::channel(None);
        let crowd = Arc::new(Crowd::default());
        let listing =
            Listing { since: now, payer: payer.cloned(), crowd: Arc::clone(&crowd), landing: landing.clone() };
        board.insert(key.clone(), listing);
        let listed = Listed { flights: Self(Arc::clone(&self.0)), key: key.clone() };
        // A runtime that is going down drops the task here and now, and with it the listing, which locks.
        drop(board);
        let work = work(crowd);
        tokio::spawn(carry(async move {
            let landed = work.await;
            drop(listed);
            land.send_replace(Some(landed));
        }));
        Flight { joined: false, since: now, landing }
    }
}

impl<K, T> Flights<K, T> {
    fn board(&self) -> MutexGuard<'_, HashMap<K, Listing<T>>> {
        // Nothing panics while it is held, and a map is whole after any panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K, T> Default for Flights<K, T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: Clone> Flight<T> {
    /// What came of it; nothing if it crashed.
    pub(super) async fn landed(&mut self) -> Option<T> {
        self.landing.wait_for(Option::is_some).await.ok().and_then(|landed| landed.clone())
    }
}

/// Takes work off the board when it has landed, or crashed.
struct Listed<K: Eq + Hash, T> {
    flights: Flights<K, T>,
    key: K,
}

impl<K: Eq + Hash, T> Drop for Listed<K, T> {
    fn drop(&mut self) {
        self.flights.board().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn everybody_waits_for_the_first_and_the_next_starts_anew() {
        let flights: Flights<&str, usize> = Flights::default();
        let runs = Arc::new(AtomicUsize::new(0));
        let join = || {
            let runs = Arc::clone(&runs);
            flights.join(&"a", SystemTime::UNIX_EPOCH, None, |_| async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                runs.fetch_add(1, Ordering::SeqCst) + 1
            })
        };
        let first = join();
        let (mut second, mut third) = (join(), join());
        assert!(!first.joined && second.joined && third.joined);
        drop(first);
        assert_eq!((second.landed().await, third.landed().await), (Some(1), Some(1)), "it goes on without the first");
        let mut next = join();
        assert!(!next.joined);
        assert_eq!(next.landed().await, Some(2));
    }

    #[tokio::test]
    async fn a_crowd_is_whoever_did_not_start_it() {
        let flights: Flights<&str, ()> = Flights::default();
        let payer = |name: &str| Payer::Named(name.into());
        let join = |name: &str| {
            flights.join(&"a", SystemTime::UNIX_EPOCH, Some(&payer(name)), |crowd| async move { crowd.gathers().await })
        };
        let (mut first, _second) = (join("one"), join("one"));
        let waited = tokio::time::timeout(Duration::from_millis(10), first.landed()).await;
        assert!(waited.is_err(), "the one who started it is no crowd");
        let _other = join("other");
        assert_eq!(first.landed().await, Some(()));
    }

    #[tokio::test]
    async fn work_that_crashes_is_off_the_board() {
        let flights: Flights<&str, usize> = Flights::default();
        let mut crash = flights.join(&"a", SystemTime::UNIX_EPOCH, None, |_| async { panic!("as the test wants it") });
        assert_eq!(crash.landed().await, None);
        let mut next = flights.join(&"a", SystemTime::UNIX_EPOCH, None, |_| async { 7 });
        assert!(!next.joined);
        assert_eq!(next.landed().await, Some(7));
    }
}
