//! What an upstream would see instead of what it was sent, for a client that answers challenges itself.

use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue};
use url::Url;

use super::challenge::{Offer, offers};
use super::quoted::quoted;
use super::realm::{Realms, Standing};

/// What all challenges of one answer may take.
const MAX_BYTES: usize = 8 << 10;

/// The challenges of an upstream's 401 (`WWW-Authenticate`), as far as a client may see them.
///
/// A client sends its password to whatever realm a challenge names, as if the proxy had said so. So only these are
/// kept: Basic, and Bearer with a realm on the upstream's own host or one that the operator listed. They are written
/// anew from what was understood of them, so that no client reads another realm in them than was judged here.
#[derive(Clone, Default)]
pub struct Challenges {
    inner: Option<Arc<Inner>>,
}

/// An upstream sends clients for tokens where they must not be sent. What it says of the upstream follows on from that.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("sends clients for tokens to {host}, which is not its own host; if that is right, list it in `auth.realms`")]
pub struct ForeignRealm {
    host: String,
}

struct Inner {
    trusted: Vec<HeaderValue>,
    /// The host of a realm that is not.
    foreign: Option<String>,
}

impl Challenges {
    /// The challenges of an answer; at most eight, and 8 KiB in all.
    pub(super) fn of(headers: &HeaderMap, realms: &Realms) -> Self {
        let mut inner = Inner { trusted: Vec::new(), foreign: None };
        let mut bytes = 0;
        for offer in offers(headers) {
            let written = match offer.parameter("realm") {
                _ if offer.is("basic") => write("Basic", &offer, None),
                Some(realm) if offer.is("bearer") => match judge(realms, &realm) {
                    Ok(url) => write("Bearer", &offer, Some(&url)),
                    Err(host) => {
                        inner.foreign = Some(host);
                        None
                    }
                },
                _ => None,
            };
            if let Some(value) = written.filter(|value| bytes + value.len() <= MAX_BYTES) {
                bytes += value.len();
                inner.trusted.push(value);
            }
        }
        let nothing = inner.trusted.is_empty() && inner.foreign.is_none();
        Self { inner: (!nothing).then(|| Arc::new(inner)) }
    }

    /// The values of `WWW-Authenticate` for a client; none if the upstream gave no challenge that it could answer.
    ///
    /// # Errors
    /// When all that the upstream gave would send clients to a host it must not.
    pub fn for_clients(&self) -> Result<&[HeaderValue], ForeignRealm> {
        match self.inner.as_deref() {
            None => Ok(&[]),
            Some(Inner { trusted, foreign: Some(host) }) if trusted.is_empty() => {
                Err(ForeignRealm { host: host.clone() })
            }
            Some(Inner { trusted, .. }) => Ok(trusted),
        }
    }
}

impl fmt::Debug for Challenges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (trusted, foreign) =
            self.inner.as_ref().map_or((&[][..], None), |inner| (&inner.trusted, inner.foreign.as_ref()));
        f.debug_struct("Challenges").field("trusted", &trusted).field("foreign", &foreign).finish()
    }
}

/// The URL that a realm is, or the host in the way if clients must not be sent there.
fn judge(realms: &Realms, realm: &str) -> Result<Url, String> {
    let url: Url = realm.parse().map_err(|_| "something that is no URL".to_owned())?;
    match realms.judge(&url) {
        Ok(Standing::Own | Standing::Listed) => Ok(url),
        Ok(Standing::Foreign) | Err(_) => {
            let place = url.host_str().map(|host| match url.port() {
                None => quoted(host),
                Some(port) => format!("{}:{port}", quoted(host)),
            });
            Err(place.unwrap_or_else(|| "a URL without a host".to_owned()))
        }
    }
}

