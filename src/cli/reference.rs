//! References as people write them: `[HOST/]REPOSITORY[:TAG|@DIGEST]`.

use std::sync::Arc;

use crate::config::{Config, ListenAddress};
use crate::oci::{Reference, RegistryName, RepositoryName};
use crate::proxy::{ReadReference, View, Wanted};
use crate::server::{Directory, Lead, NoSuchName};

/// The names by which clients reach a proxy, and the registries behind it.
#[derive(Clone)]
pub(super) struct Names(Directory);

/// A reference that leads somewhere.
#[derive(Debug)]
pub(super) struct Found<'a> {
    pub(super) lead: Lead<'a>,
    pub(super) reference: Reference,
}

/// Why a reference is about nothing behind a proxy.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReferenceError {
    /// It is none.
    #[error("{0}")]
    Malformed(String),
    /// Its host is neither a name of the proxy nor of a registry behind.
    #[error("{}; leave the host out, or list it in `endpoints` or `upstreams`", self.because())]
    Host(String),
    /// Its name leads to no registry.
    #[error(transparent)]
    Nowhere(#[from] NoSuchName),
}

impl ReferenceError {
    /// Without what to do about it.
    pub(super) fn because(&self) -> String {
        match self {
            Self::Malformed(problem) => problem.clone(),
            Self::Host(host) => {
                format!("clients reach the proxy by none of that name ({host}), and it is no registry behind it")
            }
            Self::Nowhere(nowhere) => nowhere.to_string(),
        }
    }
}

impl Names {
    /// The names that `config` gives to a proxy that listens on `addresses`.
    pub(super) fn new(config: &Config, addresses: &[ListenAddress]) -> Self {
        let own = ListenAddress::endpoint(addresses).or_else(|| config.endpoints.first().cloned());
        Self(Directory::new(config).or_called(own))
    }

    /// Reads a reference. The host is how clients reach the proxy, or a registry behind it, as those clients see it who
    /// name that (the default one's, as all do); any other is a mistake that would otherwise be answered about the
    /// wrong registry.
    pub(super) fn read(&self, text: &str) -> Result<Wanted, String> {
        let Found { lead, reference } = self.lead(text, None).map_err(|err| err.to_string())?;
        Ok(Wanted { view: lead.place.view, reference })
    }

    /// As [`read`](Self::read), with what leads there. With `ns`, for clients that take the proxy for a mirror of that
    /// registry, which may as well stand where the host does.
    pub(super) fn lead(&self, text: &str, ns: Option<&str>) -> Result<Found<'_>, ReferenceError> {
        let directory = &self.0;
        let split = split(text, |first| directory.has_registry(first) || ns.is_some_and(|ns| is_same(ns, first)));
        let (host, name, reference) = split.map_err(ReferenceError::Malformed)?;
        let lead = match (host, ns) {
            (None, ns) => directory.lead(None, ns, &name)?,
            (Some(host), ns) if directory.knows(host) => directory.lead(Some(host), ns, &name)?,
            (Some(host), Some(ns)) if is_same(ns, host) => directory.lead(None, Some(ns), &name)?,
            (Some(host), Some(_)) => return Err(ReferenceError::Host(host.to_owned())),
            (Some(host), None) => {
                // The port that every https URL has.
                let registry = host.strip_suffix(":443").unwrap_or(host);
                if !directory.has_registry(registry) {
                    return Err(ReferenceError::Host(host.to_owned()));
                }
                let by_name = directory.lead(None, Some(registry), &name)?;
                let as_all_do = directory.lead(None, None, &name).ok();
                // A prefix may lead elsewhere by that name.
                let same = |lead: &Lead<'_>| lead.place.view.repository == by_name.place.view.repository;
                as_all_do.filter(|lead| directory.is_default(registry) && same(lead)).unwrap_or(by_name)
            }
        };
        Ok(Found { lead, reference })
    }

    /// [`read`](Self::read) for those who know no names.
    pub(super) fn reader(self) -> ReadReference {
        Arc::new(move |text| self.read(text))
    }
}

/// Reads references where no names are known, as for a cache that nobody serves from: they begin with the registry,
/// as they do where content is listed.
pub(super) fn nameless() -> ReadReference {
    Arc::new(|text| {
        let (registry, rest) =
            text.split_once('/').ok_or("it has to begin with its registry, as `cache ls` shows it")?;
        let registry = registry.parse::<RegistryName>().map_err(|err| err.to_string())?;
        let (name, reference) = split_name(rest)?;
        Ok(Wanted { view: View::exact(registry.repository(&name)), reference })
    })
}

/// Whether both name one registry.
fn is_same(one: &str, other: &str) -> bool {
    let read = |name: &str| name.parse::<RegistryName>().ok();
    read(one).is_some_and(|one| read(other) == Some(one))
}

/// `known` says which first parts are hosts though they do not look so.
fn split(text: &str, known: impl Fn(&str) -> bool) -> Result<(Option<&str>, RepositoryName, Reference), String> {
    // Docker's rule for telling a host from the first part of a name.
    let is_host = |first: &str| first == "localhost" || first.contains(['.', ':']) || known(first);
    let (host, rest) = match text.split_once('/').filter(|(first, _)| is_host(first)) {
        Some((host, rest)) => (Some(host), rest),
        None => (None, text),
    };
    let (name, reference) = split_name(rest)?;
    Ok((host, name, reference))
}

/// `REPOSITORY[:TAG|@DIGEST]`
fn split_name(text: &str) -> Result<(RepositoryName, Reference), String> {
    let (name, reference) = match text.split_once('@') {
        // A tag before a digest means nothing beside it.
        Some((name, digest)) => (name.split_once(':').map_or(name, |(name, _)| name), digest),
        None => text.split_once(':').unwrap_or((text, "latest")),
    };
    let name = name.parse().map_err(|err| format!("{err}"))?;
    let reference = reference.parse().map_err(|err| format!("{err}"))?;
    Ok((name, reference))
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
        let names = Names::new(&config, &config.listen);
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
            let target = wanted.view.target.map(|target| target.to_string());
            let expected = endpoint.map(|endpoint| format!("{endpoint}/{name}"));
            assert_eq!((target, wanted.view.repository.name.as_str()), (expected, name), "{text}");
            assert_eq!(wanted.reference.to_string(), reference, "{text}");
        }
        for bad in ["", "Acme", "acme/app:", "acme/app@sha256:00", "other.example/acme/app", "acme/../app"] {
            assert!(names.read(bad).is_err(), "{bad}");
        }
        assert_eq!(nameless()("other.example/acme/app").unwrap().view.repository.to_string(), "other.example/acme/app");
    }
}
