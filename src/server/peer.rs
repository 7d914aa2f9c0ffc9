//! Who is at the other end of a connection.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::config::TrustedProxy;
use crate::tls::CertificateNames;

/// The other end of a connection: a client, or a proxy that connects for one.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Where it connects from.
    pub address: PeerAddress,
    /// Whether it speaks TLS with this program.
    pub tls: bool,
    /// The names in its certificate, if it has shown one that a client CA vouches for.
    pub certificate: Option<Arc<CertificateNames>>,
}

/// Where a peer connects from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerAddress {
    /// An address on a network. One of IPv4 is one, whether the listener is of IPv4 or of both.
    Ip(SocketAddr),
    /// This machine, by a Unix socket.
    Unix,
}

impl PeerAddress {
    /// The address as the system tells it.
    pub(super) fn ip(address: SocketAddr) -> Self {
        Self::Ip(SocketAddr::new(address.ip().to_canonical(), address.port()))
    }

    /// Whether it is one of `proxies`.
    pub(super) fn is_among(&self, proxies: &[TrustedProxy]) -> bool {
        match self {
            Self::Ip(address) => covered(proxies, address.ip()),
            Self::Unix => proxies.contains(&TrustedProxy::Unix),
        }
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix => f.write_str("unix"),
        }
    }
}

/// Whether one of `proxies` has this address.
pub(super) fn covered(proxies: &[TrustedProxy], address: IpAddr) -> bool {
    proxies.iter().any(|proxy| proxy.covers(address))
}
