//! What nobody here remembers, and what is there no more: found again as far as it is there, and no further.

use colocate::oci::Digest;
use serde_json::json;

use super::{Front, Origins, Spread, image, imgpkg, lock_as_pushed, pushed_to};
use crate::support::bundle::{BundleBuilder, lock_of};
use crate::support::colocate::Settings;
use crate::support::layout::Golden;
use crate::support::process::free_address;
use crate::support::require;
use crate::support::scripted::ScriptedUpstream;

/// A cache that knows nothing is asked where the images of a nested bundle are, before that bundle or its outer one.
#[tokio::test(flavor = "multi_thread")]
async fn the_list_of_a_nested_bundle_is_found_before_anything_was_pulled() {
    if !require(&["docker-registry"]) {
        return;
    }
    let (outer, inner) = (Golden::read("nested-app"), Golden::read("simple-app"));
    for spread in Spread::ALL {
        let origins = Origins::start(spread, std::slice::from_ref(&outer)).await;
        let front = origins.serve().await;
        let (list, _) = imgpkg::list_of(&front, &pushed_to(&outer), &inner.digest).await;
        assert_eq!(String::from_utf8(list), String::from_utf8(imgpkg::list_in(&inner)), "{spread:?}");
    }
}

/// A search for a digest that is nowhere is not repeated at once; a bundle that came after it is found all the same.
#[tokio::test(flavor = "multi_thread")]
async fn images_of_a_bundle_that_was_pushed_after_a_search_are_found() {
    if !require(&["docker-registry"]) {
        return;
    }
    let (outer, multi) = (Golden::read("nested-app"), Golden::read("multi-app"));
    let origins = Origins::start(Spread::TwoRegistries, &[]).await;
    let registry = origins.registries[0].url();
    let two = BundleBuilder::with_lock(&lock_of(&[format!(
        "{}/apps/two@{}",
        Golden::ENDPOINT,
        image("two").manifests[0].digest
    )]));
    let nowhere = Digest::of(b"nowhere").to_string();
    let inner = image("one").manifests[0].clone();
    for (golden, repository) in [(&outer, "late/nested"), (&multi, "late/multi")] {
        two.clone().build().layout(Some("v0")).push(&registry, repository).await;
        let front = origins.serve().await;
        front.colocate.manifest(repository, &nowhere).await.expect(404);
        golden.origin.push(&registry, repository).await;
        let pulled = front.colocate.pull(repository, Golden::TAG).await;
        assert_eq!(pulled.lock(), front.lock(golden, repository));
        // Two steps from that lock, and nobody asked for what is between.
        let answer = front.colocate.manifest(repository, &inner.digest.to_string()).await.expect(200);
        assert_eq!(answer.body, inner.bytes);
    }
}

/// One image that is gone is no reason to be in doubt of others, or of what never was.
#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_is_gone_from_its_origin_is_not_there() {
    let (bundles, origin) = (ScriptedUpstream::start().await, ScriptedUpstream::start().await);
    let golden = Golden::read("wide-app");
    let repository = pushed_to(&golden);
    bundles.put(&repository, &golden.origin);
    for name in ["one", "two"] {
        origin.put(&format!("apps/{name}"), &image(name));
    }
    let address = free_address().to_string();
    let settings = Settings::new(&bundles.url())
        .set("upstreams", json!([{"registry": Golden::ENDPOINT, "url": origin.url()}]))
        .set("endpoint", address.clone())
        .set("listen", json!([address]));
    let front = Front::start(settings).await;
    let pulled = front.colocate.pull(&repository, Golden::TAG).await;
    assert_eq!(pulled.lock(), front.lock(&golden, &repository));

    let (one, two) = (image("one").manifests[0].digest.to_string(), image("two").manifests[0].digest.to_string());
    assert!(lock_as_pushed(&golden).windows(two.len()).any(|window| window == two.as_bytes()));
    origin.remove("apps/two", &two);
    for digest in [&two, &Digest::of(b"nowhere").to_string()] {
        let answer = front.colocate.manifest(&repository, digest).await.expect(404);
        assert_eq!(answer.error_code().as_deref(), Some("MANIFEST_UNKNOWN"), "{digest}");
    }
    let answer = front.colocate.manifest(&repository, &one).await.expect(200);
    assert_eq!(answer.digest().to_string(), one);
    // imgpkg believes a list; one that has what is gone would make it write a lock that nobody can pull.
    let tag = format!("sha256-{}.image-locations.imgpkg", golden.digest.hex());
    front.colocate.manifest(&repository, &tag).await.expect(404);
}
