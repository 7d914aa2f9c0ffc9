//! Two registries, a bundle in one of them, and a proxy in front of both.

use colocate::oci::Digest;
use serde_json::Value;

use crate::hostile::parts::{Answer, ENDPOINT, World};
use crate::support::bundle::{Bundle, BundleBuilder, gunzip, lock_in, lock_of};
use crate::support::layout::Document;
use crate::support::scripted::ScriptedUpstream;

/// The bundles' repository.
pub(crate) const REPOSITORY: &str = "acme/app";
/// Where images are, in the other registry.
pub(crate) const APPS: &str = "apps/web";

/// The registries.
pub(crate) struct Registries {
    /// `registry.example`, the default.
    pub(crate) own: ScriptedUpstream,
    /// `apps.example`.
    pub(crate) apps: ScriptedUpstream,
}

impl Registries {
    pub(crate) async fn start() -> Self {
        Self { own: ScriptedUpstream::start().await, apps: ScriptedUpstream::start().await }
    }

    /// Both behind a proxy; `rest` is more of its configuration.
    pub(crate) fn config(&self, rest: &str) -> String {
        format!(
            "upstream: {{registry: registry.example, url: '{}'}}\n\
             upstreams: [{{registry: apps.example, url: '{}'}}]\n{rest}\n",
            self.own.url(),
            self.apps.url()
        )
    }

    pub(crate) async fn world(&self, rest: &str) -> World {
        World::new(&self.config(rest)).await
    }

    /// So many images at their origin.
    pub(crate) fn images(&self, count: usize) -> Vec<Bundle> {
        let images: Vec<Bundle> = (0..count).map(|index| Bundle::image(&format!("origin image {index}"))).collect();
        images.iter().for_each(|image| self.apps.put(APPS, &image.layout(None)));
        images
    }

    /// A bundle of these references, pushed and nothing else, under a tag.
    pub(crate) fn push(&self, references: &[String], tag: &str) -> Bundle {
        let bundle = BundleBuilder::with_lock(&lock_of(references)).file("config.yml", tag.repeat(5000)).build();
        self.own.put(REPOSITORY, &bundle.layout(Some(tag)));
        bundle
    }

    /// A bundle of so many images at their origin.
    pub(crate) fn bundle(&self, images: usize) -> (Bundle, Vec<Bundle>) {
        let images = self.images(images);
        let references: Vec<String> = images.iter().map(|image| at_apps(&image.digest())).collect();
        (self.push(&references, "v1"), images)
    }
}

/// As a lock names an image at its origin.
pub(crate) fn at_apps(digest: &Digest) -> String {
    format!("apps.example/{APPS}@{digest}")
}

/// As a relocated lock names it.
pub(crate) fn at_target(digest: &Digest) -> String {
    format!("{ENDPOINT}/{REPOSITORY}@{digest}")
}

pub(crate) fn manifest(reference: impl std::fmt::Display) -> String {
    format!("/v2/{REPOSITORY}/manifests/{reference}")
}

pub(crate) fn blob(digest: &Digest) -> String {
    format!("/v2/{REPOSITORY}/blobs/{digest}")
}

/// GET of a path.
pub(crate) async fn get(world: &World, path: &str) -> Answer {
    world.get(path, &[]).await
}

/// The parts of an image manifest: config and layers.
pub(crate) fn parts(manifest: &[u8]) -> Vec<Digest> {
    let document: Value = serde_json::from_slice(manifest).unwrap();
    let layers = document["layers"].as_array().unwrap();
    let parts = [&document["config"]].into_iter().chain(layers);
    parts.map(|part| part["digest"].as_str().unwrap().parse().unwrap()).collect()
}

/// A bundle as a client has it in the end.
pub(crate) struct Pulled {
    pub(crate) answer: Answer,
    pub(crate) digest: Digest,
    pub(crate) lock: String,
}

/// Pulls a bundle; every digest is checked.
pub(crate) async fn pull(world: &World, reference: &str) -> Pulled {
    let answer = get(world, &manifest(reference)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let parts = parts(&answer.body);
    let mut layer = Vec::new();
    for part in &parts {
        let answer = get(world, &blob(part)).await;
        answer.expect(part);
        layer = answer.body;
    }
    let lock = String::from_utf8(lock_in(&gunzip(&layer))).unwrap();
    Pulled { digest: Digest::of(&answer.body), lock, answer }
}

/// Pulls an image under the bundles' repository, as a lock names it.
pub(crate) async fn pull_image(world: &World, image: &Bundle) {
    get(world, &manifest(image.digest())).await.expect(&image.digest());
    for part in parts(&image.manifest.bytes) {
        get(world, &blob(&part)).await.expect(&part);
    }
}

/// Puts one manifest into a repository.
pub(crate) fn put(upstream: &ScriptedUpstream, repository: &str, document: &Document) {
    upstream.put_manifest(repository, &document.media_type, document.bytes.clone());
}
