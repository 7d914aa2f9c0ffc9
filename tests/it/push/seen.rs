//! What was pushed or deleted is seen at once, also by those who were asking while it was.

use colocate::oci::Digest;
use serde_json::json;

use super::parts::{ANYBODY, REPOSITORY, blob, forwarding, manifest, push_blob, put_manifest};
use crate::hostile::parts::World;
use crate::support::bundle::{Bundle, BundleBuilder, lock_of};
use crate::support::scripted::{Fault, Gate, ScriptedUpstream};

/// Nothing is asked twice within the test, unless it has to be.
const LONG: &str = "tags: {ttl: 1h}\nrelocation: {negative_ttl: 1h}\n";

async fn world(registry: &ScriptedUpstream) -> World {
    World::new(&forwarding(registry, &format!("{LONG}{ANYBODY}"))).await
}

/// An image manifest, whose config is in the repository already.
fn image(registry: &ScriptedUpstream, name: &str) -> Vec<u8> {
    let config = registry.put_blob(REPOSITORY, format!("{{\"name\":\"{name}\"}}"));
    json!({"schemaVersion": 2, "config": {"digest": config, "size": 2}, "layers": []}).to_string().into_bytes()
}

#[tokio::test]
async fn a_tag_that_moves_and_goes() {
    let registry = ScriptedUpstream::start().await;
    let world = world(&registry).await;
    assert_eq!(world.get(&manifest("v1"), &[]).await.status, 404);
    for name in ["one", "two", "one"] {
        let image = image(&registry, name);
        assert_eq!(put_manifest(&world, "v1", &image).await.status, 201);
        world.get(&manifest("v1"), &[]).await.expect(&Digest::of(&image));
    }
    assert_eq!(world.ask("DELETE", &manifest("v1"), &[]).await.status, 202);
    assert_eq!(world.get(&manifest("v1"), &[]).await.status, 404);
    // By digest, the tags of it go, too.
    let image = image(&registry, "three");
    let digest = Digest::of(&image);
    for tag in ["a", "b"] {
        assert_eq!(put_manifest(&world, tag, &image).await.status, 201);
        world.get(&manifest(tag), &[]).await.expect(&digest);
    }
    assert_eq!(world.ask("DELETE", &manifest(digest), &[]).await.status, 202);
    for gone in [manifest("a"), manifest("b"), manifest(digest)] {
        assert_eq!(world.get(&gone, &[]).await.status, 404, "{gone}");
    }
}

#[tokio::test]
async fn a_blob_that_is_deleted() {
    let registry = ScriptedUpstream::start().await;
    let world = world(&registry).await;
    let digest = push_blob(&world, b"soon gone").await;
    world.get(&blob(&digest), &[]).await.expect(&digest);
    assert_eq!(world.ask("DELETE", &blob(&digest), &[]).await.status, 202);
    for method in ["GET", "HEAD"] {
        assert_eq!(world.ask(method, &blob(&digest), &[]).await.status, 404);
    }
}

/// The upstream answers with what was, after the push that made it past.
#[tokio::test]
async fn who_asked_before_a_push_says_nothing_of_after_it() {
    let registry = ScriptedUpstream::start().await;
    let (old, new) = (image(&registry, "old"), image(&registry, "new"));
    let world = world(&registry).await;
    assert_eq!(put_manifest(&world, "v1", &old).await.status, 201);
    let gate = Gate::new();
    let document = old.clone();
    // It has read the tag, and is slow to tell.
    registry.on("/v2/acme/app/manifests/v1").get().times(1).fails_with([
        Fault::make(move |_| Some(http::Response::new(document.clone().into()))),
        Fault::Header("content-type", Some("application/vnd.oci.image.manifest.v1+json".to_owned())),
        Fault::Hold(gate.clone()),
    ]);
    let path = manifest("v1");
    let asking = async {
        world.get(&path, &[]).await.expect(&Digest::of(&old));
    };
    let pushing = async {
        registry.reached("GET", "/v2/acme/app/manifests/v1", 1).await;
        assert_eq!(put_manifest(&world, "v1", &new).await.status, 201);
        world.get(&path, &[]).await.expect(&Digest::of(&new));
        gate.open();
    };
    tokio::join!(asking, pushing);
    // Nor does it stay behind as what was last known.
    world.get(&path, &[]).await.expect(&Digest::of(&new));
}

