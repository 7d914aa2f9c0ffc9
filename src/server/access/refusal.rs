//! What a client is told that may not.

use std::time::Duration;

use http::StatusCode;
use http::header::HeaderValue;

use super::credential::MalformedCredential;
use crate::config::Action;
use crate::oci::{ErrorCode, ErrorDocument};

/// The only challenge there is (RFC 7617, section 2). One realm for all: a client that logged in once need not ask
/// again for each repository.
const CHALLENGE: HeaderValue = HeaderValue::from_static(r#"Basic realm="Colocate", charset="UTF-8""#);

/// About what a check of a password takes, with some before it.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// Why a request is not answered. None of it depends on what there is: only on who asks, and on the names they
/// asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::server) enum Refusal {
    /// Nobody said who they are, and that is not enough here.
    #[error("this takes a user name and password; log in to this proxy first")]
    CredentialsNeeded,
    /// Which of both is for nobody to know.
    #[error("the user name or password is wrong")]
    Wrong,
    /// A token, which somebody else issued.
    #[error("this proxy issues and takes no Bearer tokens; log in with a user name and password")]
    Bearer,
    /// A header that says nothing.
    #[error("{0}; log in with a user name and password")]
    Malformed(MalformedCredential),
    /// Not challenged: clients would ask their users for passwords that are of no use.
    #[error("this takes a client certificate from an authority that this proxy trusts; none was presented")]
    CertificateNeeded,
    /// The rules do not allow it.
    #[error("{identity} may not {} here, by this proxy's access rules", .action.as_str())]
    Denied {
        /// Who, as the log shows them.
        identity: String,
        /// What they wanted to do.
        action: Action,
    },
    /// Too many passwords wait to be checked.
    #[error("too many logins wait to be checked; try again in a moment")]
    Busy,
}

impl Refusal {
    /// The status and the distribution error document.
    pub(in crate::server) fn answer(&self) -> (StatusCode, ErrorDocument) {
        let message = self.to_string();
        match self {
            Self::CredentialsNeeded | Self::Wrong | Self::Bearer | Self::Malformed(_) => {
                (StatusCode::UNAUTHORIZED, ErrorDocument::new(&ErrorCode::Unauthorized, message))
            }
            Self::CertificateNeeded | Self::Denied { .. } => {
                (StatusCode::FORBIDDEN, ErrorDocument::new(&ErrorCode::Denied, message))
            }
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, ErrorDocument::new(&ErrorCode::TooManyRequests, message)),
        }
    }

    /// `WWW-Authenticate`, which every 401 has (RFC 9110, section 15.5.2).
    pub(in crate::server) fn challenge(&self) -> Option<HeaderValue> {
        (self.answer().0 == StatusCode::UNAUTHORIZED).then_some(CHALLENGE)
    }

    /// `Retry-After`, where trying again helps.
    pub(in crate::server) fn retry_after(&self) -> Option<Duration> {
        (*self == Self::Busy).then_some(RETRY_AFTER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        let denied = Refusal::Denied { identity: "user:alice".to_owned(), action: Action::Push };
        for (refusal, status, code) in [
            (Refusal::CredentialsNeeded, 401, "UNAUTHORIZED"),
            (Refusal::Wrong, 401, "UNAUTHORIZED"),
            (Refusal::Bearer, 401, "UNAUTHORIZED"),
            (Refusal::Malformed(MalformedCredential::Colon), 401, "UNAUTHORIZED"),
            (Refusal::CertificateNeeded, 403, "DENIED"),
            (denied, 403, "DENIED"),
            (Refusal::Busy, 503, "TOOMANYREQUESTS"),
        ] {
            let (found, document) = refusal.answer();
            assert_eq!((found.as_u16(), document.code.as_str()), (status, code), "{refusal}");
            assert_eq!(document.message, refusal.to_string());
            let challenge = refusal.challenge();
            let expected = (status == 401).then_some(r#"Basic realm="Colocate", charset="UTF-8""#);
            assert_eq!(challenge.as_ref().and_then(|value| value.to_str().ok()), expected, "{refusal}");
            assert_eq!(refusal.retry_after().is_some(), status == 503, "{refusal}");
        }
    }
}
