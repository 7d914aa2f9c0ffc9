//! A blob as a response, whole or in part.

use std::ops::Range;

use http::header::{ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderValue, RANGE};
use http::{HeaderMap, Method, Response, StatusCode};

use super::conditional::{client_has, range_holds, text_value};
use super::manifest::{IMMUTABLE, about};
use super::range::{Wanted, wanted};
use crate::body::{self, Body};
use crate::proxy::ServedBlob;

/// Answers a GET or HEAD of `blob`.
pub(super) fn respond(blob: &ServedBlob, method: &Method, request: &HeaderMap) -> Response<Body> {
    let size = blob.size;
    let mut response = Response::new(body::empty());
    let headers = response.headers_mut();
    about(headers, &blob.digest, IMMUTABLE);
    let has_parts = blob.has_parts();
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static(if has_parts { "bytes" } else { "none" }));
    // Conditions come before ranges (RFC 9110, section 13.2.2).
    if client_has(request, &blob.digest) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return response;
    }
    // Only GET has ranges (section 14.2), and a server may ignore them.
    let has_range = has_parts && method == Method::GET && range_holds(request, &blob.digest);
    let range = request.get(RANGE).filter(|_| has_range);
    let part = match range.and_then(|value| value.to_str().ok()).map(|value| wanted(value, size)) {
        None | Some(Wanted::Whole) => 0..size,
        Some(Wanted::Unsatisfiable) => {
            headers.insert(CONTENT_RANGE, text_value(&format!("bytes */{size}")));
            headers.insert(CONTENT_LENGTH, 0.into());
            // The content is immutable; that this range is none of it says nothing about the next request.
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
            return response;
        }
        Some(Wanted::Part(part)) => {
            let Range { start, end } = part;
            headers.insert(CONTENT_RANGE, text_value(&format!("bytes {start}-{}/{size}", end - 1)));
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            part
        }
    };
    let length = part.end - part.start;
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, length.into());
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    if method == Method::GET && length > 0 {
        *response.body_mut() = blob.body(part);
    }
    response
}
