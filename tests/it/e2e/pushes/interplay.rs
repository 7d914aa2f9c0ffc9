//! What a pull sees after a push: at once, whatever the proxy knew before. What it may believe for a while, it believes
//! for an hour here.

use colocate::oci::Digest;
use serde_json::{Value, json};

use super::World;
use crate::support::bundle::Bundle;
use crate::support::layout::Golden;
use crate::support::pusher::{Pusher, wanted};
use crate::support::require;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Puts an image under a tag.
async fn push(at: &Pusher, image: &Bundle, tag: &str) {
    for blob in std::iter::once(&image.config).chain(&image.layers) {
        at.blob(blob).await.expect("a blob is taken");
    }
    at.manifest(tag, &image.manifest.media_type, &image.manifest.bytes).await.expect("a manifest is taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_is_relocated_from_the_first_pull_on() {
    if !require(&["docker-registry"]) {
        return;
    }
    let world = World::new().await;
    for golden in Golden::all() {
        // That it is not there yet is known before.
        let at = world.through(&golden.repository);
        at.lacks(&format!("manifests/{}", Golden::TAG)).await.expect("nothing before the push");
        at.lacks(&format!("manifests/{}", golden.digest)).await.expect("nothing before the push");
        golden.colocated.push(&world.colocate.url(), &golden.repository).await;
        world.relocates(&golden, Golden::TAG).await;
        let original = golden.origin.manifest(&golden.digest);
        at.holds(&format!("manifests/{}", golden.digest), &original.bytes).await.expect("the original by its digest");
        let path = format!("manifests/{}", Golden::TAG);
        world.behind(&golden.repository).holds(&path, &original.bytes).await.expect("the original in the registry");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_pushed_before_its_images_is_relocated_as_soon_as_they_are_there() {
    if !require(&["docker-registry"]) {
        return;
    }
    let world = World::new().await;
    for golden in Golden::all() {
        let mut bundle = golden.origin.clone();
        bundle.tags = vec![(Golden::TAG.to_owned(), golden.digest)];
        bundle.push(&world.colocate.url(), &golden.repository).await;
        for _ in 0..2 {
            let pulled = world.colocate.pull(&golden.repository, Golden::TAG).await;
            assert_eq!(pulled.digest, golden.digest, "{}: no image is there", golden.name);
        }
        world.push_images(&golden).await;
        world.relocates(&golden, Golden::TAG).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_moves_is_seen_to_move() {
    if !require(&["docker-registry"]) {
        return;
    }
    let world = World::new().await;
    let at = world.through("acme/app");
    let (first, second) = (Bundle::image("first"), Bundle::image("second"));
    for image in [&first, &second, &first] {
        push(&at, image, "v1").await;
        for _ in 0..2 {
            assert_eq!(world.colocate.pull("acme/app", "v1").await.digest, image.digest());
        }
        assert_eq!(world.colocate.manifest_head("acme/app", "v1").await.expect(200).digest(), image.digest());
    }
    // From a bundle to an image and back.
    let golden = Golden::read("simple-app");
    golden.colocated.push(&world.colocate.url(), &golden.repository).await;
    world.relocates(&golden, Golden::TAG).await;
    push(&world.through(&golden.repository), &first, Golden::TAG).await;
    assert_eq!(world.colocate.pull(&golden.repository, Golden::TAG).await.digest, first.digest());
    let original = golden.origin.manifest(&golden.digest);
    let at = world.through(&golden.repository);
    at.manifest(Golden::TAG, &original.media_type, &original.bytes).await.expect("a manifest is taken");
    world.relocates(&golden, Golden::TAG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_is_gone() {
    if !require(&["docker-registry"]) {
        return;
    }
    let world = World::new().await;
    let golden = Golden::read("simple-app");
    let at = world.through(&golden.repository);
    golden.colocated.push(&world.colocate.url(), &golden.repository).await;
    let relocated = world.colocate.pull(&golden.repository, Golden::TAG).await;
    assert_eq!(relocated.lock(), golden.pulled);
    let (tag, digest) = (format!("manifests/{}", Golden::TAG), format!("manifests/{}", golden.digest));

    // This registry deletes no tags; the proxy may, but then it has to be gone in both places.
    let answer = at.delete(&tag).await.expect("an answer");
    if answer.status == 202 {
        at.lacks(&tag).await.expect("no tag");
        world.behind(&golden.repository).lacks(&tag).await.expect("no tag in the registry");
    } else {
        wanted("DELETE of a tag", answer, &[400, 405]).expect("a refusal");
        world.relocates(&golden, Golden::TAG).await;
    }
    at.get(&digest).await.expect("an answer").expect(200);

    wanted("DELETE", at.delete(&digest).await.expect("an answer"), &[202]).expect("it is deleted");
    for path in [&tag, &digest] {
        at.lacks(path).await.expect("nothing after the deletion");
        world.behind(&golden.repository).lacks(path).await.expect("nothing in the registry");
    }
    // What was made of it goes with it.
    at.lacks(&format!("manifests/{}", relocated.digest)).await.expect("no relocated bundle without its original");
    let tags = at.get("tags/list").await.expect("an answer").expect(200).json();
    assert!(tags["tags"].as_array().expect("tags").iter().all(|tag| *tag != Golden::TAG), "{tags}");

    // And comes back with it.
    golden.colocated.push(&world.colocate.url(), &golden.repository).await;
    let again = world.colocate.pull(&golden.repository, Golden::TAG).await;
    assert_eq!(again, relocated);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_clients_pushing_one_tag_leave_what_the_registry_has() {
    if !require(&["docker-registry"]) {
        return;
    }
    let world = World::new().await;
    let at = world.through("acme/app");
    let images = ["first", "second"].map(Bundle::image);
    for image in &images {
        push(&at, image, "latest").await;
    }
    for round in 0..25 {
        // A third one pulls meanwhile, and so may well write down what has just become old.
        let push = |image: &Bundle| {
            let (at, document) = (at.clone(), image.manifest.clone());
            async move { at.manifest("latest", &document.media_type, &document.bytes).await }
        };
        let (first, second, _) =
            tokio::join!(push(&images[0]), push(&images[1]), world.colocate.manifest("acme/app", "latest"));
        first.and(second).expect("both are taken");
        let behind = world.behind("acme/app").head("manifests/latest").await.expect("an answer").expect(200);
        for _ in 0..2 {
            let through = world.colocate.manifest("acme/app", "latest").await.expect(200);
            assert_eq!(through.digest(), behind.digest(), "in round {round}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_push_goes_on_where_it_stopped() {
    if !require(&["docker-registry"]) {
        return;
    }
    let world = World::new().await;
    let at = world.through("acme/app");
    let content = crate::support::tarball::noise(11, 8 << 20);
    let mut location = at.begin().await.expect("an upload");
    let mut so_far = 0;
    for cut in [1_500_000, 3_000_000, 1] {
        let cut = at.interrupted(&location, so_far, &content[so_far..], cut).await;
        (so_far, location) = cut.expect("the upload can be asked about");
    }
    let answer = at.chunk(&location, so_far, &content[so_far..]).await.expect("an answer");
    let location = at.location(&answer.expect(202)).expect("a location");
    let digest = Digest::of(&content);
    at.end(&location, &digest.to_string(), b"").await.expect("an answer").expect(201);
    for at in [at, world.behind("acme/app")] {
        at.holds(&format!("blobs/{digest}"), &content).await.expect("all of it, once");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn referrers_are_kept_by_tag_where_the_registry_has_no_list_of_them() {
    if !require(&["docker-registry"]) {
        return;
    }
    let world = World::new().await;
    let (at, behind) = (world.through("acme/app"), world.behind("acme/app"));
    let subject = Bundle::image("subject");
    push(&at, &subject, "v1").await;
    let tag = format!("manifests/sha256-{}", subject.digest().hex());
    let listed = async |at: &Pusher, path: &str| -> Vec<Value> {
        let answer = at.get(path).await.expect("an answer").expect(200);
        assert_eq!(answer.header("content-type"), Some(INDEX));
        answer.json()["manifests"].as_array().expect("manifests").clone()
    };
    at.blob(b"{}").await.expect("a blob is taken");
    let empty = json!({"mediaType": "application/vnd.oci.empty.v1+json", "digest": Digest::of(b"{}"), "size": 2});
    let about = json!({
        "mediaType": subject.manifest.media_type, "digest": subject.digest(), "size": subject.manifest.bytes.len(),
    });
    let mut digests = Vec::new();
    for note in ["one", "another", "a third"] {
        let referrer = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/vnd.example.sbom",
            "config": empty, "layers": [empty], "subject": about, "annotations": {"org.example.note": note},
        });
        let referrer = referrer.to_string();
        let digest = Digest::of(referrer.as_bytes()).to_string();
        let answer = at.put(&digest, MANIFEST, referrer.as_bytes()).await.expect("an answer").expect(201);
        assert_eq!(answer.header("oci-subject"), Some(&*subject.digest().to_string()));
        digests.push(digest);
        let list = listed(&at, &format!("referrers/{}", subject.digest())).await;
        assert_eq!(list.len(), digests.len());
        // Clients that know of no list look here (distribution spec, "Referrers Tag Schema").
        assert_eq!(listed(&behind, &tag).await, list);
    }
    for digest in &digests {
        at.delete(&format!("manifests/{digest}")).await.expect("an answer").expect(202);
        let list = listed(&at, &format!("referrers/{}", subject.digest())).await;
        assert!(list.iter().all(|one| one["digest"] != *digest.as_str()), "{digest} in {list:?}");
        let answer = behind.get(&tag).await.expect("an answer");
        // An empty list may as well be no list.
        if answer.status != 404 || !list.is_empty() {
            assert_eq!(answer.expect(200).json()["manifests"].as_array(), Some(&list));
        }
    }
    at.holds("manifests/v1", &subject.manifest.bytes).await.expect("the subject is where it was");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_pushing_referrers_at_one_time_all_find_theirs() {
    if !require(&["docker-registry"]) {
        return;
    }
    let world = World::new().await;
    let at = world.through("acme/app");
    let subject = Bundle::image("subject");
    push(&at, &subject, "v1").await;
    at.blob(b"{}").await.expect("a blob is taken");
    let empty = json!({"mediaType": "application/vnd.oci.empty.v1+json", "digest": Digest::of(b"{}"), "size": 2});
    let about = json!({"mediaType": MANIFEST, "digest": subject.digest(), "size": subject.manifest.bytes.len()});
    let mut pushing = tokio::task::JoinSet::new();
    for number in 0..12 {
        let referrer = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/vnd.example.sbom",
            "config": empty, "layers": [empty], "subject": about, "annotations": {"number": number.to_string()},
        });
        let (at, referrer) = (at.clone(), referrer.to_string());
        let digest = Digest::of(referrer.as_bytes()).to_string();
        pushing.spawn(async move {
            at.manifest(&digest, MANIFEST, referrer.as_bytes()).await.expect("a referrer is taken");
            digest
        });
    }
    let mut pushed = pushing.join_all().await;
    pushed.sort();
    let path = format!("referrers/{}", subject.digest());
    let list = at.get(&path).await.expect("an answer").expect(200).json();
    let list = list["manifests"].as_array().expect("manifests").iter();
    let mut found: Vec<_> = list.map(|one| one["digest"].as_str().expect("a digest").to_owned()).collect();
    found.sort();
    assert_eq!(found, pushed);
}
