//! Who a request is from, and which host it is for: what the connection and the request say, or trusted proxies.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use http::Request;

use super::forwarded::{Told, told};
use super::host::{AmbiguousHost, host};
use super::peer::{Peer, PeerAddress};
use crate::config::TrustedProxy;

/// The client of one request.
#[derive(Clone, Debug)]
pub struct Client<'r> {
    /// Where it is, for the log and for limits.
    pub address: ClientAddress,
    /// Whether all it sends is under TLS: here, or, if a trusted proxy says so, up to that one. A proxy that says
    /// `http` is believed too, even if it speaks TLS itself.
    pub secure: bool,
    host: Result<Option<Cow<'r, str>>, AmbiguousHost>,
}

/// Where a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAddress {
    /// At the other end of the connection.
    Peer(PeerAddress),
    /// Where a trusted proxy says.
    Forwarded(IpAddr),
}

impl<'r> Client<'r> {
    /// The client of `request`, which came from `peer`.
    pub(super) fn of<B>(peer: &Peer, request: &'r Request<B>, proxies: &[TrustedProxy]) -> Self {
        let own = host(request).map(|host| host.map(Cow::Borrowed));
        let told = if peer.address.is_among(proxies) { told(request.headers(), proxies) } else { Ok(Told::default()) };
        let (Told { address, host, secure }, own) = match told {
            Ok(told) => (told, own),
            Err(ambiguous) => (Told::default(), Err(ambiguous)),
        };
        Self {
            address: address.map_or(ClientAddress::Peer(peer.address), ClientAddress::Forwarded),
            secure: secure.unwrap_or(peer.tls),
            host: own.map(|own| host.or(own)),
        }
    }

    /// The host and port it asked for, as it wrote them.
    pub(super) fn host(&self) -> Result<Option<&str>, AmbiguousHost> {
        self.host.as_ref().map(Option::as_deref).map_err(|ambiguous| *ambiguous)
    }
}

impl ClientAddress {
    /// The network address; `None` for a client on this machine that came by a Unix socket.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Peer(PeerAddress::Ip(address)) => Some(address.ip()),
            Self::Peer(PeerAddress::Unix) => None,
            Self::Forwarded(address) => Some(*address),
        }
    }
}

impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(peer) => peer.fmt(f),
            Self::Forwarded(address) => address.fmt(f),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests {
    use super::*;

    const FORWARDED: &str = "for=192.0.2.1;host=pull.example;proto=https";

    fn peer(address: PeerAddress, tls: bool) -> Peer {
        Peer { address, tls, certificate: None }
    }

    fn tcp(address: &str) -> Peer {
        peer(PeerAddress::ip(address.parse().unwrap()), false)
    }

    fn request(forwarded: &str) -> Request<()> {
        Request::get("/v2/").header("host", "own.example").header("forwarded", forwarded).body(()).unwrap()
    }

    fn seen(peer: &Peer, forwarded: &str) -> (String, String, bool) {
        let proxies = ["10.0.0.0/8".parse().unwrap(), TrustedProxy::Unix];
        let request = request(forwarded);
        let client = Client::of(peer, &request, &proxies);
        (client.address.to_string(), client.host().unwrap().unwrap().to_owned(), client.secure)
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let told = ("192.0.2.1".to_owned(), "pull.example".to_owned(), true);
        for trusted in [tcp("10.0.0.1:1"), tcp("[::ffff:10.0.0.1]:1"), peer(PeerAddress::Unix, false)] {
            assert_eq!(seen(&trusted, FORWARDED), told, "{trusted:?}");
        }
        let own = |address: &str| (address.to_owned(), "own.example".to_owned(), false);
        assert_eq!(seen(&tcp("192.0.2.9:1"), FORWARDED), own("192.0.2.9:1"));
        assert_eq!(seen(&tcp("[::ffff:192.0.2.9]:1"), FORWARDED), own("192.0.2.9:1"));
        assert_eq!(seen(&tcp("10.0.0.1:1"), "for=_hidden"), own("10.0.0.1:1"));
        assert_eq!(seen(&peer(PeerAddress::Unix, false), "garbage"), own("unix"));
        let request = request(FORWARDED);
        let client = Client::of(&peer(PeerAddress::Unix, false), &request, &[]);
        assert_eq!((client.address.ip(), client.address.to_string()), (None, "unix".to_owned()));
    }

    #[test]
    fn tls_here_counts_unless_the_proxy_says_otherwise() {
        let proxy = peer(PeerAddress::ip("10.0.0.1:1".parse().unwrap()), true);
        assert!(seen(&proxy, "for=192.0.2.1").2);
        assert!(!seen(&proxy, "for=192.0.2.1;proto=http").2);
        let other = peer(PeerAddress::ip("192.0.2.9:1".parse().unwrap()), true);
        assert!(seen(&other, "for=192.0.2.1;proto=http").2);
    }

    #[test]
    fn more_than_one_host_of_either_kind_is_ambiguous() {
        let proxies = [TrustedProxy::Unix];
        for name in ["host", "x-forwarded-host"] {
            let request = Request::get("/").header(name, "a.example").header(name, "b.example").body(()).unwrap();
            assert!(Client::of(&peer(PeerAddress::Unix, false), &request, &proxies).host().is_err());
            let ignored = Client::of(&tcp("192.0.2.9:1"), &request, &proxies).host().is_ok();
            assert_eq!(ignored, name != "host");
        }
    }
}