/// RFC 9110 §11.6.1, with every value quoted. Nothing for one that two readers might read differently. `realm`, where
/// there is one, stands in the place of the text it was read from: other readers of URLs find another host in
/// `https://a\@b/` than was judged here.
fn write(scheme: &str, offer: &Offer, realm: Option<&Url>) -> Option<HeaderValue> {
    let mut text = scheme.to_owned();
    for (index, (name, value)) in offer.parameters.iter().enumerate() {
        if offer.parameters[..index].iter().any(|(other, _)| other.eq_ignore_ascii_case(name)) {
            return None;
        }
        text.push_str(if index == 0 { " " } else { "," });
        text.push_str(name);
        text.push_str("=\"");
        let judged = realm.filter(|_| name.eq_ignore_ascii_case("realm"));
        for c in judged.map_or(value.as_str(), Url::as_str).chars() {
            if matches!(c, '"' | '\\') {
                text.push('\\');
            }
            text.push(c);
        }
        text.push('"');
    }
    HeaderValue::try_from(text).ok()
}

#[cfg(test)]
mod tests {
    use http::header::WWW_AUTHENTICATE;

    use super::*;

    fn challenges(lines: &[&str]) -> Challenges {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(WWW_AUTHENTICATE, line.parse().expect("a header"));
        }
        let upstream = "https://registry.example/v2/".parse().expect("a URL");
        Challenges::of(&headers, &Realms { upstream, allowed: vec!["auth.example".to_owned()] })
    }

    fn passed(lines: &[&str]) -> Vec<String> {
        let challenges = challenges(lines);
        let values = challenges.for_clients().expect("challenges");
        values.iter().map(|value| value.to_str().expect("text").to_owned()).collect()
    }

    #[test]
    fn realms_that_clients_may_be_sent_to() {
        let own = r#"Bearer realm="https://registry.example/token",service="a, b",scope="repository:a:pull""#;
        assert_eq!(passed(&[own]), [own]);
        assert_eq!(passed(&[r#"bearer Realm=https://auth.example/t"#]), [r#"Bearer Realm="https://auth.example/t""#]);
        assert_eq!(passed(&[r#"Basic realm="a \"b\"""#, own]), [r#"Basic realm="a \"b\"""#, own]);
        let odd = r#"Bearer realm="https://AUTH.example:443/a b",service="https://AUTH.example""#;
        let read = r#"Bearer realm="https://auth.example/a%20b",service="https://AUTH.example""#;
        assert_eq!(passed(&[odd]), [read]);
        assert_eq!(passed(&[]), [""; 0]);
        assert_eq!(passed(&["Negotiate", "Bearer", "Digest realm=x"]), [""; 0]);
    }

    #[test]
    fn forged_realms_reach_no_client() {
        let forged = r#"Bearer realm="https://evil.example/token""#;
        assert_eq!(passed(&[&format!(r#"Basic realm="x", {forged}"#)]), [r#"Basic realm="x""#]);
        for (bad, host) in [
            (forged, "evil.example"),
            (r#"Bearer realm="https://registry.example.evil.example/token""#, "registry.example.evil.example"),
            (r#"Bearer realm="https://registry.example@evil.example/""#, "evil.example"),
            (r#"Bearer realm="http://registry.example:80/token""#, "registry.example"),
            (r#"Bearer realm="token""#, "no URL"),
        ] {
            let error = challenges(&[bad]).for_clients().expect_err(bad).to_string();
            assert!(error.contains(host) && error.contains("auth.realms"), "{error}");
        }
        // Read by RFC 3986, this one's host is the other.
        let two_hosts = r#"Bearer realm="https://registry.example\\@evil.example/t""#;
        assert_eq!(passed(&[two_hosts]), [r#"Bearer realm="https://registry.example/@evil.example/t""#]);
        let twice = r#"Bearer realm="https://registry.example/token",realm="https://evil.example/token""#;
        assert_eq!(passed(&[twice]), [""; 0]);
    }

    #[test]
    fn challenges_are_bounded() {
        let long = format!(r#"Basic realm="{}""#, "x".repeat(5000));
        assert_eq!(passed(&[&long, &long]).len(), 1);
        assert_eq!(passed(&["Basic realm=x"; 20]).len(), 8);
    }
}