/// A bundle, and afterwards its images.
#[tokio::test]
async fn a_bundle_is_relocated_with_its_last_image() {
    let registry = ScriptedUpstream::start().await;
    let images = [image(&registry, "one"), image(&registry, "two")];
    let names = images.each_ref().map(|image| format!("elsewhere.example/app@{}", Digest::of(image)));
    let bundle = BundleBuilder::with_lock(&lock_of(&names)).file("config.yml", "a: b").build();
    registry.put(REPOSITORY, &bundle.layout(Some("v1")));
    let world = world(&registry).await;
    let pulled = async || Digest::of(&world.get(&manifest("v1"), &[]).await.body);
    assert_eq!(pulled().await, bundle.digest());
    assert_eq!(put_manifest(&world, Digest::of(&images[0]), &images[0]).await.status, 201);
    assert_eq!(pulled().await, bundle.digest());
    assert_eq!(put_manifest(&world, "two", &images[1]).await.status, 201);
    let relocated = pulled().await;
    assert_ne!(relocated, bundle.digest());
    // And original again, when one is gone.
    assert_eq!(world.ask("DELETE", &manifest(Digest::of(&images[0])), &[]).await.status, 202);
    assert_eq!(pulled().await, bundle.digest());
    assert_eq!(put_manifest(&world, Digest::of(&images[0]), &images[0]).await.status, 201);
    assert_eq!(pulled().await, relocated);
    // The bundle takes along what was made of it.
    assert_eq!(world.ask("DELETE", &manifest(relocated), &[]).await.status, 202);
    for gone in [manifest("v1"), manifest(bundle.digest()), manifest(relocated)] {
        assert_eq!(world.get(&gone, &[]).await.status, 404, "{gone}");
    }
}

/// The image arrives while the proxy is told that it is not there.
#[tokio::test]
async fn an_image_that_is_pushed_while_it_is_looked_for() {
    let registry = ScriptedUpstream::start().await;
    let image = image(&registry, "just now");
    let digest = Digest::of(&image);
    let lock = lock_of(&[format!("elsewhere.example/app@{digest}")]);
    let bundle = BundleBuilder::with_lock(&lock).file("config.yml", "a: b").build();
    registry.put(REPOSITORY, &bundle.layout(Some("v1")));
    let world = world(&registry).await;
    let gate = Gate::new();
    let path = format!("/v2/acme/app/manifests/{digest}");
    registry.on(&path).head().times(1).fails_with([Fault::error(404, "MANIFEST_UNKNOWN"), Fault::Hold(gate.clone())]);
    let asking = async { Digest::of(&world.get(&manifest("v1"), &[]).await.body) };
    let pushing = async {
        registry.reached("HEAD", &path, 1).await;
        assert_eq!(put_manifest(&world, digest, &image).await.status, 201);
        gate.open();
    };
    let (pulled, ()) = tokio::join!(asking, pushing);
    assert_ne!(pulled, bundle.digest(), "who asked is told of what is there by now");
    assert_eq!(Digest::of(&world.get(&manifest("v1"), &[]).await.body), pulled);
}

/// A client that pushes asks what is there; nobody relocates bundles to find out.
#[tokio::test]
async fn who_pushes_does_not_wait_for_a_search() {
    let registry = ScriptedUpstream::start().await;
    let bundle = Bundle::image("one of many");
    registry.put(REPOSITORY, &bundle.layout(Some("v1")));
    let world = world(&registry).await;
    assert_eq!(world.ask("HEAD", &blob(&Digest::of(b"new")), &[]).await.status, 404);
    assert_eq!((registry.requests().len(), registry.count("HEAD", "*")), (1, 1), "{:?}", registry.requests());
}

