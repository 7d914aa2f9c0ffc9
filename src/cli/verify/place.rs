//! References with the host that is to be asked.

use std::fmt;
use std::net::IpAddr;

use url::Url;

use crate::config::{DOCKER_HUB_URL, Endpoint};
use crate::imgpkg::Target;
use crate::oci::{Reference, RegistryName, RepositoryName, Tag};

/// A repository at a host, and what is asked for in there.
///
/// What goes wrong with reading one is told without the text itself: there may be a password in it.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// `http` or `https`, and a host.
    pub(super) url: Url,
    /// As references name the host: without the port that is the scheme's own, which is not sent either.
    pub(super) endpoint: Endpoint,
    pub(super) repository: RepositoryName,
    /// A tag or a digest, if any was given.
    pub(super) reference: Option<Reference>,
}

impl Place {
    /// Reads `[http[s]://]HOST[:PORT]/REPOSITORY[:TAG|@DIGEST]`.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme @ ("http" | "https"), rest)) => (Some(scheme), rest),
            Some(_) => return Err("registries are asked by http:// or https://".to_owned()),
            None => (None, text),
        };
        let (host, rest) = rest.split_once('/').ok_or("it has to begin with a host, as in host.example/acme/app:v1")?;
        if host.contains('@') {
            return Err("credentials do not belong there; use --docker-config".to_owned());
        }
        let endpoint: Endpoint = host.parse().map_err(|err| format!("its host {err}"))?;
        let scheme = scheme.unwrap_or(if is_loopback(endpoint.as_str()) { "http" } else { "https" });
        let own_port = if scheme == "http" { ":80" } else { ":443" };
        let endpoint: Endpoint = match endpoint.as_str().strip_suffix(own_port) {
            Some(host) => host.parse().map_err(|err| format!("its host {err}"))?,
            None => endpoint,
        };
        let (name, reference) = split(rest)?;
        let registry: RegistryName = endpoint.as_str().parse().map_err(|err| format!("{err}"))?;
        let url = if registry.is_docker_hub() { DOCKER_HUB_URL.to_owned() } else { format!("{scheme}://{endpoint}") };
        let url = url.parse().map_err(|err| format!("its host makes no URL: {err}"))?;
        Ok(Self { url, endpoint, repository: registry.repository(&name).name, reference })
    }

    /// What a client that pulls from here expects images to be named by.
    pub(super) fn target(&self) -> Target {
        Target { endpoint: self.endpoint.shared(), repository: self.repository.clone() }
    }

    /// What was asked for; without anything, what `otherwise` says.
    pub(super) fn reference_or(&self, otherwise: Reference) -> Reference {
        self.reference.clone().unwrap_or(otherwise)
    }

    /// Whether what is sent stays on this machine, or is sent by TLS.
    pub(super) fn is_private(&self) -> bool {
        self.url.scheme() == "https" || is_loopback(self.endpoint.as_str())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.endpoint, self.repository)?;
        match &self.reference {
            Some(Reference::Tag(tag)) => write!(f, ":{tag}"),
            Some(Reference::Digest(digest)) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

/// The tag that a reference without one has.
pub(super) fn latest() -> Result<Reference, String> {
    "latest".parse::<Tag>().map(Reference::Tag).map_err(|err| err.to_string())
}

/// `REPOSITORY[:TAG|@DIGEST]`
fn split(text: &str) -> Result<(RepositoryName, Option<Reference>), String> {
    let (name, reference) = match text.split_once('@') {
        // A tag before a digest means nothing beside it.
        Some((name, digest)) => (name.split_once(':').map_or(name, |(name, _)| name), Some(digest)),
        None => text.split_once(':').map_or((text, None), |(name, tag)| (name, Some(tag))),
    };
    let name = name.parse().map_err(|err| format!("{err}"))?;
    let reference = reference.map(|reference| reference.parse().map_err(|err| format!("{err}"))).transpose()?;
    Ok((name, reference))
}

/// Whether a host is this machine.
fn is_loopback(endpoint: &str) -> bool {
    let host = match endpoint.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => endpoint.split_once(':').map_or(endpoint, |(host, _)| host),
    };
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests {
    use super::*;

    #[test]
    fn places() {
        let digest = format!("sha256:{}", "0".repeat(64));
        for (text, url, shown, target) in [
            (
                "proxy.example/acme/app:v1",
                "https://proxy.example/",
                "proxy.example/acme/app:v1",
                "proxy.example/acme/app",
            ),
            (
                "Proxy.Example:8443/app",
                "https://proxy.example:8443/",
                "proxy.example:8443/app",
                "proxy.example:8443/app",
            ),
            ("https://proxy.example:443/app", "https://proxy.example/", "proxy.example/app", "proxy.example/app"),
            (
                "http://proxy.example:443/app",
                "http://proxy.example:443/",
                "proxy.example:443/app",
                "proxy.example:443/app",
            ),
            ("localhost:5000/app", "http://localhost:5000/", "localhost:5000/app", "localhost:5000/app"),
            ("localhost/app", "http://localhost/", "localhost/app", "localhost/app"),
            ("https://127.0.0.1:1/app", "https://127.0.0.1:1/", "127.0.0.1:1/app", "127.0.0.1:1/app"),
            ("[::1]:5000/app", "http://[::1]:5000/", "[::1]:5000/app", "[::1]:5000/app"),
            (
                "docker.io/redis",
                "https://registry-1.docker.io/",
                "docker.io/library/redis",
                "index.docker.io/library/redis",
            ),
            (&format!("a.b/c:v1@{digest}"), "https://a.b/", &format!("a.b/c@{digest}"), "a.b/c"),
        ] {
            let place = Place::read(text).unwrap();
            let found = (place.url.to_string(), place.to_string(), place.target().to_string());
            assert_eq!(found, (url.to_owned(), shown.to_owned(), target.to_owned()), "{text}");
        }
        let secret = "hunter2-and-more";
        for bad in [
            "app".to_owned(),
            "acme/app".to_owned(),
            "ftp://a.b/app".to_owned(),
            "a.b/".to_owned(),
            "a.b/App".to_owned(),
            "a.b/app:".to_owned(),
            "a.b/app@sha256:00".to_owned(),
            "a.b:x/app".to_owned(),
            format!("https://user:{secret}@a.b/app"),
            format!("user:{secret}@a.b/app"),
            format!("user:{secret}@a.b"),
        ] {
            let problem = Place::read(&bad).unwrap_err();
            assert!(!problem.contains(secret), "{problem}");
        }
    }

    #[test]
    fn passwords_stay_off_the_wire() {
        for (text, private) in
            [("a.b/c", true), ("http://a.b/c", false), ("localhost/c", true), ("http://[::1]:1/c", true)]
        {
            assert_eq!(Place::read(text).unwrap().is_private(), private, "{text}");
        }
    }
}
