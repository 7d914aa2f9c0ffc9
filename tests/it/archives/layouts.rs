//! Tars of image layouts, in all the forms that tools write.

use std::path::PathBuf;

use bytes::Bytes;
use colocate::oci::{Digest, Reference};
use colocate::upstream::Upstream as _;
use serde_json::json;
use tempfile::TempDir;

use super::parts::{Edge, open, shown};
use crate::support::archive::{CONTAINERD_NAME, LayoutTar, REF_NAME, blob_name, tar_of};
use crate::support::bundle::{Bundle, index};
use crate::support::tarball::Tarball;

fn file(directory: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = directory.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

#[tokio::test]
async fn all_of_it_pulls() {
    let (one, two) = (Bundle::image("one"), Bundle::image("two"));
    let list = index(&[&one, &two]);
    let tar = LayoutTar::new().content(&one).content(&two).blob(&list.bytes);
    let tar = tar.list(&list, json!({REF_NAME: "ghcr.io/acme/list:v2"})).image(&one, Some("ghcr.io/acme/one:v1"));
    let directory = tempfile::tempdir().unwrap();
    let edge = Edge::of(&tar.write(&directory.path().join("images.tar"))).await;
    assert_eq!(edge.repositories().await, ["acme/list", "acme/one"]);
    assert_eq!(edge.tags("acme/list").await.unwrap(), ["v2"]);
    assert_eq!(edge.tags("acme/two").await, None);
    edge.pull_whole("acme/list", "v2").await;
    edge.pull_whole("acme/one", "v1").await;
    edge.pull_whole("acme/list", two.digest()).await;
    for (repository, absent) in [("acme/one", two.digest()), ("acme/one", list.digest), ("acme/other", one.digest())] {
        edge.manifest(repository, absent).await.expect(404);
    }
    edge.blob("acme/one", &two.layer_digest()).await.expect(404);
}

#[tokio::test]
async fn entries_come_in_any_order_and_by_any_way_to_write_a_name() {
    let image = Bundle::image("image");
    let layout = LayoutTar::of(&image, "acme/app:v1");
    let entries = layout.entries();
    let mut reversed = entries.clone();
    reversed.reverse();
    let dotted: Vec<_> = entries.iter().map(|(name, bytes)| (format!("./{name}"), bytes.clone())).collect();
    let mut folders = Tarball::new();
    folders.folder("./").folder("./blobs/").folder("./blobs/sha256/");
    let (mut pax, mut gnu) = (Tarball::new(), Tarball::new());
    pax.global_pax(&[("comment", "made by a test")]);
    for (name, bytes) in &entries {
        folders.file(&format!("./{name}"), bytes);
        pax.pax(&[("path", name), ("mtime", "1700000000.5")]).file("short", bytes);
        gnu.gnu_long_name(name).file("short", bytes);
    }
    let tars = [
        ("as made", layout.bytes()),
        ("reversed", tar_of(&reversed)),
        ("dotted", tar_of(&dotted)),
        ("folders", folders.finish().bytes.clone()),
        ("pax", pax.finish().bytes.clone()),
        ("gnu", gnu.finish().bytes.clone()),
    ];
    for (form, bytes) in tars {
        let directory = tempfile::tempdir().unwrap();
        let path = file(&directory, "image.tar", &bytes);
        assert_eq!(shown(&open(&path).unwrap()), ["acme/app: v1"], "{form}");
        Edge::of(&path).await.pull_whole("acme/app", "v1").await;
    }
}

#[tokio::test]
async fn of_entries_with_one_name_the_last_counts() {
    let (before, after) = (Bundle::image("before"), Bundle::image("after"));
    let (first, last) = (LayoutTar::of(&before, "acme/app:v1"), LayoutTar::of(&after, "acme/app:v1"));
    // As `tar --append` leaves it, and with a blob that was wrong at first.
    let wrong = (blob_name(&after.layer_digest()), Bytes::from_static(b"not yet"));
    let entries = [vec![wrong], first.entries(), last.entries()].concat();
    let directory = tempfile::tempdir().unwrap();
    let edge = Edge::of(&file(&directory, "image.tar", &tar_of(&entries))).await;
    assert_eq!(edge.digest("acme/app", "v1").await, after.digest());
    edge.pull_whole("acme/app", "v1").await;
    edge.manifest("acme/app", before.digest()).await.expect(404);
}

#[tokio::test]
async fn links_are_not_followed() {
    let image = Bundle::image("image");
    let layout = LayoutTar::of(&image, "acme/app:v1");
    for hard in [true, false] {
        let mut tar = Tarball::new();
        tar.file("elsewhere", &image.layers[0]);
        for (name, bytes) in layout.entries() {
            match name == blob_name(&image.layer_digest()) {
                true if hard => tar.hard_link(&name, "elsewhere"),
                true => tar.symlink(&name, "../../elsewhere"),
                false => tar.file(&name, &bytes),
            };
        }
        let directory = tempfile::tempdir().unwrap();
        let edge = Edge::of(&file(&directory, "image.tar", &tar.finish().bytes)).await;
        edge.manifest("acme/app", "v1").await.expect(200);
        edge.blob("acme/app", &image.config_digest()).await.expect(200);
        let answer = edge.blob("acme/app", &image.layer_digest()).await.expect(404);
        assert_eq!(answer.error_code().as_deref(), Some("BLOB_UNKNOWN"));
    }
}

#[tokio::test]
async fn names_that_lead_out_are_names_of_nothing() {
    let image = Bundle::image("image");
    let layer = blob_name(&image.layer_digest());
    for odd in [format!("../{layer}"), format!("/{layer}"), format!("blobs/../{layer}"), format!("a/{layer}")] {
        let entries: Vec<_> = LayoutTar::of(&image, "acme/app:v1")
            .entries()
            .into_iter()
            .map(|(name, bytes)| (if name == layer { odd.clone() } else { name }, bytes))
            .collect();
        let directory = tempfile::tempdir().unwrap();
        let edge = Edge::of(&file(&directory, "image.tar", &tar_of(&entries))).await;
        edge.manifest("acme/app", "v1").await.expect(200);
        edge.blob("acme/app", &image.layer_digest()).await.expect(404);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is unpacked");
    }
}

#[test]
fn names_as_tools_annotate_them() {
    let (one, two) = (Bundle::image("one"), Bundle::image("two"));
    let containerd = |name: &str, tag: &str| json!({CONTAINERD_NAME: name, REF_NAME: tag});
    let tar = || LayoutTar::new().content(&one).content(&two);
    let (first, second) = (&one.manifest, &two.manifest);
    for (tar, expected) in [
        // `skopeo copy … oci-archive:FILE:name`
        (tar().list(first, json!({REF_NAME: "acme/app:v1"})), &["acme/app: v1"][..]),
        // `skopeo copy … oci-archive:FILE:v1`, and without a name
        (tar().list(first, json!({REF_NAME: "v1"})), &["my-images_1.0: v1"]),
        (tar().list(first, json!(null)), &["my-images_1.0: latest"]),
        // `ctr images export`, `nerdctl save`, `docker save`
        (tar().list(first, containerd("docker.io/library/app:v1", "v1")), &["library/app: v1"]),
        (tar().list(first, containerd("ghcr.io/acme/app:v1", "v1")), &["acme/app: v1"]),
        (
            tar().list(first, json!({REF_NAME: "a/b:v1"})).list(second, json!({REF_NAME: "localhost:5000/a/c:v2"})),
            &["a/b: v1", "a/c: v2"],
        ),
        (tar().list(first, json!(null)).list(second, json!({REF_NAME: "v2"})), &["my-images_1.0: v2"]),
        // Two without a name: neither is the latest.
        (tar().list(first, json!(null)).list(second, json!(null)), &["my-images_1.0: "]),
        (tar().list(first, json!({REF_NAME: "v1"})).list(first, json!({REF_NAME: "v2"})), &["my-images_1.0: v1 v2"]),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let path = tar.write(&directory.path().join("My Images_1.0.tar"));
        assert_eq!(shown(&open(&path).unwrap()), expected);
    }
    let directory = tempfile::tempdir().unwrap();
    let nameless = LayoutTar::new().image(&one, None).write(&directory.path().join("日本.tar"));
    assert_eq!(shown(&open(&nameless).unwrap()), ["images: latest"]);
}

#[tokio::test]
async fn of_two_images_with_one_name_the_first_counts_and_the_other_is_there_by_its_digest() {
    let (one, two) = (Bundle::image("one"), Bundle::image("two"));
    let directory = tempfile::tempdir().unwrap();
    let tar = LayoutTar::of(&one, "acme/app:v1").image(&two, Some("acme/app:v1"));
    let edge = Edge::of(&tar.write(&directory.path().join("images.tar"))).await;
    assert_eq!(edge.digest("acme/app", "v1").await, one.digest());
    edge.pull_whole("acme/app", two.digest()).await;
}

#[tokio::test]
async fn what_refers_to_an_image_is_listed_with_it() {
    let image = Bundle::image("image");
    let empty = Bytes::from_static(b"{}");
    let signature = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": "application/vnd.example.signature",
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": Digest::of(&empty), "size": 2},
        "layers": [],
        "subject": {"mediaType": image.manifest.media_type, "digest": image.digest(), "size": image.manifest.bytes.len()},
    });
    let bytes = Bytes::from(signature.to_string());
    let signature = crate::support::layout::Document {
        digest: Digest::of(&bytes),
        media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
        bytes,
    };
    let tar = LayoutTar::of(&image, "acme/app:v1").blob(&empty).blob(&signature.bytes);
    let tar = tar.list(&signature, json!({REF_NAME: "acme/app"}));
    let directory = tempfile::tempdir().unwrap();
    let path = tar.write(&directory.path().join("images.tar"));
    let edge = Edge::of(&path).await;
    assert_eq!(edge.tags("acme/app").await.unwrap(), ["v1"]);
    let referrers = format!("{}/v2/acme/app/referrers/{}", edge.url, image.digest());
    let listed = crate::support::http::get(&referrers).await.expect(200).json();
    let [one] = listed["manifests"].as_array().unwrap().as_slice() else { panic!("{listed}") };
    assert_eq!(one["digest"], signature.digest.to_string());
    assert_eq!(one["artifactType"], "application/vnd.example.signature");
    edge.pull_whole("acme/app", signature.digest).await;
    let none = open(&path).unwrap().referrers(&"acme/app".parse().unwrap(), &signature.digest, None).await.unwrap();
    assert!(none.is_none(), "nothing refers to it");
    let reference = Reference::Digest(signature.digest);
    open(&path).unwrap().manifest_head(&"acme/app".parse().unwrap(), &reference).await.unwrap();
}
