//! How one client sees the registry.

use crate::imgpkg::Target;
use crate::oci::RepositoryName;

/// How one request sees a repository: whether its bundles are relocated, and to where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// What locks name, `host` or `host:port`; `None` is the exact view, in which nothing is relocated.
    pub endpoint: Option<String>,
    /// Whether each image counts for itself, rather than all together as for imgpkg.
    pub each: bool,
}

impl View {
    /// Everything as it stands upstream.
    pub fn exact() -> Self {
        Self { endpoint: None, each: false }
    }

    /// Bundles relocated when all their images are colocated.
    pub fn relocated(endpoint: impl Into<String>) -> Self {
        Self { endpoint: Some(endpoint.into()), each: false }
    }

    /// Each reference relocated whose image is colocated.
    pub fn each(endpoint: impl Into<String>) -> Self {
        Self { endpoint: Some(endpoint.into()), each: true }
    }

    /// Where this client can pull the images of a bundle in `repository`, and whether each counts for itself.
    pub(super) fn target(&self, repository: &RepositoryName) -> Option<(Target, bool)> {
        let endpoint = self.endpoint.clone()?;
        Some((Target { endpoint, repository: repository.clone() }, self.each))
    }
}
