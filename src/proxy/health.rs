//! How the registries behind have answered lately: what stands between "it is down" and "nobody has asked".

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use crate::body::Clock;
use crate::upstream::UpstreamError;

/// How one registry has answered.
pub(super) struct Health {
    clock: Arc<dyn Clock>,
    seen: Mutex<UpstreamHealth>,
}

/// How a registry has answered so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamHealth {
    /// When it last gave an answer; that something is not there, or not for everyone, is one.
    pub answered: Option<SystemTime>,
    /// When it last failed, and how.
    pub failed: Option<(SystemTime, String)>,
    /// Until when it asked to be left alone.
    pub wait_until: Option<SystemTime>,
    /// How often it was asked.
    pub requests: u64,
    /// How often it failed.
    pub failures: u64,
}

impl Health {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, seen: Mutex::default() }
    }

    /// It was asked, and this came of it.
    pub(super) fn note(&self, result: Result<(), &UpstreamError>) {
        let now = self.clock.now();
        // Nothing panics while it is held.
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let trouble = result.err().filter(|error| is_trouble(error));
        if trouble.is_some_and(UpstreamError::is_held_back) {
            // Nothing was sent.
            return;
        }
        seen.requests += 1;
        match trouble {
            None => seen.answered = Some(now),
            Some(error) => {
                seen.failures += 1;
                seen.failed = Some((now, error.to_string()));
                if let Some(wait) = error.retry_after() {
                    // A time beyond all times is none that is worth telling.
                    seen.wait_until = now.checked_add(wait.max(Duration::from_secs(1)));
                }
            }
        }
    }

    pub(super) fn seen(&self) -> UpstreamHealth {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Whether it is the registry that is in trouble, rather than what it was asked for.
fn is_trouble(error: &UpstreamError) -> bool {
    let is_answer = error.is_absent()
        || error.is_forbidden()
        || matches!(
            error,
            UpstreamError::Refused { .. } | UpstreamError::Renewed | UpstreamError::RangeNotSatisfiable { .. }
        );
    !is_answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::SystemClock;

    #[test]
    fn an_answer_is_not_always_what_was_wanted() {
        let health = Health::new(Arc::new(SystemClock));
        assert_eq!(health.seen(), UpstreamHealth::default());
        health.note(Err(&UpstreamError::NotFound));
        health.note(Err(&UpstreamError::Denied));
        health.note(Ok(()));
        let seen = health.seen();
        assert!(seen.answered.is_some() && seen.failed.is_none());
        health.note(Err(&UpstreamError::TooLarge { limit: 1 }));
        let seen = health.seen();
        assert_eq!((seen.requests, seen.failures), (4, 1));
        assert!(seen.failed.is_some_and(|(_, text)| !text.is_empty()));
    }
}
