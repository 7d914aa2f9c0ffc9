//! Attempts that failed, in the log: enough lines to see it, and not more than one can read.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::identity::Shown;

/// Lines in one [`WINDOW`].
const LINES: u32 = 5;
const WINDOW: Duration = Duration::from_secs(1);

/// Failed attempts, of which some are told.
#[derive(Default)]
pub(super) struct Attempts(Mutex<Window>);

#[derive(Default)]
struct Window {
    begun: Option<Instant>,
    told: u32,
    untold: u64,
}

impl Attempts {
    /// Tells of one, by the name the client gave, if it gave one.
    pub(super) fn failed(&self, user: Option<&str>, reason: &dyn fmt::Display) {
        if let Some(untold) = self.admit() {
            let user = user.map(|user| tracing::field::display(Shown(user)));
            tracing::info!(user, untold, %reason, "a client did not log in");
        }
    }

    /// How many were not told since the last one that was, if this one may be.
    fn admit(&self) -> Option<u64> {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if window.begun.is_none_or(|begun| now.duration_since(begun) >= WINDOW) {
            window.begun = Some(now);
            window.told = 0;
        }
        if window.told == LINES {
            window.untold += 1;
            return None;
        }
        window.told += 1;
        Some(std::mem::take(&mut window.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_some_lines_and_a_number() {
        let attempts = Attempts::default();
        for _ in 0..LINES {
            assert_eq!(attempts.admit(), Some(0));
        }
        for _ in 0..1000 {
            assert_eq!(attempts.admit(), None);
        }
        tokio::time::advance(WINDOW).await;
        assert_eq!(attempts.admit(), Some(1000));
        assert_eq!(attempts.admit(), Some(0));
    }
}
