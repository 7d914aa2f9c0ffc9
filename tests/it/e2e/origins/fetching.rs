//! What the lock says is pulled as it is written there, by the tools that people use.

use std::fs;

use tempfile::TempDir;

use super::{Front, Origins, Spread, at, children, each_pushed, images_in, named, pushed_to};
use crate::support::access::Access;
use crate::support::containerd::Containerd;
use crate::support::layout::Golden;
use crate::support::podman::Podman;
use crate::support::skopeo::Skopeo;
use crate::support::{require, require_root};

#[tokio::test(flavor = "multi_thread")]
async fn skopeo_copies_every_image_of_a_lock_as_it_is_written() {
    if !require(&["docker-registry", "skopeo"]) {
        return;
    }
    each_pushed(async |front, golden| {
        for image in relocated(front, golden).await {
            let (repository, digest) = at(&front.endpoint, &image);
            let document = named(digest);
            let answer = front.colocate.manifest(repository, digest).await.expect(200);
            assert_eq!((answer.digest(), &answer.body), (document.digest, &document.bytes), "{image}");
            assert_eq!(answer.header("content-type"), Some(document.media_type.as_str()));
            let parts = children(&document);
            if parts.is_empty() {
                copies(&image, digest).await;
            }
            for child in parts {
                copies(&format!("{}/{repository}@{child}", front.endpoint), &child).await;
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn podman_and_containerd_pull_every_image_of_a_lock() {
    if !require(&["docker-registry", "podman", "containerd", "ctr"]) || !require_root() {
        return;
    }
    let bundles = Golden::all();
    for spread in Spread::ALL {
        let origins = Origins::start(spread, &bundles).await;
        let front = origins.serve().await;
        let (podman, containerd) = (Podman::new(&Access::anonymous()), Containerd::start().await);
        for golden in &bundles {
            for image in relocated(&front, golden).await {
                let (repository, digest) = at(&front.endpoint, &image);
                let mut parts = children(&named(digest));
                if parts.is_empty() {
                    parts.push(digest.to_owned());
                }
                for part in parts {
                    let reference = format!("{}/{repository}@{part}", front.endpoint);
                    let pulled = podman.pull(&reference).await;
                    assert!(pulled.status.success(), "{spread:?}: {pulled:?}");
                    assert_eq!(podman.digest(&reference).await, part);
                    let pulled = containerd.pull(&reference).await;
                    assert!(pulled.status.success(), "{spread:?}: {pulled:?}");
                    assert_eq!(containerd.digest(&reference).await, part);
                }
            }
        }
    }
}

/// Without their images anywhere the bundles stand as they were pushed, and nothing is there that was not pushed.
#[tokio::test(flavor = "multi_thread")]
async fn without_an_origin_that_is_configured_a_pushed_bundle_stands() {
    if !require(&["docker-registry"]) {
        return;
    }
    let bundles = Golden::all();
    let origins = Origins::start(Spread::TwoRegistries, &bundles).await;
    let elsewhere = origins.settings().set("upstreams", serde_json::json!([]));
    let none = origins.settings().set("relocation.from_origin", serde_json::json!([]));
    for settings in [elsewhere, none] {
        let front = Front::start(settings).await;
        for golden in &bundles {
            let repository = pushed_to(golden);
            let answer = front.colocate.manifest(&repository, Golden::TAG).await.expect(200);
            assert_eq!((answer.digest(), answer.header("colocate-original-digest")), (golden.digest, None));
            for image in images_in(&super::lock_as_pushed(golden)) {
                let (_, digest) = at(Golden::ENDPOINT, &image);
                front.colocate.manifest(&repository, digest).await.expect(404);
            }
        }
    }
}

/// Pulls a bundle by its tag: the references in its lock.
async fn relocated(front: &Front, golden: &Golden) -> Vec<String> {
    let repository = pushed_to(golden);
    let head = front.colocate.manifest_head(&repository, Golden::TAG).await.expect(200);
    let pulled = front.colocate.pull(&repository, Golden::TAG).await;
    assert_eq!(pulled.digest, head.digest());
    assert_ne!(pulled.digest, golden.digest, "{} is not relocated", golden.name);
    assert_eq!(head.header("colocate-original-digest"), Some(golden.digest.to_string().as_str()));
    let lock = pulled.lock();
    assert_eq!(lock, front.lock(golden, &repository), "{}", golden.name);
    images_in(&lock)
}

/// `skopeo copy`, which checks the digest of everything it gets; what it keeps are the bytes that were pushed.
async fn copies(reference: &str, digest: &str) {
    let out = TempDir::new().expect("a directory");
    let copied = Skopeo::new(&Access::anonymous()).copy(reference, out.path()).await;
    assert!(copied.status.success(), "{reference}: {copied:?}");
    assert_eq!(fs::read(out.path().join("manifest.json")).expect("a manifest"), named(digest).bytes);
}
