//! A tool that pulls, as one client; whichever it is.

use std::fs;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::access::Access;
use crate::support::bundle::{gunzip, lock_in};
use crate::support::containerd::Containerd;
use crate::support::podman::Podman;
use crate::support::process::Finished;
use crate::support::skopeo::Skopeo;

/// Where a lock is in an unpacked bundle.
const LOCK: &str = ".imgpkg/images.yml";

/// The tool.
pub(super) enum Puller {
    Skopeo { skopeo: Skopeo, out: TempDir },
    Podman(Podman),
    Ctr { containerd: Containerd, access: Access, mirrors: Vec<(String, String)> },
}

impl Puller {
    /// skopeo, which asks the host that is named.
    pub(super) fn skopeo(access: &Access) -> Self {
        Self::Skopeo { skopeo: Skopeo::new(access), out: TempDir::new().expect("a directory") }
    }

    /// podman, which asks `mirrors` (`host[:port][/path]`) instead of registries.
    pub(super) fn podman(access: &Access, mirrors: &[(&str, &str)]) -> Self {
        let podman = Podman::new(access);
        Self::Podman(mirrors.iter().fold(podman, |podman, (registry, location)| podman.mirror(registry, location)))
    }

    /// ctr, which asks `mirrors` (URLs) instead of registries, and says which registry it means.
    pub(super) async fn ctr(access: &Access, mirrors: &[(&str, &str)]) -> Self {
        let own = |(registry, mirror): &(&str, &str)| ((*registry).to_owned(), (*mirror).to_owned());
        let mirrors = mirrors.iter().map(own).collect();
        Self::Ctr { containerd: Containerd::start().await, access: access.clone(), mirrors }
    }

    /// Every tool, with no mirrors.
    pub(super) async fn all(access: &Access) -> [Self; 3] {
        [Self::skopeo(access), Self::podman(access, &[]), Self::ctr(access, &[]).await]
    }

    /// Its name.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Skopeo { .. } => "skopeo",
            Self::Podman(_) => "podman",
            Self::Ctr { .. } => "ctr",
        }
    }

    /// Tries to pull.
    pub(super) async fn attempt(&self, reference: &str) -> Finished {
        match self {
            Self::Skopeo { skopeo, out } => skopeo.copy(reference, out.path()).await,
            Self::Podman(podman) => podman.pull(reference).await,
            Self::Ctr { containerd, access, mirrors } => {
                let mirrors: Vec<_> = mirrors.iter().map(|(one, other)| (one.as_str(), other.as_str())).collect();
                containerd.pull_as(access, &mirrors, reference).await
            }
        }
    }

    /// Pulls, which has to succeed.
    pub(super) async fn pull(&self, reference: &str) {
        let pulled = self.attempt(reference).await;
        assert!(pulled.status.success(), "{} {reference}: {pulled:?}", self.name());
    }

    /// Does not get to pull; `why` is what each tool says of it.
    pub(super) async fn refused(&self, reference: &str, why: &[&str]) {
        let pulled = self.attempt(reference).await;
        let told = why.iter().any(|why| pulled.stderr.contains(why));
        assert!(!pulled.status.success() && told, "{} {reference}: {pulled:?}", self.name());
    }

    /// The lock of the only bundle that was pulled.
    pub(super) fn lock(&self) -> String {
        let lock = match self {
            Self::Skopeo { out, .. } => {
                let manifest = fs::read(out.path().join("manifest.json")).expect("a manifest");
                let manifest: Value = serde_json::from_slice(&manifest).expect("JSON");
                let layer = manifest["layers"][0]["digest"].as_str().expect("a layer");
                let (_, hex) = layer.split_once(':').expect("a digest");
                lock_in(&gunzip(&fs::read(out.path().join(hex)).expect("a layer")))
            }
            Self::Podman(podman) => podman.unpacked(LOCK),
            Self::Ctr { containerd, .. } => containerd.unpacked(LOCK),
        };
        String::from_utf8(lock).expect("a lock is text")
    }
}

/// The images that a lock names.
pub(super) fn images(lock: &str) -> Vec<String> {
    let named = |line: &str| Some(line.trim_start_matches("- ").trim().strip_prefix("image: ")?.to_owned());
    let images: Vec<_> = lock.lines().filter_map(named).collect();
    assert!(!images.is_empty(), "{lock}");
    images
}
