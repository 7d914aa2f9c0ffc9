//! Which token servers are asked, which of them get the password, and to which of them clients may be sent.
//!
//! An upstream says in its challenge where tokens are to be had, so a forged challenge could send the
//! operator's password anywhere, and a client's own. [`Realms`] decides, from configuration alone:
//!
//! | realm | credentials | client certificate | certificate verified | asked at all |
//! |---|---|---|---|---|
//! | the upstream's own host | yes, unless the way there is http and the upstream's is https | yes | as configured | yes |
//! | a host on the list | likewise | yes | always | yes; over http only if the upstream itself is http |
//! | any other host | never | never | always | anonymously; over http only if the upstream itself is http |
//!
//! The answer of a token server is read as a token and goes nowhere but to the upstream that named the
//! server. Token servers' redirects are not followed. A challenge is passed on to a client only if its realm is of the
//! first two kinds.

use url::Url;

/// Which hosts get what.
pub(super) struct Realms {
    pub(super) upstream: Url,
    /// Hosts, or `host:port`, that may have the credentials besides the upstream's own.
    pub(super) allowed: Vec<String>,
}

/// What a host is to an upstream, and so what it may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The upstream's own.
    Own,
    /// On the operator's list.
    Listed,
    /// Neither, or reached less safely than the upstream.
    Foreign,
}

/// Why a realm must not be asked at all. What it says of the upstream follows on from that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("sends clients for tokens to {0}")]
pub(super) struct BadRealm(&'static str);

impl Realms {
    /// What the host of `realm` is; an error if it must not be asked at all.
    pub(super) fn judge(&self, realm: &Url) -> Result<Standing, BadRealm> {
        let refused = |why| Err(BadRealm(why));
        let Some(host) = realm.host_str().filter(|_| matches!(realm.scheme(), "http" | "https")) else {
            return refused("something that is no http or https URL");
        };
        if !realm.username().is_empty() || realm.password().is_some() {
            return refused("a URL with a user name in it");
        }
        let own = self.upstream.host_str() == Some(host);
        let with_port = realm.port_or_known_default().map(|port| format!("{host}:{port}"));
        let listed = self.allowed.iter().any(|allowed| {
            allowed.eq_ignore_ascii_case(host)
                || with_port.as_deref().is_some_and(|with_port| allowed.eq_ignore_ascii_case(with_port))
        });
        let as_safe = realm.scheme() == "https" || self.upstream.scheme() == "http";
        if !as_safe && !own {
            return refused("another host over http");
        }
        Ok(match () {
            () if !as_safe => Standing::Foreign,
            () if own => Standing::Own,
            () if listed => Standing::Listed,
            () => Standing::Foreign,
        })
    }

    /// What the host that a request is redirected to is: only the upstream's own origin is its own.
    pub(super) fn redirected(&self, to: &Url) -> Standing {
        if to.origin() == self.upstream.origin() { Standing::Own } else { Standing::Foreign }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_gets_credentials() {
        let judge = |upstream: &str, realm: &str| {
            let allowed = vec!["auth.docker.io".to_owned(), "tokens.example:8443".to_owned()];
            let realms = Realms { upstream: upstream.parse().expect("a URL"), allowed };
            realms.judge(&realm.parse().expect("a URL")).ok().map(|standing| standing != Standing::Foreign)
        };
        let https = "https://registry.example";
        assert_eq!(judge(https, "https://registry.example/token"), Some(true));
        assert_eq!(judge(https, "https://registry.example:5001/token"), Some(true));
        assert_eq!(judge(https, "https://auth.docker.io/token"), Some(true));
        assert_eq!(judge(https, "https://tokens.example:8443/"), Some(true));
        assert_eq!(judge(https, "https://tokens.example/"), Some(false));
        assert_eq!(judge(https, "https://evil.example/registry.example"), Some(false));
        assert_eq!(judge(https, "https://registry.example.evil.example/"), Some(false));
        assert_eq!(judge(https, "http://registry.example/token"), Some(false));
        assert_eq!(judge(https, "http://auth.docker.io/token"), None);
        assert_eq!(judge(https, "http://169.254.169.254/latest"), None);
        assert_eq!(judge(https, "https://registry.example@evil.example/"), None);
        assert_eq!(judge(https, "file:///etc/passwd"), None);
        let http = "http://127.0.0.1:5000";
        assert_eq!(judge(http, "http://127.0.0.1:5001/auth"), Some(true));
        assert_eq!(judge(http, "http://127.0.0.2:5001/auth"), Some(false));
    }
}
