//! The script is followed: what the other tests conclude from it would be worth nothing otherwise.

use std::time::{Duration, Instant};

use bytes::Bytes;
use colocate::oci::Digest;
use http::{Method, Response};

use super::{Fault, Gate, ScriptedUpstream};
use crate::support::bundle::{Bundle, BundleBuilder, index, lock_of};
use crate::support::http::{Answer, get, head, send, try_send};
use crate::support::layout::Golden;

const BLOB: &[u8] = b"0123456789abcdef";

async fn with_blob() -> (ScriptedUpstream, String) {
    let upstream = ScriptedUpstream::start().await;
    let digest = upstream.put_blob("app", BLOB);
    let url = format!("{}/v2/app/blobs/{digest}", upstream.url());
    (upstream, url)
}

async fn range(url: &str, range: &str) -> Answer {
    send(Method::GET, url, &[("range", range)], "").await
}

#[tokio::test]
async fn serves_what_it_was_given() {
    let upstream = ScriptedUpstream::start().await;
    let images = [Bundle::image("one"), Bundle::image("two")];
    let list = index(&images.each_ref());
    let reference = format!("registry.test/app@{}", list.digest);
    let bundle = BundleBuilder::with_lock(&lock_of(&[reference])).oci().label(Some("")).extra_layer("second");
    let bundle = bundle.layer_annotation("made.by", "tests").build();
    upstream.put("acme/app", &bundle.layout(Some("v1")));
    images.iter().for_each(|image| upstream.put("acme/app", &image.layout(None)));
    upstream.put_manifest("acme/app", &list.media_type, list.bytes.clone());
    upstream.tag("acme/app", "list", &list.digest);

    let base = format!("{}/v2/acme/app", upstream.url());
    let answer = get(&format!("{base}/manifests/v1")).await.expect(200);
    assert_eq!((answer.digest(), answer.body.clone()), (bundle.digest(), bundle.manifest.bytes.clone()));
    assert_eq!(answer.json()["layers"].as_array().map(Vec::len), Some(2));
    assert_eq!(answer.json()["layers"][0]["annotations"]["made.by"], "tests");
    let answer = head(&format!("{base}/manifests/{}", list.digest)).await.expect(200);
    assert_eq!(answer.header("content-length"), Some(list.bytes.len().to_string().as_str()));
    assert!(answer.body.is_empty());
    for (digest, bytes) in bundle.layout(None).blobs {
        assert_eq!(get(&format!("{base}/blobs/{digest}")).await.expect(200).body, bytes);
    }
    assert!([bundle.layer_digest(), bundle.config_digest()].iter().all(|digest| *digest != bundle.digest()));

    let page = get(&format!("{base}/tags/list?n=1")).await.expect(200);
    assert_eq!(page.json()["tags"], serde_json::json!(["list"]));
    assert_eq!(page.header("link"), Some("</v2/acme/app/tags/list?last=list&n=1>; rel=\"next\""));
    let page = get(&format!("{base}/tags/list?n=9&last=list")).await.expect(200);
    assert_eq!((page.json()["tags"].clone(), page.header("link")), (serde_json::json!(["v1"]), None));

    upstream.remove("acme/app", "v1");
    assert_eq!(
        get(&format!("{base}/manifests/v1")).await.expect(404).error_code().as_deref(),
        Some("MANIFEST_UNKNOWN")
    );
    upstream.remove("acme/app", &list.digest.to_string());
    get(&format!("{base}/manifests/list")).await.expect(404);
    let other = format!("{}/v2/other/manifests/v1", upstream.url());
    assert_eq!(get(&other).await.expect(404).error_code().as_deref(), Some("NAME_UNKNOWN"));
    assert!(upstream.connections() > 0 && upstream.authority().starts_with("127.0.0.1:"));
}

#[tokio::test]
async fn golden_layouts_are_whole() {
    let upstream = ScriptedUpstream::start().await;
    for golden in Golden::all() {
        upstream.put(&golden.repository, &golden.colocated);
        let url = format!("{}/v2/{}/manifests/{}", upstream.url(), golden.repository, Golden::TAG);
        assert_eq!(get(&url).await.expect(200).digest(), golden.digest);
        let bundle = golden.origin.manifest(&golden.digest);
        let view: serde_json::Value = serde_json::from_slice(&bundle.bytes).expect("JSON");
        let layer: Digest = view["layers"][0]["digest"].as_str().expect("a layer").parse().expect("a digest");
        assert_eq!(golden.origin.blob(&layer), golden.colocated.blob(&layer));
    }
}