/// A client that does not wait for the answer, an answer that does not come, and what was gone already.
#[tokio::test]
async fn what_nobody_heard_of_is_seen_all_the_same() {
    let registry = ScriptedUpstream::start().await;
    let world = world(&registry).await;
    let image = image(&registry, "soon gone");
    let digest = Digest::of(&image);
    let put = async || {
        assert_eq!(put_manifest(&world, "v1", &image).await.status, 201);
        world.get(&manifest("v1"), &[]).await.expect(&digest);
    };
    put().await;
    let gate = Gate::new();
    let path = format!("/v2/acme/app/manifests/{digest}");
    registry.on(&path).method("DELETE").times(1).fails(Fault::Hold(gate.clone()));
    let target = manifest(digest);
    let leaves = tokio::time::timeout(std::time::Duration::from_millis(300), world.ask("DELETE", &target, &[]));
    assert!(leaves.await.is_err());
    gate.open();
    let gone = async || world.get(&target, &[]).await.status == 404;
    crate::support::eventually("the manifest is gone", std::time::Duration::from_secs(20), gone).await;
    assert_eq!(world.get(&manifest("v1"), &[]).await.status, 404);
    // It has done it, and says something else.
    for status in [404, 500, 503] {
        put().await;
        registry.remove(REPOSITORY, &digest.to_string());
        registry.on(&path).method("DELETE").times(1).fails(Fault::status(status));
        assert_ne!(world.ask("DELETE", &target, &[]).await.status, 202);
        assert_eq!(world.get(&target, &[]).await.status, 404, "{status}");
    }
    // It has refused to.
    put().await;
    registry.on(&path).method("DELETE").times(1).fails(Fault::error(405, "UNSUPPORTED"));
    assert_eq!(world.ask("DELETE", &target, &[]).await.code(), (405, "UNSUPPORTED".to_owned()));
    registry.forget();
    world.get(&target, &[]).await.expect(&digest);
    assert_eq!(registry.requests().len(), 0);
}

/// What was on its way when it was deleted is not kept for later.
#[tokio::test]
async fn what_arrives_after_it_was_deleted_is_not_there() {
    let registry = ScriptedUpstream::start().await;
    let world = world(&registry).await;
    let digest = registry.put_blob(REPOSITORY, vec![7; 300_000]);
    let gate = Gate::new();
    let path = blob(&digest);
    registry.on(&path).get().times(1).fails(Fault::HoldAt(200_000, gate.clone()));
    let pulling = async { world.get(&path, &[]).await.expect(&digest) };
    let deleting = async {
        registry.sent(&path, 200_000).await;
        assert_eq!(world.ask("DELETE", &path, &[]).await.status, 202);
        gate.open();
    };
    tokio::join!(pulling, deleting);
    for method in ["GET", "HEAD"] {
        assert_eq!(world.ask(method, &path, &[]).await.status, 404, "{method}");
    }
}

/// A registry that has lost what the cache has gets it again from who pushes, and from nobody else.
#[tokio::test]
async fn what_the_registry_has_lost_is_pushed_again() {
    let registry = ScriptedUpstream::start().await;
    let world = world(&registry).await;
    let digest = push_blob(&world, b"lost").await;
    world.get(&blob(&digest), &[]).await.expect(&digest);
    let image = image(&registry, "lost");
    assert_eq!(put_manifest(&world, "v1", &image).await.status, 201);
    let image = Digest::of(&image);
    world.get(&manifest(image), &[]).await.expect(&image);
    // In trouble it says nothing of that.
    registry.on("/v2/*").fails(Fault::status(500));
    for path in [blob(&digest), manifest(image)] {
        assert_eq!(world.ask("HEAD", &path, &[]).await.status, 200, "{path}");
    }
    registry.heal();
    for (path, digest) in [(blob(&digest), digest), (manifest(image), image)] {
        assert_eq!(world.ask("HEAD", &path, &[]).await.status, 200, "{path}");
        registry.remove(REPOSITORY, &digest.to_string());
        assert_eq!(world.ask("HEAD", &path, &[]).await.status, 404, "{path}");
    }
}
