//! References as people write them: `[HOST/]REPOSITORY[:TAG|@DIGEST]`.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::config::{Config, Endpoint, UpstreamPlace};
use crate::oci::{Reference, RepositoryName};
use crate::proxy::{ReadReference, View, Wanted};
use crate::server::Views;

/// The names by which clients reach a proxy, and the registry behind it.
#[derive(Clone)]
pub(super) struct Names {
    views: Views,
    place: UpstreamPlace,
}

impl Names {
    /// The names that `config` gives to a proxy that listens on `address`.
    pub(super) fn new(config: &Config, address: SocketAddr) -> Self {
        let own = (!address.ip().is_unspecified()).then(|| Endpoint::of(address));
        let endpoint = config.endpoint.clone().or(own).or_else(|| config.endpoints.first().cloned());
        let views = Views::new(endpoint, config.endpoints.clone(), config.rules.clone());
        Self { views, place: config.upstream.place.clone() }
    }

    /// Reads a reference. The host is how clients reach the proxy, or the registry behind; any other is a mistake that
    /// would otherwise be answered about the wrong registry.
    pub(super) fn read(&self, text: &str) -> Result<Wanted, String> {
        let (host, repository, reference) = split(text)?;
        let host = match host {
            Some(host) if self.views.knows(host) => Some(host),
            Some(host) if !is_upstream(host, &self.place) => {
                return Err(format!(
                    "clients reach the proxy by none of that name ({host}); leave the host out, or list it in \
                     `endpoints`"
                ));
            }
            _ => None,
        };
        Ok(Wanted { view: self.views.select(host, &repository), repository, reference })
    }

    /// [`read`](Self::read) for those who know no names.
    pub(super) fn reader(self) -> ReadReference {
        Arc::new(move |text| self.read(text))
    }
}

/// Reads references where no names are known, as for a cache that nobody serves from: whatever stands where a host
/// would is one.
pub(super) fn nameless() -> ReadReference {
    Arc::new(|text| {
        let (_, repository, reference) = split(text)?;
        Ok(Wanted { view: View::exact(), repository, reference })
    })
}

fn split(text: &str) -> Result<(Option<&str>, RepositoryName, Reference), String> {
    // Docker's rule for telling a host from the first part of a name.
    let is_host = |first: &str| first == "localhost" || first.contains(['.', ':']);
    let (host, rest) = match text.split_once('/').filter(|(first, _)| is_host(first)) {
        Some((host, rest)) => (Some(host), rest),
        None => (None, text),
    };
    let (name, reference) = match rest.split_once('@') {
        // A tag before a digest means nothing beside it.
        Some((name, digest)) => (name.split_once(':').map_or(name, |(name, _)| name), digest),
        None => rest.split_once(':').unwrap_or((rest, "latest")),
    };
    let repository = name.parse().map_err(|err| format!("{err}"))?;
    let reference = reference.parse().map_err(|err| format!("{err}"))?;
    Ok((host, repository, reference))
}

fn is_upstream(host: &str, place: &UpstreamPlace) -> bool {
    match place {
        UpstreamPlace::Layout(_) => false,
        UpstreamPlace::Registry(url) => {
            let own = url.host_str().unwrap_or_default();
            host == own || url.port_or_known_default().is_some_and(|port| host == format!("{own}:{port}"))
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests {
    use super::*;

    #[test]
    fn references() {
        let text = "endpoint: proxy.example\nendpoints: [exact.example]\nupstream: {url: 'https://registry.example'}\n\
            rules: [{endpoint: exact.example, relocation: {when: never}}]";
        let config = Config::parse("test", text).unwrap();
        let names = Names::new(&config, config.listen);
        let digest = format!("sha256:{}", "0".repeat(64));
        let proxy = Some("proxy.example");
        for (text, endpoint, name, reference) in [
            ("acme/app", proxy, "acme/app", "latest"),
            ("app:v1", proxy, "app", "v1"),
            ("proxy.example/acme/app:v1", proxy, "acme/app", "v1"),
            ("exact.example/acme/app:v1", None, "acme/app", "v1"),
            ("registry.example/acme/app:v1", proxy, "acme/app", "v1"),
            ("registry.example:443/acme/app:v1", proxy, "acme/app", "v1"),
            (&format!("acme/app:v1@{digest}"), proxy, "acme/app", &digest),
        ] {
            let wanted = names.read(text).unwrap();
            assert_eq!((wanted.view.endpoint.as_deref(), wanted.repository.as_str()), (endpoint, name), "{text}");
            assert_eq!(wanted.reference.to_string(), reference, "{text}");
        }
        for bad in ["", "Acme", "acme/app:", "acme/app@sha256:00", "other.example/acme/app", "acme/../app"] {
            assert!(names.read(bad).is_err(), "{bad}");
        }
        assert_eq!(nameless()("other.example/acme/app").unwrap().repository.as_str(), "acme/app");
    }
}
