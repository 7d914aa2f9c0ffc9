//! A bundle is relocated when all its images are there, and not a moment before.

use std::time::Duration;

use colocate::oci::Digest;

use crate::support::colocate::{Colocate, Settings};
use crate::support::layout::{Golden, push_manifest};
use crate::support::registry::DockerRegistry;
use crate::support::{eventually, require};

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_whose_image_arrives_later_is_relocated_then() {
    if !require(&["docker-registry"]) {
        return;
    }
    let golden = Golden::read("wide-app");
    let missing: Digest = missing_image(&golden);
    let mut partial = golden.colocated.clone();
    // Without the locations image, each image is asked for by its digest.
    assert!(partial.untag(".image-locations.imgpkg"));
    let image = partial.remove(&missing).expect("the image is in the golden repository");

    let registry = DockerRegistry::start().await;
    partial.push(&registry.url(), &golden.repository).await;
    let colocate = Colocate::start(Settings::new(&registry.url()).set("relocation.negative_ttl", "2s")).await;
    for _ in 0..2 {
        let before = colocate.manifest(&golden.repository, Golden::TAG).await.expect(200);
        assert_eq!(before.digest(), golden.digest);
        assert_eq!(before.body, golden.origin.manifest(&golden.digest).bytes);
    }

    push_manifest(&registry.url(), &golden.repository, &missing.to_string(), &image).await;
    eventually("the bundle is relocated", Duration::from_secs(10), async || {
        let answer = colocate.manifest(&golden.repository, Golden::TAG).await.expect(200);
        answer.digest() != golden.digest
    })
    .await;
    assert_eq!(colocate.pull(&golden.repository, Golden::TAG).await.lock(), golden.pulled);
}

/// One of the images that the golden lock names.
fn missing_image(golden: &Golden) -> Digest {
    let lock = String::from_utf8(golden.pulled.clone()).expect("a lock is text");
    let (_, digest) = lock.lines().find_map(|line| line.split_once('@')).expect("a lock with images");
    digest.parse().expect("a digest")
}
