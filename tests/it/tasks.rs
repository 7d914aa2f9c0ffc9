//! What operators have done with a cache: pulling ahead, pinning, looking, removing, and by which way they ask for it.

#![expect(clippy::unwrap_used, reason = "a test that fails panics")]

mod binary;
mod control;
mod keeping;
mod looking;
mod warm;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use colocate::body::SystemClock;
use colocate::cache::{Bounds, Cache, CacheLimits, FinishAbandoned, LocalStore, Store};
use colocate::oci::{Digest, Reference, RepositoryName};
use colocate::proxy::{
    Event, OriginPolicy, Proxy, ProxyParts, RelocationLimits, TagPolicy, Task, Tasks, Wanted, Warmed,
};
use colocate::telemetry::Metrics;
use colocate::upstream::{RegistryConfig, RegistryUpstream};
use serde_json::json;
use tempfile::TempDir;

use crate::support::bundle::{Bundle, BundleBuilder, lock_of};
use crate::support::layout::Document;
use crate::support::scripted::ScriptedUpstream;
use crate::support::tarball::noise;
use crate::support::view::{REGISTRY, only, relocated, repository_of};

const REPOSITORY: &str = "acme/app";
const ENDPOINT: &str = "proxy.example:5000";

/// A registry, and a cache directory with all that works on it.
struct Bench {
    upstream: ScriptedUpstream,
    directory: TempDir,
    limits: CacheLimits,
    deadline: Duration,
    open: Option<Open>,
}

struct Open {
    cache: Cache,
    proxy: Proxy,
    tasks: Tasks,
}

impl Bench {
    async fn new() -> Self {
        Self::with(CacheLimits::default(), Duration::from_secs(20)).await
    }

    async fn bounded(max: u64) -> Self {
        let bounds = Some(Bounds { max, high: max / 10 * 9, low: max / 10 * 5 });
        Self::with(CacheLimits { bounds, ..CacheLimits::default() }, Duration::from_secs(20)).await
    }

    async fn with(limits: CacheLimits, deadline: Duration) -> Self {
        let (upstream, directory) = (ScriptedUpstream::start().await, tempfile::tempdir().unwrap());
        let mut bench = Self { upstream, directory, limits, deadline, open: None };
        bench.restart().await;
        bench
    }

    /// Everything anew, over the same directory.
    async fn restart(&mut self) {
        self.open = None;
        let mut attempts = 0;
        let store = loop {
            match LocalStore::open(self.directory.path()) {
                Ok(store) => break store,
                // What was spawned before lets go of it in its own time.
                Err(_) if attempts < 200 => tokio::time::sleep(Duration::from_millis(10)).await,
                Err(err) => panic!("{err}"),
            }
            attempts += 1;
        };
        let store: Arc<dyn Store> = Arc::new(store);
        let clock = Arc::new(SystemClock);
        let cache = Cache::new(store, clock.clone(), self.limits, Metrics::new());
        cache.take_stock().await.unwrap();
        let config = RegistryConfig::new(self.upstream.url().parse().unwrap());
        let relocation = RelocationLimits {
            deadline: self.deadline,
            undecided_original: false,
            negative_ttl: Duration::from_secs(3600),
            max_layer_bytes: 1 << 30,
            concurrency: 4,
            max_passes: 2,
            max_passes_per_client: 2,
            max_targets: 8,
            max_images: 1000,
        };
        let proxy = Proxy::new(ProxyParts {
            upstreams: only(Arc::new(RegistryUpstream::new(config).unwrap())),
            cache: cache.clone(),
            clock,
            verdict_ttl: Duration::from_secs(60),
            relocation,
            origins: OriginPolicy::default(),
            tags: TagPolicy { ttl: Duration::from_secs(3600), ..TagPolicy::default() },
            metrics: Metrics::new(),
        });
        let tasks = Tasks::new(cache.clone(), Some(proxy.clone()), Arc::new(read));
        self.open = Some(Open { cache, proxy, tasks });
    }

    fn cache(&self) -> &Cache {
        &self.open.as_ref().unwrap().cache
    }

    fn proxy(&self) -> &Proxy {
        &self.open.as_ref().unwrap().proxy
    }

    fn tasks(&self) -> &Tasks {
        &self.open.as_ref().unwrap().tasks
    }

    /// Runs a task to its end.
    async fn run(&self, task: Task) -> Told {
        let mut events = self.tasks().run(task);
        let mut told = Vec::new();
        while let Some(event) = events.next().await {
            told.push(event);
        }
        Told(told)
    }

    async fn warm(&self, reference: &str) -> Told {
        self.warm_for(reference, &[]).await
    }

    async fn warm_for(&self, reference: &str, platforms: &[&str]) -> Told {
        let platforms = platforms.iter().map(|text| text.parse().unwrap()).collect();
        self.run(Task::Warm { references: vec![reference.to_owned()], platforms }).await
    }

    async fn pin(&self, reference: &str) -> Told {
        self.run(Task::Pin { references: vec![reference.to_owned()], platforms: Vec::new() }).await
    }

