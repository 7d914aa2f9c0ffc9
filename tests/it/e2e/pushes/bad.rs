//! Bad pushes: the right answer, and nothing of them in the registry.

use colocate::oci::Digest;
use serde_json::{Value, json};

use super::World;
use super::pieces::{Sent, said};
use crate::support::bundle::Bundle;
use crate::support::http::Method;
use crate::support::pusher::{OCTETS, refused, wanted, with_digest};
use crate::support::require;
use crate::support::stored::Stored;
use crate::support::tarball::noise;

/// One mistake for each way to end an upload.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_digest_leaves_nothing() {
    if !require(&["docker-registry"]) {
        return;
    }
    let world = World::new().await;
    let at = world.through("acme/app");
    at.blob(b"so that there is a repository").await.expect("a blob is taken");
    let (before, content) = (world.registry.stored(), noise(21, 100_000));
    for wrong in [Digest::of(&content[1..]).to_string(), format!("sha512:{}", "0".repeat(128))] {
        let location = at.begin().await.expect("an upload");
        let answer = at.end(&location, &wrong, &content).await.expect("an answer");
        refused("PUT of all", answer, &[400], &["DIGEST_INVALID"]).expect("a refusal");

        let location = at.begin().await.expect("an upload");
        let answer = at.chunk(&location, 0, &content).await.expect("an answer").expect(202);
        let location = at.location(&answer).expect("a location");
        let answer = at.end(&location, &wrong, b"").await.expect("an answer");
        refused("PUT after PATCH", answer, &[400], &["DIGEST_INVALID"]).expect("a refusal");

        let path = format!("blobs/uploads/?digest={wrong}");
        let answer = at.ask(Method::POST, &path, &[OCTETS], content.clone()).await.expect("an answer");
        // A registry that takes no blob by one POST waits for it to be sent again.
        if answer.status != 202 {
            refused("POST of all", answer, &[400], &["DIGEST_INVALID"]).expect("a refusal");
        }
        at.lacks(&format!("blobs/{wrong}")).await.expect("nothing under the wrong digest");
        at.lacks(&format!("blobs/{}", Digest::of(&content))).await.expect("nothing under the right one");
    }
    assert_eq!(world.registry.stored(), before);
    let cached = Stored::audit(&world.colocate.cache());
    assert!(!cached.contents.contains(&Digest::of(&content)), "the proxy keeps what the registry refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_another_length_than_said_leaves_nothing() {
    if !require(&["docker-registry"]) {
        return;
    }
    let world = World::new().await;
    let at = world.through("acme/app");
    at.blob(b"so that there is a repository").await.expect("a blob is taken");
    let (before, content) = (world.registry.stored(), noise(22, 200_000));
    let digest = Digest::of(&content).to_string();
    for sent in [
        Sent { said: Some(200_000), bytes: 80_000, silent: true },
        Sent { said: Some(200_000), bytes: 80_000, silent: false },
        Sent { said: Some(200_000), bytes: 0, silent: true },
        Sent { said: Some(80_000), bytes: 200_000, silent: true },
        Sent { said: None, bytes: 80_000, silent: true },
        Sent { said: None, bytes: 80_000, silent: false },
    ] {
        let location = with_digest(&at.begin().await.expect("an upload"), &digest);
        let one_post = format!("/v2/acme/app/blobs/uploads/?digest={digest}");
        for (method, path) in [("PUT", &location), ("POST", &one_post)] {
            let status = said(&world.colocate.authority(), method, path, &sent, &content).await;
            let as_expected =
                status.is_none_or(|status| (400..500).contains(&status) || (method, status) == ("POST", 202));
            assert!(as_expected, "{method}, {sent:?}: {status:?}");
            at.lacks(&format!("blobs/{digest}")).await.expect("no blob of half a body");
        }
    }
    assert_eq!(world.registry.stored(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_manifest_is_none() {
    if !require(&["docker-registry"]) {
        return;
    }
    let world = World::new().await;
    let (at, image) = (world.through("acme/app"), Bundle::image("whole"));
    image.layout(Some("v1")).push(&world.colocate.url(), "acme/app").await;
    let before = world.registry.stored();
    // What came before the cut is a manifest by itself.
    let mut content = image.manifest.bytes.to_vec();
    content.push(b'\n');
    let whole = content.len();
    content.extend_from_slice(&[b' '; 100]);
    for silent in [true, false] {
        let sent = Sent { said: Some(content.len()), bytes: whole, silent };
        let path = "/v2/acme/app/manifests/half";
        let status = said(&world.colocate.authority(), "PUT", path, &sent, &content).await;
        assert!(status.is_none_or(|status| (400..500).contains(&status)), "{sent:?}: {status:?}");
        at.lacks("manifests/half").await.expect("no manifest of half a body");
        world.behind("acme/app").lacks("manifests/half").await.expect("none in the registry");
    }
    assert_eq!(world.registry.stored(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_that_does_not_fit_leaves_the_upload_as_it_was() {
    if !require(&["docker-registry"]) {
        return;
    }
    let world = World::new().await;
    let at = world.through("acme/app");
    let content = noise(23, 30_000);
    let location = at.begin().await.expect("an upload");
    let answer = at.chunk(&location, 0, &content[..10_000]).await.expect("an answer").expect(202);
    let location = at.location(&answer).expect("a location");
    for (range, bytes, statuses) in [
        // A gap, what is there already, and what overlaps it.
        ("20000-29999", &content[20_000..], &[416][..]),
        ("0-9999", &content[..10_000], &[416]),
        ("5000-14999", &content[5000..15_000], &[416]),
        // One that says another length than its body has, and what is no range.
        ("10000-19999", &content[10_000..15_000], &[400, 416]),
        ("10000-12999", &content[10_000..15_000], &[400, 416]),
        ("14999-10000", &content[10_000..15_000], &[400, 416]),
        ("10000-99999999999999999999", &content[10_000..15_000], &[400, 416]),
        ("bytes and more", &content[10_000..15_000], &[400, 416]),
    ] {
        let headers = [OCTETS, ("content-range", range)];
        let answer = at.ask(Method::PATCH, &location, &headers, bytes.to_vec()).await.expect("an answer");
        let answer = wanted(&format!("PATCH of {range}"), answer, statuses).expect("a refusal");
        if statuses == [416] {
            assert_eq!(answer.header("range"), Some("0-9999"), "{range}: {answer:?}");
            at.location(&answer).expect("where it goes on");
        }
        let (so_far, _) = at.progress(&location).await.expect("the upload goes on");
        assert_eq!(so_far, 10_000, "after {range}");
    }
    let answer = at.chunk(&location, 10_000, &content[10_000..]).await.expect("an answer").expect(202);
    let location = at.location(&answer).expect("a location");
    let digest = Digest::of(&content);
    at.end(&location, &digest.to_string(), b"").await.expect("an answer").expect(201);
    world.behind("acme/app").holds(&format!("blobs/{digest}"), &content).await.expect("the right bytes, once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_of_blobs_that_are_not_there_leaves_nothing() {
    if !require(&["docker-registry"]) {
        return;
    }
    let world = World::new().await;
    let (at, image) = (world.through("acme/app"), Bundle::image("absent"));
    at.blob(&image.config).await.expect("a blob is taken");
    // It is in the registry, but not in this repository.
    world.through("acme/other").blob(&image.layers[0]).await.expect("a blob is taken");
    let before = world.registry.stored();
    let mut nowhere: Value = serde_json::from_slice(&image.manifest.bytes).expect("JSON");
    nowhere["layers"][0]["digest"] = json!(format!("sha256:{}", "0".repeat(64)));
    for manifest in [image.manifest.bytes.to_vec(), nowhere.to_string().into_bytes()] {
        for reference in ["v1".to_owned(), Digest::of(&manifest).to_string()] {
            let answer = at.put(&reference, &image.manifest.media_type, &manifest).await.expect("an answer");
            let codes = ["MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN"];
            refused("PUT of a manifest", answer, &[400, 404], &codes).expect("a refusal");
            for at in [&at, &world.behind("acme/app")] {
                at.lacks(&format!("manifests/{reference}")).await.expect("no manifest");
            }
        }
    }
    assert_eq!(world.registry.stored(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_under_the_wrong_digest_leaves_nothing() {
    if !require(&["docker-registry"]) {
        return;
    }
    let world = World::new().await;
    let (at, image) = (world.through("acme/app"), Bundle::image("there"));
    image.layout(Some("v1")).push(&world.colocate.url(), "acme/app").await;
    let before = world.registry.stored();
    let changed = [&image.manifest.bytes[..], b"\n"].concat();
    let digest = image.digest().to_string();
    for (reference, bytes) in [(&digest, &changed[..]), (&format!("sha256:{}", "1".repeat(64)), &image.manifest.bytes)]
    {
        let answer = at.put(reference, &image.manifest.media_type, bytes).await.expect("an answer");
        refused("PUT", answer, &[400], &["DIGEST_INVALID", "MANIFEST_INVALID"]).expect("a refusal");
    }
    at.holds(&format!("manifests/{digest}"), &image.manifest.bytes).await.expect("what was there before");
    at.lacks(&format!("manifests/{}", Digest::of(&changed))).await.expect("nothing else");
    assert_eq!(world.registry.stored(), before);
}
