//! Which host a request is for.

use http::Request;
use http::header::HOST;

/// More than one answer to which host is meant; RFC 9112, section 3.2 wants such a request refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request has more than one {0} header")]
pub(super) struct AmbiguousHost(pub(super) &'static str);

/// The host and port as the client wrote them. HTTP/2 has them in the URI, as has an HTTP/1.1 request to what
/// the client takes for a forward proxy; the URI goes first (RFC 9112, section 3.2.2).
pub(super) fn host<B>(request: &Request<B>) -> Result<Option<&str>, AmbiguousHost> {
    let mut headers = request.headers().get_all(HOST).iter();
    let header = headers.next();
    if headers.next().is_some() {
        return Err(AmbiguousHost("Host"));
    }
    let authority = request.uri().authority().map(http::uri::Authority::as_str);
    Ok(authority.or_else(|| header.and_then(|value| value.to_str().ok())))
}