    async fn remove(&self, what: &str, force: bool) -> Told {
        self.run(Task::Remove { what: vec![what.to_owned()], force }).await
    }

    fn put(&self, image: &Bundle, tag: Option<&str>) {
        self.upstream.put(REPOSITORY, &image.layout(tag));
    }

    /// A bundle whose lock names these, in the registry, tagged or not.
    fn put_bundle(&self, images: &[Digest], tag: Option<&str>) -> Bundle {
        let bundle = bundle_of(images);
        self.put(&bundle, tag);
        bundle
    }

    fn has(&self, digest: &Digest) -> bool {
        self.cache().entries().iter().any(|entry| entry.digest == *digest)
    }

    /// Whether an image is there whole.
    fn has_image(&self, image: &Bundle) -> bool {
        let parts = image.layers.iter().chain([&image.config]).map(|part| Digest::of(part));
        parts.chain([image.digest()]).all(|digest| self.has(&digest))
    }

    /// The file of some content.
    fn file(&self, digest: &Digest) -> PathBuf {
        blob_file(self.directory.path(), digest)
    }
}

/// Every event of a task that came to its end.
#[derive(Debug)]
struct Told(Vec<Event>);

impl Told {
    /// The problems, as text.
    #[track_caller]
    fn problems(&self) -> Vec<String> {
        let problems: Vec<String> = self.0.iter().filter_map(problem).collect();
        let damaged = self.0.iter().filter(|event| matches!(event, Event::Damaged { .. })).count();
        let end = Event::End { problems: (problems.len() + damaged) as u64 };
        assert_eq!(self.0.last(), Some(&end), "{self:?}");
        problems
    }

    #[track_caller]
    fn good(self) -> Self {
        assert_eq!(self.problems(), [""; 0]);
        self
    }

    /// What became of the one reference.
    #[track_caller]
    fn warmed(&self) -> &Warmed {
        let warmed: Vec<_> =
            self.0.iter().filter_map(|event| if let Event::Warmed(it) = event { Some(it) } else { None }).collect();
        assert_eq!(warmed.len(), 1, "{self:?}");
        warmed[0]
    }

    /// What was taken out, in order.
    fn removed(&self) -> Vec<Digest> {
        let removed = |event: &Event| if let Event::Removed { digest, .. } = event { Some(*digest) } else { None };
        let mut removed: Vec<Digest> = self.0.iter().filter_map(removed).collect();
        removed.sort();
        removed
    }
}

fn problem(event: &Event) -> Option<String> {
    match event {
        Event::Problem { subject, problem } => Some(format!("{subject}: {problem}")),
        _ => None,
    }
}

/// `repository:tag` or `repository@digest`.
fn read(text: &str) -> Result<Wanted, String> {
    let (name, reference) = text.split_once('@').or_else(|| text.split_once(':')).ok_or("no reference")?;
    name.parse::<RepositoryName>().map_err(|err| format!("{err}"))?;
    let reference: Reference = reference.parse().map_err(|err| format!("{err}"))?;
    Ok(Wanted { view: relocated(name, ENDPOINT), reference })
}

/// A bundle whose lock names these, somewhere that nobody ever asks.
fn bundle_of(images: &[Digest]) -> Bundle {
    let references: Vec<String> = images.iter().map(|digest| format!("registry.invalid/x/y@{digest}")).collect();
    BundleBuilder::with_lock(&lock_of(&references)).build()
}

/// An image with a layer of so many bytes that do not compress.
fn large_image(seed: u64, size: usize) -> Bundle {
    BundleBuilder::new().label(None).raw_layer(noise(seed, size)).extra_layer(noise(seed + 1000, 10)).build()
}

/// An index of images for platforms; an empty one is left out.
fn index(images: &[(&Bundle, &str)]) -> Document {
    let manifests: Vec<_> = images
        .iter()
        .map(|(image, platform)| {
            let Document { digest, media_type, bytes } = &image.manifest;
            let mut descriptor = json!({"mediaType": media_type, "size": bytes.len(), "digest": digest});
            let mut parts = platform.split('/');
            if let (Some(os), Some(architecture)) = (parts.next(), parts.next()) {
                descriptor["platform"] = json!({"os": os, "architecture": architecture});
            }
            descriptor
        })
        .collect();
    let media_type = "application/vnd.oci.image.index.v1+json";
    let bytes = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": manifests}).to_string();
    let bytes = Bytes::from(bytes);
    Document { digest: Digest::of(&bytes), media_type: media_type.to_owned(), bytes }
}

fn blob_file(cache: &Path, digest: &Digest) -> PathBuf {
    let hex = digest.hex().to_string();
    cache.join("blobs").join(digest.algorithm().name()).join(&hex[..2]).join(&hex)
}

fn manifest_path(digest: &Digest) -> String {
    format!("/v2/{REPOSITORY}/manifests/{digest}")
}

fn blob_path(digest: &Digest) -> String {
    format!("/v2/{REPOSITORY}/blobs/{digest}")
}
