//! What a test's thread logs.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tracing::Dispatch;
use tracing::subscriber::DefaultGuard;

use super::eventually;

/// How long a line may take that is a matter of milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is logged on this thread, for tests that have only one.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

/// What is logged goes to the [`Log`] until this is dropped.
pub(crate) struct Capture {
    _first: DefaultGuard,
    // While there is only one, what a thread of another test's logs first would be taken for unwanted everywhere.
    _second: Dispatch,
}

impl Log {
    /// Whatever this filter lets through, from here on.
    pub(crate) fn capture(filter: &str) -> (Self, Capture) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        let first = tracing::subscriber::set_default(subscriber);
        (log, Capture { _first: first, _second: Dispatch::new(tracing_subscriber::registry()) })
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("nobody panicked")).into_owned()
    }

    pub(crate) fn count(&self, words: &str) -> usize {
        self.text().matches(words).count()
    }

    /// Waits for the access line with this in it; lines are written when a response is gone.
    pub(crate) async fn until(&self, words: &str) {
        eventually(words, PATIENCE, async || self.count(words) > 0).await;
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("nobody panicked").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
