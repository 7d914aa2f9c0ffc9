//! Registries by name, and repositories with the registry they are in.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::name::{NameError, RepositoryName};

/// The name of Docker Hub here, whatever it is called in a reference.
const DOCKER_HUB: &str = "docker.io";
/// Its other names: the one in canonical references, and the host that serves it.
const DOCKER_HUB_ALIASES: [&str; 2] = ["index.docker.io", "registry-1.docker.io"];
/// The longest name; the longest host name, and a port.
const MAX_REGISTRY_BYTES: usize = 255 + 6;

/// A registry's own name, as image references begin with it: `host` or `host:port`, in lower case.
///
/// `docker.io`, `index.docker.io` and `registry-1.docker.io` are one registry.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RegistryName(Arc<str>);

impl RegistryName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same, to be kept.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }

    /// Whether this is Docker Hub.
    pub fn is_docker_hub(&self) -> bool {
        *self.0 == *DOCKER_HUB
    }

    /// The repository that a reference to this registry means by `name`: on Docker Hub, one part alone stands for
    /// an image in `library/`.
    pub fn repository(&self, name: &RepositoryName) -> Repository {
        let official = self.is_docker_hub() && !name.as_str().contains('/');
        let name = official.then(|| format!("library/{name}").parse().ok()).flatten().unwrap_or_else(|| name.clone());
        Repository { registry: self.clone(), name }
    }
}

impl FromStr for RegistryName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, rest)) => {
                let plain = |byte: u8| byte.is_ascii_hexdigit() || b":.".contains(&byte);
                if !address.contains(':') || !address.bytes().all(plain) {
                    return Err(NameError::Registry);
                }
                ("ipv6", if rest.is_empty() { None } else { Some(rest.strip_prefix(':').unwrap_or_default()) })
            }
            None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
        };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        let number = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
        let valid = !host.is_empty() && host.bytes().all(plain) && port.is_none_or(number);
        if !valid || text.len() > MAX_REGISTRY_BYTES {
            return Err(NameError::Registry);
        }
        let name = text.to_ascii_lowercase();
        let name = if DOCKER_HUB_ALIASES.contains(&name.as_str()) { DOCKER_HUB } else { &name };
        Ok(Self(name.into()))
    }
}

/// A repository, and the registry that has it: `ghcr.io/acme/app`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Repository {
    /// The registry.
    pub registry: RegistryName,
    /// The name there.
    pub name: RepositoryName,
}

impl FromStr for Repository {
    type Err = NameError;

    /// Reads what `Display` writes. It always begins with a registry, which needs no dot to be one.
    fn from_str(text: &str) -> Result<Self, NameError> {
        let (registry, name) = text.split_once('/').ok_or(NameError::Repository)?;
        Ok(Self { registry: registry.parse()?, name: name.parse()? })
    }
}

impl fmt::Display for RegistryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RegistryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.name)
    }
}

impl fmt::Debug for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Repository {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Repository {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests {
    use super::*;

    #[test]
    fn docker_hub_is_one_place() {
        for alias in ["docker.io", "index.docker.io", "registry-1.docker.io", "Index.Docker.IO"] {
            let hub: RegistryName = alias.parse().unwrap();
            assert_eq!(hub.as_str(), "docker.io");
            for name in ["ubuntu", "library/ubuntu"] {
                assert_eq!(hub.repository(&name.parse().unwrap()).to_string(), "docker.io/library/ubuntu");
            }
            assert_eq!(hub.repository(&"acme/app".parse().unwrap()).to_string(), "docker.io/acme/app");
        }
        let other: RegistryName = "docker.io.example".parse().unwrap();
        assert_eq!(other.repository(&"ubuntu".parse().unwrap()).to_string(), "docker.io.example/ubuntu");
        let long = "a".repeat(255).parse().unwrap();
        assert_eq!(
            "docker.io".parse::<RegistryName>().unwrap().repository(&long).name,
            long,
            "no longer name is valid"
        );
    }

    #[test]
    fn names() {
        for good in ["ghcr.io", "localhost:5000", "layout", "[::1]:5000", "10.0.0.1", "a_b"] {
            assert!(good.parse::<RegistryName>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "a/b",
            "a b",
            "https://a",
            "a:",
            "a:b",
            "a:99999",
            "a:1:2",
            ":1",
            "[x]",
            "[::1]x",
            "[::1]:",
            "a@b",
            "a?b",
            "é",
            &"a".repeat(262),
        ] {
            assert_eq!(bad.parse::<RegistryName>(), Err(NameError::Registry), "{bad}");
        }
        let repository: Repository = "ghcr.io/acme/app".parse().unwrap();
        assert_eq!((repository.registry.as_str(), repository.name.as_str()), ("ghcr.io", "acme/app"));
        assert_eq!(serde_json::to_string(&repository).unwrap(), "\"ghcr.io/acme/app\"");
        assert!("ghcr.io".parse::<Repository>().is_err());
    }
}
