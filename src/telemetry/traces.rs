//! Traces, as long as the process runs.

use super::otlp::Sending;
use super::traces_error::TracesError;

/// Traces are sent, if they are, from [`Traces::start`] until [`Traces::finish`].
#[derive(Debug)]
pub struct Traces(Option<Sending>);

impl Traces {
    /// Starts to record and send, in a build with the feature `otlp` and if the environment names a collector. Within the
    /// runtime.
    ///
    /// # Errors
    /// When the environment says something that cannot be done.
    pub fn start() -> Result<Self, TracesError> {
        Sending::start().map(Self)
    }

    /// Sends what has not been yet, within bounded time.
    pub async fn finish(self) {
        if let Some(sending) = self.0 {
            sending.finish().await;
        }
    }
}
