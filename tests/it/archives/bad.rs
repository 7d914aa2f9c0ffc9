//! Files that cannot be served, and what is said of them.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use bytes::Bytes;
use serde_json::json;
use tempfile::TempDir;

use super::parts::{Edge, open};
use crate::support::archive::{ImgpkgTar, LayoutTar, golden_tar, tar_of};
use crate::support::bundle::Bundle;
use crate::support::colocate::colocate;
use crate::support::tarball::Tarball;

/// Each kind of file that cannot be served, and what is said of it.
fn refused() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let image = Bundle::image("image");
    let layout = LayoutTar::of(&image, "acme/app:v1");
    let (whole, imgpkg) = (layout.bytes(), fs::read(golden_tar("wide-app")).unwrap());
    let entries = layout.entries();
    let without = |name: &str| tar_of(&entries.iter().filter(|(other, _)| other != name).cloned().collect::<Vec<_>>());
    let with = |name: &str, bytes: &'static [u8]| {
        let replaced = entries
            .iter()
            .map(|(other, own)| (other.clone(), if other == name { Bytes::from_static(bytes) } else { own.clone() }));
        tar_of(&replaced.collect::<Vec<_>>())
    };
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    gzip.write_all(&whole).unwrap();
    let docker = json!([{"Config": "abc.json", "RepoTags": ["app:v1"], "Layers": ["abc/layer.tar"]}]).to_string();
    let mut linked = Tarball::new();
    for (name, bytes) in &entries {
        if name == "index.json" {
            linked.symlink(name, "/etc/passwd")
        } else {
            linked.file(name, bytes)
        };
    }
    let only = |name: &str, text: &str| Tarball::new().file(name, text.as_bytes()).finish().bytes.clone();
    let neither = "is neither an image layout (it has no oci-layout with an index.json) nor an archive of \
                   `imgpkg copy --to-tar` (it has no manifest.json)";
    vec![
        ("truncated in an entry", imgpkg[..100_000].to_vec(), "ends at byte 4"),
        ("truncated in a header", whole[..700].to_vec(), "is a truncated tar: `blobs/sha256/"),
        ("without its end", whole[..whole.len() - 1024].to_vec(), "is a tar without an end: it was cut off"),
        ("empty", Vec::new(), "is a tar without an end"),
        ("gzip", gzip.finish().unwrap(), "is compressed, and can only be served as a plain tar; gunzip it first"),
        ("zstd", b"\x28\xb5\x2f\xfd and so on".to_vec(), "unzstd it first"),
        ("text", b"no tar at all, but long enough. ".repeat(40), "is no tar that can be read"),
        ("of something else", only("readme", "hello"), neither),
        ("nothing in it", Tarball::new().finish().bytes.clone(), neither),
        ("without oci-layout", without("oci-layout"), neither),
        ("without index.json", without("index.json"), neither),
        ("a link for index.json", linked.finish().bytes.clone(), neither),
        ("docker save", only("manifest.json", &docker), "skopeo copy docker-archive:FILE oci-archive:FILE"),
        ("no description", only("manifest.json", "<html>"), "has a manifest.json that is not valid"),
        ("no index", with("index.json", b"<html>"), "has an index.json that is not valid"),
        (
            "another version",
            with("oci-layout", br#"{"imageLayoutVersion":"2.0.0"}"#),
            "is no image layout of version 1; its oci-layout says so",
        ),
    ]
}

#[test]
fn each_is_refused_with_what_to_do() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("bad.tar");
    for (what, bytes, expected) in refused() {
        fs::write(&path, bytes).unwrap();
        let said = open(&path).err().unwrap_or_else(|| panic!("{what} is taken"));
        assert!(said.contains(expected), "{what}: {said}");
    }
    let said = open(&directory.path().join("absent.tar")).err().unwrap();
    assert!(said.contains("absent.tar cannot be read: No such file"), "{said}");
}

async fn serve(paths: &[&Path]) -> crate::support::process::Finished {
    let cache = TempDir::new().unwrap();
    let cache = cache.path().display().to_string();
    let paths: Vec<_> = paths.iter().map(|path| path.to_str().unwrap()).collect();
    let rest = ["--listen", "127.0.0.1:0", "--cache", &cache, "--admin", "none"];
    colocate(&[&["serve"], &paths[..], &rest].concat()).await
}

/// Whoever starts it with several has to know which of them it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_does_not_start_on_one_and_says_which() {
    let directory = TempDir::new().unwrap();
    let bad = directory.path().join("bad.tar");
    for (what, bytes, expected) in refused().into_iter().step_by(4) {
        fs::write(&bad, bytes).unwrap();
        let finished = serve(&[&golden_tar("simple-app"), &bad]).await;
        assert_eq!(finished.status.code(), Some(1), "{what}: {finished:?}");
        assert!(finished.stderr.contains(expected), "{what}: {finished:?}");
        assert!(finished.stderr.contains("bad.tar"), "{what}: {finished:?}");
    }
    let finished = serve(&[&directory.path().join("absent.tar")]).await;
    assert_eq!(finished.status.code(), Some(1), "{finished:?}");
    assert!(finished.stderr.contains("absent.tar cannot be read"), "{finished:?}");
}

#[tokio::test]
async fn in_a_directory_none_of_them_keeps_it_from_starting() {
    let directory = TempDir::new().unwrap();
    for (at, (_, bytes, _)) in refused().into_iter().enumerate() {
        fs::write(directory.path().join(format!("{at}.tar")), bytes).unwrap();
    }
    let image = Bundle::image("image");
    LayoutTar::of(&image, "acme/app:v1").write(&directory.path().join("good.tar"));
    let edge = Edge::of(directory.path()).await;
    edge.pull_whole("acme/app", "v1").await;
    assert_eq!(edge.repositories().await, ["acme/app"]);
}

#[tokio::test]
async fn odd_entries_in_an_index_do_not_hide_the_others() {
    let image = Bundle::image("image");
    let mut document = image.manifest.clone();
    let layout = LayoutTar::of(&image, "acme/app:v1");
    // By names that are none, it is there under the file's.
    let layout = layout.list(&document, json!({"org.opencontainers.image.ref.name": "../../etc:v1"}));
    document.digest = colocate::oci::Digest::of(b"absent");
    let layout = layout.list(&document, json!({"org.opencontainers.image.ref.name": "acme/absent:v1"}));
    let directory = TempDir::new().unwrap();
    let edge = Edge::of(&layout.write(&directory.path().join("odd.tar"))).await;
    edge.pull_whole("acme/app", "v1").await;
    edge.pull_whole("odd", "latest").await;
    edge.manifest("acme/absent", "v1").await.expect(404);
}

#[tokio::test]
async fn a_description_with_odd_digests_is_served_without_them() {
    let (image, other) = (Bundle::image("image"), Bundle::image("other"));
    let tar = ImgpkgTar::new().root(&image, "h.example/acme/app", "v1").image(&other, "h.example/acme/other");
    let other = other.digest().to_string();
    let tar = tar.describe(|described| {
        let manifest = &mut described["Image"]["Manifest"];
        if manifest["Digest"] == other.as_str() {
            manifest["Digest"] = json!("blake3:00");
        }
    });
    let directory = TempDir::new().unwrap();
    let edge = Edge::of(&tar.write(&directory.path().join("odd.tar"))).await;
    edge.pull_whole("acme/app", "v1").await;
    assert_eq!(edge.repositories().await, ["acme/app"]);
}
