//! Image references in digest form, by the rules of go-containerregistry's `pkg/name` (weak validation).

use std::fmt;

use crate::oci::{Algorithm, Digest};

const DOCKER_HUB: &str = "index.docker.io";
/// What people call it; go-containerregistry writes the other.
const DOCKER_HUB_ALIAS: &str = "docker.io";
const DOCKER_HUB_NAMESPACE: &str = "library/";

/// An image named by digest, in the one form that go-containerregistry writes.
///
/// The repository is text: these rules allow names (`a//b`, `-a`) that the distribution spec does not, and a lock
/// that holds one is a lock nevertheless.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageReference {
    /// Host and port; `index.docker.io` where the reference named none.
    pub registry: String,
    /// Repository name, with `library/` where the reference left it out.
    pub repository: String,
    /// What the reference pins.
    pub digest: Digest,
}

impl ImageReference {
    /// Reads `[registry/]repository[:tag]@sha256:…`; the tag is checked and dropped. `None` if it is not that.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (base, digest) = text.split_once('@')?;
        let digest: Digest = digest.parse().ok()?;
        if digest.algorithm() != Algorithm::Sha256 {
            return None;
        }
        // A colon after the last slash starts a tag; before it, a port. An empty tag is let through.
        let base = match base.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (tag.is_empty() || is_tag(tag)).then_some(name)?,
            _ => base,
        };
        // Only a dot or a colon makes the first part a registry: `localhost/app` is on Docker Hub.
        let (registry, repository) = match base.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) => (first, rest),
            _ => (DOCKER_HUB, base),
        };
        if !is_repository(repository) || !is_registry(registry) {
            return None;
        }
        let (registry, prefix) = canonical(registry, repository);
        Some(Self { registry: registry.to_owned(), repository: format!("{prefix}{repository}"), digest })
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}@{}", self.registry, self.repository, self.digest)
    }
}

/// The registry's written name, and what goes before the repository on it.
pub(super) fn canonical<'a>(registry: &'a str, repository: &str) -> (&'a str, &'static str) {
    let registry = if registry == DOCKER_HUB_ALIAS { DOCKER_HUB } else { registry };
    let implicit = registry == DOCKER_HUB && !repository.contains('/');
    (registry, if implicit { DOCKER_HUB_NAMESPACE } else { "" })
}

fn is_tag(tag: &str) -> bool {
    (1..=127).contains(&tag.len()) && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
}

fn is_repository(repository: &str) -> bool {
    (2..=255).contains(&repository.len())
        && repository.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-./".contains(&b))
}

/// A host with an optional port. Go takes any URL authority here; of its odder forms (`a!b`, non-ASCII) none is a
/// host name, so they are refused.
fn is_registry(registry: &str) -> bool {
    let (host, port) = match registry.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, "")) => (address, ""),
            Some((address, port)) => match port.strip_prefix(':') {
                Some(port) => (address, port),
                None => return false,
            },
            None => return false,
        },
        None => registry.split_once(':').unwrap_or((registry, "")),
    };
    let colons = registry.starts_with('[');
    !host.is_empty()
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b) || (colons && b == b':'))
        && port.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:7825fc52e96cdac282ddc3dbf27981f811ad4b29686bffac1a8812813f77db0f";

    #[test]
    fn canonical_forms() {
        for (written, canonical) in [
            ("ubuntu", "index.docker.io/library/ubuntu"),
            ("docker.io/ubuntu:22.04", "index.docker.io/library/ubuntu"),
            ("acme/app", "index.docker.io/acme/app"),
            ("localhost/app", "index.docker.io/localhost/app"),
            ("localhost:5000/app", "localhost:5000/app"),
            ("127.0.0.1:5000/a/b:v1", "127.0.0.1:5000/a/b"),
            ("ghcr.io/app:", "ghcr.io/app"),
            ("[::1]:5000/app", "[::1]:5000/app"),
            ("Registry.Example/a", ""),
            ("Registry.Example/app", "Registry.Example/app"),
        ] {
            let found = ImageReference::parse(&format!("{written}@{DIGEST}")).map(|reference| reference.to_string());
            let expected = (!canonical.is_empty()).then(|| format!("{canonical}@{DIGEST}"));
            assert_eq!(found, expected, "{written}");
        }
    }

    #[test]
    fn refused() {
        let digest512 = format!("sha512:{}", "0".repeat(128));
        for bad in [
            "ubuntu".to_owned(),
            "ubuntu:22.04".to_owned(),
            format!("@{DIGEST}"),
            format!("a@{DIGEST}"),
            format!("Upper/case@{DIGEST}"),
            format!("ubuntu@{DIGEST}@{DIGEST}"),
            format!("ubuntu@{}", DIGEST.to_uppercase()),
            format!("ubuntu@{DIGEST}0"),
            format!("ubuntu:a b@{DIGEST}"),
            format!("a b.io/app@{DIGEST}"),
            format!("ghcr.io:x/app@{DIGEST}"),
            format!(".io:1:2/app@{DIGEST}"),
            format!("ubuntu@{digest512}"),
        ] {
            assert_eq!(ImageReference::parse(&bad), None, "{bad}");
        }
    }
}
