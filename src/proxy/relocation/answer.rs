//! What becomes of a bundle, as values.

use std::fmt;
use std::sync::Arc;

use super::record::Relocation;
use crate::oci::Digest;
use crate::rewrite::Unchanged;

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
