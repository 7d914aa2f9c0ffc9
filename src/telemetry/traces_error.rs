//! Why there are no traces.

use std::error::Error;

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
