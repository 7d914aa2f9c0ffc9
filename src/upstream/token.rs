//! What a token server is asked for, and what it answers (distribution spec, token authentication).

use std::time::{Duration, SystemTime};

use http::HeaderValue;
use serde::Deserialize;
use serde_json::Value;

use super::error::UpstreamError;
use crate::oci::RepositoryName;

/// The lifetime of a token that comes without one (distribution spec, token authentication).
const DEFAULT_LIFETIME: Duration = Duration::from_secs(60);
/// Nothing is trusted for longer, whatever a token server says.
const MAX_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// What a token is for; it counts for nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Scope {
    /// The repository; with none, it only says who asks.
    pub(super) repository: Option<RepositoryName>,
    /// What is to be done there.
    pub(super) right: Right,
    /// Another repository that is read for it: a blob is mounted from there.
    pub(super) from: Option<RepositoryName>,
}

/// What is to be done (the distribution project's token scopes).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Right {
    #[default]
    Pull,
    Push,
    Delete,
    /// To list the repositories, which is a right of its own and of no repository.
    Catalog,
}

impl Scope {
    /// To read a repository, or to say who asks.
    pub(super) fn pull(repository: Option<&RepositoryName>) -> Self {
        Self { repository: repository.cloned(), ..Self::default() }
    }

    /// To list the repositories.
    pub(super) fn catalog() -> Self {
        Self { right: Right::Catalog, ..Self::default() }
    }

    /// How much it takes to remember, in bytes.
    pub(super) fn weight(&self) -> usize {
        [&self.repository, &self.from].into_iter().flatten().map(|name| name.as_str().len()).sum()
    }

    /// What a token is asked for: always for this repository and, where the upstream stands behind a path prefix and calls it
    /// by a longer or shorter name, the same by that name. Never what else a challenge may want: the credentials may reach
    /// further than this upstream should, and than what is to be done needs.
    pub(super) fn scopes(&self, challenged: Option<&str>) -> Vec<String> {
        let actions = match self.right {
            Right::Catalog => return vec!["registry:catalog:*".to_owned()],
            Right::Pull => "pull",
            Right::Push => "pull,push",
            Right::Delete => "pull,push,delete",
        };
        let Some(repository) = &self.repository else { return Vec::new() };
        let own = repository.as_str();
        let mut names = vec![own];
        for scope in challenged.unwrap_or_default().split_ascii_whitespace() {
            let name = scope.strip_prefix("repository:").and_then(|rest| rest.rsplit_once(':')).map(|(name, _)| name);
            let Some(name) = name else { continue };
            let within = |long: &str, short: &str| long.strip_suffix(short).is_some_and(|rest| rest.ends_with('/'));
            if names.len() < 3 && (within(name, own) || within(own, name)) && !names.contains(&name) {
                names.push(name);
            }
        }
        let own = names.into_iter().map(|name| format!("repository:{name}:{actions}"));
        own.chain(self.from.iter().map(|from| format!("repository:{from}:pull"))).collect()
    }
}

/// A token, ready to be sent.
pub(super) struct Token {
    pub(super) header: HeaderValue,
    /// How long it may be used from now on.
    pub(super) lifetime: Duration,
}

#[derive(Deserialize)]
struct TokenDocument {
    token: Option<String>,
    access_token: Option<String>,
    // Of any type: a server that is careless here still gives a good token.
    expires_in: Option<Value>,
    issued_at: Option<Value>,
}

