//! Where clients connect, and who among them speaks for others.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use ipnet::IpNet;

use super::endpoint::Endpoint;

/// The longest path of a Unix socket: an address has 108 bytes on Linux, and a zero ends it.
pub const MAX_SOCKET_PATH_BYTES: usize = 107;

const UNIX: &str = "unix:";

/// Where clients connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// `ADDRESS:PORT`
    Tcp(SocketAddr),
    /// `unix:/PATH`
    Unix(PathBuf),
}

/// Why a text is no [`ListenAddress`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListenAddressError {
    /// Neither of the two forms.
    #[error("is neither ADDRESS:PORT, such as 0.0.0.0:5000 or [::]:5000, nor unix:/PATH")]
    Malformed,
    /// Not a path from the root, so that it would depend on where the program was started.
    #[error("does not name a socket by a whole path; write unix:/PATH")]
    Path,
    /// More than fits into a socket's address.
    #[error("names a socket by more than {MAX_SOCKET_PATH_BYTES} bytes, which is all that fits; use a shorter path")]
    TooLong,
}

impl ListenAddress {
    /// The network address, if it is one.
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// What clients can call a proxy that listens on `addresses`: the first that says which one it is.
    pub fn endpoint(addresses: &[Self]) -> Option<Endpoint> {
        let mut concrete = addresses.iter().filter_map(Self::tcp).filter(|address| !address.ip().is_unspecified());
        concrete.next().map(Endpoint::of)
    }
}

impl FromStr for ListenAddress {
    type Err = ListenAddressError;

    fn from_str(text: &str) -> Result<Self, ListenAddressError> {
        let Some(path) = text.strip_prefix(UNIX) else {
            return text.parse().map(Self::Tcp).map_err(|_| ListenAddressError::Malformed);
        };
        if path.len() > MAX_SOCKET_PATH_BYTES {
            return Err(ListenAddressError::TooLong);
        }
        let bytes_are_plain = !path.chars().any(char::is_control);
        let path = PathBuf::from(path);
        let is_whole = bytes_are_plain && path.is_absolute() && path.file_name().is_some();
        if is_whole { Ok(Self::Unix(path)) } else { Err(ListenAddressError::Path) }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

/// A peer whose word on whom it connects for is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrustedProxy {
    /// Whoever connects from this network.
    Network(IpNet),
    /// Whoever connects by a Unix socket.
    Unix,
}

/// Why a text is no [`TrustedProxy`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is neither a network, such as 10.0.0.0/8 or fd00::/8, nor an address, nor the word `unix`")]
pub struct TrustedProxyError;

impl TrustedProxy {
    /// Whether it is a network that `address` is in. An IPv4 address in IPv6 clothes is in no network of its own;
    /// take these off first ([`IpAddr::to_canonical`]).
    pub fn covers(&self, address: IpAddr) -> bool {
        matches!(self, Self::Network(network) if network.contains(&address))
    }
}

impl FromStr for TrustedProxy {
    type Err = TrustedProxyError;

    fn from_str(text: &str) -> Result<Self, TrustedProxyError> {
        if text == "unix" {
            return Ok(Self::Unix);
        }
        let network = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        network.map(Self::Network).ok_or(TrustedProxyError)
    }
}

impl fmt::Display for TrustedProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(network) => network.fmt(f),
            Self::Unix => f.write_str("unix"),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests {
    use super::*;

    #[test]
    fn listen_addresses() {
        let longest = format!("unix:/{}", "a".repeat(MAX_SOCKET_PATH_BYTES - 1));
        for good in ["0.0.0.0:5000", "[::1]:0", "unix:/run/colocate/socket", &longest] {
            assert_eq!(good.parse::<ListenAddress>().unwrap().to_string(), good);
        }
        for (bad, error) in [
            ("", ListenAddressError::Malformed),
            ("localhost:5000", ListenAddressError::Malformed),
            ("0.0.0.0", ListenAddressError::Malformed),
            ("/run/socket", ListenAddressError::Malformed),
            ("unix:", ListenAddressError::Path),
            ("unix:/", ListenAddressError::Path),
            ("unix:run/socket", ListenAddressError::Path),
            ("unix:/run/..", ListenAddressError::Path),
            ("unix:/run/a\0b", ListenAddressError::Path),
            (&format!("{longest}a"), ListenAddressError::TooLong),
        ] {
            assert_eq!(bad.parse::<ListenAddress>(), Err(error), "{bad}");
        }
    }

    #[test]
    fn trusted_proxies() {
        let covers =
            |proxy: &str, address: &str| proxy.parse::<TrustedProxy>().unwrap().covers(address.parse().unwrap());
        assert!(covers("10.0.0.0/8", "10.255.0.1") && !covers("10.0.0.0/8", "11.0.0.1"));
        assert!(covers("10.1.2.3", "10.1.2.3") && !covers("10.1.2.3", "10.1.2.4"));
        assert!(covers("fd00::/8", "fd12::1") && !covers("fd00::/8", "::1"));
        assert!(!covers("unix", "127.0.0.1"));
        for bad in ["", "Unix", "10.0.0.0/33", "10.0.0", "example", "10.0.0.1:80"] {
            assert_eq!(bad.parse::<TrustedProxy>(), Err(TrustedProxyError), "{bad}");
        }
        assert_eq!("10.1.2.3".parse::<TrustedProxy>().unwrap().to_string(), "10.1.2.3/32");
    }
}
