//! What the operator's listener tells, and to whom.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::{REPOSITORY, api, put_bundle, watched};
use crate::support::colocate::Colocate;
use crate::support::eventually;
use crate::support::http;
use crate::support::layout::Golden;
use crate::support::pattern::Pattern;
use crate::support::scripted::{Fault, Gate, ScriptedUpstream};
use crate::support::secrets::secret;

#[tokio::test(flavor = "multi_thread")]
async fn bundles_are_told_with_their_locks_and_where_each_image_was() {
    let upstream = ScriptedUpstream::start().await;
    let (whole, images) = put_bundle(&upstream, REPOSITORY, true);
    let (lacking, lacks) = put_bundle(&upstream, "acme/lacking", false);
    let mut colocate = Colocate::start(watched(&upstream)).await;
    assert_eq!(api(&colocate, "bundles").await, json!({"bundles": []}));
    let relocated = colocate.manifest(REPOSITORY, "v1").await.expect(200).digest();
    colocate.manifest(REPOSITORY, "v1").await.expect(200);
    colocate.manifest("acme/lacking", "v1").await.expect(200);
    // An image that is none is not worth a line.
    upstream.put("acme/plain", &crate::support::bundle::Bundle::image("plain").layout(Some("v1")));
    colocate.manifest("acme/plain", "v1").await.expect(200);

    let told = api(&colocate, "bundles").await["bundles"].clone();
    let find = |repository: &str| -> Value {
        let all = told.as_array().expect("a list");
        assert_eq!(all.len(), 2, "{told}");
        let full = format!("{}/{repository}", upstream.authority());
        all.iter().find(|bundle| bundle["repository"] == full.as_str()).expect("the bundle").clone()
    };
    let (good, bad) = (find(REPOSITORY), find("acme/lacking"));
    let expected = json!({
        "outcome": "relocated", "original": whole.manifest.digest.to_string(), "relocated": relocated.to_string(),
        "tags": ["v1"], "pulls": 2, "images": 2, "reason": null, "target": format!("{}/{REPOSITORY}", Golden::ENDPOINT),
    });
    for (key, value) in expected.as_object().expect("an object") {
        assert_eq!(&good[key], value, "{key} of {good}");
    }
    assert_eq!((bad["outcome"].as_str(), bad["relocated"].clone()), (Some("original"), Value::Null));
    let missing = lacks[1].manifest.digest.to_string();
    assert!(bad["reason"].as_str().is_some_and(|reason| reason.contains(&missing)), "{bad}");
    assert_eq!(bad["original"], lacking.manifest.digest.to_string());

    let details = api(&colocate, &format!("bundles/{}", good["id"].as_str().expect("an id"))).await;
    let (before, after) = (details["lock"]["before"].as_str(), details["lock"]["after"].as_str());
    let (before, after) = (before.expect("a lock"), after.expect("a relocated lock"));
    for image in &images {
        let digest = image.manifest.digest;
        assert!(before.contains(&format!("registry.example/other/app@{digest}")), "{before}");
        assert!(after.contains(&format!("{}/{REPOSITORY}@{digest}", Golden::ENDPOINT)), "{after}");
    }
    let found: Vec<_> = details["images"].as_array().expect("a list").iter().map(|it| it["found"].clone()).collect();
    assert_eq!(found, ["repository", "repository"]);
    let details = api(&colocate, &format!("bundles/{}", bad["id"].as_str().expect("an id"))).await;
    assert_eq!(details["lock"]["after"], Value::Null);
    let last = &details["images"][1];
    assert!(last["found"] == "missing" && last["image"].as_str().is_some_and(|it| it.contains(&missing)), "{details}");

    // What was settled by an earlier process is told without what was seen then, and can be looked at again.
    colocate.stop().await;
    colocate.start_again().await;
    colocate.manifest(REPOSITORY, "v1").await.expect(200);
    let again = api(&colocate, &format!("bundles/{}", good["id"].as_str().expect("an id"))).await;
    assert!(again["omitted"].is_string() && again["bundle"]["relocated"] == relocated.to_string(), "{again}");
    let explained = api(&colocate, &format!("explain?reference={REPOSITORY}:v1")).await["explanation"].clone();
    assert_eq!((explained["outcome"].as_str(), explained["lock"].as_str()), (Some("relocated"), Some(before)));
    assert_eq!(explained["relocated"]["lock"].as_str(), Some(after));
}

