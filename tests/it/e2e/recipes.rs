//! The recipes for nodes, with the very files: a proxy by `config/recipes/nodes/colocate.yaml`, and clients that read
//! what would lie in /etc on their nodes. Only what is this machine's is put in: ports, certificates, the registries behind.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use tempfile::TempDir;

use super::golden_registry;
use crate::support::access::Access;
use crate::support::certificates::Authority;
use crate::support::colocate::{Colocate, Settings};
use crate::support::containerd::Containerd;
use crate::support::layout::Golden;
use crate::support::names::Names;
use crate::support::podman::Podman;
use crate::support::registry::DockerRegistry;
use crate::support::{require, require_root};

/// Where a lock is in an unpacked bundle.
const LOCK: &str = ".imgpkg/images.yml";
/// What the recipes call the proxy.
const MIRROR: &str = "mirror.example";

/// The proxy, and nodes that find it, and nothing else, by its name.
struct World {
    colocate: Colocate,
    names: Names,
    node: Access,
    _registry: DockerRegistry,
    _directory: TempDir,
}

impl World {
    async fn start() -> Self {
        let registry = golden_registry().await;
        let directory = TempDir::new().expect("a directory");
        let authority = Authority::new(directory.path());
        let server = authority.server(&[MIRROR]);
        let recipe = fs::read_to_string(recipe("colocate.yaml")).expect("a recipe");
        let mut settings = Settings::read(&recipe)
            .set("listen", json!([]))
            .set("admin.listen", "none")
            .set("server.tls.cert", server.certificate.to_string_lossy().as_ref())
            .set("server.tls.key", server.key.to_string_lossy().as_ref());
        // Both of them are this one.
        for upstream in settings.list("upstreams") {
            upstream["url"] = json!(registry.url());
        }
        let colocate = Colocate::start(settings).await;
        let names = Names::start(&[(MIRROR, colocate.port())]).await;
        let node = Access::anonymous().trusting(&authority).finding(&names);
        Self { colocate, names, node, _registry: registry, _directory: directory }
    }

    /// Nobody asked a registry, and nobody asked by another way.
    fn only_the_mirror_was_asked(&self) {
        let asked = self.names.asked();
        assert!(!asked.is_empty() && asked.iter().all(|asked| *asked == format!("{MIRROR}:443")), "{asked:?}");
    }
}

fn recipe(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config/recipes/nodes").join(name)
}

/// The lock that imgpkg would have written for the bundle at this place.
fn lock_at(golden: &Golden, place: &str) -> String {
    let lock = String::from_utf8(golden.pulled.clone()).expect("a lock is text");
    lock.replace(&format!("{}/{}@", Golden::ENDPOINT, golden.repository), &format!("{place}/{}@", golden.repository))
}

#[tokio::test(flavor = "multi_thread")]
async fn containerd_by_its_hosts_files() {
    if !require(&["docker-registry", "containerd", "ctr"]) || !require_root() {
        return;
    }
    let world = World::start().await;
    let golden = Golden::read("simple-app");
    // The mirror is told which registry is meant, and locks name that.
    for (registry, in_locks) in [("docker.io", "index.docker.io"), ("ghcr.io", "ghcr.io")] {
        let containerd = Containerd::start().await;
        let reference = format!("{registry}/{}:{}", golden.repository, Golden::TAG);
        let pulled = containerd.pull_by(&world.node, &recipe("containerd"), &reference).await;
        assert!(pulled.status.success(), "{pulled:?}");
        let lock = String::from_utf8(containerd.unpacked(LOCK)).expect("a lock is text");
        assert_eq!(lock, lock_at(&golden, in_locks));
    }
    world.only_the_mirror_was_asked();
}

#[tokio::test(flavor = "multi_thread")]
async fn podman_by_registries_conf() {
    if !require(&["docker-registry", "podman"]) || !require_root() {
        return;
    }
    let world = World::start().await;
    let golden = Golden::read("simple-app");
    // The mirror is a place by itself to these, and locks name that.
    for registry in ["docker.io", "ghcr.io"] {
        let podman = Podman::new(&world.node).reading(&recipe("registries.conf"));
        let reference = format!("{registry}/{}:{}", golden.repository, Golden::TAG);
        let pulled = podman.pull(&reference).await;
        assert!(pulled.status.success(), "{pulled:?}");
        let lock = String::from_utf8(podman.unpacked(LOCK)).expect("a lock is text");
        assert_eq!(lock, lock_at(&golden, &format!("{MIRROR}/{registry}")));
        let repository = format!("{registry}/{}", golden.repository);
        let relocated = world.colocate.seen_by(&world.node).manifest_head(&repository, Golden::TAG).await.expect(200);
        assert_eq!(podman.digest(&reference).await, relocated.digest().to_string());
    }
    world.only_the_mirror_was_asked();
}
