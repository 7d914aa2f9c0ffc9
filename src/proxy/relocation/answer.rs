//! What becomes of a bundle, as values.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::record::Relocation;
use crate::oci::Digest;
use crate::rewrite::Unchanged;
use crate::upstream::UpstreamError;

/// What a tag gives.
#[derive(Clone, Debug)]
pub(in crate::proxy) enum Answer {
    /// The bundle with its lock rewritten.
    Relocated(Arc<Relocation>),
    /// The image as it stands upstream.
    Original(Why),
}

/// Why an image is served as it stands.
#[derive(Clone, Debug)]
pub(in crate::proxy) enum Why {
    /// It lies in its own bytes, and will not change.
    Unchanged(Unchanged),
    /// The same, from an earlier run's record.
    Recorded(String),
    /// Not all images are there, for now.
    Missing(Digest),
    /// The bundle is already kept for as many endpoints as `relocation.max_targets_per_bundle` allows.
    TooManyTargets(usize),
}

impl Why {
    /// A word for metrics; the set is closed.
    pub(in crate::proxy) fn label(&self) -> &'static str {
        match self {
            Self::Unchanged(reason) => reason.label(),
            Self::Recorded(_) => "recorded",
            Self::Missing(_) => "image_missing",
            Self::TooManyTargets(_) => "too_many_targets",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unchanged(reason) => reason.fmt(f),
            Self::Recorded(reason) => f.write_str(reason),
            Self::Missing(digest) => write!(f, "the image {digest} is not in its repository"),
            Self::TooManyTargets(limit) => {
                write!(f, "it is already relocated for {limit} endpoints (relocation.max_targets_per_bundle)")
            }
        }
    }
}

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
    /// How long a client should wait. What upstream asks for, or as long as a pass takes.
    pub fn retry_after(&self) -> Duration {
        const SOON: Duration = Duration::from_secs(5);
        match self {
            Self::Upstream { error, .. } => error.retry_after().unwrap_or(SOON),
            Self::Deadline | Self::Internal(_) => SOON,
        }
    }
}
