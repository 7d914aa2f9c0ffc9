//! Image layout directories as upstreams.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use colocate::config::{Called, Files, FilesPlace};
use colocate::oci::{Digest, ManifestView, Reference, RepositoryName};
use colocate::upstream::{FilesUpstream, ListPage, Upstream, UpstreamError};
use tempfile::TempDir;

use super::{bytes, digest_of, tag};
use crate::support::eventually;

fn golden(bundle: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/bundles").join(bundle).join("colocated")
}

fn files(layout: &Path) -> Files {
    Files { places: vec![FilesPlace::Layout(layout.to_owned())], called: None }
}

fn open(layout: &Path) -> Result<FilesUpstream, UpstreamError> {
    FilesUpstream::open(files(layout), None)
}

fn name(text: &str) -> RepositoryName {
    text.parse().unwrap()
}

fn text(layout: &Path, file: &str) -> String {
    fs::read_to_string(layout.with_file_name(file)).unwrap().trim().to_owned()
}

#[tokio::test]
async fn golden_bundles_with_everything_they_name() {
    for bundle in ["simple-app", "nested-app", "multi-app", "wide-app"] {
        let layout = open(&golden(bundle)).unwrap();
        let repository = name(&format!("mirror2/{bundle}"));
        assert_eq!(layout.repositories().await.into_keys().collect::<Vec<_>>(), std::slice::from_ref(&repository));
        let manifest = layout.manifest(&repository, &tag("v1.0.0")).await.unwrap();
        assert_eq!(manifest.digest.to_string(), text(&golden(bundle), "digest"));
        let head = layout.manifest_head(&repository, &Reference::Digest(manifest.digest)).await.unwrap();
        assert_eq!((head.digest, head.size), (manifest.digest, manifest.bytes.len() as u64));
        let ManifestView::Image { config, layers } = manifest.view().unwrap() else { panic!("{bundle}") };
        for part in layers.iter().chain([&config]) {
            assert_eq!(layout.blob_head(&repository, &part.digest).await.unwrap(), part.size);
            let blob = layout.blob(&repository, &part.digest, 0).await.unwrap();
            assert_eq!(Digest::of(&bytes(blob).await.unwrap()), part.digest);
        }
        // Every image of the lock was copied next to the bundle.
        for line in text(&golden(bundle), "pulled-images.yml").lines() {
            let Some((_, digest)) = line.split_once("@") else { continue };
            layout.manifest(&repository, &Reference::Digest(digest.parse().unwrap())).await.unwrap();
        }
    }
}

#[tokio::test]
async fn an_index_leads_to_its_manifests() {
    let layout = open(&golden("multi-app")).unwrap();
    let repository = name("mirror2/multi-app");
    let tags = layout.tags(&repository, &ListPage::default()).await.unwrap().names;
    let mut children = 0;
    for reference in tags {
        let manifest = layout.manifest(&repository, &tag(&reference)).await.unwrap();
        let ManifestView::Index { manifests } = manifest.view().unwrap() else { continue };
        for child in manifests {
            children += 1;
            let child = layout.manifest(&repository, &Reference::Digest(child.digest)).await.unwrap();
            let ManifestView::Image { config, .. } = child.view().unwrap() else { panic!("no image") };
            layout.blob_head(&repository, &config.digest).await.unwrap();
        }
    }
    assert!(children > 0);
}

#[tokio::test]
async fn tags_in_pages() {
    let layout = open(&golden("simple-app")).unwrap();
    let repository = name("mirror2/simple-app");
    let all = layout.tags(&repository, &ListPage::default()).await.unwrap();
    assert!(all.names.len() == 5 && all.names.is_sorted() && !all.more);
    let (mut page, mut found) = (ListPage { n: Some(2), last: None }, Vec::new());
    loop {
        let list = layout.tags(&repository, &page).await.unwrap();
        found.extend(list.names);
        page.last = found.last().cloned();
        if !list.more {
            break;
        }
    }
    assert_eq!(found, all.names);
}

#[tokio::test]
async fn what_is_not_there() {
    let layout = open(&golden("simple-app")).unwrap();
    let repository = name("mirror2/simple-app");
    let absent = digest_of("absent");
    assert!(layout.manifest(&repository, &tag("v2")).await.unwrap_err().is_absent());
    assert!(layout.manifest(&repository, &Reference::Digest(absent)).await.unwrap_err().is_absent());
    assert!(layout.manifest(&name("simple-app"), &tag("v1.0.0")).await.unwrap_err().is_absent());
    assert!(layout.blob(&repository, &absent, 0).await.map(|_| ()).unwrap_err().is_absent());
    assert!(layout.tags(&name("other"), &ListPage::default()).await.unwrap_err().is_absent());
}

