//! What the upstream has, and what has to come of it. The same for all schedules.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use colocate::body;
use colocate::cache::MemoryStore;
use colocate::oci::{Digest, Manifest, MediaType, Reference};
use colocate::proxy::View;

use super::disk::Disk;
use super::life::{Clocked, proxy};
use super::upstream::Upstream;
use crate::support::bundle::{Bundle, BundleBuilder, lock_of};
use crate::support::chance::Chance;
use crate::support::layout::Document;
use crate::support::tarball::noise;
use crate::support::view;

/// The repository that has everything.
pub(super) const APP: &str = "acme/app";
/// One that has some of the blobs.
pub(super) const OTHER: &str = "acme/other";
pub(super) const ENDPOINT: &str = "proxy.example:5000";

/// Around what is kept in memory and what is held back, and up to several pieces.
const SIZES: [usize; 7] = [0, 1, 5_000, 65_536, 65_537, 150_001, 300_007];

pub(super) struct Content {
    pub(super) blobs: BTreeMap<Digest, Bytes>,
    pub(super) manifests: BTreeMap<Digest, Manifest>,
    pub(super) bundles: Vec<Digest>,
    /// Which blobs `OTHER` has.
    pub(super) shared: BTreeSet<Digest>,
    /// The manifests that a tag of a bundle may give.
    pub(super) relocated: BTreeMap<Digest, Digest>,
}

pub(super) fn view(name: &str) -> View {
    view::relocated(name, ENDPOINT)
}

/// Makes it all, so that no schedule's time is spent on it.
pub(super) fn prepare() {
    content();
}

pub(super) fn content() -> &'static Content {
    static CONTENT: OnceLock<Content> = OnceLock::new();
    CONTENT.get_or_init(|| {
        let plain = plain();
        // What a proxy without any trouble makes of the bundles is what every other one has to make of them.
        let relocated = relocated(&plain);
        let mut content = plain;
        for (original, manifest, parts) in relocated {
            content.relocated.insert(original, manifest.digest);
            content.manifests.insert(manifest.digest, manifest);
            content.blobs.extend(parts);
        }
        content
    })
}

fn plain() -> Content {
    let blobs: BTreeMap<Digest, Bytes> = SIZES
        .iter()
        .map(|size| Bytes::from(noise(*size as u64 + 1, *size)))
        .map(|bytes| (Digest::of(&bytes), bytes))
        .collect();
    let shared = blobs.keys().step_by(2).copied().collect();
    let (manifests, bundles, relocated) = (BTreeMap::new(), Vec::new(), BTreeMap::new());
    let mut content = Content { blobs, manifests, bundles, shared, relocated };
    for number in 0..3 {
        let images: Vec<Bundle> = (0..=number).map(|index| Bundle::image(&format!("image {index}"))).collect();
        let references: Vec<String> =
            images.iter().map(|image| format!("registry.invalid/app@{}", image.digest())).collect();
        let bundle = BundleBuilder::with_lock(&lock_of(&references)).file("noise", noise(number, 120_000)).build();
        content.bundles.push(bundle.digest());
        for image in images.iter().chain([&bundle]) {
            let Document { digest, media_type, bytes } = image.manifest.clone();
            let manifest = Manifest { bytes, digest, media_type: MediaType::from(media_type.as_str()) };
            content.manifests.insert(digest, manifest);
            for blob in image.layers.iter().chain([&image.config]) {
                content.blobs.insert(Digest::of(blob), blob.clone());
            }
        }
    }
    content
}

type Relocated = (Digest, Manifest, Vec<(Digest, Bytes)>);

fn relocated(content: &Content) -> Vec<Relocated> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let upstream = Arc::new(Upstream::calm(content));
        let clock = Arc::new(Clocked::start(std::time::SystemTime::UNIX_EPOCH));
        let store = MemoryStore::with_faults(Disk::healthy().faults());
        let (proxy, _) = proxy(&upstream, &store, &clock, None, &mut Chance::of(0));
        let mut all = Vec::new();
        for (number, bundle) in content.bundles.iter().enumerate() {
            let tag = format!("v{number}");
            upstream.tag(&tag, *bundle);
            let reference = Reference::Tag(tag.parse().unwrap());
            let manifest = proxy.manifest(&view(APP), &reference).await.unwrap().manifest;
            assert_ne!(manifest.digest, *bundle, "relocated");
            let mut parts = Vec::new();
            for digest in named(&manifest) {
                let blob = proxy.blob(&view(APP), &digest).await.unwrap();
                let bytes = body::collect(blob.body(0..blob.size), usize::MAX).await.unwrap();
                assert_eq!(Digest::of(&bytes), digest);
                parts.push((digest, bytes));
            }
            all.push((*bundle, manifest, parts));
        }
        all
    })
}

/// The blobs that a manifest names.
pub(super) fn named(manifest: &Manifest) -> Vec<Digest> {
    let document: serde_json::Value = serde_json::from_slice(&manifest.bytes).unwrap();
    let layers = document["layers"].as_array().unwrap().iter();
    layers.chain([&document["config"]]).map(|part| part["digest"].as_str().unwrap().parse().unwrap()).collect()
}
