//! Traces, as long as the process runs.

use std::error::Error;

use super::otlp::Sending;

/// Why traces cannot be sent as the environment says.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    /// One that is not spoken.
    #[error("OTEL_EXPORTER_OTLP_PROTOCOL says `{0}`, and traces are sent by http/protobuf only")]
    Protocol(String),
    /// Something else.
    #[error("traces cannot be sent as OTEL_EXPORTER_OTLP_ENDPOINT and its like say")]
    Setting(#[source] Box<dyn Error + Send + Sync>),
}

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
