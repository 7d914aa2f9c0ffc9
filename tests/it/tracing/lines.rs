//! Lines: one for each request and one for each thing that happened, with the request that began it.

use ::http::Method;
use serde_json::{Value, json};

use super::{PATIENCE, access, lines, start, told};
use crate::support::colocate::{Colocate, Settings};
use crate::support::eventually;
use crate::support::http;
use crate::support::layout::Golden;
use crate::support::pattern::Pattern;
use crate::support::scripted::{Fault, Gate, ScriptedUpstream};

/// Waits for the fill of this digest to be told, and gives its line, of which there is one.
async fn fill(proxy: &Colocate, digest: &str) -> Value {
    let find = || told(proxy, "fill").into_iter().filter(|line| line["digest"] == digest).collect::<Vec<_>>();
    eventually(&format!("the fill of {digest}"), PATIENCE, async || !find().is_empty()).await;
    let mut found = find();
    assert_eq!(found.len(), 1, "one line for one fill: {found:?}");
    found.remove(0)
}

async fn get(proxy: &Colocate, path: &str, id: &str) -> http::Answer {
    http::send(Method::GET, &format!("{}{path}", proxy.url()), &[("x-request-id", id)], "").await
}

#[tokio::test]
async fn a_fill_is_told_once_and_is_that_of_the_request_which_began_it() {
    let upstream = ScriptedUpstream::start().await;
    let pattern = Pattern::new(1, 3 << 20);
    let digest = upstream.put_pattern("acme/app", &pattern).to_string();
    let proxy = start(Settings::new(&upstream.url())).await;
    let path = format!("/v2/acme/app/blobs/{digest}");
    let gate = Gate::new();
    upstream.on(&path).get().times(1).fails(Fault::BreakAt(1 << 20));
    upstream.on(&path).get().after(1).times(1).fails(Fault::HoldAt(2 << 20, gate.clone()));
    let (url, name) = (format!("{}{path}", proxy.url()), |id| [("x-request-id", id)]);
    let mut arriving = Vec::new();
    for id in ["first", "second"] {
        // Its head comes when it has joined.
        arriving.push(http::open(Method::GET, &url, &name(id), "").await.expect("a head"));
    }
    gate.open();
    for mut one in arriving {
        let mut bytes = 0;
        while let Some(piece) = one.next().await {
            let piece = piece.expect("a piece");
            assert!(pattern.holds(bytes, &piece));
            bytes += piece.len() as u64;
        }
        assert_eq!(bytes, pattern.size());
    }
    let line = fill(&proxy, &digest).await;
    let expected = json!({"level": "INFO", "outcome": "stored", "bytes": 3 << 20, "from": 0, "resumed": 1, "joined": 1,
        "request_id": "first"});
    for (key, value) in expected.as_object().expect("an object") {
        assert_eq!(&line[key], value, "{line}");
    }
    assert!(line["duration_ms"].is_u64() && line["origin"].is_string(), "{line}");
    for id in ["first", "second"] {
        assert_eq!(access(&proxy, id).await["bytes"], 3 << 20);
    }
}

#[tokio::test]
async fn a_fill_that_fails_is_a_warning_with_its_cause() {
    let upstream = ScriptedUpstream::start().await;
    let digest = upstream.put_pattern("acme/app", &Pattern::new(2, 1 << 20)).to_string();
    let proxy = start(Settings::new(&upstream.url())).await;
    let path = format!("/v2/acme/app/blobs/{digest}");
    upstream.on(&path).get().fails(Fault::Flip(7));
    let answer = get(&proxy, &path, "unlucky").await;
    assert!(answer.broken.is_some() || answer.status == 502, "{answer:?}");
    let line = fill(&proxy, &digest).await;
    assert_eq!([&line["level"], &line["outcome"], &line["request_id"]], ["WARN", "failed", "unlucky"]);
    assert!(line["error"].as_str().is_some_and(|error| error.contains("the content has digest")), "{line}");
    access(&proxy, "unlucky").await;
    let broken = told(&proxy, "response broke off");
    assert!(broken.iter().all(|line| line["request_id"] == "unlucky"), "{broken:?}");
    // What nobody has is no failure of anything here.
    get(&proxy, &format!("/v2/acme/app/blobs/sha256:{}", "0".repeat(64)), "lost").await.expect(404);
    access(&proxy, "lost").await;
    assert_eq!(told(&proxy, "fill").len(), 1);
}

#[tokio::test]
async fn a_relocation_is_told_once_and_every_line_can_be_read() {
    let upstream = ScriptedUpstream::start().await;
    let golden = Golden::read("simple-app");
    upstream.put(&golden.repository, &golden.colocated);
    let mut proxy = start(Settings::new(&upstream.url())).await;
    let path = format!("/v2/{}/manifests/{}", golden.repository, Golden::TAG);
    for id in ["one", "another"] {
        get(&proxy, &path, id).await.expect(200);
        access(&proxy, id).await;
    }
    let relocated = told(&proxy, "relocated");
    let [line] = &relocated[..] else { panic!("one relocation: {relocated:?}") };
    assert_eq!([&line["request_id"], &line["level"]], ["one", "INFO"]);
    assert_eq!(line["original"], golden.digest.to_string());
    assert_eq!(line["colocated_at"], format!("{}/{}", Golden::ENDPOINT, golden.repository));
    assert!(line["duration_ms"].is_u64(), "{line}");
    assert!(told(&proxy, "fill").iter().all(|line| line["request_id"] == "one"));
    proxy.stop().await;
    let lines = lines(&proxy);
    for line in &lines {
        let is_text = |key: &str| line[key].as_str().is_some_and(|text| !text.is_empty());
        assert!(["timestamp", "level", "target"].into_iter().all(is_text), "{line}");
        // Of other crates' lines some have nothing but fields.
        let own = line["target"].as_str().is_some_and(|target| target.starts_with("colocate"));
        assert!(line["message"].is_string() || !own, "{line}");
        let time = line["timestamp"].as_str().expect("text");
        assert!(time.len() == 27 && time.as_bytes()[10] == b'T' && time.ends_with('Z'), "RFC 3339: {time}");
        assert!(line.as_object().is_some_and(|line| line.values().all(|value| !value.is_object())), "flat: {line}");
    }
    assert!(lines.iter().any(|line| line["level"] == "TRACE"), "it told everything");
    assert!(lines.iter().any(|line| line["message"] == "stopped"), "and to its end");
}
