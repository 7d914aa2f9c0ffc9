//! Ids, in and out: to the client, to the registry that it means, and to nobody else.

use ::http::{HeaderMap, Method};

use super::{access, start};
use crate::support::colocate::Settings;
use crate::support::http::{self, Answer};
use crate::support::layout::Golden;
use crate::support::scripted::{Fault, ScriptedUpstream};
use crate::support::secrets::secret;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const NAMES: [&str; 3] = ["x-request-id", "traceparent", "tracestate"];

fn texts(headers: &HeaderMap) -> [Option<&str>; 3] {
    NAMES.map(|name| headers.get(name).map(|value| value.to_str().expect("text")))
}

fn id(answer: &Answer) -> String {
    answer.header("x-request-id").unwrap_or_else(|| panic!("no id: {answer:?}")).to_owned()
}

#[tokio::test]
async fn a_request_keeps_its_name_and_its_trace() {
    let upstream = ScriptedUpstream::start().await;
    let golden = Golden::read("simple-app");
    upstream.put(&golden.repository, &golden.colocated);
    let proxy = start(Settings::new(&upstream.url())).await;
    let ask = async |method, path: &str, headers: &[(&str, &str)]| {
        http::send(method, &format!("{}/v2/{}/{path}", proxy.url(), golden.repository), headers, "").await
    };
    let manifest = format!("manifests/{}", golden.digest);
    let given = [("x-request-id", "from-the-client:1"), ("traceparent", PARENT), ("tracestate", "a=1, b=2")];
    upstream.forget();
    let answer = ask(Method::GET, &manifest, &given).await.expect(200);
    assert_eq!(texts(&answer.headers), [Some("from-the-client:1"), None, None]);
    let asked = upstream.requests();
    assert!(!asked.is_empty());
    for seen in &asked {
        let [id, parent, state] = texts(&seen.headers);
        assert_eq!((id, state), (Some("from-the-client:1"), Some("a=1, b=2")), "{seen:?}");
        let parts: Vec<_> = parent.expect("a traceparent").split('-').collect();
        assert_eq!((parts[0], parts[1], parts[3]), ("00", TRACE, "01"));
        assert!(parts[2].len() == 16 && parts[2] != "00f067aa0ba902b7", "the work here has a place of its own");
    }
    let line = access(&proxy, "from-the-client:1").await;
    assert_eq!(line["trace_id"], TRACE);

    // Whatever becomes of it; and what is no id, or no trace, is replaced.
    for (method, path, status, headers) in [
        (Method::GET, manifest.as_str(), 200, &[][..]),
        (Method::HEAD, manifest.as_str(), 200, &[("x-request-id", "two words")]),
        (Method::GET, "manifests/none", 404, &[("x-request-id", "a"), ("x-request-id", "b")]),
        (Method::GET, "blobs/sha256:00", 400, &[("traceparent", "00-0-0-0")]),
        (Method::PUT, "manifests/v2", 405, &[("x-request-id", "")]),
        (
            Method::GET,
            "manifests/gone",
            404,
            &[("traceparent", PARENT), ("traceparent", PARENT), ("tracestate", "a=1")],
        ),
    ] {
        upstream.forget();
        let answer = ask(method.clone(), path, headers).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {path}");
        let id = id(&answer);
        assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        let line = access(&proxy, &id).await;
        let trace = line["trace_id"].as_str().expect("a trace");
        assert!(trace.len() == 32 && trace != TRACE, "{line}");
        for seen in upstream.requests() {
            let [upstream_id, parent, state] = texts(&seen.headers);
            assert_eq!((upstream_id, state), (Some(id.as_str()), None));
            assert!(
                parent.is_some_and(|parent| parent.starts_with(&format!("00-{trace}-")) && parent.ends_with("-00"))
            );
        }
    }
}

#[tokio::test]
async fn another_host_is_told_of_nothing() {
    let (upstream, elsewhere) = (ScriptedUpstream::start().await, ScriptedUpstream::start().await);
    let golden = Golden::read("simple-app");
    upstream.put(&golden.repository, &golden.colocated);
    elsewhere.put(&golden.repository, &golden.colocated);
    let (signature, token) = (secret("a signature of the storage's"), secret("a token for anybody"));
    let grants = Fault::body(200, "application/json", format!(r#"{{"token":"{token}"}}"#));
    elsewhere.on("/token").fails(grants.clone());
    upstream.on("/own/token").fails(grants);
    let (digest, blob) = golden.colocated.blobs.first().expect("a blob").clone();
    for (realm, name) in
        [(format!("{}/token", elsewhere.url()), "another"), (format!("{}/own/token", upstream.url()), "own")]
    {
        let challenge = format!(r#"Bearer realm="{realm}",service="scripted""#);
        let path = format!("/v2/{}/blobs/{digest}", golden.repository);
        let location = format!("{}{path}?X-Signature={signature}", elsewhere.url());
        let (refused, moved) = (
            Fault::error(401, "UNAUTHORIZED").with("www-authenticate", &challenge),
            Fault::status(307).with("location", &location),
        );
        upstream.on("/v2/*").fails(Fault::make(move |seen| {
            if seen.headers.contains_key("authorization") { moved.as_answer(seen) } else { refused.as_answer(seen) }
        }));
        [&upstream, &elsewhere].into_iter().for_each(ScriptedUpstream::forget);
        let proxy = start(Settings::new(&upstream.url())).await;
        let given = [("x-request-id", name), ("traceparent", PARENT), ("tracestate", "a=1")];
        let url = format!("{}{path}?mine={}", proxy.url(), secret("what a client put into its query"));
        let answer = http::send(Method::GET, &url, &given, "").await.expect(200);
        assert_eq!(answer.body, blob);
        let (mut own, mut others) = (0, 0);
        for seen in upstream.requests() {
            let is_token = seen.path == "/own/token";
            others += usize::from(is_token);
            own += usize::from(!is_token && seen.headers.get("x-request-id").is_some_and(|id| id == name));
            assert!(!is_token || texts(&seen.headers) == [None; 3], "the token server: {seen:?}");
        }
        for seen in elsewhere.requests() {
            others += 1;
            assert_eq!(texts(&seen.headers), [None; 3], "{seen:?}");
        }
        assert!(own >= 2 && others >= 2, "{own} {others}");
        // Its log has neither signature nor token nor query: that is looked for when it ends.
        access(&proxy, name).await;
    }
}
