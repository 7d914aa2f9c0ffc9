//! How one client sees a repository.

use crate::imgpkg::Target;
use crate::oci::Repository;

/// How one request sees a repository: which one it is, whether its bundles are relocated, and to where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The repository, as its registry names it.
    pub repository: Repository,
    /// What locks name instead: where this client can pull the repository's images. `None` is the exact view, in
    /// which nothing is relocated.
    pub target: Option<Target>,
    /// Whether each image counts for itself, rather than all together as for imgpkg.
    pub each: bool,
}

impl View {
    /// Everything as it stands upstream.
    pub fn exact(repository: Repository) -> Self {
        Self { repository, target: None, each: false }
    }

    /// Bundles relocated when all their images are colocated.
    pub fn relocated(repository: Repository, target: Target) -> Self {
        Self { repository, target: Some(target), each: false }
    }

    /// Each reference relocated whose image is colocated.
    pub fn each(repository: Repository, target: Target) -> Self {
        Self { repository, target: Some(target), each: true }
    }
}
