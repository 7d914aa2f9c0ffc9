//! Why the place that a lock names for an image is of no help.

use std::fmt;

use crate::oci::MediaType;

/// A place that a lock names, and why the image does not count as colocated by being there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::proxy) struct Elsewhere {
    /// Registry and repository, as the lock means them.
    pub(in crate::proxy) place: String,
    /// What is in the way.
    pub(in crate::proxy) problem: Obstacle,
}

/// What is in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::proxy) enum Obstacle {
    /// No such registry is configured, so nothing is ever asked of it.
    NotBehind,
    /// No pair of patterns in `relocation.from_origin` has the two.
    NotAllowed,
    /// This endpoint's names do not always lead through the proxy.
    NotProxied,
    /// The client may not read it.
    NotForClient,
    /// It is not there.
    Absent,
    /// Nobody may read it.
    NotPublic,
    /// The credentials that there are do not let it be read.
    Refused,
    /// The registry asks everyone for a certificate, and the proxy's would count for its clients.
    Certificate,
    /// It gives something else for this digest.
    OtherDigest,
    /// It gives something that is no manifest.
    ForeignType(MediaType),
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBehind => f.write_str("no registry of that name is behind this proxy (upstreams)"),
            Self::NotAllowed => f.write_str("relocation.from_origin does not allow it"),
            Self::NotProxied => {
                f.write_str("by its registry's own name it would not always be pulled through this proxy (always_proxied)")
            }
            Self::NotForClient => f.write_str("this client may not read it"),
            Self::Absent => f.write_str("it is not there"),
            Self::NotPublic => f.write_str(
                "it is not for everyone to read, and relocation.from_origin does not say `credentials: true` for it",
            ),
            Self::Refused => f.write_str("the credentials for that registry do not let it be read"),
            Self::Certificate => f.write_str(
                "that registry is shown a certificate, and relocation.from_origin does not say `credentials: true` for it",
            ),
            Self::OtherDigest => f.write_str("that registry gives something else for this digest"),
            Self::ForeignType(media_type) => {
                let name: String = media_type.as_ref().chars().take(128).collect();
                write!(f, "what is there is of the type {name}, which is no manifest")
            }
        }
    }
}

impl fmt::Display for Elsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.problem)
    }
}
