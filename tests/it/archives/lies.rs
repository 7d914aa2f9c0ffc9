//! Archives that lie about what is in them. What is wrong is never given out whole.

use std::time::Duration;

use bytes::Bytes;
use colocate::oci::Digest;
use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::parts::{Edge, bundle_of};
use crate::support::archive::{ImgpkgTar, LayoutTar, REF_NAME};
use crate::support::bundle::{Bundle, BundleBuilder, Writer};
use crate::support::http;
use crate::support::layout::Document;
use crate::support::pattern::Pattern;
use crate::support::pull::{Ended, Pull};
use crate::support::tarball::noise;

/// The digest-checked bytes with one bit the other way, somewhere.
fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 1;
    bytes
}

/// An image with a layer of so many bytes.
fn image_of(size: usize) -> Bundle {
    BundleBuilder::new().label(None).file("noise", noise(3, size)).writer(Writer::Plain).build()
}

async fn serve(tar: &LayoutTar) -> (Edge, TempDir) {
    let directory = TempDir::new().unwrap();
    let edge = Edge::of(&tar.write(&directory.path().join("lies.tar"))).await;
    (edge, directory)
}

#[tokio::test]
async fn a_small_blob_is_an_error_and_no_byte_of_it() {
    let image = Bundle::image("image");
    for wrong in [image.config_digest(), image.layer_digest()] {
        let bytes = if wrong == image.config_digest() { &image.config } else { &image.layers[0] };
        for lie in [flipped(bytes, 9), bytes[..20].to_vec(), Vec::new(), [&bytes[..], b"more"].concat()] {
            let (edge, _directory) = serve(&LayoutTar::of(&image, "acme/app:v1").lie(&wrong, &lie)).await;
            edge.manifest("acme/app", image.digest()).await.expect(200);
            // Whether it is a bundle cannot be told of one whose config is wrong.
            let by_tag = edge.manifest("acme/app", "v1").await.status.as_u16();
            assert!(by_tag == 200 || by_tag == 503 && wrong == image.config_digest(), "{by_tag}");
            for _ in 0..2 {
                let answer = edge.blob("acme/app", &wrong).await.expect(502);
                assert!(!lie.starts_with(&answer.body) || lie.is_empty(), "{answer:?}");
                assert!(answer.error_code().is_some(), "{answer:?}");
            }
            let range = [("range", "bytes=0-3")];
            let part = http::send(Method::GET, &edge.blob_url("acme/app", &wrong), &range, "").await;
            assert!(matches!(part.status.as_u16(), 502 | 416), "{part:?}");
        }
    }
}

#[tokio::test]
async fn a_large_blob_breaks_before_its_end() {
    let image = image_of(300_000);
    let layer = &image.layers[0];
    let mut served = Vec::new();
    for at in [0, layer.len() / 2, layer.len() - 1] {
        let tar = LayoutTar::of(&image, "acme/app:v1").lie(&image.layer_digest(), flipped(layer, at));
        served.push((at, serve(&tar).await));
    }
    // What is found of files that were left alone for so long is remembered.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    for (at, (edge, _directory)) in &served {
        let answer = edge.blob("acme/app", &image.layer_digest()).await;
        assert!(answer.broken.is_some() && answer.body.len() < layer.len(), "{at}: {}", answer.body.len());
        assert_eq!(answer.status, 200);
        // Once it is known, no byte is sent.
        let answer = edge.blob("acme/app", &image.layer_digest()).await.expect(502);
        assert!(answer.error_code().is_some(), "{answer:?}");
        // A range, too: it is part of something that is not there.
        for range in ["bytes=0-9", "bytes=1000-250000", "bytes=-70000", "bytes=299000-"] {
            let url = edge.blob_url("acme/app", &image.layer_digest());
            let part = http::send(Method::GET, &url, &[("range", range)], "").await;
            assert_eq!(part.status, 502, "{at} {range}: {part:?}");
        }
        edge.blob("acme/app", &image.config_digest()).await.expect(200);
    }
}

