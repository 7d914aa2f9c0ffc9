//! An upstream that is slow, breaks off, lies and forgets as the dice fall.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use colocate::body::{self, Body, BoxFuture};
use colocate::oci::{Digest, Manifest, Reference, RepositoryName};
use colocate::upstream::{
    Blob, Challenges, Change, Changed, ClientCredential, ListPage, ManifestHead, NameList, Referrer, TimeoutStage,
    UpstreamError,
};
use http::StatusCode;

use super::content::{APP, Content, OTHER};
use crate::support::chance::Chance;

/// The largest piece of a body.
const PIECE: u64 = 16 << 10;

pub(super) struct Upstream {
    blobs: BTreeMap<Digest, Bytes>,
    manifests: BTreeMap<Digest, Manifest>,
    shared: Vec<Digest>,
    tags: Mutex<BTreeMap<String, Digest>>,
    chance: Mutex<Chance>,
    calm: AtomicBool,
}

impl Upstream {
    pub(super) fn new(content: &Content, chance: Chance) -> Self {
        let own = |digest: &Digest| !content.relocated.values().any(|relocated| relocated == digest);
        let manifests = content.manifests.iter().filter(|(digest, _)| own(digest));
        let manifests: BTreeMap<_, _> = manifests.map(|(digest, manifest)| (*digest, manifest.clone())).collect();
        // What a relocated bundle consists of is not here, but for an image's parts that it may share.
        let named: Vec<_> = manifests.values().flat_map(super::content::named).collect();
        let made: Vec<_> =
            content.relocated.values().flat_map(|digest| super::content::named(&content.manifests[digest])).collect();
        let here = |digest: &Digest| named.contains(digest) || !made.contains(digest);
        let blobs = content.blobs.iter().filter(|(digest, _)| here(digest));
        Self {
            blobs: blobs.map(|(digest, bytes)| (*digest, bytes.clone())).collect(),
            manifests,
            shared: content.shared.iter().copied().collect(),
            tags: Mutex::default(),
            chance: Mutex::new(chance),
            calm: AtomicBool::new(false),
        }
    }

    pub(super) fn calm(content: &Content) -> Self {
        let upstream = Self::new(content, Chance::of(0));
        upstream.calm_down();
        upstream
    }

    pub(super) fn calm_down(&self) {
        self.calm.store(true, Ordering::SeqCst);
    }

    pub(super) fn tag(&self, tag: &str, digest: Digest) {
        self.tags.lock().unwrap().insert(tag.to_owned(), digest);
    }

    /// The manifests there are.
    pub(super) fn manifests(&self) -> Vec<Digest> {
        self.manifests.keys().copied().collect()
    }

    /// Whether a repository has a blob.
    pub(super) fn has(&self, repository: &str, digest: &Digest) -> bool {
        self.blobs.contains_key(digest) && (repository == APP || self.shared.contains(digest))
    }

    fn once_in(&self, times: u64) -> bool {
        !self.calm.load(Ordering::SeqCst) && self.chance.lock().unwrap().once_in(times)
    }

    fn within(&self, from: u64, to: u64) -> u64 {
        self.chance.lock().unwrap().within(from, to)
    }

    /// Time passes, and perhaps there is no answer.
    async fn think(&self) -> Result<(), UpstreamError> {
        let longest = if self.once_in(10) { 20_000 } else { 300 };
        tokio::time::sleep(Duration::from_millis(self.within(0, longest))).await;
        if !self.once_in(5) {
            return Ok(());
        }
        Err(match self.within(0, 4) {
            0 => UpstreamError::Unauthorized { challenges: Challenges::default() },
            1 => UpstreamError::Timeout { what: TimeoutStage::Response },
            2 => {
                let retry_after = Some(Duration::from_secs(self.within(0, 40)));
                UpstreamError::Unavailable { status: StatusCode::SERVICE_UNAVAILABLE, retry_after, asked: true }
            }
            _ => UpstreamError::Unavailable { status: StatusCode::BAD_GATEWAY, retry_after: None, asked: true },
        })
    }

    fn resolve(&self, repository: &RepositoryName, reference: &Reference) -> Result<&Manifest, UpstreamError> {
        let digest = match reference {
            Reference::Digest(digest) => Some(*digest),
            Reference::Tag(tag) => self.tags.lock().unwrap().get(tag.as_str()).copied(),
        };
        let manifest = digest.filter(|_| repository.as_str() == APP).and_then(|digest| self.manifests.get(&digest));
        manifest.ok_or(UpstreamError::NotFound)
    }

