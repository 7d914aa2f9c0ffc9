//! Repository names, tags and references, by the grammar of the distribution spec ("Pulling manifests").

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::digest::{Digest, DigestError};

/// The longest repository name; what clients allow for host and name together, and file systems for a record.
const MAX_NAME_BYTES: usize = 255;
/// The longest tag (distribution spec).
const MAX_TAG_BYTES: usize = 128;

/// How much of a digest the tag of its referrers has (distribution spec, "Referrers Tag Schema").
const MAX_REFERRERS_DIGITS: usize = 64;

/// Why a text is not a repository name or a reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/…)*`, or too long.
    #[error(
        "a repository name has lower-case letters and digits, single separators (. _ __ -) between them, \
         parts joined by /, and at most 255 characters"
    )]
    Repository,
    /// Not `host` or `host:port`.
    #[error("a registry's name is host or host:port, without https:// and any path")]
    Registry,
    /// Not `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
    #[error("a tag has letters, digits, _ . and -, does not start with . or -, and has at most 128 characters")]
    Tag,
    /// Something with a colon that is no digest.
    #[error(transparent)]
    Digest(#[from] DigestError),
}

/// A valid repository name, such as `acme/app`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepositoryName(Arc<str>);

impl RepositoryName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RepositoryName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.len() > MAX_NAME_BYTES || !text.split('/').all(is_path_component) {
            return Err(NameError::Repository);
        }
        Ok(Self(text.into()))
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_path_component(component: &str) -> bool {
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = component.as_bytes();
    if !bytes.first().is_some_and(alphanumeric) || !bytes.last().is_some_and(alphanumeric) {
        return false;
    }
    component
        .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        .all(|separator| matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-'))
}

/// A valid tag.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(String);

impl Tag {
    /// The tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The tag under which a repository has the index of what refers to `subject`, where it does not list that itself
    /// (distribution spec, "Referrers Tag Schema"). Of a longer digest than SHA-256's only as many digits count.
    pub fn of_referrers(subject: &Digest) -> Self {
        let hex = subject.hex();
        Self(format!("{}-{}", subject.algorithm().name(), hex.get(..MAX_REFERRERS_DIGITS).unwrap_or(&hex)))
    }
}

impl FromStr for Tag {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let bytes = text.as_bytes();
        let word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        let valid = bytes.len() <= MAX_TAG_BYTES
            && bytes.first().is_some_and(word)
            && bytes.iter().all(|byte| word(byte) || matches!(byte, b'.' | b'-'));
        if valid { Ok(Self(text.to_owned())) } else { Err(NameError::Tag) }
    }
}

/// What follows `manifests/`: a tag or a digest.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reference {
    /// A name that can move.
    Tag(Tag),
    /// Exactly this content.
    Digest(Digest),
}

impl FromStr for Reference {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        // A tag has no colon and a digest always does, so the error can name the right one.
        if text.contains(':') { Ok(Self::Digest(text.parse()?)) } else { Ok(Self::Tag(text.parse()?)) }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

macro_rules! text {
    ($type:ident) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
text!(RepositoryName);
text!(Tag);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repository_names() {
        for good in ["a", "acme/app", "a.b/c_d/e__f/g---h", "0/1", "mirror/ghcr.io/acme/app"] {
            assert!(good.parse::<RepositoryName>().is_ok(), "{good}");
        }
        let long = "a".repeat(256);
        for bad in ["", "/", "a/", "/a", "A", "a..b", "a___b", ".a", "a-", "a/../b", "a//b", "a b", "a\0b", "é", &long]
        {
            assert_eq!(bad.parse::<RepositoryName>(), Err(NameError::Repository), "{bad}");
        }
    }

    #[test]
    fn references() {
        assert!(matches!("v1.0.0".parse(), Ok(Reference::Tag(_))));
        assert!(matches!("_x-Y.z".parse(), Ok(Reference::Tag(_))));
        for bad in ["", ".a", "-a", "a/b", "a b", &"a".repeat(129)] {
            assert_eq!(bad.parse::<Reference>(), Err(NameError::Tag), "{bad}");
        }
        assert!(matches!("sha256:beef".parse::<Reference>(), Err(NameError::Digest(_))));
        assert!(matches!("blake3:beef".parse::<Reference>(), Err(NameError::Digest(_))));
    }

    #[test]
    fn tags_of_referrers() {
        for (algorithm, digits) in [("sha256", 64), ("sha512", 128)] {
            let digest = format!("{algorithm}:{}", "a1".repeat(digits / 2)).parse().expect("a digest");
            let tag = Tag::of_referrers(&digest);
            assert_eq!(tag.as_str(), format!("{algorithm}-{}", "a1".repeat(32)));
            assert_eq!(tag.as_str().parse(), Ok(tag), "a valid one");
        }
    }
}
