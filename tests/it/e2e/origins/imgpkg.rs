//! `imgpkg pull -b`, request by request: it asks for the list of locations, and then believes it.

use colocate::oci::Digest;
use serde_json::Value;

use super::{Front, Origins, Spread, each_pushed, images_in, lock_as_pushed, named, pushed_to};
use crate::support::bundle::gunzip;
use crate::support::http::Answer;
use crate::support::layout::{Golden, Layout};
use crate::support::require;

/// The only type of layer that imgpkg reads a list from.
const LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
/// The only file it looks for in it.
const LIST: &str = "image-locations.yml";

#[tokio::test(flavor = "multi_thread")]
async fn imgpkg_is_told_where_the_images_are() {
    if !require(&["docker-registry"]) {
        return;
    }
    each_pushed(async |front, golden| {
        let repository = pushed_to(golden);
        let original = pull(front, &repository, &golden.digest.to_string()).await;
        assert_eq!(original.digest, golden.digest);
        assert_eq!(original.lock, lock_as_pushed(golden));
        assert_eq!(text(&original.list), text(&list_in(golden)), "{}", golden.name);

        let relocated = pull(front, &repository, Golden::TAG).await;
        assert_ne!(relocated.digest, golden.digest);
        assert_eq!(relocated.lock, front.lock(golden, &repository));
        // imgpkg names every image of it the same way already, and so it stays as it is.
        let again = pull(front, &repository, &relocated.digest.to_string()).await;
        assert_eq!(again, relocated);
    })
    .await;
}

/// Asked for before the tag, by whoever knows nothing but the digest.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_there_before_anything_was_pulled() {
    if !require(&["docker-registry"]) {
        return;
    }
    let bundles = Golden::all();
    let origins = Origins::start(Spread::TwoRegistries, &bundles).await;
    let mut front = origins.serve().await;
    for golden in &bundles {
        let repository = pushed_to(golden);
        let (original, _) = list_of(&front, &repository, &golden.digest).await;
        assert_eq!(text(&original), text(&list_in(golden)));

        let relocated = pull(&front, &repository, Golden::TAG).await;
        front.colocate.start_empty().await;
        let (list, manifest) = list_of(&front, &repository, &relocated.digest).await;
        assert_eq!((&list, manifest), (&relocated.list, relocated.list_digest), "another cache makes the same");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_no_list_where_an_image_is_missing() {
    if !require(&["docker-registry"]) {
        return;
    }
    let golden = Golden::read("wide-app");
    let origins = Origins::start(Spread::OneRegistry, std::slice::from_ref(&golden)).await;
    let settings = origins.settings().set("relocation.from_origin", serde_json::json!([]));
    let front = Front::start(settings).await;
    let tag = locations_tag(&golden.digest);
    let answer = front.colocate.manifest(&pushed_to(&golden), &tag).await.expect(404);
    assert_eq!(answer.error_code().as_deref(), Some("MANIFEST_UNKNOWN"));
}

/// What imgpkg has after a pull.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pulled {
    pub(super) digest: Digest,
    pub(super) lock: Vec<u8>,
    pub(super) list: Vec<u8>,
    pub(super) list_digest: Digest,
}

/// Does what `imgpkg pull -b` does, up to where it writes the lock; then pulls every image from where it would point.
pub(super) async fn pull(front: &Front, repository: &str, reference: &str) -> Pulled {
    let bundle = front.colocate.pull(repository, reference).await;
    let config: Value = serde_json::from_slice(&bundle.config).expect("JSON");
    assert!(config.pointer("/config/Labels/dev.carvel.imgpkg.bundle").is_some(), "{config}");
    let lock = bundle.lock();
    let (list, list_digest) = list_of(front, repository, &bundle.digest).await;

    let mut locked = images_in(&lock);
    locked.sort_unstable();
    assert_eq!(images_in(&list), locked, "the lock's images, in order");
    let kinds = kinds_in(&list);
    assert_eq!(kinds.len(), locked.len());
    for (image, is_bundle) in kinds {
        let (_, digest) = image.split_once('@').expect("a digest");
        assert_eq!(is_bundle, digest == Golden::read("simple-app").digest.to_string(), "{image}");
        let answer = front.colocate.manifest(repository, digest).await.expect(200);
        assert_eq!((answer.digest().to_string().as_str(), answer.body), (digest, named(digest).bytes));
    }
    Pulled { digest: bundle.digest, lock, list, list_digest }
}

/// The list of a bundle's locations, from an image of the kind that imgpkg reads; and that one's digest.
pub(super) async fn list_of(front: &Front, repository: &str, bundle: &Digest) -> (Vec<u8>, Digest) {
    let tag = locations_tag(bundle);
    let answer: Answer = front.colocate.manifest(repository, &tag).await.expect(200);
    let manifest = answer.json();
    let [layer] = manifest["layers"].as_array().expect("layers").as_slice() else { panic!("one layer: {manifest}") };
    assert_eq!(layer["mediaType"], LAYER);
    let image = front.colocate.pull(repository, &tag).await;
    assert_eq!(image.digest, answer.digest());
    // By its digest, too, as clients do that look a tag up first.
    assert_eq!(front.colocate.pull(repository, &image.digest.to_string()).await, image);
    (file_in(&image.tar, LIST), image.digest)
}

/// imgpkg's own list for a golden bundle.
pub(super) fn list_in(golden: &Golden) -> Vec<u8> {
    let Layout { tags, .. } = &golden.colocated;
    let tag = locations_tag(&golden.digest);
    let (_, digest) = tags.iter().find(|(name, _)| *name == tag).expect("imgpkg made a list");
    let manifest: Value = serde_json::from_slice(&golden.colocated.manifest(digest).bytes).expect("JSON");
    let layer = manifest["layers"][0]["digest"].as_str().expect("a layer").parse().expect("a digest");
    file_in(&gunzip(golden.colocated.blob(&layer)), LIST)
}

fn locations_tag(bundle: &Digest) -> String {
    format!("sha256-{}.image-locations.imgpkg", bundle.hex())
}

/// What a list says of each image.
fn kinds_in(list: &[u8]) -> Vec<(String, bool)> {
    let list: Value = serde_yaml::from_slice(list).expect("YAML");
    assert_eq!((&list["apiVersion"], &list["kind"]), (&"imgpkg.carvel.dev/v1alpha1".into(), &"ImageLocations".into()));
    let images = list["images"].as_array().expect("images").iter();
    let kind = |image: &Value| Some((image["image"].as_str()?.to_owned(), image["isBundle"].as_bool()?));
    images.map(|image| kind(image).unwrap_or_else(|| panic!("an image and its kind: {image}"))).collect()
}

/// A file in a tar by its name, which the tar has once.
fn file_in(tar: &[u8], wanted: &str) -> Vec<u8> {
    let (mut at, mut found) = (0, Vec::new());
    while let Some(header) = tar.get(at..at + 512).filter(|header| header[0] != 0) {
        let name = header[..100].split(|&byte| byte == 0).next().unwrap_or_default();
        let size = std::str::from_utf8(&header[124..135]).expect("an octal size");
        let size = usize::from_str_radix(size, 8).expect("an octal size");
        if name == wanted.as_bytes() {
            found.push(tar[at + 512..at + 512 + size].to_vec());
        }
        at += 512 + size.next_multiple_of(512);
    }
    assert_eq!(found.len(), 1, "{wanted} once");
    found.remove(0)
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}