#[tokio::test(flavor = "multi_thread")]
async fn downloads_upstreams_and_the_last_hour_are_told() {
    let upstream = ScriptedUpstream::start().await;
    let pattern = Pattern::new(9, 2 << 20);
    let digest = upstream.put_pattern(REPOSITORY, &pattern);
    let gate = Gate::new();
    upstream.on(&format!("*/blobs/{digest}")).get().fails(Fault::HoldAt(1 << 20, gate.clone()));
    let colocate = Colocate::start(watched(&upstream).set("cache.max_bytes", "1GiB")).await;
    let idle = api(&colocate, "status").await;
    assert_eq!((&idle["upstreams"][0]["state"], &idle["fills"]), (&json!("unknown"), &json!([])));
    let url = format!("{}/v2/{REPOSITORY}/blobs/{digest}", colocate.url());
    let client = tokio::spawn(async move { http::get(&url).await });
    upstream.sent(&format!("*/blobs/{digest}"), 1 << 20).await;
    let mut fill = Value::Null;
    eventually("the download is told", Duration::from_secs(20), async || {
        fill = api(&colocate, "status").await["fills"][0].clone();
        fill["written"].as_u64().is_some_and(|written| written >= 1 << 19)
    })
    .await;
    assert_eq!((fill["size"].as_u64(), fill["readers"].as_u64()), (Some(pattern.size()), Some(1)), "{fill}");
    assert_eq!(fill["digest"], digest.to_string());
    assert_eq!(fill["origin"], format!("{}/{REPOSITORY}", upstream.authority()));
    gate.open();
    client.await.expect("no panic").expect(200);

    let mut told = Value::Null;
    eventually("it is stored and counted", Duration::from_secs(20), async || {
        told = api(&colocate, "status").await;
        told["fills"] == json!([]) && told["cache"]["bytes"].as_u64() >= Some(pattern.size())
    })
    .await;
    let minutes = told["history"]["samples"].as_array().expect("a list");
    let sum = |key: &str| minutes.iter().filter_map(|minute| minute[key].as_u64()).sum::<u64>();
    assert!(sum("served") >= pattern.size() && sum("fetched") >= pattern.size() && sum("requests") >= 1, "{told}");
    assert_eq!(told["cache"]["max_bytes"], 1 << 30);
    let behind = &told["upstreams"][0];
    assert_eq!((&behind["state"], &behind["registry"]), (&json!("ok"), &json!(upstream.authority())));
    assert!(told["ready"] == true && told["draining"] == false && told["cache"]["disk_free"].is_u64(), "{told}");

    upstream.on("*").fails(Fault::status(500));
    assert!(colocate.manifest(REPOSITORY, "gone").await.status.is_server_error());
    let behind = api(&colocate, "status").await["upstreams"][0].clone();
    assert!(behind["state"] == "trouble" && behind["trouble"]["text"].is_string(), "{behind}");
    // Which does not make the proxy unready: what it has it can serve.
    http::get(&format!("{}/readyz", colocate.admin())).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_by_its_own_names_and_never_a_secret() {
    let upstream = ScriptedUpstream::start().await;
    put_bundle(&upstream, REPOSITORY, true);
    let password = secret("the registry's password that operators do not see");
    let settings = watched(&upstream)
        .set("upstream.credentials", json!({"username": "robot", "password": password}))
        .set("upstream.insecure", "true")
        .set("access.allow_public", "true")
        .set("admin.names", json!(["colocate.monitoring.svc"]));
    let colocate = Colocate::start(settings).await;
    colocate.manifest(REPOSITORY, "v1").await.expect(200);
    let ask = async |path: &str, headers: &[(&str, &str)]| {
        http::send(Method::GET, &format!("{}{path}", colocate.admin()), headers, "").await
    };
    let status = async |path: &str, headers: &[(&str, &str)]| ask(path, headers).await.status.as_u16();
    for path in ["/api/status", "/api/bundles", "/api/explain?reference=acme/app:v1"] {
        let answer = ask(path, &[]).await.expect(200);
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert!(!String::from_utf8_lossy(&answer.body).contains(&password), "{path}");
        assert_eq!(status(path, &[("host", "evil.example:8081")]).await, 403);
        assert_eq!(status(path, &[("sec-fetch-site", "cross-site")]).await, 403);
        assert_eq!(status(path, &[("host", "Colocate.monitoring.svc")]).await, 200);
    }
    for (path, expected) in [
        ("/api/bundles/nothing", 404),
        ("/api/explain", 400),
        ("/api/explain?reference=acme/../app", 400),
        ("/api/explain?reference=evil.example/acme/app", 400),
        ("/api/explain?reference=acme/app:nothing", 404),
        ("/api/nothing", 404),
        ("/nothing", 404),
    ] {
        assert_eq!(status(path, &[]).await, expected, "{path}");
    }
    // A probe comes by whatever name.
    assert_eq!(status("/healthz", &[("host", "evil.example")]).await, 200);
    assert_eq!(http::send(Method::POST, &format!("{}/api/status", colocate.admin()), &[], "").await.status, 405);
}
