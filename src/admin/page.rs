//! The status page's files, which are in the program itself: it works where there is no network.

use bytes::Bytes;
use http::Response;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue};

use crate::body::{self, Body};

/// By path: the media type, and the text.
const FILES: &[(&str, &str, &str)] = &[
    ("/", HTML, include_str!("page/index.html")),
    ("/style.css", CSS, include_str!("page/style.css")),
    ("/icon.svg", SVG, include_str!("page/icon.svg")),
    ("/bundles.js", SCRIPT, include_str!("page/bundles.js")),
    ("/charts.js", SCRIPT, include_str!("page/charts.js")),
    ("/details.js", SCRIPT, include_str!("page/details.js")),
    ("/difference.js", SCRIPT, include_str!("page/difference.js")),
    ("/dom.js", SCRIPT, include_str!("page/dom.js")),
    ("/format.js", SCRIPT, include_str!("page/format.js")),
    ("/images.js", SCRIPT, include_str!("page/images.js")),
    ("/lock.js", SCRIPT, include_str!("page/lock.js")),
    ("/overview.js", SCRIPT, include_str!("page/overview.js")),
    ("/script.js", SCRIPT, include_str!("page/script.js")),
];
const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SVG: &str = "image/svg+xml";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Everything from here and nothing else, and nobody frames it: a bundle's text that were ever taken for markup could
/// still do nothing.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'",
);

/// The file at `path`, if there is one.
pub(super) fn file(path: &str) -> Option<Response<Body>> {
    let (_, media_type, text) = FILES.iter().find(|(own, ..)| *own == path)?;
    let mut response = Response::new(body::full(Bytes::from_static(text.as_bytes())));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    Some(response)
}