/// A layout in the making.
struct Made(TempDir);

impl Made {
    fn new() -> Self {
        let made = Self(tempfile::Builder::new().prefix("Made.").tempdir().unwrap());
        fs::create_dir_all(made.path("blobs/sha256")).unwrap();
        fs::write(made.path("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        made.index(&[]);
        made
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    fn blob(&self, content: &[u8]) -> Digest {
        let digest = Digest::of(content);
        fs::write(self.file(&digest), content).unwrap();
        digest
    }

    fn file(&self, digest: &Digest) -> PathBuf {
        self.path("blobs/sha256").join(digest.hex())
    }

    fn image(&self, layer: &[u8]) -> (Digest, Digest) {
        let (config, blob) = (self.blob(b"{}"), self.blob(layer));
        let manifest = format!(
            r#"{{"schemaVersion":2,
                "config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{config}","size":2}},
                "layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{blob}","size":{}}}]}}"#,
            layer.len()
        );
        (self.blob(manifest.as_bytes()), blob)
    }

    fn index(&self, names: &[(&str, Digest)]) {
        let entries: Vec<String> = names
            .iter()
            .map(|(name, digest)| {
                let annotations = format!(r#"{{"org.opencontainers.image.ref.name":"{name}"}}"#);
                format!(r#"{{"digest":"{digest}","size":1,"annotations":{annotations}}}"#)
            })
            .collect();
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entries.join(","));
        fs::write(self.path("index.json"), index).unwrap();
    }

    fn open(&self) -> FilesUpstream {
        open(self.0.path()).unwrap()
    }
}

#[tokio::test]
async fn a_repository_shows_only_what_its_own_entries_reach() {
    let made = Made::new();
    let ((one, layer_one), (two, layer_two)) = (made.image(b"one"), made.image(b"two"));
    made.index(&[("h.example/a/one:v1", one), ("h.example/a/two:v1", two)]);
    let stray = made.blob(b"stray");
    let layout = made.open();
    let (a, b) = (name("a/one"), name("a/two"));
    layout.blob_head(&a, &layer_one).await.unwrap();
    layout.blob_head(&b, &layer_two).await.unwrap();
    assert!(layout.blob_head(&a, &layer_two).await.unwrap_err().is_absent());
    assert!(layout.blob_head(&a, &stray).await.unwrap_err().is_absent());
    assert!(layout.manifest(&a, &Reference::Digest(two)).await.unwrap_err().is_absent());
    assert!(
        layout.manifest(&a, &Reference::Digest(layer_one)).await.unwrap_err().is_absent(),
        "a layer is no manifest"
    );
}

#[tokio::test]
async fn bare_tags_go_to_the_default_repository() {
    let made = Made::new();
    let (image, layer) = made.image(b"layer");
    made.index(&[("v1", image)]);
    let own = made.0.path().file_name().unwrap().to_str().unwrap().to_lowercase();
    assert_eq!(made.open().repositories().await.keys().next().unwrap().as_str(), own);
    let called = Some(Called { repository: name("acme/app"), tag: None });
    let layout = FilesUpstream::open(Files { called, ..files(made.0.path()) }, None).unwrap();
    assert_eq!(layout.manifest(&name("acme/app"), &tag("v1")).await.unwrap().digest, image);
    let rest = layout.blob(&name("acme/app"), &layer, 2).await.unwrap();
    assert_eq!((rest.offset, rest.size), (2, Some(5)));
    assert_eq!(bytes(rest).await.unwrap(), "yer");
    let beyond = layout.blob(&name("acme/app"), &layer, 5).await.map(|_| ()).unwrap_err();
    assert!(matches!(beyond, UpstreamError::RangeNotSatisfiable { offset: 5 }));
}

