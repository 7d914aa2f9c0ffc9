//! Manifests that name what only the proxy answers for, and bad ones.

use colocate::oci::Digest;
use serde_json::{Value, json};

use super::parts::{ANYBODY, REPOSITORY, blob, forwarding, manifest, open, push_blob, put_manifest, under};
use crate::hostile::parts::World;
use crate::origins::parts::parts;
use crate::support::bundle::{Bundle, BundleBuilder, lock_of};
use crate::support::scripted::{Fault, ScriptedUpstream};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A bundle of one image, both in the repository, behind a tag.
fn bundle(registry: &ScriptedUpstream) -> (Bundle, Bundle) {
    let image = Bundle::image("beside the bundle");
    let lock = lock_of(&[format!("elsewhere.example/app@{}", image.digest())]);
    let bundle = BundleBuilder::with_lock(&lock).file("config.yml", "a: b").build();
    registry.put(REPOSITORY, &image.layout(None));
    registry.put(REPOSITORY, &bundle.layout(Some("v1")));
    (bundle, image)
}

#[tokio::test]
async fn a_relocated_bundle_under_another_tag_is_the_original_under_another_tag() {
    let registry = ScriptedUpstream::start().await;
    let (bundle, _) = bundle(&registry);
    let world = open(&registry).await;
    let relocated = world.get(&manifest("v1"), &[]).await;
    let digest = Digest::of(&relocated.body);
    assert_ne!(digest, bundle.digest());
    let answer = put_manifest(&world, "v2", &relocated.body).await;
    assert_eq!((answer.status, answer.header("docker-content-digest")), (201, Some(digest.to_string().as_str())));
    // Upstream, it is the bundle that was pushed first.
    let behind = registry.tagged(REPOSITORY, "v2");
    assert_eq!(behind, Some(bundle.digest()));
    world.get(&manifest("v2"), &[]).await.expect(&digest);
    // By its own digest it is the original by that, for the registry to judge.
    registry.forget();
    assert_eq!(put_manifest(&world, digest, &relocated.body).await.status, 201);
    assert_eq!(registry.count("PUT", "*"), 1);
    assert_eq!(registry.count("PUT", &format!("/v2/acme/app/manifests/{}", bundle.digest())), 1);
}

/// By a name where nothing is relocated, or to another target, what is put is what was sent.
#[tokio::test]
async fn a_relocated_bundle_is_put_as_it_is_where_it_would_not_be_made_again() {
    let registry = ScriptedUpstream::start().await;
    let (bundle, _) = bundle(&registry);
    let rules = "endpoints: [exact.example, other.example]\n\
                 rules: [{endpoint: exact.example, relocation: {when: never}}]\n";
    let world = World::new(&forwarding(&registry, &format!("{rules}{ANYBODY}"))).await;
    let relocated = world.get(&manifest("v1"), &[]).await;
    let digest = Digest::of(&relocated.body);
    assert_ne!(digest, bundle.digest());
    for (host, tag) in [("exact.example", "exact"), ("other.example", "other")] {
        let head = format!(
            "PUT {} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\ncontent-length: {}\r\n\
             content-type: application/vnd.oci.image.manifest.v1+json\r\n\r\n",
            manifest(tag),
            relocated.body.len()
        );
        let request = [head.as_bytes(), &relocated.body].concat();
        let answer = world.raw(std::net::Ipv4Addr::LOCALHOST, &request).await.unwrap();
        assert_eq!(answer.status, 201, "{answer:?}");
        assert_eq!(registry.tagged(REPOSITORY, tag), Some(digest), "{host}");
    }
}