#[tokio::test]
async fn a_wrong_size_is_no_way_around() {
    let image = image_of(300_000);
    let layer = &image.layers[0];
    let digest = image.layer_digest();
    for lie in [layer[..250_000].to_vec(), [&layer[..], &[0; 70_000]].concat()] {
        let (edge, _directory) = serve(&LayoutTar::of(&image, "acme/app:v1").lie(&digest, &lie)).await;
        let answer = edge.blob("acme/app", &digest).await;
        assert!(answer.broken.is_some() || answer.status == 502, "{} bytes", answer.body.len());
    }
    // An index and a manifest that are wrong about sizes: what comes is still what its digest says.
    let mut document = image.manifest.clone();
    let text = String::from_utf8(document.bytes.to_vec()).unwrap();
    document.bytes = text.replace(&format!(":{}", layer.len()), ":17").into();
    assert_ne!(document.bytes, image.manifest.bytes);
    document.digest = Digest::of(&document.bytes);
    let tar = LayoutTar::new().content(&image).blob(&document.bytes);
    let mut listed = document.clone();
    listed.bytes = Bytes::from_static(b"?");
    let (edge, _directory) =
        serve(&tar.list(&listed, json!({"org.opencontainers.image.ref.name": "acme/app:v1"}))).await;
    assert_eq!(edge.manifest("acme/app", "v1").await.expect(200).body, document.bytes);
    assert_eq!(edge.blob("acme/app", &digest).await.expect(200).body, layer);
}

/// A registry gives such manifests another digest than that of what it sends; a file has none but its own.
#[tokio::test]
async fn to_be_of_docker_s_first_schema_is_no_way_around() {
    let image = Bundle::image("image");
    let schema1 = "application/vnd.docker.distribution.manifest.v1+json";
    for (listed, lie) in [(schema1, r#"{"evil":true}"#), ("application/json", r#"{"schemaVersion":1,"evil":true}"#)] {
        let document = Document { media_type: listed.to_owned(), ..image.manifest.clone() };
        let tar = LayoutTar::new().content(&image).lie(&image.manifest.digest, lie);
        let (edge, _directory) = serve(&tar.list(&document, json!({ REF_NAME: "acme/app:v1" }))).await;
        for reference in ["v1", &image.digest().to_string()] {
            edge.manifest("acme/app", reference).await.expect(502);
        }
    }
}

#[tokio::test]
async fn a_manifest_with_other_bytes_is_an_error_and_leads_nowhere() {
    let (image, good) = (Bundle::image("image"), Bundle::image("good"));
    let (before, manifest) = (Bundle::image("another").manifest, &image.manifest);
    for lie in [flipped(&manifest.bytes, 30), before.bytes.to_vec(), Vec::new(), b"<html>".to_vec()] {
        let tar = LayoutTar::of(&image, "acme/app:v1").image(&good, Some("acme/good:v1"));
        let (edge, _directory) = serve(&tar.lie(&manifest.digest, lie)).await;
        for reference in ["v1", &manifest.digest.to_string()] {
            let answer = edge.manifest("acme/app", reference).await.expect(502);
            assert!(answer.header("docker-content-digest").is_none(), "{answer:?}");
            assert_eq!(edge.seen().manifest_head("acme/app", reference).await.status, 502);
        }
        // As a blob it is no better.
        assert_ne!(edge.blob("acme/app", &manifest.digest).await.status, 200);
        // What would be of it: not there, or, as it might be of a bundle that cannot be read, not to be told.
        let part = edge.blob("acme/app", &image.layer_digest()).await;
        assert!(matches!(part.status.as_u16(), 404 | 503), "{part:?}");
        edge.pull_whole("acme/good", "v1").await;
        assert_eq!(edge.tags("acme/app").await.unwrap(), ["v1"]);
    }
}

#[tokio::test]
async fn imgpkg_s_description_is_believed_no_more_than_any_other() {
    let (image, bundle) = (Bundle::image("image"), bundle_of(&[]));
    let tar = || ImgpkgTar::new().root(&bundle, "h.example/acme/app", "v1").image(&image, "h.example/apps/image");
    let (config, manifest) = (bundle.config_digest(), bundle.digest());
    let directory = TempDir::new().unwrap();
    let edge = async |part: &'static str, digest: Digest, raw: String| {
        let tar = tar().describe(|described| {
            let said: &mut Value = &mut described["Image"][part];
            if said["Digest"] == digest.to_string() {
                said["Raw"] = json!(raw);
            }
        });
        Edge::of(&tar.write(&directory.path().join(format!("{part}-{}.tar", raw.len())))).await
    };
    for raw in ["{}", "", "<html>"] {
        let wrong = edge("Config", config, raw.to_owned()).await;
        wrong.blob("acme/app", &config).await.expect(502);
        wrong.blob("acme/app", &bundle.layer_digest()).await.expect(200);
        let wrong = edge("Manifest", manifest, raw.to_owned()).await;
        wrong.manifest("acme/app", "v1").await.expect(502);
        wrong.manifest("acme/app", manifest).await.expect(502);
        let part = wrong.blob("acme/app", &config).await;
        assert!(matches!(part.status.as_u16(), 404 | 503), "{part:?}");
        wrong.pull_whole("apps/image", "latest").await;
    }
}

