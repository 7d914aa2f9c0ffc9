//! What cannot be exported, and what must not be written to.

use std::os::unix::fs::symlink;

use bytes::Bytes;
use colocate::oci::Digest;
use serde_json::Value;

use super::*;
use crate::support::bundle::index;
use crate::support::exported::{OciArchive, entries};
use crate::support::layout::Document;
use crate::support::scripted::Fault;

fn blob_path(digest: &Digest) -> String {
    format!("/v2/{REPOSITORY}/blobs/{digest}")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_told_and_can_come_later() {
    let images = [Bundle::image("one"), Bundle::image("two")];
    let (world, _) = World::with_bundle(&images.each_ref()).await;
    let missing = images.iter().map(Bundle::layer_digest).max().unwrap();
    let layout = images.iter().find(|image| image.layer_digest() == missing).unwrap().layout(None);
    world.upstream.remove(REPOSITORY, &missing.to_string());
    for _ in 0..2 {
        let finished = world.try_export("cache", "archive.tar", &["acme/app:v1"]).await;
        bad(&finished, 1, &format!("{REGISTRY}/acme/app@{missing}: acme/app has no such blob"));
        assert!(finished.stderr.contains("the same command goes on from there"), "{finished:?}");
        assert!(!world.path("archive.tar").exists() && partial(&world.path("archive.tar")).exists());
    }
    world.upstream.put(REPOSITORY, &layout);
    let archive = world.export("cache", "archive.tar", &["acme/app:v1"]).await;
    assert_eq!(entries(&archive).len(), 4);

    // Without an image, nothing is written at all.
    world.upstream.remove(REPOSITORY, &images[0].digest().to_string());
    let finished = world.try_export("other", "none.tar", &["acme/app:v1"]).await;
    bad(&finished, 1, &format!("{}: this image is not in the repository", images[0].digest()));
    bad(&world.try_export("other", "none.tar", &["acme/app:v2"]).await, 1, "there was a problem");
    assert!(!partial(&world.path("none.tar")).exists() && !world.path("none.tar").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_is_not_what_it_is_called_ends_no_archive() {
    let image = BundleBuilder::new().label(None).raw_layer(crate::support::tarball::noise(1, 300_000)).build();
    let (world, _) = World::with_bundle(&[&image]).await;
    for format in ["imgpkg", "oci"] {
        world.upstream.on(&blob_path(&image.layer_digest())).get().fails(Fault::Flip(10));
        let finished = world.try_export(format, "archive.tar", &["acme/app:v1", "--format", format]).await;
        bad(&finished, 1, &image.layer_digest().to_string());
        assert!(!world.path("archive.tar").exists());
        world.upstream.heal();
        let archive = world.export(format, "archive.tar", &["acme/app:v1", "--format", format]).await;
        let layer = entries(&archive).into_iter().find(|entry| entry.data.len() == 300_000).unwrap();
        assert_eq!(Digest::of(&layer.data), image.layer_digest());
        fs::remove_file(world.path("archive.tar")).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_lies_about_a_length_is_told() {
    let image = Bundle::image("one");
    let world = World::new().await;
    world.put(&image, None);
    let mut manifest: Value = serde_json::from_slice(&image.manifest.bytes).unwrap();
    manifest["layers"][0]["size"] = json!(7);
    let digest = world.upstream.put_manifest(REPOSITORY, &image.manifest.media_type, manifest.to_string());
    let finished = world.try_export("cache", "archive.tar", &[&format!("{REPOSITORY}@{digest}")]).await;
    bad(&finished, 1, &format!("has {} bytes, and its manifest says 7", image.layers[0].len()));
    assert!(!world.path("archive.tar").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_archive_could_hold_is_told_before_anything_is_written() {
    let image = Bundle::image("one");
    let world = World::new().await;
    world.put(&image, None);
    let text = String::from_utf8(image.manifest.bytes.to_vec()).unwrap();
    let with_size = |size: u64| {
        let text = text.replace(&format!(":{}", image.layers[0].len()), &format!(":{size}"));
        let digest = world.upstream.put_manifest(REPOSITORY, &image.manifest.media_type, text);
        format!("{REPOSITORY}@{digest}")
    };
    let (right, wrong, beyond) =
        (format!("{REPOSITORY}@{}", image.digest()), with_size(7), with_size(18_446_744_073_709_551_615));
    for format in ["imgpkg", "oci"] {
        let finished = world.try_export("cache", "archive.tar", &[&beyond, "--format", format]).await;
        bad(&finished, 1, "which nothing has");
        for _ in 0..3 {
            let finished = world.try_export("cache", "archive.tar", &[&right, &wrong, "--format", format]).await;
            bad(&finished, 1, "has ");
            assert!(!finished.stderr.contains("panicked"), "{finished:?}");
        }
    }
    assert!(!world.path("archive.tar").exists());
}

/// An image like this one, with another config.
fn with_config(world: &World, image: &Bundle, config: &[u8]) -> Digest {
    let mut manifest: Value = serde_json::from_slice(&image.manifest.bytes).unwrap();
    let digest = world.upstream.put_blob(REPOSITORY, Bytes::copy_from_slice(config));
    manifest["config"]["digest"] = json!(digest);
    manifest["config"]["size"] = json!(config.len());
    world.upstream.put_manifest(REPOSITORY, &image.manifest.media_type, manifest.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_imgpkg_has_no_place_for_fits_into_a_layout() {
    let (world, image) = (World::new().await, Bundle::image("one"));
    world.put(&image, None);
    let text = String::from_utf8(image.config.to_vec()).unwrap();
    let mut latin: Vec<u8> = text.replacen("imgpkg", "imgpk~", 1).into_bytes();
    let at = latin.iter().position(|byte| *byte == b'~').unwrap();
    latin[at] = 0xe9;
    for (config, problem) in [
        (latin.as_slice(), "a config that is not UTF-8; use --format oci"),
        (br#"{"schemaVersion":"v1.0.0","name":"a CNAB bundle"}"#, "its config is no image's"),
        (br#"{"rootfs":{"diff_ids":[]}}"#, "its config is no image's"),
        (b"[]", "use --format oci"),
    ] {
        let digest = with_config(&world, &image, config);
        let reference = format!("{REPOSITORY}@{digest}");
        bad(&world.try_export("cache", "archive.tar", &[&reference]).await, 1, problem);
        assert!(!partial(&world.path("archive.tar")).exists());
        let archive = OciArchive::read(&world.export("cache", "oci.tar", &[&reference, "--format", "oci"]).await);
        assert_eq!(archive.blob(&Digest::of(config)), config);
    }
    // What is no file system has no such digest, and imgpkg says so.
    let mut manifest: Value = serde_json::from_slice(&image.manifest.bytes).unwrap();
    manifest["layers"][0]["mediaType"] = json!("application/vnd.cncf.helm.chart.content.v1.tar+gzip");
    let digest = world.upstream.put_manifest(REPOSITORY, &image.manifest.media_type, manifest.to_string());
    let tar = world.export("cache", "chart.tar", &[&format!("{REPOSITORY}@{digest}")]).await;
    let described: Value = serde_json::from_slice(&entries(&tar)[0].data).unwrap();
    assert_eq!(described[0]["Image"]["Layers"][0]["DiffID"], "");
}

#[tokio::test(flavor = "multi_thread")]
async fn kinds_of_manifests() {
    let (world, image) = (World::new().await, Bundle::image("one"));
    world.put(&image, None);
    let schema1 = "application/vnd.docker.distribution.manifest.v1+json";
    for (media_type, text, problem) in [
        (schema1, r#"{"schemaVersion":1,"name":"a"}"#, "Docker schema 1"),
        ("application/vnd.oci.artifact.manifest.v1+json", "{}", "not known what belongs to it"),
    ] {
        let digest = world.upstream.put_manifest(REPOSITORY, media_type, text);
        world.upstream.tag(REPOSITORY, "odd", &digest);
        let reference = format!("{REPOSITORY}@{digest}");
        for format in ["imgpkg", "oci"] {
            bad(&world.try_export("cache", "archive.tar", &[&reference, "--format", format]).await, 1, problem);
        }
    }
    // A layer that may not be passed on is named, and not in it, whether or not the registry has it.
    let text = String::from_utf8(image.manifest.bytes.to_vec()).unwrap();
    let foreign = text.replacen("rootfs.diff.tar.gzip", "rootfs.foreign.diff.tar.gzip", 1);
    let digest = world.upstream.put_manifest(REPOSITORY, &image.manifest.media_type, foreign);
    let reference = format!("{REPOSITORY}@{digest}");
    let files = entries(&world.export("cache", "foreign.tar", &[&reference]).await);
    let described: Value = serde_json::from_slice(&files[0].data).unwrap();
    assert_eq!(described[0]["Image"]["Layers"][0]["Digest"], image.layer_digest().to_string());
    assert_eq!(files.len(), 1);
    let archive = OciArchive::read(&world.export("cache", "oci.tar", &[&reference, "--format", "oci"]).await);
    assert!(!archive.has(&image.layer_digest()) && archive.len() == 2);

    // An index in an index, with one image in both.
    let inner = index(&[&image]);
    world.upstream.put_manifest(REPOSITORY, &inner.media_type, inner.bytes.clone());
    let mut outer: Value = serde_json::from_slice(&inner.bytes).unwrap();
    let Document { digest, media_type, bytes } = &inner;
    let listed = json!({"mediaType": media_type, "size": bytes.len(), "digest": digest});
    outer["manifests"].as_array_mut().unwrap().push(listed);
    let outer = world.upstream.put_manifest(REPOSITORY, media_type, outer.to_string());
    world.upstream.tag(REPOSITORY, "outer", &outer);
    let files = entries(&world.export("cache", "index.tar", &["acme/app:outer"]).await);
    let described: Value = serde_json::from_slice(&files[0].data).unwrap();
    let found = &described[0]["ImageIndex"];
    let (images, indexes) = (&found["Images"], &found["Indexes"]);
    assert_eq!(indexes[0]["Refs"], json!([format!("{REGISTRY}/{REPOSITORY}@{digest}")]));
    for within in [&images[0], &indexes[0], &indexes[0]["Images"][0]] {
        assert_eq!(
            (&within["Tag"], &within["OrigRef"], &within["Labels"]),
            (&found["Tag"], &found["OrigRef"], &Value::Null)
        );
    }
    assert_eq!((&found["Tag"], &indexes[0]["Indexes"]), (&json!("outer"), &Value::Null));
    assert_eq!(files.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_regular_files_are_replaced() {
    let (world, _) = World::with_bundle(&[&Bundle::image("one")]).await;
    fs::create_dir(world.path("directory")).unwrap();
    fs::write(world.path("secret"), "of somebody").unwrap();
    symlink(world.path("secret"), world.path("link")).unwrap();
    symlink(world.path("secret"), world.path("trap.partial")).unwrap();
    for file in ["directory", "link", "trap"] {
        bad(&world.try_export("cache", file, &["acme/app:v1"]).await, 2, "is no regular file");
    }
    let special = world.config("cache", world.settings());
    bad(&colocate(&["export", "--config", &special, "-o", "/dev/null", "acme/app:v1"]).await, 2, "is no regular file");
    bad(&world.try_export("cache", "no/such/archive", &["acme/app:v1"]).await, 1, "cannot be opened");
    assert_eq!(fs::read(world.path("secret")).unwrap(), b"of somebody");
    assert_eq!(world.upstream.requests().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn pieces_are_not_for_the_eye() {
    let (world, bundle) = World::with_bundle(&[&Bundle::image("one")]).await;
    let finished = world.try_export("cache", "archive.tar", &["acme/app:v1", "--json"]).await;
    let events: Vec<Value> = finished.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert!(!kinds.contains(&"piece") && kinds.contains(&"planned"), "{kinds:?}");
    assert_eq!(kinds[kinds.len() - 2..], ["exported", "end"]);
    let exported = &events[events.len() - 2];
    assert_eq!(exported["bytes"], world.archive("archive.tar").len());
    assert_eq!(exported["roots"][0]["digest"], bundle.digest().to_string());
    let finished = world.try_export("cache", "archive.tar", &["acme/app:v1"]).await;
    assert!(finished.stdout.contains("exported: 2 manifests, 3 files"), "{finished:?}");
    assert!(finished.stdout.contains(&format!("{REGISTRY}/acme/app:v1  {}", bundle.digest())), "{finished:?}");
}
