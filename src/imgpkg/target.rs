//! Where a client can pull a bundle's images.

use std::fmt;
use std::sync::Arc;

use super::reference;
use crate::oci::RepositoryName;

/// The place that relocated references name: an endpoint as clients write it, and the bundle's repository there.
///
/// Shown as go-containerregistry shows a repository, since that is what imgpkg writes: `docker.io` reads
/// `index.docker.io`, where a name of one part gets `library/` in front.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// Host, and port unless it is the scheme's own.
    pub endpoint: Arc<str>,
    /// The bundle's repository, as this client names it.
    pub repository: RepositoryName,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (registry, prefix) = reference::canonical(&self.endpoint, self.repository.as_str());
        write!(f, "{registry}/{prefix}{}", self.repository)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_go_containerregistry_writes_it() {
        for (endpoint, repository, shown) in [
            ("proxy.example:8443", "acme/app", "proxy.example:8443/acme/app"),
            ("docker.io", "acme/app", "index.docker.io/acme/app"),
            ("docker.io", "ubuntu", "index.docker.io/library/ubuntu"),
            ("ghcr.io", "ubuntu", "ghcr.io/ubuntu"),
        ] {
            let target = Target { endpoint: endpoint.into(), repository: repository.parse().expect("a name") };
            assert_eq!(target.to_string(), shown);
        }
    }
}