    fn body(&self, mut bytes: Vec<u8>, start: u64) -> Body {
        let size = bytes.len() as u64;
        let left = size - start;
        if left > 0 && self.once_in(8) {
            let flipped = self.within(start, size) as usize;
            bytes[flipped] ^= 1;
        }
        let cut = if self.once_in(3) { self.within(0, left + 1) } else { u64::MAX };
        let chance = Chance::of(self.within(0, u64::MAX));
        let bytes = Bytes::from(bytes);
        body::sized(left, (bytes, start, chance), move |(bytes, at, mut chance)| async move {
            tokio::time::sleep(Duration::from_millis(chance.within(0, 50))).await;
            let sent = at - start;
            if sent >= cut {
                return Err(io::Error::from(io::ErrorKind::ConnectionReset).into());
            }
            let end = (at + chance.within(1, PIECE)).min(start.saturating_add(cut)).min(size);
            Ok(Some((bytes.slice(at as usize..end as usize), (bytes, end, chance))))
        })
    }
}

impl colocate::upstream::Upstream for Upstream {
    fn manifest<'a>(
        &'a self,
        repository: &'a RepositoryName,
        reference: &'a Reference,
    ) -> BoxFuture<'a, Result<Manifest, UpstreamError>> {
        Box::pin(async move {
            self.think().await?;
            self.resolve(repository, reference).cloned()
        })
    }

    fn manifest_head<'a>(
        &'a self,
        repository: &'a RepositoryName,
        reference: &'a Reference,
    ) -> BoxFuture<'a, Result<ManifestHead, UpstreamError>> {
        Box::pin(async move {
            self.think().await?;
            let Manifest { bytes, digest, media_type } = self.resolve(repository, reference)?.clone();
            Ok(ManifestHead { digest, media_type, size: bytes.len() as u64 })
        })
    }

    fn blob<'a>(
        &'a self,
        repository: &'a RepositoryName,
        digest: &'a Digest,
        offset: u64,
    ) -> BoxFuture<'a, Result<Blob, UpstreamError>> {
        Box::pin(async move {
            self.think().await?;
            if !self.has(repository.as_str(), digest) {
                return Err(UpstreamError::NotFound);
            }
            let bytes = self.blobs[digest].to_vec();
            let size = bytes.len() as u64;
            if offset >= size && offset > 0 {
                return Err(UpstreamError::RangeNotSatisfiable { offset });
            }
            let offset = if self.once_in(4) { 0 } else { offset };
            Ok(Blob { offset, size: Some(size), body: self.body(bytes, offset) })
        })
    }

    fn blob_head<'a>(
        &'a self,
        repository: &'a RepositoryName,
        digest: &'a Digest,
    ) -> BoxFuture<'a, Result<u64, UpstreamError>> {
        Box::pin(async move {
            self.think().await?;
            let found = self.has(repository.as_str(), digest).then(|| self.blobs[digest].len() as u64);
            found.ok_or(UpstreamError::NotFound)
        })
    }

    fn tags<'a>(
        &'a self,
        repository: &'a RepositoryName,
        _: &'a ListPage,
    ) -> BoxFuture<'a, Result<NameList, UpstreamError>> {
        Box::pin(async move {
            self.think().await?;
            let known = matches!(repository.as_str(), APP | OTHER);
            let names = self.tags.lock().unwrap().keys().cloned().collect();
            if known { Ok(NameList { names, more: false, after: None }) } else { Err(UpstreamError::NotFound) }
        })
    }

    fn catalog<'a>(&'a self, _: &'a ListPage) -> BoxFuture<'a, Result<NameList, UpstreamError>> {
        Box::pin(async { Err(UpstreamError::NotFound) })
    }

    fn referrers<'a>(
        &'a self,
        _: &'a RepositoryName,
        _: &'a Digest,
        _: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Option<Vec<Referrer>>, UpstreamError>> {
        Box::pin(async { Ok(None) })
    }

    fn change<'a>(&'a self, _: &'a RepositoryName, _: Change<'a>) -> BoxFuture<'a, Result<Changed, UpstreamError>> {
        Box::pin(std::future::ready(Err(UpstreamError::ReadOnly)))
    }

    fn ping<'a>(&'a self) -> BoxFuture<'a, Result<(), UpstreamError>> {
        Box::pin(self.think())
    }

    fn for_client(&self, _: &ClientCredential) -> Option<Arc<dyn colocate::upstream::Upstream>> {
        None
    }

    fn name(&self) -> &str {
        "upstream.example"
    }
}
