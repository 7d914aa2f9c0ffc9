//! Odd bundles, and upstreams that answer nonsense.

use std::time::Duration;

use colocate::oci::{Digest, MAX_MANIFEST_BYTES};
use colocate::proxy::{Outcome, ProxyError};
use http::StatusCode;

use super::world::{ENDPOINT, NEGATIVE_TTL, REPOSITORY, World, blob_path, manifest_path, reference, view};
use crate::support::bundle::{BundleBuilder, lock_of};
use crate::support::scripted::Fault;
use crate::support::tarball::noise;

#[tokio::test]
async fn what_is_no_plain_bundle_passes_byte_for_byte() {
    let world = World::new().await;
    let image = world.images(1).remove(0);
    world.put(&image, None);
    let lock = lock_of(&[reference(&image)]);
    let with_lock = || BundleBuilder::with_lock(&lock);
    let at_target = lock_of(&[format!("{ENDPOINT}/{REPOSITORY}@{}", image.digest())]);
    let truncated = {
        let whole = with_lock().build();
        whole.layers[0].slice(..whole.layers[0].len() - 20)
    };
    let cases = [
        ("no label", with_lock().label(None).build()),
        ("two layers", with_lock().extra_layer(image.layers[0].clone()).build()),
        ("no lock", BundleBuilder::new().file("config.yml", "a: b").build()),
        (
            "an empty list",
            BundleBuilder::with_lock("apiVersion: imgpkg.carvel.dev/v1alpha1\nkind: ImagesLock\n").build(),
        ),
        ("already there", BundleBuilder::with_lock(&at_target).build()),
        ("a refused lock", BundleBuilder::with_lock("kind: Other\n").build()),
        ("not YAML", BundleBuilder::with_lock("{{{").build()),
        ("a tag in the lock", BundleBuilder::with_lock(&lock_of(&["ghcr.io/acme/web:1.0"])).build()),
        ("a link", BundleBuilder::new().symlink(".imgpkg/images.yml", "../x").build()),
        ("a whiteout", with_lock().file(".imgpkg/.wh.images.yml", "").build()),
        ("two locks", with_lock().lock(&lock).build()),
        ("damaged gzip", with_lock().raw_layer(truncated).build()),
        ("no gzip at all", with_lock().raw_layer(&b"<html>not a layer at all</html>"[..]).build()),
        ("zstd", with_lock().raw_layer(&[0x28, 0xb5, 0x2f, 0xfd, 4, 0, 1, 0][..]).build()),
        ("eStargz", with_lock().layer_annotation("containerd.io/snapshot/stargz/toc.digest", "sha256:0").build()),
        ("names that escape", BundleBuilder::new().file("../../etc/passwd", "x").file("/etc/shadow", "y").build()),
    ];
    for (name, case) in cases {
        world.put(&case, Some("odd"));
        world.clock.advance(Duration::from_secs(3600));
        let served = world.pull("odd").await.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(served.manifest.bytes, case.manifest.bytes, "{name}");
        assert_eq!(world.blob(&case.layer_digest()).await.expect("the layer"), case.layers[0], "{name}");
        let explanation = world.proxy.explain(&view(), &"odd".parse().expect("a tag")).await.expect("explains");
        assert!(explanation.outcome == "original" && explanation.reason.is_some(), "{name}: {explanation}");
    }
}

#[tokio::test]
async fn an_upstream_that_answers_nonsense_is_told_apart() {
    let world = World::new().await;
    let (bundle, _) = world.bundle(1);
    let tag = manifest_path("v1");
    let other = world.images(1).remove(0);

    world.upstream.on(&tag).fails(Fault::html());
    assert_eq!(world.pull("v1").await.expect_err("HTML").answer().0, StatusCode::BAD_GATEWAY);
    world.upstream.heal();

    let lie = Some(other.digest().to_string());
    world.upstream.on(&tag).fails(Fault::Header("docker-content-digest", lie));
    assert_eq!(world.pull("v1").await.expect_err("another digest").answer().0, StatusCode::BAD_GATEWAY);
    world.upstream.heal();

    let by_digest = manifest_path(&bundle.digest().to_string());
    let type_of = other.manifest.media_type.clone();
    world.upstream.on(&by_digest).fails(Fault::body(200, &type_of, other.manifest.bytes.clone()));
    let error = world.manifest(&bundle.digest().to_string()).await.expect_err("other bytes");
    assert_eq!(error.answer().0, StatusCode::BAD_GATEWAY);
    world.upstream.heal();

    let huge = format!("{{\"schemaVersion\":2,\"config\":\"{}\"}}", "x".repeat(MAX_MANIFEST_BYTES));
    world.upstream.put_manifest(REPOSITORY, "application/vnd.oci.image.manifest.v1+json", huge.clone());
    let error = world.manifest(&Digest::of(huge.as_bytes()).to_string()).await.expect_err("too large");
    assert_eq!(error.answer().0, StatusCode::BAD_GATEWAY);

    let schema1 = r#"{"schemaVersion":1,"name":"acme/app","tag":"old","fsLayers":[]}"#;
    let digest =
        world.upstream.put_manifest(REPOSITORY, "application/vnd.docker.distribution.manifest.v1+prettyjws", schema1);
    world.upstream.tag(REPOSITORY, "old", &digest);
    for _ in 0..2 {
        let served = world.pull("old").await.expect("passes");
        assert_eq!((&served.manifest.bytes[..], served.status.outcome), (schema1.as_bytes(), Outcome::Bypass));
    }

    world.upstream.on(&tag).fails(Fault::nested_unknown());
    assert_eq!(world.pull("v1").await.expect_err("nested").answer().0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_layer_that_lies_is_never_served_whole_nor_believed() {
    for (size, flip) in [(100, 20), (600_000, 5000), (600_000, 300_000)] {
        let world = World::new().await;
        let (bundle, _) = world.bundle_of(BundleBuilder::new().file("noise", noise(1, size)), 1);
        world.upstream.on(&blob_path(&bundle.layer_digest())).times(1).fails(Fault::Flip(flip));
        assert!(matches!(world.pull("v1").await, Err(ProxyError::Undecided(_))), "{size} {flip}");
        assert_ne!(world.pulled("v1").await, bundle.digest(), "{size} {flip}: nothing of it was kept");
    }
}

#[tokio::test]
async fn an_image_whose_parts_are_not_there_passes_until_they_are() {
    let world = World::new().await;
    let (bundle, _) = world.bundle(1);
    for part in [bundle.config_digest(), bundle.layer_digest()] {
        world.upstream.on(&blob_path(&part)).fails(Fault::error(404, "BLOB_UNKNOWN"));
        assert_eq!(world.pulled("v1").await, bundle.digest());
        world.upstream.heal();
        world.clock.advance(NEGATIVE_TTL);
    }
    assert_ne!(world.pulled("v1").await, bundle.digest());
}
