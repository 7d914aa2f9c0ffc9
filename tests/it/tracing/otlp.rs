//! Traces at a collector, from a build with the feature `otlp`.

use std::convert::Infallible;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::protobuf::{Span, spans};
use crate::support::colocate::Settings;
use crate::support::eventually;
use crate::support::http as client;
use crate::support::layout::Golden;
use crate::support::process::{Process, free_address};
use crate::support::require_otlp;
use crate::support::scripted::ScriptedUpstream;
use crate::support::secrets::{assert_absent, secret};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// What a collector was sent: path, headers and body of each request.
type Collected = Arc<Mutex<Vec<(String, HeaderMap, Bytes)>>>;

/// A collector; it takes everything.
async fn collector() -> (String, Collected) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let collected = Collected::default();
    let state = Arc::clone(&collected);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let state = Arc::clone(&state);
            let service = service_fn(move |request: Request<Incoming>| {
                let state = Arc::clone(&state);
                async move {
                    let (head, body) = request.into_parts();
                    let body = body.collect().await.expect("a body").to_bytes();
                    state.lock().expect("nobody panicked").push((head.uri.to_string(), head.headers, body));
                    Ok::<_, Infallible>(Response::new(Full::new(Bytes::new())))
                }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    (url, collected)
}

/// The program, with this of the environment, until it answers.
async fn start(binary: &Path, scratch: &Path, upstream: &str, environment: &[(&str, &str)]) -> (Process, String) {
    let address = free_address().to_string();
    let cache = scratch.join("cache").to_string_lossy().into_owned();
    let settings = Settings::new(upstream).set("listen", address.as_str()).set("cache.dir", cache);
    let file = scratch.join("colocate.yaml");
    fs::write(&file, settings.text()).expect("a configuration file");
    let mut command = Command::new(binary);
    command.args(["serve", "--config"]).arg(&file).env("RUST_LOG", "trace").envs(environment.iter().copied());
    let mut process = Process::spawn(command);
    let url = format!("http://{address}");
    eventually("it answers", Duration::from_secs(20), async || {
        process.assert_running();
        client::try_send(Method::GET, &format!("{url}/v2/"), &[], "").await.is_ok()
    })
    .await;
    (process, url)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

#[tokio::test]
async fn spans_arrive_in_the_trace_that_the_client_began() {
    let Some(binary) = require_otlp() else { return };
    let (upstream, golden) = (ScriptedUpstream::start().await, Golden::read("simple-app"));
    upstream.put(&golden.repository, &golden.colocated);
    let (endpoint, collected) = collector().await;
    let (scratch, key) = (tempfile::tempdir().expect("a directory"), secret("the collector's key"));
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_EXPORTER_OTLP_HEADERS", &format!("x-key={key}")),
        ("OTEL_SERVICE_NAME", "edge-proxy"),
    ];
    let (mut process, url) = start(&binary, scratch.path(), &upstream.url(), &environment).await;
    upstream.forget();
    let (query, password) = (secret("what is in a query"), secret("a header's value"));
    let path = format!("/v2/{}/manifests/{}", golden.repository, Golden::TAG);
    let parent = format!("00-{TRACE}-{PARENT}-01");
    let given = [("traceparent", parent.as_str()), ("authorization", &format!("Bearer {password}"))];
    client::send(Method::GET, &format!("{url}{path}?secret={query}"), &given, "").await.expect(200);
    let unsampled = format!("00-{}-{PARENT}-00", "a".repeat(32));
    client::send(Method::GET, &format!("{url}{path}"), &[("traceparent", &unsampled)], "").await.expect(200);
    // It sends the last of them before it ends.
    assert!(process.stop().await.success());

    let collected = collected.lock().expect("nobody panicked").clone();
    let (mut services, mut all) = (Vec::new(), Vec::<Span>::new());
    for (path, headers, body) in &collected {
        assert_eq!((path.as_str(), text(headers, "content-type")), ("/v1/traces", "application/x-protobuf"));
        assert_eq!(headers["x-key"], key);
        assert_absent("what the collector was sent", body);
        let (from, more) = spans(body);
        services.extend(from);
        all.extend(more);
    }
    assert!(!services.is_empty() && services.iter().all(|name| name == "edge-proxy"), "{services:?}");
    assert!(all.iter().all(|span| span.trace != "a".repeat(32)), "the client did not want that one");
    let own: Vec<_> = all.iter().filter(|span| span.trace == TRACE).collect();
    let [server] = own.iter().filter(|span| span.kind == 2).collect::<Vec<_>>()[..] else { panic!("{own:#?}") };
    assert_eq!((server.parent.as_str(), server.name.as_str()), (PARENT, "GET /v2/{name}/manifests/{reference}"));
    for (key, value) in [
        ("http.request.method", "GET"),
        ("http.route", "/v2/{name}/manifests/{reference}"),
        ("http.response.status_code", "200"),
        ("url.path", &path),
        ("url.scheme", "http"),
        ("colocate.outcome", "relocated"),
    ] {
        assert_eq!(server.attribute(key), Some(value), "{server:#?}");
    }
    let is_below = |span: &Span| {
        let mut at = span;
        while let Some(above) = own.iter().find(|other| other.id == at.parent) {
            at = above;
        }
        at.id == server.id
    };
    assert!(own.iter().all(|span| is_below(span)), "{own:#?}");
    let named = |name: &str| own.iter().filter(|span| span.name == name).count();
    assert_eq!(named("relocation"), 1, "{own:#?}");
    assert!(named("fill") >= 1 && named("upstream") >= 2, "{own:#?}");
    let asked: Vec<_> = own.iter().filter(|span| span.name == "upstream").collect();
    assert!(asked.iter().all(|span| span.kind == 3 && span.attribute("server.address") == Some("127.0.0.1")));
    // The upstream was told of just these.
    let requests = upstream.requests();
    let told: Vec<_> = requests.iter().map(|seen| text(&seen.headers, "traceparent")).collect();
    let told: Vec<_> = told.into_iter().filter(|told| told.contains(TRACE)).collect();
    assert!(!told.is_empty());
    for told in told {
        assert!(asked.iter().any(|span| told == format!("00-{TRACE}-{}-01", span.id)), "{told}");
    }
}

#[tokio::test]
async fn nothing_is_sent_where_nobody_collects_and_a_collector_that_is_down_hurts_nobody() {
    let Some(binary) = require_otlp() else { return };
    let (upstream, golden) = (ScriptedUpstream::start().await, Golden::read("simple-app"));
    upstream.put(&golden.repository, &golden.colocated);
    let (endpoint, collected) = collector().await;
    let down = format!("http://{}", free_address());
    for (environment, told) in [
        (vec![], false),
        (vec![("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("OTEL_SDK_DISABLED", "true")], false),
        (vec![("OTEL_EXPORTER_OTLP_ENDPOINT", down.as_str())], true),
    ] {
        let scratch = tempfile::tempdir().expect("a directory");
        let (mut process, url) = start(&binary, scratch.path(), &upstream.url(), &environment).await;
        let path = format!("/v2/{}/manifests/{}", golden.repository, Golden::TAG);
        client::send(Method::GET, &format!("{url}{path}"), &[], "").await.expect(200);
        assert!(process.stop().await.success());
        let log = process.stderr();
        assert_eq!(log.matches("traces cannot be sent to the collector").count(), usize::from(told), "{environment:?}");
    }
    assert!(collected.lock().expect("nobody panicked").is_empty());

    let mut command = Command::new(&binary);
    command.args(["serve", "--upstream", "https://a.example", "--cache", "/nowhere"]);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint).env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    let finished = crate::support::process::run(command).await;
    assert_eq!(finished.status.code(), Some(2), "{finished:?}");
    assert!(finished.stderr.contains("OTEL_EXPORTER_OTLP_PROTOCOL says `grpc`"), "{finished:?}");
}
