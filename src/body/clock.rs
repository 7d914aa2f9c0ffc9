//! The clock behind a trait.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::BoxFuture;

/// What time it is, and waiting. A trait so that a simulation can hold the hands.
pub trait Clock: Send + Sync + 'static {
    /// The time of day, for records that outlive the process.
    fn now(&self) -> SystemTime;

    /// Waits.
    fn sleep(&self, duration: Duration) -> BoxFuture<'_, ()>;
}

/// Seconds since 1970, as times are written down; a time before that is 0.
pub fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// The real clock, which under tokio's paused time stands still with it.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        // The time of day plus what tokio's clock is ahead (a test advanced it) or behind (a test paused it).
        // A real run adds nothing; a start-up time plus a monotonic clock would instead miss every
        // correction of the time of day, and suspended machines.
        let (tokio, machine) = (tokio::time::Instant::now().into_std(), std::time::Instant::now());
        let wall = SystemTime::now();
        match tokio.checked_duration_since(machine) {
            Some(ahead) => wall + ahead,
            None => wall - machine.duration_since(tokio),
        }
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'_, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn follows_a_paused_clock() {
        let hour = Duration::from_secs(3600);
        let before = SystemClock.now();
        SystemClock.sleep(hour).await;
        // Less a second, for corrections of the machine's own clock.
        assert!(SystemClock.now() >= before + hour - Duration::from_secs(1));
    }
}
