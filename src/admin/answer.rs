//! What each admin path says.

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};

use super::State;
use crate::body::{self, Body};
use crate::telemetry::Exposition;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// hyper leaves out the body of an answer to HEAD and keeps its length.
pub(super) fn answer<B>(request: &Request<B>, state: &State) -> Response<Body> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        // Being able to answer is what it asks about; the registry behind may be down without this being unwell.
        "/healthz" => text(StatusCode::OK, "ok\n"),
        "/readyz" if state.readiness.is_ready() => text(StatusCode::OK, "ready\n"),
        "/readyz" => text(StatusCode::SERVICE_UNAVAILABLE, "not ready: starting or draining\n"),
        "/metrics" => {
            let Exposition { content_type, text } = state.metrics.expose(request.headers());
            let mut response = Response::new(body::full(text));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
            response
        }
        "/" => text(StatusCode::OK, "colocate: /healthz /readyz /metrics\n"),
        _ => text(StatusCode::NOT_FOUND, "there is /healthz, /readyz and /metrics\n"),
    }
}

fn text(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(body::full(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, TEXT);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests {
    use super::super::Readiness;
    use super::*;
    use crate::telemetry::Metrics;

    #[tokio::test]
    async fn paths() {
        let state = State { metrics: Metrics::new(), readiness: Readiness::default() };
        let status = |method: Method, path: &str| {
            let request = Request::builder().method(method).uri(path).body(()).unwrap();
            answer(&request, &state).status().as_u16()
        };
        assert_eq!(status(Method::GET, "/healthz"), 200);
        assert_eq!(status(Method::GET, "/readyz"), 503);
        state.readiness.set(true);
        assert_eq!(status(Method::HEAD, "/readyz"), 200);
        assert_eq!(status(Method::GET, "/metrics"), 200);
        assert_eq!(status(Method::GET, "/debug"), 404);
        assert_eq!(status(Method::POST, "/metrics"), 405);
    }
}
