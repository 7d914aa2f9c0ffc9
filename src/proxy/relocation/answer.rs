//! What becomes of a bundle, as values.

use std::fmt;
use std::sync::Arc;

use super::record::{AtOrigin, Relocation};
use crate::oci::Digest;
use crate::proxy::origins::Elsewhere;
use crate::rewrite::Unchanged;

/// What a tag gives.
#[derive(Clone, Debug)]
pub(in crate::proxy) enum Answer {
    /// The bundle with its lock rewritten.
    Relocated(Colocated),
    /// The image as it stands upstream.
    Original(Why),
}

/// A relocated bundle, and which of its images are not in its own repository.
#[derive(Clone, Debug)]
pub(in crate::proxy) struct Colocated {
    /// What it consists of.
    pub(in crate::proxy) relocation: Arc<Relocation>,
    /// The others, by origin.
    pub(in crate::proxy) origins: Arc<[AtOrigin]>,
}

/// Why an image is served as it stands.
#[derive(Clone, Debug)]
pub(in crate::proxy) enum Why {
    /// It lies in its own bytes, and will not change.
    Unchanged(Unchanged),
    /// The same, from an earlier run's record.
    Recorded {
        /// The sentence.
        reason: String,
        /// Whether the image is a bundle at all.
        is_bundle: bool,
    },
    /// Not all images are there, for now.
    Missing {
        /// The first that is not.
        image: Digest,
        /// Why it is not taken from where the lock says it is.
        elsewhere: Vec<Elsewhere>,
    },
    /// More images than `relocation.max_images` would have to be asked for one by one.
    TooManyImages {
        /// How many.
        count: usize,
        /// How many are.
        limit: usize,
    },
    /// The bundle is already kept for as many endpoints as `relocation.max_targets_per_bundle` allows.
    TooManyTargets(usize),
}

impl Why {
    /// Whether it is only that the image is no bundle.
    pub(in crate::proxy) fn is_not_a_bundle(&self) -> bool {
        match self {
            Self::Unchanged(reason) => reason.is_not_a_bundle(),
            Self::Recorded { is_bundle, .. } => !is_bundle,
            Self::Missing { .. } | Self::TooManyImages { .. } | Self::TooManyTargets(_) => false,
        }
    }

    /// A word for metrics; the set is closed.
    pub(in crate::proxy) fn label(&self) -> &'static str {
        match self {
            Self::Unchanged(reason) => reason.label(),
            Self::Recorded { .. } => "recorded",
            Self::Missing { .. } => "image_missing",
            Self::TooManyImages { .. } => "too_many_images",
            Self::TooManyTargets(_) => "too_many_targets",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unchanged(reason) => reason.fmt(f),
            Self::Recorded { reason, .. } => f.write_str(reason),
            Self::Missing { image, elsewhere } => {
                write!(f, "the image {image} is not in its repository")?;
                elsewhere.iter().try_for_each(|elsewhere| write!(f, "; at {elsewhere}"))
            }
            Self::TooManyImages { count, limit } => {
                write!(
                    f,
                    "{count} images of its lock would have to be asked for one by one, more than relocation.max_images \
                     allows ({limit})"
                )
            }
            Self::TooManyTargets(limit) => {
                write!(f, "it is already relocated for {limit} endpoints (relocation.max_targets_per_bundle)")
            }
        }
    }
}
