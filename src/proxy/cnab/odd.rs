//! Why nothing is made of a CNAB bundle.

use crate::cnab::{CnabError, MAX_BUNDLE_FILE_BYTES};
use crate::oci::Digest;

/// What is odd about a CNAB bundle, or in the way.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::proxy) enum Odd {
    /// It lies in its index or its `bundle.json`.
    #[error(transparent)]
    Bundle(#[from] CnabError),
    /// The index names it, and it is not there.
    #[error("the config manifest {0} is not there")]
    NoConfigManifest(Digest),
    /// It leads to no `bundle.json`.
    #[error("the config manifest {0} is no image manifest")]
    NotAnImage(Digest),
    /// The config manifest names it, and it is not there.
    #[error("bundle.json ({0}) is not there")]
    NoFile(Digest),
    /// It is not read.
    #[error("bundle.json is larger than {MAX_BUNDLE_FILE_BYTES} bytes")]
    LargeFile,
    /// What the registry gives for it is something else.
    #[error("the registry gives something else for bundle.json ({0})")]
    OtherFile(Digest),
    /// There are maps for so many names already.
    #[error("relocation maps for {0} endpoints are there already (relocation.max_targets_per_bundle)")]
    TooManyTargets(usize),
}
