//! What each admin path says.

use std::time::Duration;

use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{Method, Request, Response, StatusCode};
use serde::Serialize;
use serde_json::json;
use tokio::time::timeout;
use url::form_urlencoded;

use super::board::Notes;
use super::guard::{by_own_name, from_own_page};
use super::status::Status;
use super::{Standing, State, page};
use crate::body::{self, Body, with_causes};
use crate::proxy::{ProxyError, Side};
use crate::telemetry::Exposition;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Keeps other sites' pages from loading what is here as their own scripts or images.
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
/// How long an explanation may take, which looks at all images of a bundle.
const EXPLAIN_TIME: Duration = Duration::from_secs(60);
/// Longer than any reference.
const MAX_REFERENCE_BYTES: usize = 1024;

/// Answers a request. hyper leaves out the body of an answer to HEAD and keeps its length.
pub(super) async fn answer<B>(request: &Request<B>, state: &State) -> Response<Body> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        // Being able to answer is what it asks about; the registry behind may be down without this being unwell.
        "/healthz" => text(StatusCode::OK, "ok\n"),
        "/readyz" => match state.readiness.standing() {
            Standing::Ready => text(StatusCode::OK, "ready\n"),
            Standing::Starting => text(StatusCode::SERVICE_UNAVAILABLE, "not ready: starting\n"),
            Standing::Draining => text(StatusCode::SERVICE_UNAVAILABLE, "not ready: draining\n"),
        },
        "/metrics" => {
            let Exposition { content_type, text } = state.metrics.expose(request.headers());
            let mut response = Response::new(body::full(text));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
            response
        }
        path => {
            let notes = state.board.read();
            let mut response = match by_own_name(request, &notes.site.names) {
                Err(refused) => text(StatusCode::FORBIDDEN, format!("{refused}\n")),
                Ok(()) => look(path, request, state, notes).await,
            };
            let headers = response.headers_mut();
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
            headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
            response
        }
    }
}

/// The status page, and the JSON behind it.
async fn look<B>(path: &str, request: &Request<B>, state: &State, notes: Notes) -> Response<Body> {
    let Some(api) = path.strip_prefix("/api/") else {
        let nothing = || text(StatusCode::NOT_FOUND, "there is /, /healthz, /readyz, /metrics and /api/status\n");
        return page::file(path).unwrap_or_else(nothing);
    };
    if let Err(refused) = from_own_page(request.headers()) {
        return told(StatusCode::FORBIDDEN, &refused.to_string());
    }
    match (api, api.strip_prefix("bundles/")) {
        ("status", _) => {
            let samples = state.history().samples();
            let standing = state.readiness.standing();
            json(StatusCode::OK, &Status::of(notes, state.started, standing, samples).await)
        }
        ("bundles", _) => json(StatusCode::OK, &json!({ "bundles": notes.site.proxy.recent_bundles() })),
        ("explain", _) => explain(request.uri().query(), state, &notes).await,
        (_, Some(id)) => match notes.site.proxy.recent_bundle(id) {
            Some(details) => json(StatusCode::OK, &details),
            None => told(StatusCode::NOT_FOUND, "no such bundle is among those that were pulled lately"),
        },
        _ => told(StatusCode::NOT_FOUND, "there is status, bundles, bundles/ID and explain"),
    }
}

/// Explains a reference, which asks the registries behind as a pull would.
async fn explain(query: Option<&str>, state: &State, notes: &Notes) -> Response<Body> {
    let mut pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let reference = pairs.find(|(key, _)| key == "reference").map(|(_, reference)| reference);
    let Some(reference) = reference.filter(|it| !it.is_empty() && it.len() <= MAX_REFERENCE_BYTES) else {
        return told(StatusCode::BAD_REQUEST, "say which: ?reference=[HOST/]REPOSITORY[:TAG|@DIGEST]");
    };
    let wanted = match (notes.site.read)(reference.trim()) {
        Ok(wanted) => wanted,
        Err(problem) => return told(StatusCode::BAD_REQUEST, &problem),
    };
    let Ok(_permit) = state.explanations.try_acquire() else {
        return told(StatusCode::SERVICE_UNAVAILABLE, "others are being explained; try again in a moment");
    };
    match timeout(EXPLAIN_TIME, notes.site.proxy.explain(&wanted.view, &wanted.reference)).await {
        Ok(Ok(explanation)) => json(StatusCode::OK, &json!({ "explanation": explanation })),
        Ok(Err(error)) => told(status(&error), &with_causes(&error)),
        Err(_) => told(StatusCode::GATEWAY_TIMEOUT, "it takes longer than a minute; try `colocate explain`"),
    }
}

fn status(error: &ProxyError) -> StatusCode {
    match error.side() {
        Side::Downstream => StatusCode::NOT_FOUND,
        Side::Upstream => StatusCode::BAD_GATEWAY,
        Side::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn told(status: StatusCode, error: &str) -> Response<Body> {
    json(status, &json!({ "error": error }))
}

fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    // Values of our own, with texts for keys: they can be written.
    let mut response = Response::new(body::full(serde_json::to_vec(value).unwrap_or_default()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

fn text(status: StatusCode, text: impl Into<bytes::Bytes>) -> Response<Body> {
    let mut response = Response::new(body::full(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, TEXT);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
