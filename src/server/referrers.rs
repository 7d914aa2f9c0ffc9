//! A list of referrers as a response.

use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, Response};
use serde_json::json;
use url::form_urlencoded;

use crate::body::{self, Body};
use crate::oci::MediaType;
use crate::upstream::Referrer;

/// Says that the list was filtered as was asked (distribution spec, "Listing Referrers").
const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");

/// The artifact type that is asked for, if one is.
pub(super) fn artifact_type(query: Option<&str>) -> Option<String> {
    let mut pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    pairs.find(|(key, _)| key == "artifactType").map(|(_, value)| value.into_owned()).filter(|value| !value.is_empty())
}

/// Answers a GET or HEAD with these.
pub(super) fn respond(referrers: Vec<Referrer>, filtered: bool, method: &Method) -> Response<Body> {
    let manifests: Vec<_> = referrers.into_iter().map(|referrer| referrer.0).collect();
    let index =
        json!({"schemaVersion": 2, "mediaType": MediaType::ImageIndex.as_ref(), "manifests": manifests}).to_string();
    let mut response = Response::new(body::empty());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/vnd.oci.image.index.v1+json"));
    headers.insert(CONTENT_LENGTH, index.len().into());
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if filtered {
        headers.insert(FILTERS_APPLIED, HeaderValue::from_static("artifactType"));
    }
    if method == Method::GET {
        *response.body_mut() = body::full(index);
    }
    response
}
