//! How one client sees a repository.

use std::fmt;
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
    /// What else it may read, where the proxy judges that; `None` is anything.
    pub rights: Option<Rights>,
    /// Whether images may be left at their origins: the names that are written lead to this proxy wherever they are used.
    pub from_origin: bool,
    /// Whether this client asks, it seems, to find out what it has to push.
    pub is_pushing: bool,
    /// Who has to share what one client may cost; `None` for what the operator has done.
    pub payer: Option<Payer>,
}

/// Which repositories a client may read by the proxy's own rules.
#[derive(Clone)]
pub struct Rights(Arc<dyn Fn(&Repository) -> bool + Send + Sync>);

impl Rights {
    /// Those for which `may_read` says yes.
    pub fn new(may_read: impl Fn(&Repository) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(may_read))
    }

    /// Whether it may read this one.
    pub fn may_read(&self, repository: &Repository) -> bool {
        (self.0)(repository)
    }
}

impl PartialEq for Rights {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Rights {}

impl fmt::Debug for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rights")
    }
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
        Self {
            repository,
            target: None,
            each: false,
            reader: None,
            rights: None,
            from_origin: true,
            is_pushing: false,
            payer: None,
        }
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
