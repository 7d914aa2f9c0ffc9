//! The tools that people push with.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::{World, images};
use crate::support::access::Access;
use crate::support::buildah::Buildah;
use crate::support::bundle::{gunzip, lock_in};
use crate::support::layout::Golden;
use crate::support::podman::Podman;
use crate::support::process::{attempt, succeed};
use crate::support::registry::DockerRegistry;
use crate::support::skopeo::Skopeo;
use crate::support::{optional, require, require_root};

/// The bundle alone, as `dir:` has it.
fn bundle_directory(golden: &Golden) -> TempDir {
    let directory = TempDir::new().expect("a directory");
    golden.origin.write_directory(&golden.digest, directory.path());
    directory
}

/// The same as an OCI image layout, for which skopeo gives it OCI's media types.
async fn bundle_layout(golden: &Golden, layout: &Path) {
    let from = bundle_directory(golden);
    let (from, to) = (format!("dir:{}", from.path().display()), format!("oci:{}:v1", layout.display()));
    succeed("skopeo", &["--insecure-policy", "copy", "--format", "oci", &from, &to]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn skopeo_pushes_a_bundle_and_its_images() {
    if !require(&["docker-registry", "skopeo"]) {
        return;
    }
    let (world, golden) = (World::new().await, Golden::read("simple-app"));
    let skopeo = Skopeo::new(&Access::anonymous());
    let target = format!("{}/{}", world.colocate.authority(), golden.repository);
    let images = images(&golden);
    assert!(!images.tags.is_empty());
    for (tag, digest) in &images.tags {
        let directory = TempDir::new().expect("a directory");
        images.write_directory(digest, directory.path());
        let pushed = skopeo.push(&format!("dir:{}", directory.path().display()), &format!("{target}:{tag}")).await;
        assert!(pushed.status.success(), "{pushed:?}");
    }

    let directory = bundle_directory(&golden);
    let source = format!("dir:{}", directory.path().display());
    let pushed = skopeo.push(&source, &format!("{target}:{}", Golden::TAG)).await;
    assert!(pushed.status.success(), "{pushed:?}");
    let document = golden.origin.manifest(&golden.digest);
    let path = format!("manifests/{}", Golden::TAG);
    world.behind(&golden.repository).holds(&path, &document.bytes).await.expect("the original in the registry");
    world.relocates(&golden, Golden::TAG).await;

    let layout = TempDir::new().expect("a directory");
    bundle_layout(&golden, layout.path()).await;
    let pushed = skopeo.push(&format!("oci:{}:v1", layout.path().display()), &format!("{target}:layout")).await;
    assert!(pushed.status.success(), "{pushed:?}");
    world.relocates(&golden, "layout").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn podman_pushes_what_it_pulled() {
    if !require(&["docker-registry", "podman"]) || !require_root() {
        return;
    }
    let (world, golden) = (World::new().await, Golden::read("simple-app"));
    world.push_images(&golden).await;
    let source = DockerRegistry::start().await;
    golden.colocated.push(&source.url(), "source/app").await;
    let podman = Podman::new(&Access::anonymous());
    let image = format!("{}/source/app:{}", source.authority(), Golden::TAG);
    let pulled = podman.pull(&image).await;
    assert!(pulled.status.success(), "{pulled:?}");
    let pushed = podman.push(&image, &format!("{}/{}:podman", world.colocate.authority(), golden.repository)).await;
    assert!(pushed.status.success(), "{pushed:?}");
    world.relocates(&golden, "podman").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn buildah_pushes_what_it_built() {
    if !require(&["docker-registry", "buildah"]) || !require_root() {
        return;
    }
    let (world, golden) = (World::new().await, Golden::read("simple-app"));
    world.push_images(&golden).await;
    let (_, layer) = golden.origin.blobs.iter().find(|(_, blob)| blob.starts_with(&[0x1f, 0x8b])).expect("a layer");
    let directory = TempDir::new().expect("a directory");
    let place = directory.path().join(".imgpkg");
    fs::create_dir(&place).expect("a directory for the lock");
    fs::write(place.join("images.yml"), lock_in(&gunzip(layer))).expect("a lock");
    let buildah = Buildah::new();
    buildah.bundle(directory.path(), "localhost/built:v1").await;
    let reference = format!("{}/{}:buildah", world.colocate.authority(), golden.repository);
    let pushed = buildah.push("localhost/built:v1", &reference).await;
    assert!(pushed.status.success(), "{pushed:?}");
    world.relocates(&golden, "buildah").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn crane_and_oras_push_a_layout() {
    if !require(&["docker-registry", "skopeo"]) {
        return;
    }
    let (world, golden) = (World::new().await, Golden::read("simple-app"));
    world.push_images(&golden).await;
    let layout = TempDir::new().expect("a directory");
    bundle_layout(&golden, layout.path()).await;
    let layout = layout.path().display().to_string();
    let reference = |tag: &str| format!("{}/{}:{tag}", world.colocate.authority(), golden.repository);
    if optional("crane") {
        let pushed = attempt("crane", &["push", "--insecure", &layout, &reference("crane")]).await;
        assert!(pushed.status.success(), "{pushed:?}");
        world.relocates(&golden, "crane").await;
    }
    if optional("oras") {
        let (from, to) = (format!("{layout}:v1"), reference("oras"));
        let pushed = attempt("oras", &["copy", "--from-oci-layout", &from, "--to-plain-http", &to]).await;
        assert!(pushed.status.success(), "{pushed:?}");
        world.relocates(&golden, "oras").await;
    }
}
