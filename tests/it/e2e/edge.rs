//! A machine that has an archive, this program, and nothing else.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::archive::golden_tar;
use crate::support::bundle::{BundleBuilder, gunzip, lock_in, lock_of};
use crate::support::colocate::Colocate;
use crate::support::layout::Golden;
use crate::support::process::succeed;
use crate::support::registry::DockerRegistry;
use crate::support::require;

async fn serve(archives: &[&Path]) -> Colocate {
    let archives: Vec<_> = archives.iter().map(|path| path.to_str().expect("a name of plain text")).collect();
    let rest = ["--listen", "{listen}", "--cache", "{cache}", "--admin", "none"];
    Colocate::start_with(&[&["serve"], &archives[..], &rest].concat()).await
}

/// The lock that imgpkg would have written, had it copied the bundle to where the archive has it.
pub(super) fn lock_at(golden: &Golden, endpoint: &str) -> String {
    let lock = String::from_utf8(golden.pulled.clone()).expect("a lock is text");
    let target = format!("{}/{}@", Golden::ENDPOINT, golden.repository);
    lock.replace(&target, &format!("{endpoint}/fx/{}@", golden.name))
}

/// `skopeo copy --all docker://… dir:…`, which checks every digest.
async fn pull(reference: &str) -> TempDir {
    let directory = TempDir::new().expect("a directory");
    let (from, to) = (format!("docker://{reference}"), format!("dir:{}", directory.path().display()));
    succeed("skopeo", &["--insecure-policy", "copy", "--all", "--src-tls-verify=false", &from, &to]).await;
    directory
}

/// The lock of a bundle that skopeo pulls.
async fn pulled_lock(reference: &str) -> String {
    let directory = pull(reference).await;
    let manifest = fs::read(directory.path().join("manifest.json")).expect("a manifest");
    let manifest: Value = serde_json::from_slice(&manifest).expect("JSON");
    let layer = manifest["layers"][0]["digest"].as_str().expect("a layer");
    let (_, hex) = layer.split_once(':').expect("a digest");
    let layer = fs::read(directory.path().join(hex)).expect("the layer");
    String::from_utf8(lock_in(&gunzip(&layer))).expect("a lock is text")
}

/// Pulls every image of a lock by the reference that stands there.
async fn pull_images(lock: &str) -> usize {
    let images = lock.lines().filter_map(|line| line.trim_start_matches("- ").trim().strip_prefix("image: "));
    let mut count = 0;
    for image in images {
        pull(image).await;
        count += 1;
    }
    count
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_of_a_bundle_from_a_copy_of_an_archive() {
    if !require(&["skopeo"]) {
        return;
    }
    let (outer, inner) = (Golden::read("nested-app"), Golden::read("simple-app"));
    let directory = TempDir::new().expect("a directory");
    let archive = directory.path().join("carried over.tar");
    fs::copy(golden_tar(outer.name), &archive).expect("a copy");
    let served = serve(&[&archive]).await;
    let at = served.authority();

    let outer_lock = pulled_lock(&format!("{at}/fx/nested-app:v1.0.0")).await;
    assert_eq!(outer_lock, lock_at(&outer, &at));
    let inner_lock = pulled_lock(&format!("{at}/fx/simple-app:latest")).await;
    assert_eq!(inner_lock, lock_at(&inner, &at));
    assert_eq!(pull_images(&outer_lock).await, 2);
    assert_eq!(pull_images(&inner_lock).await, 1);
    // As whoever pulls the outer one with all that is in it asks for the images of the inner one.
    assert_eq!(pull_images(&inner_lock.replace("/fx/simple-app@", "/fx/nested-app@")).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_golden_archive_alone_and_all_of_them_at_once() {
    if !require(&["skopeo"]) {
        return;
    }
    let all = Golden::all();
    let archives: Vec<PathBuf> = all.iter().map(|golden| golden_tar(golden.name)).collect();
    let paths: Vec<&Path> = archives.iter().map(PathBuf::as_path).collect();
    let together = serve(&paths).await;
    for (golden, path) in all.iter().zip(&paths) {
        let alone = serve(&[path]).await;
        for served in [&alone, &together] {
            let at = served.authority();
            let lock = pulled_lock(&format!("{at}/fx/{}:{}", golden.name, Golden::TAG)).await;
            assert_eq!(lock, lock_at(golden, &at), "{}", golden.name);
            assert!(pull_images(&lock).await > 0);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_skopeo_archives_is_served() {
    if !require(&["docker-registry", "skopeo"]) {
        return;
    }
    let registry = DockerRegistry::start().await;
    let image = BundleBuilder::new().oci().label(None).file("name", "an image").build();
    image.layout(Some("v1")).push(&registry.url(), "apps/image").await;
    let lock = lock_of(&[format!("{}/apps/image@{}", registry.authority(), image.digest())]);
    let bundle = BundleBuilder::with_lock(&lock).oci().build();
    bundle.layout(Some("v1")).push(&registry.url(), "acme/bundle").await;

    let directory = TempDir::new().expect("a directory");
    let archive = async |repository: &str, file: &str, name: &str| {
        let from = format!("docker://{}/{repository}:v1", registry.authority());
        let to = format!("oci-archive:{}{name}", directory.path().join(file).display());
        let options = ["--insecure-policy", "copy", "--preserve-digests", "--src-tls-verify=false"];
        succeed("skopeo", &[&options[..], &[&from, &to]].concat()).await;
    };
    archive("acme/bundle", "bundle.tar", ":acme/bundle:v1").await;
    // Without a name, under that of its file.
    archive("apps/image", "image.tar", "").await;

    let bundle_only = serve(&[&directory.path().join("bundle.tar")]).await;
    let at = bundle_only.authority();
    assert_eq!(pulled_lock(&format!("{at}/acme/bundle:v1")).await, lock, "the image is not there");
    let both = serve(&[directory.path()]).await;
    let at = both.authority();
    let relocated = pulled_lock(&format!("{at}/acme/bundle:v1")).await;
    assert!(relocated.contains(&format!("image: {at}/acme/bundle@{}", image.digest())), "{relocated}");
    assert_eq!(pull_images(&relocated).await, 1);
    let own = both.manifest("image", "latest").await.expect(200);
    assert_eq!(own.body, image.manifest.bytes);
}