impl Token {
    pub(super) fn read(body: &[u8], now: SystemTime) -> Result<Self, UpstreamError> {
        let bad = || UpstreamError::malformed("has a token server whose answer holds no token");
        let document: TokenDocument = serde_json::from_slice(body).map_err(|_| bad())?;
        let token = [document.token, document.access_token].into_iter().flatten().find(|token| !token.is_empty());
        let header = token.and_then(|token| secret(&format!("Bearer {token}"))).ok_or_else(bad)?;
        let lifetime = match document.expires_in.as_ref().and_then(Value::as_f64) {
            Some(seconds) if seconds >= 1.0 => Duration::from_secs_f64(seconds.min(MAX_LIFETIME.as_secs_f64())),
            _ => DEFAULT_LIFETIME,
        };
        // A token from the server's own cache has lived for a while. An age beyond the lifetime is a clock
        // that is off, and would have every request fetch a token.
        let issued = document.issued_at.as_ref().and_then(Value::as_str);
        let issued = issued.and_then(|text| humantime::parse_rfc3339(text).ok());
        let age = issued.and_then(|issued| now.duration_since(issued).ok()).filter(|age| *age < lifetime);
        let left = lifetime - age.unwrap_or_default();
        // A little early, so that it does not expire on its way.
        Ok(Self { header, lifetime: left.mul_f64(0.9) })
    }
}

/// A header value that HTTP/2 does not compress into a shared table and `Debug` does not show.
pub(super) fn secret(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_for_reading_this_repository() {
        let name = "acme/app".parse().expect("a name");
        let scopes = |challenged| Scope::pull(Some(&name)).scopes(challenged);
        let own = "repository:acme/app:pull";
        assert_eq!(scopes(None), [own]);
        assert_eq!(scopes(Some("repository:acme/app:pull,push")), [own]);
        assert_eq!(scopes(Some("registry:catalog:* repository:other:pull")), [own]);
        assert_eq!(scopes(Some("repository:evilacme/app:pull")), [own]);
        let prefixed = "repository:docker-remote/acme/app:pull";
        assert_eq!(scopes(Some("repository:docker-remote/acme/app:*")), [own, prefixed]);
        assert_eq!(scopes(Some("repository:app:pull")), [own, "repository:app:pull"]);
        assert_eq!(Scope::default().scopes(Some("repository:acme/app:pull")), [""; 0]);
        assert_eq!(Scope::catalog().scopes(Some("registry:catalog:* repository:a:pull")), ["registry:catalog:*"]);
        let from = Some("other/app".parse().expect("a name"));
        let push = Scope { right: Right::Push, from, ..Scope::pull(Some(&name)) };
        assert_eq!(push.scopes(None), ["repository:acme/app:pull,push", "repository:other/app:pull"]);
    }

    #[test]
    fn lifetimes() {
        let now = humantime::parse_rfc3339("2024-01-01T00:01:00Z").expect("a time");
        let seconds = |fields: &str| {
            Token::read(format!(r#"{{"token":"t"{fields}}}"#).as_bytes(), now)
                .map(|token| token.lifetime.as_secs())
                .ok()
        };
        assert_eq!(seconds(""), Some(54));
        assert_eq!(seconds(r#","expires_in":300"#), Some(270));
        assert_eq!(seconds(r#","expires_in":0"#), Some(54));
        assert_eq!(seconds(r#","expires_in":-5"#), Some(54));
        assert_eq!(seconds(r#","expires_in":1e300"#), Some(77_760));
        assert_eq!(seconds(r#","expires_in":160,"issued_at":"2024-01-01T00:00:00Z""#), Some(90));
        assert_eq!(seconds(r#","expires_in":160,"issued_at":"2023-01-01T00:00:00Z""#), Some(144));
        assert_eq!(seconds(r#","expires_in":100,"issued_at":"2024-01-01T00:02:00Z""#), Some(90));
    }

    #[test]
    fn what_is_no_token() {
        let now = SystemTime::UNIX_EPOCH;
        for bad in ["", "{}", "<html>", r#"{"token":""}"#, r#"{"token":"a\nb"}"#, r#"{"token":1}"#] {
            assert!(matches!(Token::read(bad.as_bytes(), now), Err(UpstreamError::Malformed { .. })), "{bad}");
        }
        let both = Token::read(br#"{"token":"","access_token":"a"}"#, now).expect("a token");
        assert_eq!(both.header, "Bearer a");
        assert!(both.header.is_sensitive());
    }
}
