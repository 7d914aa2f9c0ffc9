//! The tools that check what they pull: skopeo every digest, umoci and containerd `diff_ids` as well.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use super::golden_registry;
use crate::support::bundle::{BundleBuilder, gunzip, lock_in, lock_of};
use crate::support::colocate::{Colocate, Settings};
use crate::support::containerd::Containerd;
use crate::support::layout::Golden;
use crate::support::process::{attempt, succeed};
use crate::support::registry::DockerRegistry;
use crate::support::{require, require_root};

/// Where a lock is in an unpacked bundle.
const LOCK: &str = ".imgpkg/images.yml";

#[tokio::test(flavor = "multi_thread")]
async fn skopeo_finds_the_lock_that_imgpkg_would_have_written() {
    if !require(&["docker-registry", "skopeo", "gzip", "tar"]) {
        return;
    }
    let registry = golden_registry().await;
    let colocate = Colocate::start(Settings::new(&registry.url())).await;
    for golden in Golden::all() {
        let out = TempDir::new().expect("a directory");
        let layer = skopeo_to_directory(&colocate.authority(), &golden, out.path()).await;
        assert_eq!(lock_in(&gunzip(&fs::read(&layer).expect("the layer"))), golden.pulled, "{}", golden.name);
        gnu_tools_read(&layer, &golden.pulled).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn skopeo_lists_the_tags_that_the_registry_has() {
    if !require(&["docker-registry", "skopeo"]) {
        return;
    }
    let registry = golden_registry().await;
    let colocate = Colocate::start(Settings::new(&registry.url())).await;
    for golden in Golden::all() {
        let reference = format!("docker://{}/{}", colocate.authority(), golden.repository);
        let listed = succeed("skopeo", &["list-tags", "--tls-verify=false", &reference]).await;
        let listed: Value = serde_json::from_str(&listed).expect("JSON");
        let mut listed: Vec<_> = listed["Tags"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        listed.sort_unstable();
        let mut wanted: Vec<_> = golden.colocated.tags.iter().map(|(tag, _)| tag.as_str()).collect();
        wanted.sort_unstable();
        assert_eq!(listed, wanted);
    }
}

/// GNU gzip takes the spliced layer without a warning, and GNU tar finds the lock in it.
async fn gnu_tools_read(layer: &str, lock: &[u8]) {
    // gzip wants a suffix it knows for `--test`, and warns of trailing bytes with status 2.
    let file = format!("{layer}.tar.gz");
    fs::copy(layer, &file).expect("a copy of the layer");
    succeed("gzip", &["--test", "--verbose", &file]).await;
    assert_eq!(succeed("tar", &["-xzOf", &file, LOCK]).await.as_bytes(), lock);
    let listed = succeed("tar", &["-tzf", &file]).await;
    assert_eq!(listed.lines().filter(|name| *name == LOCK).count(), 1, "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn umoci_unpacks_what_it_gets() {
    if !require(&["docker-registry", "skopeo", "umoci"]) {
        return;
    }
    let registry = golden_registry().await;
    let colocate = Colocate::start(Settings::new(&registry.url())).await;
    for golden in Golden::all() {
        // The original first: what umoci needs to be told is because bundles name no operating system.
        let original = umoci_unpack(&registry.authority(), &golden).await.expect("umoci takes the original");
        let relocated = umoci_unpack(&colocate.authority(), &golden).await.expect("umoci takes the relocated bundle");
        assert_eq!(relocated.lock, golden.pulled, "{}", golden.name);
        assert_ne!(original.lock, relocated.lock);
        assert_eq!(original.others, relocated.others, "only the lock changes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn containerd_unpacks_what_it_gets() {
    if !require(&["docker-registry", "containerd", "ctr"]) || !require_root() {
        return;
    }
    let registry = golden_registry().await;
    let colocate = Colocate::start(Settings::new(&registry.url())).await;
    for golden in Golden::all() {
        let (original, relocated) = (Containerd::start().await, Containerd::start().await);
        let reference = format!("{}/{}:{}", registry.authority(), golden.repository, Golden::TAG);
        let pulled = original.pull(&reference).await;
        assert!(pulled.status.success(), "{pulled:?}");
        assert_eq!(original.digest(&reference).await, golden.digest.to_string());

        let reference = format!("{}/{}:{}", colocate.authority(), golden.repository, Golden::TAG);
        let pulled = relocated.pull(&reference).await;
        assert!(pulled.status.success(), "{pulled:?}");
        let head = colocate.manifest_head(&golden.repository, Golden::TAG).await.expect(200);
        assert_eq!(relocated.digest(&reference).await, head.digest().to_string());
        assert_eq!(relocated.unpacked(LOCK), golden.pulled, "{}", golden.name);
        assert_ne!(original.unpacked(LOCK), golden.pulled);
    }
}

/// Without this, the tests above would prove nothing of `diff_ids`.
#[tokio::test(flavor = "multi_thread")]
async fn umoci_and_containerd_refuse_a_wrong_diff_id() {
    if !require(&["docker-registry", "skopeo", "umoci", "containerd", "ctr"]) || !require_root() {
        return;
    }
    let registry = DockerRegistry::start().await;
    let lock = lock_of(&["example.test/app@sha256:0000000000000000000000000000000000000000000000000000000000000000"]);
    let other = BundleBuilder::with_lock("another").build();
    let wrong = BundleBuilder::with_lock(&lock).raw_layer(other.layers[0].clone()).build();
    let mut golden = Golden::read("simple-app");
    golden.repository = "wrong".to_owned();
    wrong.layout(Some(Golden::TAG)).push(&registry.url(), &golden.repository).await;

    let refusal = umoci_unpack(&registry.authority(), &golden).await.err().expect("umoci refuses it");
    assert!(refusal.contains("diffid mismatch"), "{refusal}");
    let containerd = Containerd::start().await;
    let pulled = containerd.pull(&format!("{}/wrong:{}", registry.authority(), Golden::TAG)).await;
    assert!(!pulled.status.success() && pulled.stderr.contains("wrong diff id"), "{pulled:?}");
}

/// `skopeo copy docker://… dir:…`; gives the path of the only layer.
async fn skopeo_to_directory(authority: &str, golden: &Golden, out: &Path) -> String {
    let source = format!("docker://{authority}/{}:{}", golden.repository, Golden::TAG);
    let destination = format!("dir:{}", out.display());
    succeed("skopeo", &["--insecure-policy", "copy", "--src-tls-verify=false", &source, &destination]).await;
    let manifest = fs::read(out.join("manifest.json")).expect("a manifest");
    let manifest: Value = serde_json::from_slice(&manifest).expect("JSON");
    let digest = manifest["layers"][0]["digest"].as_str().expect("a layer");
    let (_, hex) = digest.split_once(':').expect("a digest");
    out.join(hex).display().to_string()
}

/// What umoci made of a bundle.
struct Unpacked {
    lock: Vec<u8>,
    /// Names and contents of all other files.
    others: Vec<(String, Vec<u8>)>,
}

/// skopeo writes an OCI layout (it rewrites the manifest, never the layer or `diff_ids`), umoci unpacks it twice:
/// `umoci raw unpack` takes a bundle as it is; `umoci unpack` also writes a runtime configuration, for which the
/// image has to name an operating system, so `umoci config` gives it one first. Both check `diff_ids`.
async fn umoci_unpack(authority: &str, golden: &Golden) -> Result<Unpacked, String> {
    let directory = TempDir::new().expect("a directory");
    let path = |name| directory.path().join(name).display().to_string();
    let source = format!("docker://{authority}/{}:{}", golden.repository, Golden::TAG);
    let destination = format!("oci:{}:v1", path("layout"));
    succeed("skopeo", &["--insecure-policy", "copy", "--src-tls-verify=false", &source, &destination]).await;

    let image = format!("{}:v1", path("layout"));
    let raw = attempt("umoci", &["raw", "unpack", "--rootless", "--image", &image, &path("raw")]).await;
    if !raw.status.success() {
        return Err(raw.stdout + &raw.stderr);
    }
    succeed("umoci", &["config", "--image", &image, "--os", "linux", "--architecture", "amd64"]).await;
    succeed("umoci", &["unpack", "--rootless", "--image", &image, &path("bundle")]).await;

    let mut files = Vec::new();
    read_tree(&directory.path().join("raw"), "", &mut files);
    let mut again = Vec::new();
    read_tree(&directory.path().join("bundle/rootfs"), "", &mut again);
    assert_eq!(files, again, "both ways unpack the same");
    let at = files.iter().position(|(name, _)| name == LOCK).expect("a lock");
    let (_, lock) = files.remove(at);
    Ok(Unpacked { lock, others: files })
}

fn read_tree(directory: &Path, prefix: &str, files: &mut Vec<(String, Vec<u8>)>) {
    let mut entries: Vec<_> = fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("one")).collect();
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type().expect("a type").is_dir() {
            read_tree(&entry.path(), &format!("{name}/"), files);
        } else {
            files.push((name, fs::read(entry.path()).expect("a file")));
        }
    }
}
