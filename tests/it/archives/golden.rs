//! Archives that imgpkg made.

use super::parts::{ENDPOINT, Edge, images_in, open, shown};
use crate::support::archive::golden_tar;
use crate::support::fixture;
use crate::support::layout::{Golden, Layout};

#[test]
fn names_and_tags_are_those_that_it_came_with() {
    for (bundle, expected) in [
        ("simple-app", &["apps/one: latest", "fx/simple-app: v1.0.0"][..]),
        ("nested-app", &["apps/one: latest", "apps/two: latest", "fx/nested-app: v1.0.0", "fx/simple-app: latest"]),
        ("multi-app", &["apps/multi: latest", "fx/multi-app: v1.0.0"]),
        ("wide-app", &["apps/one: latest", "apps/two: latest", "fx/wide-app: v1.0.0"]),
    ] {
        assert_eq!(shown(&open(&golden_tar(bundle)).unwrap()), expected, "{bundle}");
    }
}

/// The lock that imgpkg would have written, had it copied the bundle to where the archive has it.
fn lock(golden: &Golden) -> String {
    let lock = String::from_utf8(golden.pulled.clone()).unwrap();
    let target = format!("{}/{}@", Golden::ENDPOINT, golden.repository);
    lock.replace(&target, &format!("{ENDPOINT}/fx/{}@", golden.name))
}

#[tokio::test]
async fn bundles_are_relocated_and_all_that_they_name_pulls() {
    for golden in Golden::all() {
        let edge = Edge::of(&golden_tar(golden.name)).await;
        let repository = format!("fx/{}", golden.name);
        let pulled = edge.pull(&repository, Golden::TAG).await;
        assert_eq!(String::from_utf8_lossy(&pulled.lock()), lock(&golden), "{}", golden.name);
        assert_eq!(edge.pull(&repository, pulled.digest).await, pulled);
        // The original, byte for byte.
        let original = edge.manifest(&repository, golden.digest).await.expect(200);
        assert_eq!(original.body, golden.origin.manifest(&golden.digest).bytes);
        edge.pull_whole(&repository, golden.digest).await;
        for image in images_in(&pulled.lock()) {
            let (_, digest) = image.split_once('@').unwrap();
            edge.pull_whole(&repository, digest).await;
        }
    }
}

#[tokio::test]
async fn images_are_what_they_were_under_their_own_names() {
    let edge = Edge::of(&golden_tar("multi-app")).await;
    let multi = Layout::read(&fixture("bundles/apps/multi"));
    for document in &multi.manifests {
        let answer = edge.manifest("apps/multi", document.digest).await.expect(200);
        assert_eq!(answer.body, document.bytes);
        assert_eq!(answer.header("content-type"), Some(document.media_type.as_str()));
    }
    edge.pull_whole("apps/multi", "latest").await;
    for (digest, bytes) in &multi.blobs {
        assert_eq!(edge.blob("apps/multi", digest).await.expect(200).body, bytes);
    }
    // Of the bundle, this repository has nothing.
    let golden = Golden::read("multi-app");
    edge.manifest("apps/multi", golden.digest).await.expect(404);
    let (config, _) = &golden.origin.blobs[0];
    edge.blob("apps/multi", config).await.expect(404);
}

#[tokio::test]
async fn a_bundle_in_a_bundle_is_relocated_by_either_name() {
    let (outer, inner) = (Golden::read("nested-app"), Golden::read("simple-app"));
    let edge = Edge::of(&golden_tar("nested-app")).await;
    let pulled = edge.pull("fx/simple-app", "latest").await;
    assert_eq!(String::from_utf8_lossy(&pulled.lock()), lock(&inner));
    // What the outer one names is there by its digest, and so is what that names in turn.
    edge.pull("fx/nested-app", Golden::TAG).await;
    edge.pull_whole("fx/nested-app", inner.digest).await;
    for image in images_in(&inner.pulled) {
        let (_, digest) = image.split_once('@').unwrap();
        edge.pull_whole("fx/nested-app", digest).await;
    }
    edge.pull_whole("fx/nested-app", outer.digest).await;
}