#[tokio::test]
async fn what_was_made_here_goes_before_a_manifest_that_names_it() {
    let registry = ScriptedUpstream::start().await;
    bundle(&registry);
    let world = open(&registry).await;
    let relocated = world.get(&manifest("v1"), &[]).await;
    // The client hears that they are there, and so uploads none.
    for part in parts(&relocated.body) {
        assert_eq!(world.ask("HEAD", &blob(&part), &[]).await.status, 200);
        assert!(!registry.has_blob(REPOSITORY, &part));
    }
    let mut annotated: Value = serde_json::from_slice(&relocated.body).unwrap();
    annotated["annotations"] = json!({"signed": "off"});
    let annotated = annotated.to_string();
    assert_eq!(put_manifest(&world, "annotated", annotated.as_bytes()).await.status, 201);
    for part in parts(annotated.as_bytes()) {
        assert!(registry.has_blob(REPOSITORY, &part));
    }
    // An index of it brings the manifest along.
    let digest = Digest::of(&relocated.body);
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [{
        "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": relocated.body.len(),
    }]});
    let answer = world.send("PUT", &manifest("index"), &[("content-type", INDEX)], index.to_string().as_bytes()).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert!(registry.has_manifest(REPOSITORY, &digest));
}

/// An image at its origin is there for a client that asks, and so is pushed without its blobs.
#[tokio::test]
async fn what_is_granted_goes_before_a_manifest_that_names_it() {
    let (registry, apps) = (ScriptedUpstream::start().await, ScriptedUpstream::start().await);
    let image = Bundle::image("at its origin");
    apps.put("apps/web", &image.layout(None));
    let lock = lock_of(&[format!("apps.example/apps/web@{}", image.digest())]);
    let bundle = BundleBuilder::with_lock(&lock).file("config.yml", "a: b").build();
    registry.put(REPOSITORY, &bundle.layout(Some("v1")));
    let config = format!("upstreams: [{{registry: apps.example, url: '{}'}}]\n{ANYBODY}", apps.url());
    let world = World::new(&forwarding(&registry, &config)).await;
    assert_ne!(Digest::of(&world.get(&manifest("v1"), &[]).await.body), bundle.digest());
    let found = world.get(&manifest(image.digest()), &[]).await;
    found.expect(&image.digest());
    assert_eq!(world.ask("HEAD", &blob(&image.layer_digest()), &[]).await.status, 200);
    assert_eq!(put_manifest(&world, "copied", &found.body).await.status, 201);
    assert!(registry.has_blob(REPOSITORY, &image.layer_digest()));
    // The repository has it now, and the origin is asked no more.
    apps.forget();
    apps.on("/v2/*").fails(Fault::status(500));
    for path in [manifest("copied"), manifest(image.digest()), blob(&image.layer_digest())] {
        assert_eq!(world.get(&path, &[]).await.status, 200, "{path}");
    }
    assert_eq!(apps.requests().len(), 0, "{:?}", apps.requests());
}

#[tokio::test]
async fn bad_manifests_are_refused_and_change_nothing() {
    let registry = ScriptedUpstream::start().await;
    let world = open(&registry).await;
    let config = push_blob(&world, b"{}").await;
    let good = json!({"schemaVersion": 2, "config": {"digest": config, "size": 2}, "layers": []}).to_string();
    registry.forget();
    let answer = put_manifest(&world, Digest::of(b"another"), good.as_bytes()).await;
    assert_eq!(answer.code(), (400, "DIGEST_INVALID".to_owned()));
    let answer = put_manifest(&world, "large", &vec![b' '; (4 << 20) + 1]).await;
    assert_eq!(answer.code(), (413, "SIZE_INVALID".to_owned()));
    assert_eq!(world.send("PUT", &under("manifests/.x"), &[], good.as_bytes()).await.status, 404);
    assert_eq!(registry.requests().len(), 0);
    // What the registry says of the others is what the client hears.
    let absent = json!({"config": {"digest": Digest::of(b"absent"), "size": 1}}).to_string();
    for (bytes, code) in [("no json", "MANIFEST_INVALID"), (&absent, "MANIFEST_BLOB_UNKNOWN")] {
        assert_eq!(put_manifest(&world, "v1", bytes.as_bytes()).await.code(), (400, code.to_owned()));
        assert_eq!(world.get(&manifest("v1"), &[]).await.status, 404);
    }
    registry.on("/v2/acme/app/manifests/*").times(1).fails(Fault::error(409, "CONFLICT"));
    assert_eq!(put_manifest(&world, "v1", good.as_bytes()).await.code(), (409, "CONFLICT".to_owned()));
    assert_eq!(put_manifest(&world, "v1", good.as_bytes()).await.status, 201);
}
