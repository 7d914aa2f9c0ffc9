//! An upstream, a proxy in front of it, and what the tests say to both.

use std::sync::Arc;
use std::time::Duration;

use colocate::body;
use colocate::cache::{Cache, CacheLimits, MemoryStore, Store};
use colocate::oci::{Digest, Manifest};
use colocate::proxy::{OriginPolicy, Proxy, ProxyError, ProxyParts, RelocationLimits, TagPolicy, View};
use colocate::telemetry::Metrics;
use colocate::upstream::{RegistryConfig, RegistryUpstream, Timeouts};

use crate::support::bundle::{Bundle, BundleBuilder, lock_of};
use crate::support::clock::TestClock;
use crate::support::scripted::ScriptedUpstream;
use crate::support::view::{only, relocated};

pub(super) const REPOSITORY: &str = "acme/app";
pub(super) const ENDPOINT: &str = "proxy.example:5000";
pub(super) const NEGATIVE_TTL: Duration = Duration::from_secs(60);

/// An upstream, and a proxy in front of it.
pub(super) struct World {
    pub(super) upstream: ScriptedUpstream,
    pub(super) clock: Arc<TestClock>,
    pub(super) store: Arc<dyn Store>,
    limits: RelocationLimits,
    pub(super) proxy: Proxy,
}

impl World {
    pub(super) async fn new() -> Self {
        Self::with(|_| ()).await
    }

    pub(super) async fn with(change: impl FnOnce(&mut RelocationLimits)) -> Self {
        Self::build(ScriptedUpstream::start().await, Arc::default(), change)
    }

    pub(super) async fn over(upstream: ScriptedUpstream, clock: Arc<TestClock>) -> Self {
        Self::build(upstream, clock, |_| ())
    }

    pub(super) fn build(
        upstream: ScriptedUpstream,
        clock: Arc<TestClock>,
        change: impl FnOnce(&mut RelocationLimits),
    ) -> Self {
        let mut limits = RelocationLimits {
            deadline: Duration::from_secs(20),
            undecided_original: false,
            negative_ttl: NEGATIVE_TTL,
            max_layer_bytes: 1 << 30,
            concurrency: 4,
            max_passes: 2,
            max_passes_per_client: 2,
            max_targets: 8,
            max_images: 1000,
        };
        change(&mut limits);
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let proxy = proxy(&upstream, Arc::clone(&store), Arc::clone(&clock), limits.clone());
        Self { upstream, clock, store, limits, proxy }
    }

    pub(super) fn proxy_over(&self, store: Arc<dyn Store>) -> Proxy {
        proxy(&self.upstream, store, Arc::clone(&self.clock), self.limits.clone())
    }

    pub(super) fn images(&self, count: usize) -> Vec<Bundle> {
        (0..count).map(|index| Bundle::image(&format!("image {index}"))).collect()
    }

    pub(super) fn put(&self, image: &Bundle, tag: Option<&str>) {
        self.upstream.put(REPOSITORY, &image.layout(tag));
    }

    /// A bundle of so many images, all in its repository, tagged `v1`.
    pub(super) fn bundle(&self, images: usize) -> (Bundle, Vec<Bundle>) {
        self.bundle_of(BundleBuilder::new(), images)
    }

    pub(super) fn bundle_of(&self, builder: BundleBuilder, images: usize) -> (Bundle, Vec<Bundle>) {
        let images = self.images(images);
        let references: Vec<String> = images.iter().map(reference).collect();
        let bundle =
            builder.directory(".imgpkg").lock(&lock_of(&references)).file("config.yml", "a: b".repeat(9000)).build();
        self.put(&bundle, Some("v1"));
        for image in &images {
            self.put(image, None);
        }
        (bundle, images)
    }

    pub(super) async fn pull(&self, tag: &str) -> Result<colocate::proxy::ServedManifest, ProxyError> {
        self.manifest(tag).await
    }

    /// The digest of what a tag gives.
    pub(super) async fn pulled(&self, tag: &str) -> Digest {
        self.pull(tag).await.expect("a manifest").manifest.digest
    }

    pub(super) async fn manifest(&self, reference: &str) -> Result<colocate::proxy::ServedManifest, ProxyError> {
        let reference = reference.parse().expect("a reference");
        self.proxy.manifest(&view(), &reference).await
    }

    pub(super) async fn open_blob(&self, digest: &Digest) -> Result<colocate::proxy::ServedBlob, ProxyError> {
        self.proxy.blob(&view(), digest).await
    }

    pub(super) async fn blob(&self, digest: &Digest) -> Result<bytes::Bytes, ProxyError> {
        let blob = self.open_blob(digest).await?;
        Ok(body::collect(blob.body(0..blob.size), usize::MAX).await.expect("whole"))
    }

    pub(super) async fn explain(&self) -> colocate::proxy::Explanation {
        let tag = "v1".parse().expect("a tag");
        self.proxy.explain(&view(), &tag).await.expect("explains")
    }
}

pub(super) fn proxy(
    upstream: &ScriptedUpstream,
    store: Arc<dyn Store>,
    clock: Arc<TestClock>,
    relocation: RelocationLimits,
) -> Proxy {
    let mut config = RegistryConfig::new(upstream.url().parse().expect("a URL"));
    let second = Duration::from_secs(1);
    config.timeouts = Timeouts { connect: second, response: second, progress: second };
    Proxy::new(ProxyParts {
        upstreams: only(Arc::new(RegistryUpstream::new(config).expect("a registry"))),
        cache: Cache::new(store, clock.clone(), CacheLimits::default(), Metrics::new()),
        clock,
        verdict_ttl: Duration::from_secs(60),
        relocation,
        origins: OriginPolicy::default(),
        tags: TagPolicy { ttl: Duration::ZERO, ..TagPolicy::default() },
        metrics: Metrics::new(),
    })
}

/// What a manifest names.
pub(super) struct Parts {
    pub(super) config: Digest,
    pub(super) layer: Digest,
    pub(super) layer_size: u64,
}

impl Parts {
    pub(super) fn of(manifest: &Manifest) -> Self {
        let document: serde_json::Value = serde_json::from_slice(&manifest.bytes).expect("JSON");
        let digest = |value: &serde_json::Value| value["digest"].as_str().expect("a digest").parse().expect("a digest");
        let layer = &document["layers"][0];
        Self {
            config: digest(&document["config"]),
            layer: digest(layer),
            layer_size: layer["size"].as_u64().expect("a size"),
        }
    }
}

/// Where a lock says that an image is: nowhere that anybody ever asks.
pub(super) fn reference(image: &Bundle) -> String {
    format!("registry.invalid/apps/app@{}", image.digest())
}

/// As the clients of these tests see it.
pub(super) fn view() -> View {
    relocated(REPOSITORY, ENDPOINT)
}

pub(super) fn manifest_path(reference: &str) -> String {
    format!("/v2/{REPOSITORY}/manifests/{reference}")
}

pub(super) fn blob_path(digest: &Digest) -> String {
    format!("/v2/{REPOSITORY}/blobs/{digest}")
}

pub(super) async fn eventually(mut holds: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never came to hold");
}
