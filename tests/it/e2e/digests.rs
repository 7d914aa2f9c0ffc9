//! A tag gives the relocated bundle, a digest exactly that digest, and both outlive the registry.

use super::golden_registry;
use crate::support::colocate::{Colocate, Settings, colocate as run_colocate};
use crate::support::layout::Golden;
use crate::support::require;

#[tokio::test(flavor = "multi_thread")]
async fn the_original_digest_gives_the_original_bytes() {
    if !require(&["docker-registry"]) {
        return;
    }
    let registry = golden_registry().await;
    let colocate = Colocate::start(Settings::new(&registry.url())).await;
    for golden in Golden::all() {
        // Before the tag is asked for and after: the answer to a digest never depends on what else was asked.
        original_is_exact(&colocate, &golden).await;
        let relocated = colocate.pull(&golden.repository, Golden::TAG).await;
        assert_ne!(relocated.digest, golden.digest);
        assert_eq!(relocated.lock(), golden.pulled);
        original_is_exact(&colocate, &golden).await;

        let again = colocate.pull(&golden.repository, &relocated.digest.to_string()).await;
        assert_eq!(again, relocated);
    }
}

async fn original_is_exact(colocate: &Colocate, golden: &Golden) {
    let document = golden.origin.manifest(&golden.digest);
    let answer = colocate.manifest(&golden.repository, &golden.digest.to_string()).await.expect(200);
    assert_eq!(answer.body, document.bytes);
    assert_eq!(answer.digest(), golden.digest);
    assert_eq!(answer.header("content-type"), Some(document.media_type.as_str()));
    for (digest, bytes) in &golden.origin.blobs {
        let blob = colocate.blob(&golden.repository, &digest.to_string()).await.expect(200);
        assert_eq!(blob.body, bytes, "{digest}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_else_in_the_repository_is_byte_for_byte() {
    if !require(&["docker-registry"]) {
        return;
    }
    let registry = golden_registry().await;
    let colocate = Colocate::start(Settings::new(&registry.url())).await;
    for golden in Golden::all() {
        for document in &golden.colocated.manifests {
            let answer = colocate.manifest(&golden.repository, &document.digest.to_string()).await.expect(200);
            assert_eq!((answer.digest(), answer.body), (document.digest, document.bytes.clone()));
        }
        for (digest, bytes) in &golden.colocated.blobs {
            let blob = colocate.blob(&golden.repository, &digest.to_string()).await.expect(200);
            assert_eq!(blob.body, bytes, "{digest}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_relocated_is_served_after_a_restart_without_the_registry() {
    if !require(&["docker-registry"]) {
        return;
    }
    let mut registry = golden_registry().await;
    let mut colocate = Colocate::start(Settings::new(&registry.url())).await;
    let mut pulled = Vec::new();
    for golden in Golden::all() {
        pulled.push((golden.repository.clone(), colocate.pull(&golden.repository, Golden::TAG).await));
    }
    colocate.stop().await;
    registry.stop().await;
    colocate.start_again().await;
    for (repository, before) in pulled {
        let after = colocate.pull(&repository, &before.digest.to_string()).await;
        assert_eq!(after, before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_tells_both_digests() {
    if !require(&["docker-registry"]) {
        return;
    }
    let registry = golden_registry().await;
    let colocate = Colocate::start(Settings::new(&registry.url())).await;
    for golden in Golden::all() {
        let relocated = colocate.manifest_head(&golden.repository, Golden::TAG).await.expect(200).digest();
        let reference = format!("{}:{}", golden.repository, Golden::TAG);
        let arguments = ["explain", "--upstream", &registry.url(), "--endpoint", Golden::ENDPOINT];
        for form in [&[][..], &["--json"]] {
            let told = run_colocate(&[&arguments[..], form, &[&reference]].concat()).await;
            assert!(told.status.success(), "{told:?}");
            assert!(told.stdout.contains(&golden.digest.to_string()), "{told:?}");
            assert!(told.stdout.contains(&relocated.to_string()), "{told:?}");
        }
    }
    let arguments = ["explain", "--upstream", &registry.url(), "--endpoint", Golden::ENDPOINT, "mirror2/absent:v1"];
    let told = run_colocate(&arguments).await;
    assert!(!told.status.success() && !told.stderr.is_empty() && told.stdout.is_empty(), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_alone_is_enough_to_start() {
    if !require(&["docker-registry"]) {
        return;
    }
    let registry = golden_registry().await;
    let url = registry.url();
    let arguments = ["serve", "--upstream", &url, "--listen", "{listen}", "--cache", "{cache}", "--admin", "none"];
    let golden = Golden::read("simple-app");
    let colocate = Colocate::start_with(&[&arguments[..], &["--endpoint", Golden::ENDPOINT]].concat()).await;
    assert_eq!(colocate.pull(&golden.repository, Golden::TAG).await.lock(), golden.pulled);
    drop(colocate);

    // Without an endpoint, it is the address listened on.
    let colocate = Colocate::start_with(&arguments).await;
    let lock = colocate.pull(&golden.repository, Golden::TAG).await.lock();
    let lock = String::from_utf8(lock).expect("a lock is text");
    let image = format!("image: {}/{}@sha256:", colocate.authority(), golden.repository);
    assert!(lock.contains(&image), "{image} in\n{lock}");
}
