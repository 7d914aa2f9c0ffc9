//! What the cache had to do with an answer, as a client is told: `Cache-Status`, `Age`, and what the upstream says of
//! its limits.

use std::time::Duration;

use super::{Proxy, ask, get, metrics, proxy_of};
use crate::support::bundle::{Bundle, BundleBuilder, lock_of};
use crate::support::eventually;
use crate::support::scripted::{Fault, Gate, ScriptedUpstream};

const TAG: &str = "/v2/acme/app/manifests/v1";
/// Each tag is asked for each time.
const NO_TTL: &str = "tags: {ttl: 0s}";

async fn upstream(image: &Bundle) -> ScriptedUpstream {
    let upstream = ScriptedUpstream::start().await;
    upstream.put("acme/app", &image.layout(Some("v1")));
    upstream
}

/// Status and `Cache-Status`, without the name that it begins with.
async fn told(proxy: &Proxy, method: &str, target: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let answer = ask(proxy.running.address().expect("an address"), method, target, headers).await;
    let status = answer.header("cache-status").unwrap_or_else(|| panic!("none: {answer:?}"));
    (answer.status, status.strip_prefix("colocate; ").unwrap().to_owned())
}

/// The same of a GET.
async fn got(proxy: &Proxy, target: &str) -> (u16, String) {
    told(proxy, "GET", target, &[]).await
}

fn is(status: u16, text: &str) -> (u16, String) {
    (status, text.to_owned())
}

#[tokio::test]
async fn every_way_to_an_answer_is_told() {
    let image = Bundle::image("a");
    let upstream = upstream(&image).await;
    let digest = image.digest();
    let by_digest = format!("/v2/acme/app/manifests/{digest}");
    let (config, layer) = (image.config_digest(), image.layer_digest());
    let blob = |repository: &str, digest| format!("/v2/{repository}/blobs/{digest}");
    let proxy = proxy_of(&upstream.url(), "tags: {ttl: 1h}").await;
    let miss = "fwd=uri-miss; fwd-status=200; stored";

    assert_eq!(got(&proxy, TAG).await, is(200, &format!("{miss}; ttl=3600")));
    let hit = get(&proxy, TAG, &[]).await;
    let age: u64 = hit.header("age").expect("an age").parse().unwrap();
    assert_eq!(hit.header("cache-status").unwrap(), format!("colocate; hit; ttl={}", 3600 - age));
    for (method, headers, status) in
        [("HEAD", vec![], 200), ("GET", vec![("If-None-Match", format!("\"{digest}\""))], 304)]
    {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let (answered, told) = told(&proxy, method, TAG, &headers).await;
        assert!(answered == status && told.starts_with("hit; ttl=3"), "{answered} {told}");
    }
    assert_eq!(got(&proxy, &by_digest).await, is(200, "hit"));

    assert_eq!(told(&proxy, "HEAD", &blob("acme/app", layer), &[]).await, is(200, "fwd=uri-miss; fwd-status=200"));
    let part = [("Range", "bytes=0-0")];
    assert_eq!(told(&proxy, "GET", &blob("acme/app", layer), &part).await, is(206, miss));
    // The config was looked at to see whether this is a bundle. What is right is handed out before it is on the disk,
    // and until then it is told as what it is: somebody else's download.
    for digest in [layer, config] {
        eventually("it is kept", Duration::from_secs(20), async || {
            got(&proxy, &blob("acme/app", digest)).await == is(200, "hit")
        })
        .await;
        assert_eq!(told(&proxy, "GET", &blob("acme/app", digest), &part).await, is(206, "hit"));
    }
    // Here, but not known to be in that repository.
    upstream.put("other/app", &image.layout(None));
    let confirmed = "fwd=uri-miss; fwd-status=200; detail=confirmed";
    assert_eq!(got(&proxy, &blob("other/app", config)).await, is(200, confirmed));

    let absent = format!("sha256:{}", "0".repeat(64));
    for target in
        [blob("acme/app", absent.parse().unwrap()), "/v2/acme/app/manifests/no".into(), "/v2/no/tags/list".into()]
    {
        assert_eq!(got(&proxy, &target).await, is(404, "fwd=uri-miss; fwd-status=404"), "{target}");
        assert_eq!(told(&proxy, "HEAD", &target, &[]).await, is(404, "fwd=uri-miss; fwd-status=404"), "{target}");
    }
    assert_eq!(got(&proxy, "/v2/acme/app/tags/list").await, is(200, "fwd=bypass; fwd-status=200"));
    assert_eq!(got(&proxy, "/v2/").await, is(200, "detail=local"));
    assert_eq!(got(&proxy, "/v2/A/tags/list").await, is(400, "detail=refused"));
    assert_eq!(told(&proxy, "PUT", TAG, &[("Content-Length", "0")]).await, is(405, "detail=refused"));

    let schema1 = r#"{"schemaVersion":1,"name":"acme/app","tag":"old","fsLayers":[]}"#;
    let kind = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    upstream.tag("acme/app", "old", &upstream.put_manifest("acme/app", kind, schema1));
    assert_eq!(got(&proxy, "/v2/acme/app/manifests/old").await, is(200, "fwd=bypass; fwd-status=200"));

    // The metric has the same words.
    let text = metrics(&proxy).await;
    for (route, status, outcome) in [
        ("manifest", "2xx", "miss"),
        ("manifest", "2xx", "hit"),
        ("manifest", "3xx", "hit"),
        ("manifest", "2xx", "bypass"),
        ("manifest", "4xx", "not_found"),
        ("blob", "2xx", "revalidated"),
        ("tags", "2xx", "bypass"),
        ("base", "2xx", "local"),
        ("unknown", "4xx", "refused"),
    ] {
        let line = format!("route=\"{route}\",method=\"GET\",status=\"{status}\",outcome=\"{outcome}\"}}");
        assert!(text.contains(&line), "{line}\nnot in\n{text}");
    }
}