#[tokio::test]
async fn a_changed_index_is_seen_and_half_of_one_is_not() {
    let made = Made::new();
    let ((one, _), (two, layer)) = (made.image(b"one"), made.image(b"two"));
    made.index(&[("a:v1", one)]);
    let layout = made.open();
    let a = name("a");
    assert_eq!(layout.manifest(&a, &tag("v1")).await.unwrap().digest, one);
    assert!(layout.blob_head(&a, &layer).await.unwrap_err().is_absent());
    made.index(&[("a:v1", two), ("a:v0", one)]);
    assert_eq!(layout.manifest(&a, &tag("v1")).await.unwrap().digest, two);
    layout.blob_head(&a, &layer).await.unwrap();
    fs::write(made.path("index.json"), r#"{"manifests":[{"dig"#).unwrap();
    assert_eq!(layout.manifest(&a, &tag("v1")).await.unwrap().digest, two);
    fs::remove_file(made.path("index.json")).unwrap();
    assert!(matches!(layout.manifest(&a, &tag("v1")).await, Err(UpstreamError::Io { .. })));
}

#[tokio::test]
async fn what_comes_after_the_index_is_found() {
    let made = Made::new();
    let ((one, layer_one), (two, layer_two)) = (made.image(b"one"), made.image(b"two"));
    made.index(&[("a:v1", one), ("a:v2", two)]);
    let late = fs::read(made.file(&two)).unwrap();
    fs::remove_file(made.file(&two)).unwrap();
    let (layout, a) = (made.open(), name("a"));
    layout.blob_head(&a, &layer_one).await.unwrap();
    assert!(layout.blob_head(&a, &layer_two).await.unwrap_err().is_absent());
    fs::write(made.file(&two), late).unwrap();
    eventually("the layer is there", Duration::from_secs(30), async || layout.blob_head(&a, &layer_two).await.is_ok())
        .await;
}

#[tokio::test]
async fn one_that_cannot_be_read_takes_nothing_else_along() {
    let made = Made::new();
    let ((one, layer_one), (two, layer_two)) = (made.image(b"one"), made.image(b"two"));
    made.index(&[("a:v1", one), ("a:v2", two)]);
    fs::rename(made.file(&two), made.path("elsewhere")).unwrap();
    std::os::unix::fs::symlink(made.path("elsewhere"), made.file(&two)).unwrap();
    let (layout, a) = (made.open(), name("a"));
    layout.blob_head(&a, &layer_one).await.unwrap();
    assert_eq!(layout.manifest(&a, &tag("v1")).await.unwrap().digest, one);
    // It is there, and so may be what it names.
    for error in [
        layout.manifest(&a, &tag("v2")).await.map(|_| ()).unwrap_err(),
        layout.blob_head(&a, &layer_two).await.map(|_| ()).unwrap_err(),
    ] {
        assert!(matches!(error, UpstreamError::Io { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn damage_is_an_error_and_never_wrong_bytes() {
    let made = Made::new();
    let (image, layer) = made.image(b"layer");
    made.index(&[("a:v1", image)]);
    let a = name("a");
    // A hole where a layer was is a layer that is not there.
    fs::remove_file(made.file(&layer)).unwrap();
    let layout = made.open();
    assert!(layout.blob_head(&a, &layer).await.unwrap_err().is_absent());
    for odd in ["directory", "link"] {
        match odd {
            "directory" => fs::create_dir(made.file(&layer)).unwrap(),
            _ => {
                fs::remove_dir(made.file(&layer)).unwrap();
                std::os::unix::fs::symlink("/etc/hostname", made.file(&layer)).unwrap();
            }
        }
        let error = layout.blob(&a, &layer, 0).await.map(|_| ()).unwrap_err();
        assert!(matches!(error, UpstreamError::Io { .. }), "{odd}: {error:?}");
    }
    let mut bytes = fs::read(made.file(&image)).unwrap();
    bytes[20] ^= 1;
    fs::write(made.file(&image), &bytes).unwrap();
    let error = layout.manifest(&a, &tag("v1")).await.unwrap_err();
    assert!(matches!(error, UpstreamError::DigestMismatch { .. }), "{error:?}");
    fs::write(made.file(&image), vec![b' '; 5 << 20]).unwrap();
    let error = layout.manifest(&a, &tag("v1")).await.unwrap_err();
    assert!(matches!(error, UpstreamError::TooLarge { .. }), "{error:?}");
}

#[test]
fn what_is_no_layout() {
    let empty = TempDir::new().unwrap();
    assert!(matches!(open(empty.path()), Err(UpstreamError::Io { .. })));
    assert!(matches!(open(&empty.path().join("absent")), Err(UpstreamError::Io { .. })));
    let made = Made::new();
    fs::write(made.path("oci-layout"), r#"{"imageLayoutVersion":"2.0.0"}"#).unwrap();
    assert_is_named(&made);
    let made = Made::new();
    fs::write(made.path("index.json"), "<html>").unwrap();
    assert_is_named(&made);
}

/// Of several, whoever starts it has to know which.
#[track_caller]
fn assert_is_named(made: &Made) {
    let error = open(made.0.path()).err().unwrap();
    assert!(matches!(error, UpstreamError::Io { .. }), "{error:?}");
    assert_eq!(error.to_string(), format!("{} cannot be served", made.0.path().display()));
}
