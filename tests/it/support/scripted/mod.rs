//! A registry in this process that serves what it is given, takes what is pushed, and misbehaves as it is told.
//!
//! ```ignore
//! let upstream = ScriptedUpstream::start().await;
//! upstream.put("acme/app", &bundle.layout(Some("v1")));
//! upstream.on("/v2/acme/app/manifests/sha256:*").head().times(2).fails(Fault::status(500));
//! …
//! assert_eq!(upstream.count("HEAD", "/v2/acme/app/manifests/*"), 3);
//! ```

mod answer;
mod body;
mod content;
mod script;
mod tests;
mod writes;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use colocate::oci::Digest;
use http::HeaderMap;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub(crate) use script::{Fault, Gate, Rule, matches};

use super::eventually;
use super::layout::{Document, Layout};
use super::pattern::Pattern;
use content::Content;

/// The registry. It is gone when this is dropped.
pub(crate) struct ScriptedUpstream {
    address: SocketAddr,
    state: Shared,
    accepting: JoinHandle<()>,
}

type Shared = Arc<Mutex<State>>;

#[derive(Default)]
struct State {
    repositories: BTreeMap<String, Repository>,
    rules: Vec<Rule>,
    requests: Vec<Seen>,
    /// Body bytes handed to the connection, by path.
    sent: BTreeMap<String, u64>,
    connections: usize,
    /// What has come of uploads so far.
    uploads: BTreeMap<String, Vec<u8>>,
}

#[derive(Default)]
struct Repository {
    manifests: BTreeMap<Digest, Document>,
    blobs: BTreeMap<Digest, Content>,
    tags: BTreeMap<String, Digest>,
    /// What refers to what, where it is known.
    referrers: BTreeMap<Digest, Vec<Value>>,
}

/// A request that arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
}

