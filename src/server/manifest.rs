//! A manifest as a response.

use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderValue};
use http::{HeaderMap, Method, Response, StatusCode};

use super::conditional;
use crate::body::{self, Body};
use crate::oci::{Digest, Manifest, Reference};

/// The response's own header for the digest of its content (distribution spec, "Pulling manifests").
pub(super) const CONTENT_DIGEST: &str = "docker-content-digest";

/// Content under its digest is always the same bytes.
pub(super) const IMMUTABLE: HeaderValue = HeaderValue::from_static("max-age=31536000, immutable");

/// A tag moves: whoever keeps its answer asks again, with the entity tag.
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("no-cache");

/// Answers a GET or HEAD of `reference`.
pub(super) fn respond(
    manifest: &Manifest,
    reference: &Reference,
    method: &Method,
    request: &HeaderMap,
) -> Response<Body> {
    let mut response = Response::new(body::empty());
    // Docker schema 1 is served under another digest than that of its bytes, which may then differ next time.
    let immutable = matches!(reference, Reference::Digest(digest) if *digest == manifest.digest);
    about(response.headers_mut(), &manifest.digest, if immutable { IMMUTABLE } else { ASK_AGAIN });
    if conditional::client_has(request, &manifest.digest) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return response;
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, manifest.bytes.len().into());
    // The upstream's text; one that is no header value is left to the client to find in the manifest.
    if let Ok(media_type) = HeaderValue::from_str(manifest.media_type.as_ref()) {
        headers.insert(CONTENT_TYPE, media_type);
    }
    if method == Method::GET {
        *response.body_mut() = body::full(manifest.bytes.clone());
    }
    response
}

/// What a response says of content with `digest`, be it sent or not.
pub(super) fn about(headers: &mut HeaderMap, digest: &Digest, cache_control: HeaderValue) {
    headers.insert(CONTENT_DIGEST, conditional::text_value(&digest.to_string()));
    headers.insert(ETAG, conditional::entity_tag(digest));
    headers.insert(CACHE_CONTROL, cache_control);
}