#[tokio::test]
async fn ranges() {
    let (upstream, url) = with_blob().await;
    for (asked, status, body) in
        [("bytes=4-7", 206, "4567"), ("bytes=14-", 206, "ef"), ("bytes=-3", 206, "def"), ("bytes=16-", 416, "")]
    {
        let answer = range(&url, asked).await.expect(status);
        assert_eq!(answer.body, body, "{asked}");
    }
    assert_eq!(range(&url, "bytes=4-7").await.header("content-range"), Some("bytes 4-7/16"));
    upstream.on("/v2/app/blobs/*").fails(Fault::IgnoreRange);
    assert_eq!(range(&url, "bytes=4-7").await.expect(200).body, BLOB);
}

#[tokio::test]
async fn other_answers_come_as_often_as_the_rule_says() {
    let (upstream, url) = with_blob().await;
    upstream
        .on("/v2/app/blobs/*")
        .get()
        .after(1)
        .times(2)
        .fails(Fault::error(429, "TOOMANYREQUESTS").with("retry-after", "7"));
    let mut seen = Vec::new();
    for _ in 0..4 {
        head(&url).await.expect(200);
        seen.push(get(&url).await.status.as_u16());
    }
    assert_eq!(seen, [200, 429, 429, 200]);
    assert_eq!((upstream.count("GET", "*/blobs/*"), upstream.count("", "*")), (4, 8));
    let errors = upstream.bytes_sent("/v2/app/*") - 2 * BLOB.len() as u64;
    assert!(errors > 0, "scripted bodies count as well");

    upstream.on("*").head().fails(Fault::status(418));
    upstream.on("*").get().fails(Fault::html());
    assert_eq!(head(&url).await.status, 418);
    assert_eq!(get(&url).await.header("content-type"), Some("text/html"));
    upstream.on("*").fails(Fault::nested_unknown());
    assert_eq!(get(&url).await.expect(500).error_code().as_deref(), Some("UNKNOWN"));
    upstream.on("*").fails(Fault::make(|seen| {
        let authorized = seen.headers.contains_key("authorization");
        (!authorized).then(|| Response::builder().status(401).body(Bytes::new()).expect("a response"))
    }));
    get(&url).await.expect(401);
    send(Method::GET, &format!("{url}?ns=a"), &[("authorization", "x")], "").await.expect(200);
    assert_eq!(upstream.requests().last().expect("a request").query, "ns=a");
    upstream.forget();
    upstream.heal();
    get(&url).await.expect(200);
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test]
async fn bodies_lie_and_break() {
    let (upstream, url) = with_blob().await;
    upstream.on("*").fails(Fault::Flip(2));
    assert_eq!(get(&url).await.expect(200).body, b"0133456789abcdef".as_slice());
    upstream.on("*").fails(Fault::BreakAt(5));
    let answer = get(&url).await;
    assert!(answer.broken.is_some() && answer.body == "01234", "{answer:?}");
    assert_eq!(answer.header("content-length"), Some("16"));
    let digest = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
    upstream.on("*").fails_with([
        Fault::Header("docker-content-digest", Some(digest.to_owned())),
        Fault::Header("accept-ranges", None),
    ]);
    let answer = get(&url).await.expect(200);
    assert_eq!((answer.digest().to_string().as_str(), answer.header("accept-ranges")), (digest, None));
}

#[tokio::test]
async fn answers_come_late_or_never() {
    let (upstream, url) = with_blob().await;
    let never = |url: String| async move {
        tokio::time::timeout(Duration::from_millis(200), try_send(Method::GET, &url, &[], "")).await.is_err()
    };
    upstream.on("*").fails(Fault::Stall);
    assert!(never(url.clone()).await);
    upstream.on("*").fails(Fault::StallAt(3));
    assert!(never(url.clone()).await);

    upstream.heal();
    let start = Instant::now();
    upstream.on("*").fails(Fault::Delay(Duration::from_millis(100)));
    get(&url).await.expect(200);
    upstream.on("*").fails(Fault::Slow { chunk: 4, pause: Duration::from_millis(20) });
    assert_eq!(get(&url).await.expect(200).body, BLOB);
    assert!(start.elapsed() >= Duration::from_millis(160), "{:?}", start.elapsed());

    for fault in [Fault::Hold, |gate| Fault::HoldAt(8, gate)] {
        let gate = Gate::new();
        upstream.heal();
        upstream.forget();
        upstream.on("*").fails(fault(gate.clone()));
        assert!(never(url.clone()).await);
        let waiting = tokio::spawn({
            let url = url.clone();
            async move { get(&url).await }
        });
        upstream.reached("GET", "*", 2).await;
        assert!(!waiting.is_finished());
        gate.open();
        assert_eq!(waiting.await.expect("an answer").expect(200).body, BLOB);
    }
}
