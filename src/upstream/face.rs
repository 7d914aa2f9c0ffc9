//! An upstream spoken to as one client.

use std::fmt;

use http::HeaderValue;

use super::credential::Credentials;

/// As whom an upstream is asked, where each client is to see what it may see itself.
#[derive(Clone, PartialEq, Eq)]
pub enum ClientCredential {
    /// The client's `Authorization` header as it came, or none. It goes with every request to the upstream's own origin,
    /// and nowhere else; no token is fetched for it, and what the upstream answers to a 401 is told as it is.
    PassedOn(Option<HeaderValue>),
    /// The client's user and password, or nobody's. The upstream's challenges are answered with them, as they would be
    /// with the proxy's own.
    Exchanged(Option<Credentials>),
}

impl fmt::Debug for ClientCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PassedOn(header) => {
                write!(f, "PassedOn({})", if header.is_some() { "a header" } else { "nothing" })
            }
            Self::Exchanged(credentials) => f.debug_tuple("Exchanged").field(credentials).finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_s_secret_is_never_shown() {
        let header = HeaderValue::from_static("Bearer hunter2");
        let credentials = Credentials { user: "u".to_owned(), password: "hunter2".to_owned() };
        for credential in [ClientCredential::PassedOn(Some(header)), ClientCredential::Exchanged(Some(credentials))] {
            assert!(!format!("{credential:?}").contains("hunter2"));
        }
    }
}
