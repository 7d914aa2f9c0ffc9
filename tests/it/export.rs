//! Archives: what is in them, to the byte, and what becomes of one that is broken off.

#![expect(clippy::unwrap_used, reason = "a test that fails panics")]

mod beside;
mod golden;
mod oci;
mod odd;
mod resume;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use tempfile::TempDir;

use crate::support::bundle::{Bundle, BundleBuilder, lock_of};
use crate::support::colocate::{Settings, colocate};
use crate::support::fixture;
use crate::support::layout::{Golden, Layout};
use crate::support::process::Finished;
use crate::support::scripted::ScriptedUpstream;

const REPOSITORY: &str = "acme/app";
/// What the scripted registry is called: as in the golden locks, which lead back to it.
const REGISTRY: &str = Golden::ENDPOINT;

/// A registry, and where archives of it go.
struct World {
    upstream: ScriptedUpstream,
    directory: TempDir,
}

impl World {
    async fn new() -> Self {
        Self { upstream: ScriptedUpstream::start().await, directory: tempfile::tempdir().unwrap() }
    }

    /// With every golden bundle as it was pushed, and every image that a golden lock names.
    async fn golden() -> Self {
        let world = Self::new().await;
        for golden in Golden::all() {
            world.upstream.put(&format!("fx/{}", golden.name), &golden.origin);
        }
        for name in ["one", "two", "multi"] {
            world.upstream.put(&format!("apps/{name}"), &Layout::read(&fixture(format!("bundles/apps/{name}"))));
        }
        world
    }

    /// With a bundle `v1` of these images.
    async fn with_bundle(images: &[&Bundle]) -> (Self, Bundle) {
        let world = Self::new().await;
        images.iter().for_each(|image| world.put(image, None));
        let bundle = world.put_bundle(images, "v1");
        (world, bundle)
    }

    fn put(&self, image: &Bundle, tag: Option<&str>) {
        self.upstream.put(REPOSITORY, &image.layout(tag));
    }

    fn put_bundle(&self, images: &[&Bundle], tag: &str) -> Bundle {
        let named: Vec<String> =
            images.iter().map(|image| format!("{REGISTRY}/{REPOSITORY}@{}", image.digest())).collect();
        let bundle = BundleBuilder::with_lock(&lock_of(&named)).build();
        self.put(&bundle, Some(tag));
        bundle
    }

    fn settings(&self) -> Settings {
        Settings::new(&self.upstream.url())
            .set("upstream.registry", REGISTRY)
            .set("endpoint", "proxy.example")
            .set("tags.ttl", "1h")
    }

    /// A cache that is empty at first, and a configuration with it.
    fn config(&self, cache: &str, settings: Settings) -> String {
        let settings = settings.set("cache.dir", json!(self.path(cache)));
        let file = self.path(&format!("{cache}.yaml"));
        fs::write(&file, settings.text()).unwrap();
        file.to_string_lossy().into_owned()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Runs `colocate export` over the cache of this name.
    async fn try_export(&self, cache: &str, file: &str, arguments: &[&str]) -> Finished {
        let config = self.config(cache, self.settings());
        let output = self.path(file).to_string_lossy().into_owned();
        colocate(&[&["export", "--config", &config, "-o", &output], arguments].concat()).await
    }

    /// The same, which has to succeed; gives the archive.
    async fn export(&self, cache: &str, file: &str, arguments: &[&str]) -> Vec<u8> {
        let finished = self.try_export(cache, file, arguments).await;
        assert!(finished.status.success(), "{finished:?}");
        self.archive(file)
    }

    /// An archive that is whole: nothing is left of its making.
    fn archive(&self, file: &str) -> Vec<u8> {
        assert!(!partial(&self.path(file)).exists());
        fs::read(self.path(file)).unwrap()
    }
}

/// What there is of an archive until it is whole.
fn partial(archive: &Path) -> PathBuf {
    let mut name = archive.as_os_str().to_owned();
    name.push(".partial");
    name.into()
}

#[track_caller]
fn bad(finished: &Finished, code: i32, what: &str) {
    assert_eq!(finished.status.code(), Some(code), "{finished:?}");
    assert!(finished.stderr.contains(what), "{finished:?}");
}
