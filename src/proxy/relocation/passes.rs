//! Turns for rewriting passes: so many at one time, and of these so many for one client.
//!
//! A pass takes a processor for as long as the layer lasts, and one cheap request starts it. Those of one client wait
//! among themselves first, so that a client that asks for a thousand bundles leaves the others their turns.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use crate::proxy::flights::Crowd;
use crate::proxy::view::Payer;
use crate::telemetry::{Gauged, Metrics};

/// How many clients have something running or waiting; over that, those that have nothing more are forgotten.
const REMEMBERED: usize = 1024;

/// All turns.
pub(super) struct Passes {
    all: Arc<Semaphore>,
    per_client: usize,
    metrics: Metrics,
    clients: Mutex<HashMap<Payer, Weak<Semaphore>>>,
}

/// A turn, until this is dropped.
pub(super) struct Turn {
    _shared: OwnedSemaphorePermit,
    _own: Option<OwnedSemaphorePermit>,
    _counted: Gauged,
}

impl Passes {
    pub(super) fn new(all: usize, per_client: usize, metrics: Metrics) -> Self {
        let all = Arc::new(Semaphore::new(all.max(1)));
        Self { all, per_client: per_client.max(1), metrics, clients: Mutex::default() }
    }

    /// Waits for a turn. What the operator has done waits for the common ones alone, and so does what others wait for,
    /// too, who have nothing to do with the share of who came first.
    pub(super) async fn turn(&self, payer: Option<&Payer>, crowd: &Crowd) -> Result<Turn, AcquireError> {
        let own = match payer {
            Some(payer) => tokio::select! {
                biased;
                own = self.share(payer).acquire_owned() => Some(own?),
                () = crowd.gathers() => None,
            },
            None => None,
        };
        let shared = Arc::clone(&self.all).acquire_owned().await?;
        Ok(Turn { _shared: shared, _own: own, _counted: self.metrics.relocation_pass() })
    }

    fn share(&self, payer: &Payer) -> Arc<Semaphore> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = clients.get(payer).and_then(Weak::upgrade) {
            return share;
        }
        if clients.len() >= REMEMBERED {
            clients.retain(|_, share| share.strong_count() > 0);
        }
        let share = Arc::new(Semaphore::new(self.per_client));
        clients.insert(payer.clone(), Arc::downgrade(&share));
        share
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    /// What a future has come to without waiting.
    fn now<T>(future: impl Future<Output = T>) -> Option<T> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }

    fn payer(name: &str) -> Payer {
        Payer::Named(name.into())
    }

    #[test]
    fn one_client_leaves_turns_to_others() {
        let (passes, alone) = (Passes::new(3, 2, Metrics::new()), Crowd::default());
        let (greedy, other) = (payer("10.0.0.1"), payer("10.0.0.2"));
        let first = now(passes.turn(Some(&greedy), &alone)).unwrap();
        let _second = now(passes.turn(Some(&greedy), &alone)).unwrap();
        assert!(now(passes.turn(Some(&greedy), &alone)).is_none(), "its share is used up");
        let third = now(passes.turn(Some(&other), &alone)).unwrap();
        assert!(
            now(passes.turn(Some(&payer("10.0.0.3")), &alone)).is_none() && now(passes.turn(None, &alone)).is_none(),
            "all are"
        );
        drop(third);
        assert!(now(passes.turn(None, &alone)).is_some());
        drop(first);
        assert!(now(passes.turn(Some(&greedy), &alone)).is_some());
    }

    #[test]
    fn clients_that_are_gone_are_forgotten() {
        let (passes, alone) = (Passes::new(1, 1, Metrics::new()), Crowd::default());
        for number in 0..3 * REMEMBERED {
            assert!(now(passes.turn(Some(&payer(&number.to_string())), &alone)).is_some());
        }
        assert!(passes.clients.lock().unwrap().len() <= REMEMBERED);
    }
}
