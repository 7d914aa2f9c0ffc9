//! Out of one registry into a file, and out of the file into another.

use std::fs;
use std::path::Path;

use super::golden_registry;
use crate::support::access::Access;
use crate::support::bundle::{BundleBuilder, index};
use crate::support::colocate::{Colocate, Settings, colocate};
use crate::support::exported::{OciArchive, imgpkg_layout};
use crate::support::layout::{Golden, Layout, push_manifest};
use crate::support::registry::DockerRegistry;
use crate::support::require;
use crate::support::seen::Seen;
use crate::support::skopeo::Skopeo;

/// Runs `colocate export` in front of a registry, with a cache of its own; gives the archive.
async fn export(registry: &DockerRegistry, file: &Path, arguments: &[&str]) -> Vec<u8> {
    let cache = registry.directory().join("cache").to_string_lossy().into_owned();
    let (url, file) = (registry.url(), file.to_string_lossy());
    let command = ["export", "--cache", &cache, "--upstream", &url, "--endpoint", Golden::ENDPOINT, "-o", &file];
    let finished = colocate(&[&command, arguments].concat()).await;
    assert!(finished.status.success(), "{finished:?}");
    fs::read(&*file).expect("an archive")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_has_everything_that_another_registry_needs() {
    if !require(&["docker-registry"]) {
        return;
    }
    let from = golden_registry().await;
    for format in ["imgpkg", "oci"] {
        let to = DockerRegistry::start().await;
        for golden in Golden::all() {
            let reference = format!("{}:{}", golden.repository, Golden::TAG);
            let file = from.directory().join(format!("{}-{format}.tar", golden.name));
            let archive = export(&from, &file, &["--format", format, &reference]).await;
            let layouts = if format == "imgpkg" { vec![imgpkg_layout(&archive)] } else { listed(&archive) };
            for layout in layouts {
                layout.push(&to.url(), &golden.repository).await;
            }
        }
        // Every image of every lock is there, or the locks would stay as they are.
        let served = Colocate::start(Settings::new(&to.url())).await;
        for golden in Golden::all() {
            let pulled = served.pull(&golden.repository, Golden::TAG).await;
            assert_eq!(pulled.lock(), golden.pulled, "{} {format}", golden.name);
            let there = Seen::new(&Access::anonymous(), &to.url());
            assert_eq!(there.manifest(&golden.repository, Golden::TAG).await.expect(200).digest(), golden.digest);
        }
    }
}

/// Everything that an image layout lists, under the tags that are in the names.
fn listed(archive: &[u8]) -> Vec<Layout> {
    let archive = OciArchive::read(archive);
    let listed = archive.index["manifests"].as_array().expect("a list");
    let images = listed.iter().zip(archive.names()).map(|(listed, (name, digest))| {
        let mut layout = archive.layout(listed);
        let tag = name.rsplit_once('/').and_then(|(_, name)| name.split_once(':'));
        layout.tags.extend(tag.filter(|_| !name.contains('@')).map(|(_, tag)| (tag.to_owned(), digest)));
        layout
    });
    images.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn skopeo_reads_what_is_in_a_layout() {
    if !require(&["docker-registry", "skopeo"]) {
        return;
    }
    let (from, to) = (DockerRegistry::start().await, DockerRegistry::start().await);
    let images = ["one", "two"].map(|name| BundleBuilder::new().oci().label(None).file("name", name).build());
    images[0].layout(Some("v1")).push(&from.url(), "acme/app").await;
    images[1].layout(None).push(&from.url(), "acme/app").await;
    let both = index(&images.each_ref());
    push_manifest(&from.url(), "acme/app", "both", &both).await;
    let file = from.directory().join("archive.tar");
    export(&from, &file, &["--format", "oci", "acme/app:v1", "acme/app:both"]).await;

    let skopeo = Skopeo::new(&Access::anonymous());
    let source = format!("oci-archive:{}:{}/acme/app:v1", file.display(), from.authority());
    let copied = skopeo.push(&source, &format!("{}/acme/copy:v1", to.authority())).await;
    assert!(copied.status.success(), "{copied:?}");
    let there = Seen::new(&Access::anonymous(), &to.url());
    let pulled = there.manifest("acme/copy", "v1").await.expect(200);
    assert_eq!((pulled.digest(), &pulled.body), (images[0].digest(), &images[0].manifest.bytes));
    there.pull("acme/copy", "v1").await;
}

/// As at an edge: an archive is carried there, served, and carried on from there. `colocate export` reads it by way of the
/// process that serves, and once more without any.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_exported_from_a_served_archive_is_that_archive() {
    if !require(&["docker-registry"]) {
        return;
    }
    let from = golden_registry().await;
    for format in ["imgpkg", "oci"] {
        for golden in Golden::all() {
            let reference = format!("{}:{}", golden.repository, Golden::TAG);
            let path = |name: &str| from.directory().join(format!("{}-{format}-{name}", golden.name));
            let arguments = ["--format", format, &reference];
            let first = export(&from, &path("first.tar"), &arguments).await;

            let (archive, cache) = (path("first.tar"), path("cache"));
            let (archive, cache) = (archive.to_string_lossy(), cache.to_string_lossy());
            let options = ["--listen", "{listen}", "--cache", &cache, "--admin", "none"];
            let served = Colocate::start_with(&[&["serve", &archive], &options[..]].concat()).await;
            served.pull(&golden.repository, Golden::TAG).await;
            let again = async |name: &str, place: &[&str]| {
                let file = path(name).to_string_lossy().into_owned();
                let finished = colocate(&[&["export", "-o", &file], place, &arguments].concat()).await;
                assert!(finished.status.success(), "{finished:?}");
                assert!(fs::read(&file).expect("an archive") == first, "{} {format} {name}", golden.name);
            };
            again("beside.tar", &["--cache", &cache]).await;
            drop(served);
            let upstream = format!("archive:{archive}");
            let alone = ["--cache", &cache, "--upstream", &upstream, "--endpoint", "edge.example"];
            again("alone.tar", &alone).await;
        }
    }
}
