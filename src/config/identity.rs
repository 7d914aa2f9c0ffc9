//! Whom a rule is about, and what it lets them do.

use std::fmt;
use std::str::FromStr;

use super::glob::Glob;

/// What rules call those who give no name.
pub const ANONYMOUS: &str = "anonymous";
/// What stands before the name of a user.
pub const USER: &str = "user:";
/// What stands before the common name of a client certificate's subject.
pub const COMMON_NAME: &str = "cn:";
/// What stands before a host name in a client certificate.
pub const DNS: &str = "dns:";
/// What stands before a URI in a client certificate, such as a SPIFFE identifier.
pub const URI: &str = "uri:";
/// What stands before a mail address in a client certificate.
pub const EMAIL: &str = "email:";
/// What rules call a client certificate without any of these. Only `**` is about it.
pub const CERTIFICATE: &str = "certificate";

const PREFIXES: [&str; 5] = [USER, COMMON_NAME, DNS, URI, EMAIL];

/// Whom a rule is about: `user:alice`, `user:ci-*`, `dns:*.nodes.example`, `uri:spiffe://nodes/*`, `anonymous`, or `**`
/// for everyone.
///
/// Names are told apart by their kind, since one CA may vouch for host names with more care than for what people are
/// called. After the prefix it is a [`Glob`], in which `*` stops at a slash: `uri:*` leaves out `spiffe://nodes/a`,
/// `uri:**` does not. Host names are lower-cased, as those of certificates are. A bare name is refused rather than
/// never matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityPattern(Glob);

/// A pattern that no identity can match.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` names nobody; write user:<name>, or cn:<name>, dns:<name>, uri:<name> or email:<name> of a client \
     certificate, in which * and ** may stand for parts, `anonymous` for those who give no name, or ** for everyone"
)]
pub struct IdentityPatternError(String);

impl IdentityPattern {
    /// Everyone.
    pub fn any() -> Self {
        Self(Glob::any())
    }

    /// Whether it is about names of client certificates alone.
    pub fn is_of_certificates(&self) -> bool {
        [COMMON_NAME, DNS, URI, EMAIL].iter().any(|prefix| self.0.as_str().starts_with(prefix))
    }

    /// Whether it is about `subject`: [`ANONYMOUS`], [`CERTIFICATE`], or a name behind the prefix of its kind.
    pub fn matches(&self, subject: &str) -> bool {
        self.0.matches(subject)
    }
}

impl FromStr for IdentityPattern {
    type Err = IdentityPatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = PREFIXES.iter().filter_map(|prefix| text.strip_prefix(prefix)).any(|name| !name.is_empty());
        let pattern = if text.starts_with(DNS) { Glob::new(&text.to_ascii_lowercase()) } else { Glob::new(text) };
        let pattern = pattern.filter(|_| named || text == ANONYMOUS || text == Glob::any().as_str());
        pattern.map(Self).ok_or_else(|| IdentityPatternError(text.to_owned()))
    }
}

impl fmt::Display for IdentityPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Something a client can want to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Read manifests, blobs and tags.
    Pull,
    /// Write them.
    Push,
    /// Delete them.
    Delete,
}

impl Action {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Delete => "delete",
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests {
    use super::*;

    #[test]
    fn patterns_that_name_somebody() {
        for good in [
            "user:alice",
            "user:*",
            "user:**",
            "cn:Node 7",
            "dns:*.nodes.example",
            "uri:spiffe://nodes/*",
            "email:*@Example",
            "anonymous",
            "**",
        ] {
            assert_eq!(good.parse::<IdentityPattern>().unwrap().to_string(), good);
        }
        assert_eq!("dns:*.Nodes.Example".parse::<IdentityPattern>().unwrap().to_string(), "dns:*.nodes.example");
        for bad in [
            "",
            "alice",
            "*",
            "***",
            "user:",
            "dns:",
            "cert:a",
            "certificate",
            "user*",
            "*:a",
            "anonymous*",
            "User:alice",
            "DNS:a",
            " user:a",
            "everyone",
        ] {
            let refused = bad.parse::<IdentityPattern>().unwrap_err();
            assert_eq!(refused, IdentityPatternError(bad.to_owned()));
        }
    }
}