#[tokio::test]
async fn a_tag_that_is_asked_for_says_how_that_went() {
    let upstream = upstream(&Bundle::image("a")).await;
    let proxy = proxy_of(&upstream.url(), NO_TTL).await;
    got(&proxy, TAG).await;
    assert_eq!(got(&proxy, TAG).await, is(200, "fwd=stale; fwd-status=200; ttl=0"));
    assert_eq!(get(&proxy, TAG, &[]).await.header("age"), None, "the upstream was asked for this answer");

    upstream.on(TAG).fails(Fault::status(502));
    let stale = get(&proxy, TAG, &[]).await;
    let age: i64 = stale.header("age").expect("an age").parse().unwrap();
    let expected = format!("colocate; fwd=stale; fwd-status=502; ttl={}; detail=unavailable", (-age).min(-1));
    assert_eq!((stale.status, stale.header("cache-status").unwrap()), (200, expected.as_str()));
    let (status, spared) = told(&proxy, "HEAD", TAG, &[]).await;
    assert!(status == 200 && spared.starts_with("hit; ttl=-") && spared.ends_with("; detail=unavailable"), "{spared}");
    let text = metrics(&proxy).await;
    assert!(text.contains(r#"method="GET",status="2xx",outcome="stale"} 1"#), "{text}");

    for (fault, status, expected) in [
        (401, 403, "fwd=uri-miss; fwd-status=401; detail=unauthorized"),
        (403, 403, "fwd=uri-miss; fwd-status=403; detail=denied"),
        (418, 502, "fwd=uri-miss; fwd-status=418; detail=unexpected_status"),
        (500, 503, "fwd=uri-miss; fwd-status=500; detail=unavailable"),
    ] {
        upstream.on("/v2/acme/other/*").fails(Fault::status(fault));
        assert_eq!(got(&proxy, "/v2/acme/other/manifests/v1").await, is(status, expected));
    }
    drop(upstream);
    eventually("nobody listens", Duration::from_secs(20), async || {
        got(&proxy, "/v2/acme/other/manifests/v1").await == is(502, "fwd=uri-miss; detail=unreachable")
    })
    .await;
}

#[tokio::test]
async fn who_waits_for_another_is_told_so() {
    let upstream = upstream(&Bundle::image("a")).await;
    let proxy = proxy_of(&upstream.url(), NO_TTL).await;
    for (first, rest) in [
        ("fwd=uri-miss; fwd-status=200; stored; ttl=0", "fwd=uri-miss; fwd-status=200; stored; collapsed; ttl=0"),
        ("fwd=stale; fwd-status=200; ttl=0", "fwd=stale; fwd-status=200; collapsed; ttl=0"),
    ] {
        let gate = Gate::new();
        upstream.on(TAG).times(1).fails(Fault::Hold(gate.clone()));
        upstream.forget();
        let both = async { tokio::join!(got(&proxy, TAG), got(&proxy, TAG)) };
        let open = async {
            upstream.reached("", TAG, 1).await;
            // Both are running by then: neither can end before the gate is open.
            let running = || async { metrics(&proxy).await.contains("colocate_requests_in_flight 2") };
            eventually("both are here", Duration::from_secs(20), async || running().await).await;
            tokio::time::sleep(Duration::from_millis(250)).await;
            gate.open();
        };
        let ((one, two), ()) = tokio::join!(both, open);
        let mut told = [one.1, two.1];
        told.sort_by_key(|told| told.contains("collapsed"));
        assert_eq!(told, [first, rest]);
    }
}

#[tokio::test]
async fn a_relocated_bundle_is_made_here_of_what_the_tag_stood_for() {
    let image = Bundle::image("a");
    let lock = lock_of(&[format!("registry.invalid/app@{}", image.digest())]);
    let bundle = BundleBuilder::new().directory(".imgpkg").lock(&lock).build();
    let upstream = upstream(&bundle).await;
    upstream.put("acme/app", &image.layout(None));
    let proxy = proxy_of(&upstream.url(), NO_TTL).await;
    let made = "fwd=uri-miss; fwd-status=200; stored; ttl=0; detail=relocated";
    assert_eq!(got(&proxy, TAG).await, is(200, made));
    assert_eq!(got(&proxy, TAG).await, is(200, "fwd=stale; fwd-status=200; ttl=0; detail=relocated"));
    let relocated = get(&proxy, TAG, &[]).await;
    let digest = relocated.header("docker-content-digest").unwrap();
    let by_digest = format!("/v2/acme/app/manifests/{digest}");
    assert_eq!(got(&proxy, &by_digest).await, is(200, "hit; detail=relocated"));
    let document: serde_json::Value = serde_json::from_slice(&relocated.body).unwrap();
    for part in [&document["config"], &document["layers"][0]] {
        let blob = format!("/v2/acme/app/blobs/{}", part["digest"].as_str().unwrap());
        assert_eq!(got(&proxy, &blob).await, is(200, "hit; detail=relocated"));
        assert_eq!(told(&proxy, "HEAD", &blob, &[]).await, is(200, "hit; detail=relocated"));
    }
    upstream.on("*").fails(Fault::status(500));
    let stale = get(&proxy, TAG, &[]).await;
    assert_eq!((stale.status, &stale.body), (200, &relocated.body));
    let told = stale.header("cache-status").unwrap();
    assert!(
        told.contains("; fwd=stale; fwd-status=500; ttl=-") && told.ends_with("; detail=unavailable/relocated"),
        "{told}"
    );
    assert!(metrics(&proxy).await.contains(r#"outcome="stale"} 1"#));
}

#[tokio::test]
async fn limits_of_the_upstream_are_kept_passed_on_and_shown() {
    let upstream = upstream(&Bundle::image("a")).await;
    let proxy = proxy_of(&upstream.url(), NO_TTL).await;
    got(&proxy, TAG).await;
    let limited = Fault::error(429, "TOOMANYREQUESTS")
        .with("retry-after", "600")
        .with("ratelimit-limit", "100;w=21600")
        .with("ratelimit-remaining", "0;w=21600")
        .with("ratelimit-reset", "600");
    upstream.on("*").fails(limited);
    upstream.forget();

    // What there is, is served.
    let (status, told) = got(&proxy, TAG).await;
    assert!(status == 200 && told.starts_with("fwd=stale; fwd-status=429; ttl=-"), "{told}");
    assert_eq!(upstream.requests().len(), 1);
    // For the rest, nobody is asked.
    for target in ["/v2/acme/app/manifests/v2", "/v2/other/manifests/v1", "/v2/acme/app/tags/list"] {
        let answer = get(&proxy, target, &[]).await;
        assert_eq!((answer.status, answer.code().as_str()), (429, "TOOMANYREQUESTS"), "{target}");
        let seconds = |name| answer.header(name).unwrap().parse::<u64>().unwrap();
        assert!((500..=600).contains(&seconds("retry-after")) && (500..=600).contains(&seconds("ratelimit-reset")));
        assert_eq!(answer.header("ratelimit-limit"), Some("100;w=21600"));
        assert_eq!(answer.header("ratelimit-remaining"), Some("0;w=21600"));
        assert_eq!(answer.header("cache-status"), Some("colocate; detail=rate_limited"));
    }
    let (status, told) = got(&proxy, TAG).await;
    assert!(status == 200 && told.starts_with("hit; ttl=-") && told.ends_with("; detail=rate_limited"), "{told}");
    assert_eq!(upstream.requests().len(), 1, "{:?}", upstream.requests());

    let text = metrics(&proxy).await;
    let host = upstream.authority();
    for line in [
        format!("colocate_upstream_ratelimit_limit{{upstream=\"{host}\",host=\"registry\"}} 100"),
        format!("colocate_upstream_ratelimit_remaining{{upstream=\"{host}\",host=\"registry\"}} 0"),
        format!("colocate_upstream_backoffs_total{{upstream=\"{host}\",host=\"registry\"}} 1"),
        format!("colocate_upstream_blocked_until_timestamp_seconds{{upstream=\"{host}\",host=\"registry\"}} 1"),
        format!(
            "colocate_upstream_requests_total{{upstream=\"{host}\",operation=\"manifest\",outcome=\"held_back\"}} 2"
        ),
        format!(
            "colocate_upstream_requests_total{{upstream=\"{host}\",operation=\"manifest_head\",outcome=\"limited\"}} 1"
        ),
        format!("colocate_upstream_answers_total{{upstream=\"{host}\",host=\"registry\",status=\"429\"}} 1"),
        r#"colocate_stale_answers_total{reason="rate_limited"} 2"#.to_owned(),
    ] {
        assert!(text.contains(&line), "{line}\nnot in\n{text}");
    }
}
