//! `host[:port]`, as it stands at the front of an image reference.

use std::fmt;
use std::net::{Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

/// Why a text cannot stand at the front of an image reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Not `host[:port]`.
    #[error("is not host[:port], such as registry.example:5000; leave out https:// and any path")]
    Malformed,
    /// A bare word, which clients take for a part of Docker Hub.
    #[error("has neither a dot nor a port, so clients would read it as a path on Docker Hub; add the port")]
    BareWord,
}

/// A host and perhaps a port that clients reach the proxy by, in lower case.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint(Arc<str>);

impl Endpoint {
    /// The endpoint as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same, to be kept.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }

    /// The endpoint as a client names it that connects to `address`.
    pub fn of(address: SocketAddr) -> Self {
        Self(address.to_string().into())
    }

    /// Whether a request's Host is this endpoint. Hosts are case-insensitive; a port that is left out is not
    /// filled in, since `proxy.example` and `proxy.example:443` make different references.
    pub fn is_host(&self, host: &str) -> bool {
        self.0.eq_ignore_ascii_case(host)
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, rest)) => {
                address.parse::<Ipv6Addr>().map_err(|_| EndpointError::Malformed)?;
                (address, if rest.is_empty() { None } else { rest.strip_prefix(':').or(Some("")) })
            }
            None => {
                let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
                if !host.split('.').all(is_label) {
                    return Err(EndpointError::Malformed);
                }
                (host, port)
            }
        };
        let plain_number = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
        if port.is_some_and(|port| !plain_number(port) || port.parse::<u16>().is_err()) {
            return Err(EndpointError::Malformed);
        }
        // go-containerregistry, Docker and containers/image all tell a host from a path this way.
        if port.is_none() && !host.contains(['.', ':']) && !host.eq_ignore_ascii_case("localhost") {
            return Err(EndpointError::BareWord);
        }
        Ok(Self(text.to_ascii_lowercase().into()))
    }
}

fn is_label(label: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    !label.is_empty()
        && label.len() <= 63
        && label.bytes().all(inner)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests {
    use super::*;

    #[test]
    fn endpoints() {
        for good in ["registry.example", "localhost", "proxy:5000", "127.0.0.1:5900", "[::1]:5000", "[::1]", "A.b:1"] {
            assert!(good.parse::<Endpoint>().is_ok(), "{good}");
        }
        assert_eq!("proxy".parse::<Endpoint>(), Err(EndpointError::BareWord));
        for bad in [
            "",
            "https://a.b",
            "a.b/c",
            "a.b:",
            "a.b:http",
            "a.b:70000",
            "a.b:+1",
            "a..b",
            "-a.b",
            "[::1",
            "[x]:1",
            "a b:1",
        ] {
            assert_eq!(bad.parse::<Endpoint>(), Err(EndpointError::Malformed), "{bad}");
        }
        assert!("Proxy.Example:443".parse::<Endpoint>().unwrap().is_host("proxy.example:443"));
        assert!(!"proxy.example:443".parse::<Endpoint>().unwrap().is_host("proxy.example"));
    }
}
