//! Whom a rule is about, and what it lets them do.

use std::fmt;
use std::str::FromStr;

use super::glob::Glob;

/// What rules call those who give no name.
pub const ANONYMOUS: &str = "anonymous";
/// What stands before the name of a user.
pub const USER: &str = "user:";
/// What stands before a name in a client certificate.
pub const CERTIFICATE: &str = "cert:";

/// Whom a rule is about: `user:alice`, `user:ci-*`, `cert:*.nodes.example`, `anonymous`, or `**` for everyone.
///
/// After the prefix it is a [`Glob`], in which `*` stops at a slash: `cert:*` leaves out `spiffe://nodes/a`, `cert:**`
/// does not. A bare name is refused rather than never matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityPattern(Glob);

/// A pattern that no identity can match.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` names nobody; write user:<name> or cert:<name>, in which * and ** may stand for parts, `anonymous` for those \
     who give no name, or ** for everyone"
)]
pub struct IdentityPatternError(String);

impl IdentityPattern {
    /// Everyone.
    pub fn any() -> Self {
        Self(Glob::any())
    }

    /// Whether it is about `subject`: [`ANONYMOUS`], or a name behind [`USER`] or [`CERTIFICATE`].
    pub fn matches(&self, subject: &str) -> bool {
        self.0.matches(subject)
    }
}

impl FromStr for IdentityPattern {
    type Err = IdentityPatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named =
            [USER, CERTIFICATE].iter().filter_map(|prefix| text.strip_prefix(prefix)).any(|name| !name.is_empty());
        let pattern = Glob::new(text).filter(|_| named || text == ANONYMOUS || text == Glob::any().as_str());
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
        for good in ["user:alice", "user:*", "user:**", "cert:*.nodes.example", "anonymous", "**"] {
            assert_eq!(good.parse::<IdentityPattern>().unwrap().to_string(), good);
        }
        for bad in
            ["", "alice", "*", "***", "user:", "cert:", "user*", "anonymous*", "User:alice", " user:a", "everyone"]
        {
            let refused = bad.parse::<IdentityPattern>().unwrap_err();
            assert_eq!(refused, IdentityPatternError(bad.to_owned()));
        }
    }
}
