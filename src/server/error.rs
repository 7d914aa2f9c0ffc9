//! The one place where errors become responses.

use std::error::Error;
use std::time::Duration;

use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, LOCATION, RANGE, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{HeaderMap, Response, StatusCode};

use super::access::Refusal;
use super::directory::NoSuchName;
use super::host::AmbiguousHost;
use super::names::BadPage;
use super::push_request::BadPush;
use super::route::{Route, RouteError};
use crate::body::{self, Body};
use crate::oci::{ErrorCode, ErrorDocument};
use crate::proxy::{CacheStatus, Outcome, ProxyError, PushError, Side};
use crate::upstream::{Quota, UpstreamError};

/// Why a request is not answered with what it asked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequestError {
    #[error(transparent)]
    Route(#[from] RouteError),
    #[error(transparent)]
    Host(#[from] AmbiguousHost),
    #[error(transparent)]
    Name(#[from] NoSuchName),
    #[error(transparent)]
    Page(#[from] BadPage),
    #[error("{}", if *writes {
        "the method means nothing here"
    } else {
        "this proxy only serves pulls, so the method is not allowed here; push to the registry behind it"
    })]
    Method { allow: &'static str, writes: bool },
    #[error(transparent)]
    Push(#[from] BadPush),
    #[error("{error}")]
    OutOfOrder {
        error: PushError,
        /// Where the upload goes on.
        headers: Box<HeaderMap>,
    },
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("the registry behind this proxy does not let this client in; log in to this host, or with another name")]
    Unauthorized { challenges: Vec<HeaderValue> },
    #[error(transparent)]
    Proxy(#[from] ProxyError),
}

impl RequestError {
    /// A method that a route does not have. `writes` says whether it has those that change something.
    pub(super) fn method(route: &Route, writes: bool) -> Self {
        Self::Method { allow: route.allow(writes), writes }
    }

    /// What the cache had to do with it.
    pub(super) fn cache_status(&self) -> CacheStatus {
        match self {
            Self::Proxy(error) => error.cache_status(),
            Self::Route(_)
            | Self::Host(_)
            | Self::Name(_)
            | Self::Page(_)
            | Self::Method { .. }
            | Self::Push(_)
            | Self::OutOfOrder { .. }
            | Self::Refused(_)
            | Self::Unauthorized { .. } => Outcome::Refused.into(),
        }
    }

    /// The response, with the distribution error document.
    pub(super) fn into_response(self) -> Response<Body> {
        self.log();
        let (status, document) = match &self {
            Self::Route(error) => error.code(),
            Self::Name(_) => (StatusCode::NOT_FOUND, ErrorDocument::new(&ErrorCode::NameUnknown, self.to_string())),
            Self::Host(_) | Self::Page(_) => {
                (StatusCode::BAD_REQUEST, ErrorDocument::new(&ErrorCode::Unsupported, self.to_string()))
            }
            Self::Method { .. } => {
                (StatusCode::METHOD_NOT_ALLOWED, ErrorDocument::new(&ErrorCode::Unsupported, self.to_string()))
            }
            Self::Push(BadPush::Range) => {
                (StatusCode::BAD_REQUEST, ErrorDocument::new(&ErrorCode::BlobUploadInvalid, self.to_string()))
            }
            Self::Push(BadPush::Digest(_)) => {
                (StatusCode::BAD_REQUEST, ErrorDocument::new(&ErrorCode::DigestInvalid, self.to_string()))
            }
            Self::OutOfOrder { error, .. } => error.answer(),
            Self::Refused(refusal) => refusal.answer(),
            Self::Unauthorized { .. } => {
                (StatusCode::UNAUTHORIZED, ErrorDocument::new(&ErrorCode::Unauthorized, self.to_string()))
            }
            Self::Proxy(error) => error.answer(),
        };
        let json = document.to_json();
        let mut response = Response::new(body::empty());
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_LENGTH, json.len().into());
        // A shared cache would otherwise be free to keep a 404 for what is pushed in the next second.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match &self {
            Self::OutOfOrder { headers: goes_on, .. } => {
                for name in [LOCATION, RANGE] {
                    headers.extend(goes_on.get(&name).map(|value| (name.clone(), value.clone())));
                }
            }
            Self::Method { allow, .. } => {
                headers.insert(ALLOW, HeaderValue::from_static(allow));
            }
            Self::Refused(refusal) => {
                headers.extend(refusal.challenge().map(|challenge| (WWW_AUTHENTICATE, challenge)));
                if let Some(wait) = refusal.retry_after() {
                    headers.insert(RETRY_AFTER, seconds(wait).into());
                }
            }
            Self::Unauthorized { challenges } => {
                for challenge in challenges {
                    headers.append(WWW_AUTHENTICATE, challenge.clone());
                }
            }
            Self::Proxy(error) => {
                if let Some(wait) = error.retry_after() {
                    headers.insert(RETRY_AFTER, seconds(wait).into());
                }
                if let Some(quota) = error.upstream_error().and_then(UpstreamError::quota) {
                    pass_on(quota, headers);
                }
            }
            _ => {}
        }
        *response.body_mut() = body::full(json);
        response
    }

    /// The message for inside, with all causes. What a client did wrong is in its access line already.
    fn log(&self) {
        let Self::Proxy(error) = self else { return };
        let causes = causes(error);
        match error.side() {
            Side::Downstream => tracing::debug!(error = %error, %causes, "request not answered"),
            Side::Upstream => tracing::warn!(error = %error, %causes, "upstream failed"),
            Side::Internal => tracing::error!(error = %error, %causes, "request failed"),
        }
    }
}

/// What the upstream said of how often it may be asked, so that a client that knows such headers can spread its pulls.
fn pass_on(quota: &Quota, headers: &mut HeaderMap) {
    for (name, figure) in [("ratelimit-limit", &quota.limit), ("ratelimit-remaining", &quota.remaining)] {
        if let Some(figure) = figure {
            headers.insert(name, figure.text.clone());
        }
    }
    if let Some(reset) = quota.reset {
        headers.insert("ratelimit-reset", reset.as_secs().into());
    }
}

/// At least a second, since 0 invites a client to a tight loop.
fn seconds(wait: Duration) -> u64 {
    let up = u64::from(wait.subsec_nanos() > 0);
    (wait.as_secs().saturating_add(up)).max(1)
}

/// The chain of causes on one line.
pub(super) fn causes(error: &(dyn Error + 'static)) -> String {
    let mut causes = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        causes.push(cause.to_string());
        next = cause.source();
    }
    causes.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_whole_seconds_and_never_none() {
        for (millis, expected) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (60_000, 60)] {
            assert_eq!(seconds(Duration::from_millis(millis)), expected);
        }
    }
}
