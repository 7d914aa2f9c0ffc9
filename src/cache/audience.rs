//! Who waits for a fill.

use tokio::sync::watch;

/// Counts those who wait. Clones count the same.
#[derive(Clone)]
pub(super) struct Audience(watch::Sender<usize>);

impl Audience {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(0))
    }

    /// One more, for as long as the seat is taken.
    pub(super) fn seat(&self) -> Seat {
        self.0.send_modify(|taken| *taken += 1);
        Seat(self.clone())
    }

    /// Whether both are the same.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.0.same_channel(&other.0)
    }

    /// How many wait.
    pub(super) fn count(&self) -> usize {
        *self.0.borrow()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// Waits until nobody waits, or, with `false`, until somebody does.
    pub(super) async fn becomes_empty(&self, empty: bool) {
        // The sender is at hand, so there is no error.
        let _ = self.0.subscribe().wait_for(|taken| (*taken == 0) == empty).await;
    }
}

/// A place in an [`Audience`].
pub(super) struct Seat(Audience);

impl Clone for Seat {
    fn clone(&self) -> Self {
        self.0.seat()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.0.send_modify(|taken| *taken -= 1);
    }
}
