//! Pushes of what the proxy itself has made: the relocated bundle, which is not in the registry.

use super::World;
use crate::support::access::Access;
use crate::support::colocate::Pulled;
use crate::support::http::Method;
use crate::support::layout::Golden;
use crate::support::pusher::wanted;
use crate::support::require;
use crate::support::skopeo::Skopeo;

/// A golden bundle that was pushed with its images, as it is pulled.
async fn relocated(world: &World, golden: &Golden) -> Pulled {
    golden.colocated.push(&world.colocate.url(), &golden.repository).await;
    let pulled = world.colocate.pull(&golden.repository, Golden::TAG).await;
    assert_ne!(pulled.digest, golden.digest, "{} is relocated", golden.name);
    pulled
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relocated_bundle_under_another_tag_is_the_original_in_the_registry() {
    if !require(&["docker-registry"]) {
        return;
    }
    let world = World::new().await;
    for golden in Golden::all() {
        let relocated = relocated(&world, &golden).await;
        let at = world.through(&golden.repository);
        let answer = at.put("stable", &relocated.media_type, &relocated.manifest).await.expect("an answer");
        wanted("PUT of the relocated manifest", answer, &[201]).expect("it is taken");
        let original = golden.origin.manifest(&golden.digest);
        let behind = world.behind(&golden.repository);
        behind.holds("manifests/stable", &original.bytes).await.expect("the original in the registry");
        assert_eq!(world.colocate.pull(&golden.repository, "stable").await, relocated);
        assert_eq!(world.colocate.pull(&golden.repository, Golden::TAG).await, relocated);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn skopeo_gives_a_relocated_bundle_another_tag() {
    if !require(&["docker-registry", "skopeo"]) {
        return;
    }
    let (world, golden) = (World::new().await, Golden::read("simple-app"));
    let relocated = relocated(&world, &golden).await;
    let repository = format!("{}/{}", world.colocate.authority(), golden.repository);
    let skopeo = Skopeo::new(&Access::anonymous());
    let copied = skopeo.transfer(&format!("{repository}:{}", Golden::TAG), &format!("{repository}:stable")).await;
    assert!(copied.status.success(), "{copied:?}");
    let original = golden.origin.manifest(&golden.digest);
    let behind = world.behind(&golden.repository);
    behind.holds("manifests/stable", &original.bytes).await.expect("the original in the registry");
    assert_eq!(world.colocate.pull(&golden.repository, "stable").await, relocated);
}

#[tokio::test(flavor = "multi_thread")]
async fn skopeo_copies_a_relocated_bundle_to_another_repository() {
    if !require(&["docker-registry", "skopeo"]) {
        return;
    }
    let world = World::new().await;
    for golden in Golden::all() {
        let relocated = relocated(&world, &golden).await;
        let copies = format!("copies/{}", golden.name);
        let at = |repository: &str| format!("{}/{repository}:{}", world.colocate.authority(), Golden::TAG);
        let skopeo = Skopeo::new(&Access::anonymous());
        let copied = skopeo.transfer(&at(&golden.repository), &at(&copies)).await;
        assert!(copied.status.success(), "{copied:?}");
        // There it is a bundle like any other, whose images are elsewhere.
        let behind = world.behind(&copies);
        let manifest = format!("manifests/{}", Golden::TAG);
        behind.holds(&manifest, &relocated.manifest).await.expect("the relocated manifest in the registry");
        for (digest, bytes) in
            [(relocated.config_digest(), &relocated.config), (relocated.layer_digest(), &relocated.layer)]
        {
            behind.holds(&format!("blobs/{digest}"), bytes).await.expect("its blobs in the registry");
        }
        assert_eq!(world.colocate.pull(&copies, Golden::TAG).await, relocated);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relocated_blob_is_mounted_or_has_to_be_sent() {
    if !require(&["docker-registry"]) {
        return;
    }
    let (world, golden) = (World::new().await, Golden::read("simple-app"));
    let relocated = relocated(&world, &golden).await;
    let at = world.through("copies/app");
    for (digest, bytes) in
        [(relocated.config_digest(), &relocated.config), (relocated.layer_digest(), &relocated.layer)]
    {
        let digest = digest.to_string();
        let query = format!("?from={}&mount={digest}", golden.repository.replace('/', "%2F"));
        let answer = at.ask(Method::POST, &format!("blobs/uploads/{query}"), &[], "").await.expect("an answer");
        let answer = wanted("POST of a mount", answer, &[201, 202]).expect("mounted, or an upload");
        if answer.status == 202 {
            let location = at.location(&answer).expect("a location");
            at.end(&location, &digest, bytes).await.expect("an answer").expect(201);
        }
        // The registry has it of its own: the copy does not depend on the bundle.
        world.behind("copies/app").holds(&format!("blobs/{digest}"), bytes).await.expect("the blob in the registry");
    }
    at.manifest(Golden::TAG, &relocated.media_type, &relocated.manifest).await.expect("the manifest is taken");
    let deleted = world.through(&golden.repository).delete(&format!("manifests/{}", golden.digest)).await;
    deleted.expect("an answer").expect(202);
    assert_eq!(world.colocate.pull("copies/app", Golden::TAG).await, relocated);
}