/// A bundle whose layer is wrong is never a reason for a relocated one.
#[tokio::test]
async fn a_bundle_with_a_wrong_layer_is_not_relocated() {
    let image = Bundle::image("image");
    let bundle = bundle_of(&[&image]);
    let other = bundle_of(&[]).layers[0].clone();
    let tar = LayoutTar::of(&bundle, "acme/app:v1").image(&image, Some("apps/image:v1"));
    for lie in [other.to_vec(), flipped(&bundle.layers[0], 30)] {
        let (edge, _directory) = serve(&tar.clone().lie(&bundle.layer_digest(), lie)).await;
        let answer = edge.manifest("acme/app", "v1").await;
        let is_original = answer.status == 200 && Digest::of(&answer.body) == bundle.digest();
        assert!(is_original || answer.status.is_server_error(), "{answer:?}");
        edge.blob("acme/app", &bundle.layer_digest()).await.expect(502);
    }
}

/// The layer of a bundle that is there and whose image has other bytes than its digest says: not there.
#[tokio::test]
async fn an_image_with_a_wrong_manifest_does_not_count_as_colocated() {
    let image = Bundle::image("image");
    let bundle = bundle_of(&[&image]);
    let tar = LayoutTar::of(&bundle, "acme/app:v1").image(&image, Some("apps/image:v1"));
    let (edge, _directory) = serve(&tar.lie(&image.digest(), flipped(&image.manifest.bytes, 30))).await;
    let answer = edge.manifest("acme/app", "v1").await;
    let is_original = answer.status == 200 && Digest::of(&answer.body) == bundle.digest();
    assert!(is_original || answer.status.is_server_error(), "{answer:?}");
    assert_ne!(edge.manifest("acme/app", image.digest()).await.status, 200);
}

#[tokio::test]
async fn one_that_reads_along_never_sees_a_clean_end() {
    let pattern = Pattern::new(11, 4 << 20);
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < pattern.size() {
        bytes.extend_from_slice(&pattern.piece(bytes.len() as u64..u64::MAX));
    }
    let image = BundleBuilder::new().label(None).raw_layer(bytes.clone()).build();
    let tar = LayoutTar::of(&image, "acme/app:v1").lie(&pattern.digest(), flipped(&bytes, 3 << 20));
    let (edge, _directory) = serve(&tar).await;
    for range in [None, Some(0..100_000), Some(2 << 20..4 << 20)] {
        let pull = Pull::of(&edge.url, "acme/app", &pattern).trustingly();
        let pull = match range {
            Some(range) => pull.range(range),
            None => pull,
        };
        // Once it is known to be wrong, it does not even begin.
        assert!(matches!(pull.run().await, Ended::Broken(_) | Ended::Status(502)));
    }
}
