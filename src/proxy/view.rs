//! How one client sees a repository.

use std::net::IpAddr;
use std::sync::Arc;

use super::reader::Reader;
use crate::imgpkg::Target;
use crate::oci::Repository;

/// How one request sees a repository: which one it is, whether its bundles are relocated, and to where; and on whose
/// behalf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The repository, as its registry names it.
    pub repository: Repository,
    /// What locks name instead: where this client can pull the repository's images. `None` is the exact view, in
    /// which nothing is relocated.
    pub target: Option<Target>,
    /// Whether each image counts for itself, rather than all together as for imgpkg.
    pub each: bool,
    /// The client, where the upstream judges what it may read; `None` where that was judged before.
    pub reader: Option<Reader>,
    /// Who has to share what one client may cost; `None` for what the operator has done.
    pub payer: Option<Payer>,
}

/// A client, as costs are reckoned.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Payer {
    /// By its name.
    Named(Arc<str>),
    /// By its address, or its network's.
    Address(IpAddr),
    /// All that come by a Unix socket.
    Local,
}

impl View {
    /// Everything as it stands upstream.
    pub fn exact(repository: Repository) -> Self {
        Self { repository, target: None, each: false, reader: None, payer: None }
    }

    /// Bundles relocated when all their images are colocated.
    pub fn relocated(repository: Repository, target: Target) -> Self {
        Self { target: Some(target), ..Self::exact(repository) }
    }

    /// Each reference relocated whose image is colocated.
    pub fn each(repository: Repository, target: Target) -> Self {
        Self { target: Some(target), each: true, ..Self::exact(repository) }
    }
}
