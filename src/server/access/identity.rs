//! Who a request is by.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::config::{ANONYMOUS, CERTIFICATE, COMMON_NAME, DNS, EMAIL, URI, USER};
use crate::tls::{CertificateName, CertificateNames};

/// Names with more characters are cut where they are shown: clients choose them.
const MAX_SHOWN: usize = 128;

/// Who a request is by.
///
/// Shown, in the log and to the client, as the rules name it: `anonymous`, `user:alice`, `dns:node-1.example`. The
/// prefixes keep a user called `anonymous`, and a certificate with a user's name, apart from what they sound like. Of
/// a certificate's names the first is shown; one without any is a `certificate`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Whoever did not say.
    Anonymous,
    /// A user whose password was right.
    User(String),
    /// The holder of a client certificate's key.
    Certificate(Arc<CertificateNames>),
}

impl Identity {
    /// What the rules' patterns are held against.
    pub(super) fn subjects(&self) -> Vec<Cow<'_, str>> {
        match self {
            Self::Anonymous => vec![Cow::Borrowed(ANONYMOUS)],
            Self::User(name) => vec![Cow::Owned(format!("{USER}{name}"))],
            Self::Certificate(names) => {
                let subject = |(prefix, name)| Cow::Owned(format!("{prefix}{name}"));
                let subjects: Vec<_> = names.all().map(prefixed).map(subject).collect();
                // One without names still is somebody, for rules about everyone.
                if subjects.is_empty() { vec![Cow::Borrowed(CERTIFICATE)] } else { subjects }
            }
        }
    }
}

/// A text that says who nobody is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is nobody's name; write anonymous, user:<name>, or cn:<name>, dns:<name>, uri:<name> or email:<name> of a \
     client certificate, or certificate for one without any"
)]
pub struct IdentityError(String);

impl FromStr for Identity {
    type Err = IdentityError;

    /// Reads what `Display` writes. A certificate has the one name.
    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let name = |prefix: &str| text.strip_prefix(prefix).filter(|name| !name.is_empty()).map(str::to_owned);
        let all = |name: Option<String>| name.into_iter().collect::<Vec<_>>();
        if text == ANONYMOUS {
            return Ok(Self::Anonymous);
        }
        if let Some(name) = name(USER) {
            return Ok(Self::User(name));
        }
        let names = CertificateNames {
            common_name: name(COMMON_NAME),
            dns: all(name(DNS).map(|name| name.to_ascii_lowercase())),
            uris: all(name(URI)),
            emails: all(name(EMAIL)),
        };
        let known = text == CERTIFICATE || names.all().next().is_some();
        if known { Ok(Self::Certificate(Arc::new(names))) } else { Err(IdentityError(text.to_owned())) }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str(ANONYMOUS),
            Self::User(name) => write!(f, "{USER}{}", Shown(name)),
            Self::Certificate(names) => match names.all().next().map(prefixed) {
                Some((prefix, name)) => write!(f, "{prefix}{}", Shown(name)),
                None => f.write_str(CERTIFICATE),
            },
        }
    }
}

/// A certificate's name, behind what rules call its kind.
fn prefixed(name: CertificateName<'_>) -> (&'static str, &str) {
    match name {
        CertificateName::Common(name) => (COMMON_NAME, name),
        CertificateName::Dns(name) => (DNS, name),
        CertificateName::Uri(uri) => (URI, uri),
        CertificateName::Email(address) => (EMAIL, address),
    }
}

/// A name somebody else chose, cut, and with whatever could forge or garble a line escaped.
pub(super) struct Shown<'a>(pub(super) &'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut characters = self.0.chars();
        characters.by_ref().take(MAX_SHOWN).try_for_each(|character| write!(f, "{}", character.escape_debug()))?;
        if characters.next().is_some() { f.write_str("…") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(names: &[&str]) -> Identity {
        let dns = names.iter().map(|name| (*name).to_owned()).collect();
        Identity::Certificate(Arc::new(CertificateNames { dns, ..CertificateNames::default() }))
    }

    #[test]
    fn shown_as_rules_name_them() {
        for (identity, shown) in [
            (Identity::Anonymous, "anonymous"),
            (Identity::User("alice".to_owned()), "user:alice"),
            (Identity::User("anonymous".to_owned()), "user:anonymous"),
            (Identity::User("jos\u{e9}".to_owned()), "user:jos\u{e9}"),
            (certificate(&["node-1.example", "10.0.0.1"]), "dns:node-1.example"),
            (certificate(&[]), "certificate"),
        ] {
            assert_eq!(identity.to_string(), shown);
        }
    }

    #[test]
    fn read_as_they_are_shown() {
        for text in [
            "anonymous",
            "user:alice",
            "user:anonymous",
            "cn:Node 7",
            "dns:a.b",
            "uri:spiffe://a/b",
            "email:a@b",
            "certificate",
        ] {
            assert_eq!(text.parse::<Identity>().map(|identity| identity.to_string()), Ok(text.to_owned()));
        }
        assert_eq!("dns:A.b".parse::<Identity>(), "dns:a.b".parse());
        for bad in ["", "alice", "user:", "User:alice", "**", "cn:"] {
            assert_eq!(bad.parse::<Identity>(), Err(IdentityError(bad.to_owned())));
        }
    }

    #[test]
    fn no_name_forges_a_line_or_fills_it() {
        let shown = Identity::User("a\n2026 INFO \u{1b}[31m\u{202e}\"".to_owned()).to_string();
        assert_eq!(shown, r#"user:a\n2026 INFO \u{1b}[31m\u{202e}\""#);
        let shown = Identity::User("\0".repeat(10_000)).to_string();
        assert_eq!(shown, format!("user:{}…", r"\0".repeat(MAX_SHOWN)));
        assert_eq!(Shown(&"x".repeat(MAX_SHOWN)).to_string(), "x".repeat(MAX_SHOWN));
    }
}
