//! Proxies in front of proxies.

use colocate::oci::Digest;
use serde_json::json;

use super::golden_registry;
use crate::support::colocate::{Colocate, Pulled, Settings};
use crate::support::http::{self, ACCEPT, Method};
use crate::support::layout::{Golden, push_manifest};
use crate::support::registry::DockerRegistry;
use crate::support::require;

/// What the inner one is called.
const INNER: &str = "inner.example";

/// The lock that imgpkg would have written at an endpoint, under the golden repository's name.
fn lock_at(golden: &Golden, endpoint: &str) -> Vec<u8> {
    let target = |endpoint: &str| format!("{endpoint}/{}@", golden.repository);
    let lock = String::from_utf8(golden.pulled.clone()).expect("a lock is text");
    lock.replace(&target(Golden::ENDPOINT), &target(endpoint)).into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_outer_one_relocates_what_the_inner_one_gives_as_it_stands() {
    if !require(&["docker-registry"]) {
        return;
    }
    let registry = golden_registry().await;
    let inner = Colocate::start(Settings::new(&registry.url()).set("endpoint", INNER)).await;
    let mut outer = Colocate::start(Settings::new(&inner.url())).await;
    let mut seen = Vec::new();
    for golden in Golden::all() {
        let repository = &golden.repository;
        // Both ways at once, so that neither answer is taken for the other's.
        let (by_outer, by_inner) =
            tokio::join!(outer.pull(repository, Golden::TAG), inner.pull(repository, Golden::TAG));
        assert_eq!(by_outer.lock(), golden.pulled, "{}", golden.name);
        assert_eq!(by_inner.lock(), lock_at(&golden, INNER), "{}", golden.name);
        let original = outer.manifest(repository, &golden.digest.to_string()).await.expect(200);
        assert_eq!(original.body, golden.origin.manifest(&golden.digest).bytes);
        assert_eq!(outer.pull(repository, &by_outer.digest.to_string()).await, by_outer);
        parts(&outer, repository, &by_outer).await;
        seen.push((golden, by_outer));
    }
    // With nothing but the digest to go by: made again of what the inner one has.
    for (golden, by_outer) in seen {
        outer.start_empty().await;
        let repository = &golden.repository;
        parts(&outer, repository, &by_outer).await;
        outer.start_empty().await;
        assert_eq!(outer.pull(repository, &by_outer.digest.to_string()).await, by_outer, "{}", golden.name);
    }
}

/// HEAD and Range of what a bundle is made of, and of an original layer.
async fn parts(colocate: &Colocate, repository: &str, pulled: &Pulled) {
    for bytes in [&pulled.layer, &pulled.config] {
        let url = format!("{}/v2/{repository}/blobs/{}", colocate.url(), Digest::of(bytes));
        let head = http::head(&url).await.expect(200);
        assert_eq!(head.header("content-length"), Some(bytes.len().to_string().as_str()));
        let end = bytes.len() / 2;
        for (range, expected) in [
            (format!("bytes=1-{end}"), &bytes[1..=end]),
            (format!("bytes={end}-"), &bytes[end..]),
            ("bytes=-7".to_owned(), &bytes[bytes.len() - 7..]),
        ] {
            let part = http::send(Method::GET, &url, &[("range", &range)], "").await.expect(206);
            assert_eq!(part.body, *expected, "{range}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn originals_in_part_come_through_both() {
    if !require(&["docker-registry"]) {
        return;
    }
    let registry = golden_registry().await;
    let inner = Colocate::start(Settings::new(&registry.url()).set("endpoint", INNER)).await;
    let outer = Colocate::start(Settings::new(&inner.url())).await;
    let golden = Golden::read("wide-app");
    for (digest, bytes) in &golden.colocated.blobs {
        let url = format!("{}/v2/{}/blobs/{digest}", outer.url(), golden.repository);
        let head = http::head(&url).await.expect(200);
        assert_eq!(head.header("content-length"), Some(bytes.len().to_string().as_str()));
        let part = http::send(Method::GET, &url, &[("range", "bytes=3-9")], "").await.expect(206);
        assert_eq!(part.body, bytes[3..=9]);
        assert_eq!(http::get(&url).await.expect(200).body, bytes);
    }
    let tags = async |url: String| {
        let list = http::get(&format!("{url}/v2/{}/tags/list", golden.repository)).await.expect(200).json();
        let tags = list["tags"].as_array().expect("a list").iter().map(|tag| tag.as_str().expect("text").to_owned());
        tags.collect::<Vec<_>>()
    };
    // This registry has them in an order of its own.
    let mut expected = tags(registry.url()).await;
    expected.sort();
    assert_eq!(tags(outer.url()).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_cache_behind_a_proxy_lacks_is_absent_for_both() {
    if !require(&["docker-registry"]) {
        return;
    }
    let remote = golden_registry().await;
    let golden = Golden::read("simple-app");
    golden.origin.push(&remote.url(), "alone/simple-app").await;
    push_manifest(&remote.url(), "alone/simple-app", Golden::TAG, golden.origin.manifest(&golden.digest)).await;
    // It answers 500 for what its own upstream lacks.
    let cache = DockerRegistry::pull_through(&remote.url()).await;
    let inner = Colocate::start(Settings::new(&cache.url()).set("endpoint", INNER)).await;
    let outer = Colocate::start(Settings::new(&inner.url())).await;
    for colocate in [&outer, &inner] {
        let answer = colocate.manifest("alone/simple-app", Golden::TAG).await.expect(200);
        assert_eq!(answer.digest(), golden.digest);
        for reference in [&format!("sha256:{}", "1".repeat(64)), "absent"] {
            let answer = colocate.manifest("alone/simple-app", reference).await.expect(404);
            assert_eq!(answer.error_code().as_deref(), Some("MANIFEST_UNKNOWN"), "{reference}");
        }
    }
    assert_eq!(outer.pull(&golden.repository, Golden::TAG).await.lock(), golden.pulled);
    assert_eq!(inner.pull(&golden.repository, Golden::TAG).await.lock(), lock_at(&golden, INNER));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_in_front_has_what_was_made_for_it() {
    if !require(&["docker-registry"]) {
        return;
    }
    let registry = golden_registry().await;
    let colocate = Colocate::start(Settings::new(&registry.url())).await;
    let cache = DockerRegistry::pull_through(&colocate.url()).await;
    for golden in Golden::all() {
        let seen = crate::support::seen::Seen::new(&crate::support::access::Access::anonymous(), &cache.url());
        let pulled = seen.pull(&golden.repository, Golden::TAG).await;
        assert_eq!(pulled.lock(), golden.pulled, "{}", golden.name);
        let original = seen.manifest(&golden.repository, &golden.digest.to_string()).await.expect(200);
        assert_eq!(original.body, golden.origin.manifest(&golden.digest).bytes);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_a_registry_s_hosts_can_give_everything_as_it_stands() {
    if !require(&["docker-registry"]) {
        return;
    }
    let registry = golden_registry().await;
    let settings = Settings::new(&registry.url())
        .set("upstream.hosts", json!(["pull.example", "exact.example"]))
        .set("rules", json!([{"endpoint": "exact.example", "relocation": {"when": "never"}}]));
    let colocate = Colocate::start(settings).await;
    for golden in Golden::all() {
        let url = format!("{}/v2/{}/manifests/{}", colocate.url(), golden.repository, Golden::TAG);
        let answer = async |host: &str| {
            http::send(Method::GET, &url, &[("accept", ACCEPT), ("host", host)], "").await.expect(200)
        };
        let relocated = answer("pull.example").await.digest();
        assert_ne!(relocated, golden.digest);
        let exact = answer("exact.example").await;
        assert_eq!((exact.digest(), exact.body), (golden.digest, golden.origin.manifest(&golden.digest).bytes.clone()));
        assert_eq!(answer("pull.example").await.digest(), relocated);
        assert_eq!(colocate.pull(&golden.repository, Golden::TAG).await.lock(), golden.pulled);
    }
}