impl ScriptedUpstream {
    /// An empty registry that behaves.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
        let address = listener.local_addr().expect("a bound address");
        let state = Shared::default();
        let accepting = tokio::spawn(accept(listener, state.clone()));
        Self { address, state, accepting }
    }

    /// `http://host:port`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// `host:port`.
    pub(crate) fn authority(&self) -> String {
        self.address.to_string()
    }

    /// Adds content to a repository, also while it is being asked.
    pub(crate) fn put(&self, repository: &str, layout: &Layout) {
        let mut state = self.state();
        let repository = state.repositories.entry(repository.to_owned()).or_default();
        repository.blobs.extend(layout.blobs.iter().map(|(digest, bytes)| (*digest, bytes.clone().into())));
        repository.manifests.extend(layout.manifests.iter().map(|document| (document.digest, document.clone())));
        repository.tags.extend(layout.tags.iter().cloned());
    }

    /// Adds one manifest, whatever its bytes are.
    pub(crate) fn put_manifest(&self, repository: &str, media_type: &str, bytes: impl Into<Bytes>) -> Digest {
        let bytes = bytes.into();
        let document = Document { digest: Digest::of(&bytes), media_type: media_type.to_owned(), bytes };
        let digest = document.digest;
        self.put(repository, &Layout { manifests: vec![document], ..Layout::default() });
        digest
    }

    /// Adds one blob.
    pub(crate) fn put_blob(&self, repository: &str, bytes: impl Into<Bytes>) -> Digest {
        let bytes = bytes.into();
        let digest = Digest::of(&bytes);
        self.put(repository, &Layout { blobs: vec![(digest, bytes)], ..Layout::default() });
        digest
    }

    /// Adds one blob that is made as it is sent.
    pub(crate) fn put_pattern(&self, repository: &str, pattern: &Pattern) -> Digest {
        let digest = pattern.digest();
        let mut state = self.state();
        let repository = state.repositories.entry(repository.to_owned()).or_default();
        repository.blobs.insert(digest, Content::Pattern(*pattern));
        digest
    }

    /// Points a tag at a digest.
    pub(crate) fn tag(&self, repository: &str, tag: &str, digest: &Digest) {
        self.put(repository, &Layout { tags: vec![(tag.to_owned(), *digest)], ..Layout::default() });
    }

    /// Has a repository list what refers to a digest. Without, it does not know such a question.
    pub(crate) fn refer(&self, repository: &str, digest: &Digest, descriptor: Value) {
        let mut state = self.state();
        let repository = state.repositories.entry(repository.to_owned()).or_default();
        repository.referrers.entry(*digest).or_default().push(descriptor);
    }

    /// Takes a tag, a manifest or a blob away.
    pub(crate) fn remove(&self, repository: &str, reference: &str) {
        let mut state = self.state();
        let Some(repository) = state.repositories.get_mut(repository) else { return };
        match reference.parse::<Digest>() {
            Ok(digest) => {
                repository.manifests.remove(&digest);
                repository.blobs.remove(&digest);
                repository.tags.retain(|_, target| *target != digest);
            }
            Err(_) => drop(repository.tags.remove(reference)),
        }
    }

    /// What a tag stands for.
    pub(crate) fn tagged(&self, repository: &str, tag: &str) -> Option<Digest> {
        self.state().repositories.get(repository)?.tags.get(tag).copied()
    }

    /// Whether a repository has a blob.
    pub(crate) fn has_blob(&self, repository: &str, digest: &Digest) -> bool {
        self.state().repositories.get(repository).is_some_and(|repository| repository.blobs.contains_key(digest))
    }

    /// Whether a repository has a manifest.
    pub(crate) fn has_manifest(&self, repository: &str, digest: &Digest) -> bool {
        self.state().repositories.get(repository).is_some_and(|repository| repository.manifests.contains_key(digest))
    }

    /// Begins a rule for the paths that match; `*` stands for any characters. The newest rule that matches wins.
    pub(crate) fn on(&self, path: &str) -> Scripting<'_> {
        Scripting { upstream: self, rule: Rule::new(path) }
    }

    /// Forgets all rules.
    pub(crate) fn heal(&self) {
        self.state().rules.clear();
    }

    /// Every request so far.
    pub(crate) fn requests(&self) -> Vec<Seen> {
        self.state().requests.clone()
    }

    /// Forgets the requests and bytes so far.
    pub(crate) fn forget(&self) {
        let mut state = self.state();
        state.requests.clear();
        state.sent.clear();
    }

    /// How many requests matched; an empty method stands for any.
    pub(crate) fn count(&self, method: &str, path: &str) -> usize {
        let wanted = |seen: &&Seen| (method.is_empty() || seen.method == method) && matches(path, &seen.path);
        self.state().requests.iter().filter(wanted).count()
    }

    /// How many body bytes went out on the paths that match.
    pub(crate) fn bytes_sent(&self, path: &str) -> u64 {
        self.state().sent.iter().filter(|(sent, _)| matches(path, sent)).map(|(_, bytes)| bytes).sum()
    }

    /// How many connections were opened.
    pub(crate) fn connections(&self) -> usize {
        self.state().connections
    }

    /// Waits until so many requests have matched.
    pub(crate) async fn reached(&self, method: &str, path: &str, times: usize) {
        let what = format!("{times} × {method} {path}");
        eventually(&what, Duration::from_secs(20), async || self.count(method, path) >= times).await;
    }

    /// Waits until so many body bytes went out.
    pub(crate) async fn sent(&self, path: &str, bytes: u64) {
        let waited = tokio::time::timeout(Duration::from_secs(120), async {
            while self.bytes_sent(path) < bytes {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        waited.await.unwrap_or_else(|_| panic!("only {} bytes of {bytes} on {path}", self.bytes_sent(path)));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Drop for ScriptedUpstream {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// A rule on its way.
#[must_use]
pub(crate) struct Scripting<'a> {
    upstream: &'a ScriptedUpstream,
    rule: Rule,
}

impl Scripting<'_> {
    /// GET only.
    pub(crate) fn get(mut self) -> Self {
        self.rule.method = Some("GET");
        self
    }

    /// HEAD only.
    pub(crate) fn head(mut self) -> Self {
        self.rule.method = Some("HEAD");
        self
    }

    /// This method only.
    pub(crate) fn method(mut self, method: &'static str) -> Self {
        self.rule.method = Some(method);
        self
    }

    /// Only for so many requests, then never again.
    pub(crate) fn times(mut self, times: usize) -> Self {
        self.rule.remaining = Some(times);
        self
    }

    /// Lets the first requests pass before it begins.
    pub(crate) fn after(mut self, requests: usize) -> Self {
        self.rule.pass = requests;
        self
    }

    /// The rule holds from now on.
    pub(crate) fn fails(self, fault: Fault) {
        self.fails_with([fault]);
    }

    /// Several faults in one answer.
    pub(crate) fn fails_with(mut self, faults: impl IntoIterator<Item = Fault>) {
        self.rule.faults = faults.into_iter().collect();
        self.upstream.state().rules.push(self.rule);
    }
}

fn lock(state: &Shared) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

async fn accept(listener: TcpListener, state: Shared) {
    // Dropped with this task, and every connection with it.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        lock(&state).connections += 1;
        let state = state.clone();
        connections.spawn(async move {
            let service = hyper::service::service_fn(move |request| answer::answer(state.clone(), request));
            // A connection that breaks is what scripts are for.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
