//! A registry that is gone: what was pulled before is pulled again, also by a proxy that starts without it.

use super::golden_registry;
use crate::support::colocate::{Colocate, Settings};
use crate::support::http::{self, Answer};
use crate::support::layout::Golden;
use crate::support::require;
use crate::support::scripted::{Fault, ScriptedUpstream};

/// Asks for each tag each time, so that nothing but trouble is a reason for an old answer.
fn settings(upstream: &str) -> Settings {
    Settings::new(upstream).set("tags.ttl", "0s")
}

#[track_caller]
fn assert_stale(answer: &Answer) {
    let status = answer.header("cache-status").expect("a Cache-Status");
    assert!(status.contains("; ttl=-") && answer.header("age").is_some(), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_pulled_is_pulled_without_the_registry() {
    if !require(&["docker-registry"]) {
        return;
    }
    let mut registry = golden_registry().await;
    let mut colocate = Colocate::start(settings(&registry.url())).await;
    let mut pulled = Vec::new();
    for golden in Golden::all() {
        let relocated = colocate.pull(&golden.repository, Golden::TAG).await;
        let original = colocate.pull(&golden.repository, &golden.digest.to_string()).await;
        pulled.push((golden, relocated, original));
    }
    registry.stop().await;
    for restarted in [false, true] {
        if restarted {
            colocate.stop().await;
            colocate.start_again().await;
        }
        for (golden, relocated, original) in &pulled {
            assert_stale(&colocate.manifest(&golden.repository, Golden::TAG).await.expect(200));
            assert_stale(&colocate.manifest_head(&golden.repository, Golden::TAG).await.expect(200));
            assert_eq!(&colocate.pull(&golden.repository, Golden::TAG).await, relocated);
            assert_eq!(&colocate.pull(&golden.repository, &golden.digest.to_string()).await, original);
            assert_eq!(&colocate.pull(&golden.repository, &relocated.digest.to_string()).await, relocated);
            let exact = colocate.manifest(&golden.repository, &golden.digest.to_string()).await;
            assert_eq!(exact.header("cache-status"), Some("colocate; hit"));
            // What nobody pulled is not made up.
            let other = colocate.manifest(&golden.repository, "other").await;
            assert_eq!(other.status, 502, "{other:?}");
            let list = http::get(&format!("{}/v2/{}/tags/list", colocate.url(), golden.repository)).await;
            assert_eq!(list.status, 502, "{list:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_refuses_is_not_a_registry_that_is_gone() {
    let upstream = ScriptedUpstream::start().await;
    let golden = Golden::read("simple-app");
    upstream.put(&golden.repository, &golden.colocated);
    let mut colocate = Colocate::start(settings(&upstream.url())).await;
    let relocated = colocate.pull(&golden.repository, Golden::TAG).await;
    for restarted in [false, true] {
        if restarted {
            colocate.stop().await;
            colocate.start_again().await;
        }
        for status in [401, 403] {
            upstream.on("/v2/*").fails(Fault::status(status));
            let answer = colocate.manifest(&golden.repository, Golden::TAG).await;
            assert_eq!((answer.status.as_u16(), answer.header("age")), (403, None), "{answer:?}");
            upstream.heal();
        }
        assert_eq!(colocate.pull(&golden.repository, Golden::TAG).await, relocated, "allowed again");
    }
    drop(upstream);
    colocate.stop().await;
    colocate.start_again().await;
    assert_stale(&colocate.manifest(&golden.repository, Golden::TAG).await.expect(200));
    assert_eq!(colocate.pull(&golden.repository, Golden::TAG).await, relocated);
}
