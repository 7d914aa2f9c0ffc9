//! A proxy in this process over files, and a client that believes nothing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use colocate::cache::OpenError;
use colocate::cli::{Running, StartError, start};
use colocate::config::{Called, Config, Files, FilesPlace};
use colocate::oci::Digest;
use colocate::upstream::{FilesUpstream, UpstreamError};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::support::access::Access;
use crate::support::bundle::{Bundle, BundleBuilder, lock_of};
use crate::support::eventually;
use crate::support::http::Answer;
use crate::support::seen::{Pulled, Seen};

/// What locks name.
pub(super) const ENDPOINT: &str = "edge.example";

/// The proxy.
pub(super) struct Edge {
    running: Option<Running>,
    config: String,
    pub(super) url: String,
    scratch: TempDir,
}

impl Edge {
    /// In front of one archive, layout, or directory.
    pub(super) async fn of(path: &Path) -> Self {
        Self::configured(&format!("upstream: {{url: 'archive:{}'}}", path.display())).await
    }

    /// As configured, with a cache of its own.
    pub(super) async fn configured(rest: &str) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let config = format!(
            "listen: 127.0.0.1:0\nadmin: {{listen: none}}\nendpoint: {ENDPOINT}\ncache: {{dir: '{}'}}\n{rest}\n",
            scratch.path().join("cache").display()
        );
        let mut edge = Self { running: None, config, url: String::new(), scratch };
        edge.start().await;
        edge
    }

    async fn start(&mut self) {
        // Of one that has just stopped, a task may still hold the cache.
        eventually("the cache is free", Duration::from_secs(30), async || {
            let config = Config::parse("test", &self.config).unwrap_or_else(|error| panic!("{error}\n{}", self.config));
            match start(config).await {
                Ok(running) => self.running = Some(running),
                Err(StartError::Cache(OpenError::InUse { .. })) => {}
                Err(error) => panic!("{error:?}"),
            }
            self.running.is_some()
        })
        .await;
        self.url = format!("http://{}", self.running.as_ref().unwrap().address().unwrap());
    }

    /// Stops it and starts it again, with the same cache.
    pub(super) async fn restart(&mut self) {
        self.running.take().unwrap().stop().await;
        self.start().await;
    }

    pub(super) fn cache(&self) -> PathBuf {
        self.scratch.path().join("cache")
    }

    /// As a client sees it that says nothing of itself.
    pub(super) fn seen(&self) -> Seen {
        self.seen_by(&Access::anonymous())
    }

    pub(super) fn seen_by(&self, access: &Access) -> Seen {
        Seen::new(access, &self.url)
    }

    pub(super) async fn manifest(&self, repository: &str, reference: impl ToString) -> Answer {
        self.seen().manifest(repository, &reference.to_string()).await
    }

    pub(super) async fn blob(&self, repository: &str, digest: &Digest) -> Answer {
        self.seen().blob(repository, &digest.to_string()).await
    }

    pub(super) fn blob_url(&self, repository: &str, digest: &Digest) -> String {
        format!("{}/v2/{repository}/blobs/{digest}", self.url)
    }

    /// A bundle, checked.
    pub(super) async fn pull(&self, repository: &str, reference: impl ToString) -> Pulled {
        self.seen().pull(repository, &reference.to_string()).await
    }

    /// What a tag stands for.
    pub(super) async fn digest(&self, repository: &str, tag: &str) -> Digest {
        let answer = self.manifest(repository, tag).await.expect(200);
        assert_eq!(answer.digest(), Digest::of(&answer.body));
        answer.digest()
    }

    /// Pulls an image or an index with all that it names, and checks every byte.
    pub(super) async fn pull_whole(&self, repository: &str, reference: impl ToString) {
        let mut unread = vec![reference.to_string()];
        while let Some(reference) = unread.pop() {
            let answer = self.manifest(repository, &reference).await.expect(200);
            assert_eq!(answer.digest(), Digest::of(&answer.body), "{repository} {reference}");
            assert!(!reference.contains(':') || answer.digest().to_string() == reference, "{repository} {reference}");
            let document = answer.json();
            let list = |key: &str| document[key].as_array().cloned().unwrap_or_default();
            unread.extend(list("manifests").iter().map(|child| child["digest"].as_str().unwrap().to_owned()));
            let config = document.get("config").cloned();
            for part in list("layers").iter().chain(&config) {
                let digest: Digest = part["digest"].as_str().unwrap().parse().unwrap();
                let blob = self.blob(repository, &digest).await.expect(200);
                assert_eq!((Digest::of(&blob.body), Some(blob.body.len() as u64)), (digest, part["size"].as_u64()));
            }
        }
    }

    /// The tags of a repository; `None` if it is not there.
    pub(super) async fn tags(&self, repository: &str) -> Option<Vec<String>> {
        let answer = Access::anonymous().get(&format!("{}/v2/{repository}/tags/list", self.url)).await;
        (answer.status != 404).then(|| texts(&answer.expect(200).json()["tags"]))
    }

    /// All repositories.
    pub(super) async fn repositories(&self) -> Vec<String> {
        texts(&Access::anonymous().get(&format!("{}/v2/_catalog", self.url)).await.expect(200).json()["repositories"])
    }
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// Opens an archive, or says why not, with all causes.
pub(super) fn open(path: &Path) -> Result<FilesUpstream, String> {
    open_as(path, None)
}

/// The same by another name.
pub(super) fn open_as(path: &Path, called: Option<Called>) -> Result<FilesUpstream, String> {
    let files = Files { places: vec![FilesPlace::Archive(path.to_owned())], called };
    FilesUpstream::open(files, None).map_err(|error: UpstreamError| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
        format!("{error}{}", cause.unwrap_or_default())
    })
}

/// Repositories with their tags, in one line each.
pub(super) fn shown(files: &FilesUpstream) -> Vec<String> {
    // From tests of either kind: a thread of its own has no runtime yet.
    let repositories = std::thread::scope(|scope| {
        let found = scope.spawn(|| Runtime::new().expect("a runtime").block_on(files.repositories()));
        found.join().expect("no panic")
    });
    repositories.into_iter().map(|(name, tags)| format!("{name}: {}", tags.join(" "))).collect()
}

/// A bundle of these images, which are said to be at `registry.example/apps/NUMBER`.
pub(super) fn bundle_of(images: &[&Bundle]) -> Bundle {
    let references: Vec<String> =
        images.iter().enumerate().map(|(at, image)| format!("registry.example/apps/{at}@{}", image.digest())).collect();
    BundleBuilder::with_lock(&lock_of(&references)).file("config.yml", "kind: Config\n").build()
}

/// The same lock where all images are in the bundle's repository.
pub(super) fn relocated_lock(images: &[&Bundle], repository: &str) -> Vec<String> {
    images.iter().map(|image| format!("{ENDPOINT}/{repository}@{}", image.digest())).collect()
}

/// The images that a lock names.
pub(super) fn images_in(lock: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(lock).into_owned();
    let images = text.lines().filter_map(|line| line.trim_start_matches("- ").trim().strip_prefix("image: "));
    images.map(str::to_owned).collect()
}
