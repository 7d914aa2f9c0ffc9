//! Why it cannot be said yet what becomes of a bundle.

use std::time::Duration;

use crate::upstream::UpstreamError;

/// Why it cannot be said yet what becomes of a bundle.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Undecided {
    /// It takes longer than `relocation.deadline`; the work goes on.
    #[error("looking for them takes longer than relocation.deadline allows; the work goes on")]
    Deadline,
    /// The upstream failed for an image or a part of the bundle.
    #[error("{what}: {error}")]
    Upstream {
        /// What was being looked for.
        what: String,
        /// What the upstream said.
        error: UpstreamError,
    },
    /// The proxy itself failed.
    #[error("the proxy failed to work on the bundle: {0}")]
    Internal(String),
}

impl Undecided {
    /// A word for metrics; the set is closed.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Deadline => "deadline",
            Self::Upstream { error, .. } => error.label(),
            Self::Internal(_) => "internal",
        }
    }

    /// How long a client should wait. What upstream asks for, or as long as a pass takes.
    pub fn retry_after(&self) -> Duration {
        const SOON: Duration = Duration::from_secs(5);
        match self {
            Self::Upstream { error, .. } => error.retry_after().unwrap_or(SOON),
            Self::Deadline | Self::Internal(_) => SOON,
        }
    }
}
