//! Who may look at the status page: whoever reaches the listener by a name that is its own.
//!
//! A browser on an operator's machine reaches what only that machine does, for any page that it has open. A page of
//! somebody else's is kept from reading answers by the browser, unless its own name leads here: so only names that
//! are known are answered, and addresses, which nobody can make lead elsewhere.

use std::net::IpAddr;

use http::header::{HOST, HeaderName, HeaderValue, ORIGIN, REFERER};
use http::{HeaderMap, Request};

/// What a browser says of the page that asks (W3C, "Fetch Metadata Request Headers").
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Why an answer is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotForYou {
    /// By a name that is not known.
    #[error(
        "this is not reached by the name `{0}`; open it by its address or by localhost, or list the name in admin.names"
    )]
    Name(String),
    /// From another site's page.
    #[error("another site's page asks for this")]
    Site,
}

/// Lets a request through that came by an address, by `localhost` or by one of `names`.
pub(super) fn by_own_name<B>(request: &Request<B>, names: &[String]) -> Result<(), NotForYou> {
    let said = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let said = said.or_else(|| request.uri().authority().map(|authority| authority.as_str())).unwrap_or_default();
    let host = without_port(said).to_ascii_lowercase();
    let is_address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
    if is_address || host == "localhost" || names.contains(&host) {
        return Ok(());
    }
    Err(NotForYou::Name(host.chars().take(100).collect()))
}

/// Lets a request through that no other site's page makes. Browsers say so to addresses that they trust, and to all which
/// page it was, unless that page keeps it to itself.
pub(super) fn from_own_page(headers: &HeaderMap) -> Result<(), NotForYou> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let of_own = |page: &str| {
        let page = page.split_once("://").map_or(page, |(_, rest)| rest);
        page.split('/').next() == text(HOST)
    };
    let own_site = matches!(text(FETCH_SITE), None | Some("same-origin" | "none"));
    let own_page = [ORIGIN, REFERER].into_iter().all(|name| text(name).is_none_or(of_own));
    if own_site && own_page { Ok(()) } else { Err(NotForYou::Site) }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        // The colons of an IPv6 address are in brackets.
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_here() {
        let names = ["colocate.monitoring.svc".to_owned()];
        let asked = |host: &str| by_own_name(&Request::builder().header(HOST, host).body(()).unwrap(), &names);
        for good in ["127.0.0.1:8081", "[::1]:8081", "[::1]", "10.1.2.3", "localhost:1", "Colocate.monitoring.svc:8081"]
        {
            assert_eq!(asked(good), Ok(()), "{good}");
        }
        for bad in ["evil.example:8081", "127.0.0.1.evil.example", "localhost.evil.example", "", "colocate", "::1:x"] {
            assert!(asked(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn pages_of_other_sites() {
        let asked = |site: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.extend(site.map(|site| (FETCH_SITE, site.parse().unwrap())));
            from_own_page(&headers).is_ok()
        };
        assert!(asked(None) && asked(Some("same-origin")) && asked(Some("none")));
        assert!(!asked(Some("cross-site")) && !asked(Some("same-site")));
        let named = |name: HeaderName, page: &'static str| {
            let said = [(HOST, "127.0.0.1:8081"), (name, page)];
            let headers = said.into_iter().map(|(name, value)| (name, HeaderValue::from_static(value)));
            from_own_page(&headers.collect()).is_ok()
        };
        assert!(named(REFERER, "http://127.0.0.1:8081/") && named(ORIGIN, "http://127.0.0.1:8081"));
        for page in ["http://evil.example/127.0.0.1:8081", "http://127.0.0.1:8082", "null"] {
            assert!(!named(ORIGIN, page) && !named(REFERER, page), "{page}");
        }
    }
}
