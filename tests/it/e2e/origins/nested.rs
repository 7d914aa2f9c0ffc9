//! A bundle within a bundle, both only pushed: everything is pulled through the outer one's repository.

use std::fs;

use tempfile::TempDir;

use super::{Front, Origins, Spread, at, image, images_in, imgpkg, lock_as_pushed, named, pushed_to};
use crate::support::access::Access;
use crate::support::layout::Golden;
use crate::support::require;
use crate::support::skopeo::Skopeo;

const OUTER: &str = "fx/nested-app";

#[tokio::test(flavor = "multi_thread")]
async fn a_nested_bundle_is_pulled_through_the_outer_ones_repository() {
    if !require(&["docker-registry", "skopeo"]) {
        return;
    }
    let (outer, inner) = (Golden::read("nested-app"), Golden::read("simple-app"));
    for spread in Spread::ALL {
        let mut origins = Origins::start(spread, std::slice::from_ref(&outer)).await;
        let mut front = origins.serve().await;
        let first = everything(&front, &outer, &inner).await;
        assert_eq!(first.outer.lock, front.lock(&outer, OUTER));
        assert_eq!(first.inner.digest, inner.digest);
        assert_eq!(first.inner.lock, lock_as_pushed(&inner), "by digest it is what was pushed");

        origins.stop().await;
        for restarted in [false, true] {
            if restarted {
                front.colocate.stop().await;
                front.colocate.start_again().await;
            }
            assert_eq!(everything(&front, &outer, &inner).await, first, "{spread:?}, {restarted}");
        }
    }
}

/// What `imgpkg pull -r` has, for an outer bundle by tag.
#[derive(Debug, PartialEq, Eq)]
struct Recursive {
    outer: imgpkg::Pulled,
    inner: imgpkg::Pulled,
}

async fn everything(front: &Front, outer: &Golden, inner: &Golden) -> Recursive {
    let pulled = imgpkg::pull(front, OUTER, Golden::TAG).await;
    assert_ne!(pulled.digest, outer.digest);
    let images: Vec<_> = images_in(&pulled.lock).iter().map(|image| at(&front.endpoint, image).1.to_owned()).collect();
    assert!(images.contains(&inner.digest.to_string()), "{images:?}");
    let within = imgpkg::pull(front, OUTER, &inner.digest.to_string()).await;
    for (digest, bytes) in &inner.origin.blobs {
        assert_eq!(front.colocate.blob(OUTER, &digest.to_string()).await.expect(200).body, bytes);
    }
    let inner_images = images_in(&within.lock).into_iter().map(|image| at(Golden::ENDPOINT, &image).1.to_owned());
    for digest in images.iter().cloned().chain(inner_images) {
        let out = TempDir::new().expect("a directory");
        let reference = format!("{}/{OUTER}@{digest}", front.endpoint);
        let copied = Skopeo::new(&Access::anonymous()).copy(&reference, out.path()).await;
        assert!(copied.status.success(), "{reference}: {copied:?}");
        assert_eq!(fs::read(out.path().join("manifest.json")).expect("a manifest"), named(&digest).bytes);
    }
    Recursive { outer: pulled, inner: within }
}

/// Lock files outlive caches: a client may ask a new proxy for the innermost first.
#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_knows_nothing_finds_what_the_locks_lead_to() {
    if !require(&["docker-registry"]) {
        return;
    }
    let bundles = [Golden::read("nested-app"), Golden::read("multi-app")];
    let inner = image("one");
    let (layer, manifest) = (inner.blobs.last().expect("a layer"), &inner.manifests[0]);
    for spread in Spread::ALL {
        let origins = Origins::start(spread, &bundles).await;
        // An image of the bundle within the bundle, and one of an index that the lock names.
        for golden in &bundles {
            let repository = pushed_to(golden);
            let front = origins.serve().await;
            let answer = front.colocate.manifest(&repository, &manifest.digest.to_string()).await.expect(200);
            assert_eq!((answer.digest(), answer.body), (manifest.digest, manifest.bytes.clone()), "{spread:?}");
            let pulled = front.colocate.pull(&repository, Golden::TAG).await;
            assert_eq!(pulled.lock(), front.lock(golden, &repository));

            // Its layer before its manifest.
            let front = origins.serve().await;
            let answer = front.colocate.blob(&repository, &layer.0.to_string()).await.expect(200);
            assert_eq!(answer.body, layer.1, "{spread:?}");
        }
        // Not what is there, but is named by no lock of this repository.
        let front = origins.serve().await;
        let other = &image("two").manifests[0];
        let golden = Golden::read("simple-app");
        golden.origin.push(&origins.registries[0].url(), "fx/lonely").await;
        front.colocate.manifest("fx/lonely", &other.digest.to_string()).await.expect(404);
        front.colocate.manifest("fx/lonely", &manifest.digest.to_string()).await.expect(200);
    }
}
