//! The flow of a request, from what is asked to what is answered.
//!
//! A manifest by tag: what the tag stands for (`tag`), the original (`contents`), and what becomes of it for this
//! client (`relocation`). By digest: exactly that digest, from whatever has it: a relocated bundle, the cache,
//! the upstream, and last a search for the bundle that it could have been made of. Blobs likewise (`blob`).
//! What a repository does not have may be granted from where a lock says it is (`origins`); both together are what can be
//! pulled under its name (`sources`). What belongs to a bundle by other names is in `beside`, and made in `made`. What
//! nobody here remembers is found again by a `search`.
//! Who may read what is cached is what its registry last said of them (`reader`, `readers`); a [`View`] says how one
//! client sees the registry. `explain` tells all of it to a person, `tasks` are what operators have done.
//!
//! Everything here is in the registry's own terms. HTTP is above, in `server`; bytes and their safe-keeping below,
//! in `cache`; the registry behind is below, too, in `upstream`.

mod beside;
mod blob;
mod contents;
mod counted;
mod error;
mod explain;
mod flights;
mod made;
mod origins;
mod outcome;
mod reader;
mod readers;
mod relocation;
mod search;
mod sources;
mod tag;
mod tasks;
mod undecided;
mod view;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

pub use blob::ServedBlob;
use contents::Contents;
use counted::Counted;
pub use error::{ProxyError, Side, Subject};
pub use explain::{ExplainedChild, ExplainedImage, Explanation, Nested, Relocated};
use made::Made;
pub use origins::OriginPolicy;
use origins::{OriginParts, Origins};
pub use outcome::{CacheStatus, Forward, Outcome};
pub use reader::Reader;
use readers::{Probe, Readers};
pub use relocation::RelocationLimits;
use relocation::{Answer, Colocated, Relocation, RelocationKey, Relocator};
use sources::{Sources, not_elsewhere};
pub use tag::TagPolicy;
use tag::{Content, Demand, Resolved, Tags};
pub use tasks::{
    Amount, Bound, Disk, Event, Events, ListedContent, Progress, ReadReference, Stats, Task, Tasks, Wanted, Warmed,
};
pub use undecided::Undecided;
pub use view::{Payer, Rights, View};

use crate::body::Clock;
use crate::cache::Cache;
use crate::oci::{Digest, Manifest, MediaType, Reference, RegistryName, Tag};
use crate::telemetry::Metrics;
use crate::upstream::{TagList, TagPage, Upstream};

/// What a proxy is made of.
pub struct ProxyParts {
    /// The registries behind.
    pub upstreams: HashMap<RegistryName, Arc<dyn Upstream>>,
    /// What is kept of them.
    pub cache: Cache,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// How long the upstream's word is believed that a client may read a repository.
    pub verdict_ttl: Duration,
    /// Limits of relocation.
    pub relocation: RelocationLimits,
    /// Which images may come from elsewhere.
    pub origins: OriginPolicy,
    /// How tags are believed.
    pub tags: TagPolicy,
    /// Where things are counted.
    pub metrics: Metrics,
}

/// The proxy; clones share everything.
#[derive(Clone)]
pub struct Proxy(Arc<Inner>);

struct Inner {
    upstreams: Arc<HashMap<RegistryName, Arc<dyn Upstream>>>,
    cache: Cache,
    readers: Arc<Readers>,
    origins: Arc<OriginParts>,
    tags: Arc<Tags>,
    relocator: Arc<Relocator>,
}

/// A manifest to be served.
#[derive(Clone, Debug)]
pub struct ServedManifest {
    /// Bytes, digest and media type.
    pub manifest: Manifest,
    /// What the cache had to do with it.
    pub status: CacheStatus,
    /// Of a relocated bundle, the original's digest.
    pub original: Option<Digest>,
}

impl ServedManifest {
    fn new(manifest: Manifest, outcome: Outcome) -> Self {
        Self { manifest, status: CacheStatus::from(outcome), original: None }
    }

    fn relocated(relocation: &Relocation, status: CacheStatus) -> Self {
        let manifest = Manifest {
            bytes: Bytes::copy_from_slice(relocation.manifest.text.as_bytes()),
            digest: relocation.manifest.digest,
            media_type: MediaType::from(relocation.media_type.as_str()),
        };
        Self { manifest, status, original: Some(relocation.original) }
    }
}

impl Proxy {
    /// A proxy of these parts. Nothing is asked of the upstream before the first request.
    pub fn new(parts: ProxyParts) -> Self {
        let ProxyParts { upstreams, cache, clock, verdict_ttl, relocation, origins, tags, metrics } = parts;
        let counted = |(name, upstream)| {
            let upstream: Arc<dyn Upstream> = Arc::new(Counted { upstream, metrics: metrics.clone() });
            (name, upstream)
        };
        let upstreams = Arc::new(upstreams.into_iter().map(counted).collect::<HashMap<_, _>>());
        let readers = Arc::new(Readers::new(Arc::clone(&clock), verdict_ttl));
        let origins = OriginParts::new(origins, Arc::clone(&upstreams), Arc::clone(&readers), cache.clone());
        let origins = Arc::new(origins);
        let tags = Arc::new(Tags::new(cache.clone(), Arc::clone(&clock), tags));
        let relocator = Arc::new(Relocator::new(cache.clone(), clock, relocation, metrics.clone()));
        Self(Arc::new(Inner { upstreams, cache, readers, origins, tags, relocator }))
    }

    /// A manifest: by tag, relocated if it is a bundle and this view relocates; by digest, exactly that one.
    ///
    /// # Errors
    /// When it is not there, or it cannot be said now what to answer.
    pub async fn manifest(&self, view: &View, reference: &Reference) -> Result<ServedManifest, ProxyError> {
        let contents = self.contents(view).await?;
        self.admit(&contents, view, self.probe_manifest(view, reference)).await?;
        match reference {
            Reference::Tag(tag) => self.manifest_by_tag(&contents, view, tag).await,
            Reference::Digest(digest) => self.manifest_by_digest(&contents, view, digest).await,
        }
    }

    /// A blob, which may still be arriving.
    ///
    /// # Errors
    /// When it is not there, or the upstream fails.
    pub async fn blob(&self, view: &View, digest: &Digest) -> Result<ServedBlob, ProxyError> {
        let (contents, relocator, repository) = (self.contents(view).await?, &self.0.relocator, &view.repository);
        self.admit(&contents, view, self.probe_blob(view, digest)).await?;
        // Nearly all that is asked for is an original, and which digests were made here is on the disk.
        if let Some(reader) = contents.cached_blob(digest).await {
            return Ok(ServedBlob::stored(*digest, reader, Outcome::Hit));
        }
        let (relocation, made) = tokio::join!(relocator.by_part(repository, digest), self.made(view, digest));
        if let Ok(Some(relocation)) = relocation {
            return relocated_part(&contents, digest, &relocation).await;
        }
        if let Some(made) = made {
            return Ok(ServedBlob::inline(*digest, made.bytes));
        }
        let absent = match contents.blob(digest).await {
            Ok((reader, outcome)) => return Ok(ServedBlob::stored(*digest, reader, outcome)),
            Err(error @ ProxyError::NotFound { .. }) => error,
            Err(error) => return Err(error),
        };
        let undecided = self.search(view, digest).await;
        if let Some(relocation) = relocator.by_part(repository, digest).await? {
            return relocated_part(&contents, digest, &relocation).await;
        }
        if let Some(made) = self.made(view, digest).await {
            return Ok(ServedBlob::inline(*digest, made.bytes));
        }
        // What was searched for may have been granted.
        match contents.granted_blob(digest).await {
            Ok(Some((reader, outcome, _))) => Ok(ServedBlob::stored(*digest, reader, outcome)),
            Ok(None) => Err(undecided.unwrap_or(absent)),
            Err(error) => Err(not_elsewhere(absent, Some(error))),
        }
    }

    /// A blob's length alone: what a HEAD asks, and a client that has it already. Nothing is fetched for it.
    ///
    /// # Errors
    /// As [`blob`](Self::blob).
    pub async fn blob_head(&self, view: &View, digest: &Digest) -> Result<ServedBlob, ProxyError> {
        let (contents, relocator, repository) = (self.contents(view).await?, &self.0.relocator, &view.repository);
        self.admit(&contents, view, self.probe_blob(view, digest)).await?;
        let (relocation, made) = tokio::join!(relocator.by_part(repository, digest), self.made(view, digest));
        if let Ok(Some(relocation)) = relocation {
            return Ok(part_head(digest, &relocation));
        }
        if let Some(made) = made {
            return Ok(ServedBlob::inline(*digest, made.bytes));
        }
        let absent = match contents.blob_head(digest).await {
            Ok((size, outcome)) => return Ok(ServedBlob::unopened(*digest, size, outcome)),
            Err(error @ ProxyError::NotFound { .. }) => error,
            Err(error) => return Err(error),
        };
        let undecided = self.search(view, digest).await;
        if let Some(relocation) = relocator.by_part(repository, digest).await? {
            return Ok(part_head(digest, &relocation));
        }
        if let Some(made) = self.made(view, digest).await {
            return Ok(ServedBlob::inline(*digest, made.bytes));
        }
        match contents.granted_blob_head(digest).await {
            Ok(Some((size, outcome))) => Ok(ServedBlob::unopened(*digest, size, outcome)),
            Ok(None) => Err(undecided.unwrap_or(absent)),
            Err(error) => Err(not_elsewhere(absent, Some(error))),
        }
    }

    /// One page of a repository's tags.
    ///
    /// # Errors
    /// When the repository is not there, or the upstream fails.
    pub async fn tags(&self, view: &View, page: &TagPage) -> Result<TagList, ProxyError> {
        let (contents, repository) = (self.contents(view).await?, &view.repository.name);
        let tags = contents.upstream.tags(repository, page).await;
        tags.map_err(|error| ProxyError::upstream(error, Subject::Repository, repository))
    }

    /// Whether a registry lets a client in at all: what it says to the API's root.
    ///
    /// # Errors
    /// What it says instead, or why it cannot be asked.
    pub async fn ping(&self, registry: &RegistryName, reader: &Reader) -> Result<(), ProxyError> {
        Ok(self.upstream(registry, Some(reader)).await?.ping().await?)
    }

    /// The originals of a view's repository.
    async fn contents(&self, view: &View) -> Result<Arc<Sources>, ProxyError> {
        let View { repository, reader, payer, .. } = view;
        let own = Arc::new(Contents {
            upstream: self.upstream(&repository.registry, reader.as_ref()).await?,
            repository: repository.clone(),
            reader: reader.as_ref().map(Reader::key),
            payer: payer.clone(),
            cache: self.0.cache.clone(),
        });
        Ok(Arc::new(Sources { own, origins: Origins::of(&self.0.origins, view) }))
    }

    /// A registry, as a client asks it.
    async fn upstream(
        &self,
        registry: &RegistryName,
        reader: Option<&Reader>,
    ) -> Result<Arc<dyn Upstream>, ProxyError> {
        let upstream = self.0.upstreams.get(registry).ok_or(ProxyError::NoRegistry)?;
        match reader {
            None => Ok(Arc::clone(upstream)),
            Some(reader) => self.0.readers.face(reader, registry, upstream).await.ok_or(ProxyError::NoRegistry),
        }
    }

    /// Whether the client may read the repository, where the upstream judges that.
    async fn admit(
        &self,
        contents: &Sources,
        view: &View,
        probe: impl Future<Output = Probe>,
    ) -> Result<(), ProxyError> {
        match &view.reader {
            None => Ok(()),
            Some(reader) => self.0.readers.admit(contents, reader, probe).await,
        }
    }

    /// What a client that may read this manifest can see upstream: what was made here, or granted, only as the bundle that
    /// it goes back to.
    async fn probe_manifest(&self, view: &View, reference: &Reference) -> Probe {
        let bundle = match reference {
            Reference::Tag(_) => None,
            Reference::Digest(digest) => {
                let relocated = self.0.relocator.by_manifest(&view.repository, digest).await.ok().flatten();
                self.bundle_of(view, digest, relocated).await
            }
        };
        match bundle {
            Some(digest) => Probe::Original { digest, asked: Subject::Manifest },
            None => Probe::Manifest(reference.clone()),
        }
    }

    /// The same for a blob.
    async fn probe_blob(&self, view: &View, digest: &Digest) -> Probe {
        let relocated = self.0.relocator.by_part(&view.repository, digest).await.ok().flatten();
        match self.bundle_of(view, digest, relocated).await {
            Some(digest) => Probe::Original { digest, asked: Subject::Blob },
            None => Probe::Blob(*digest),
        }
    }

    /// The bundle in the view's repository that something not of the repository's own goes back to.
    async fn bundle_of(&self, view: &View, digest: &Digest, relocated: Option<Arc<Relocation>>) -> Option<Digest> {
        let original = match relocated {
            Some(relocation) => relocation.original,
            None => match self.made(view, digest).await {
                Some(made) => made.original,
                None => return self.0.origins.bundle_of(&view.repository, digest).await,
            },
        };
        // A bundle within a bundle may itself be there by a grant.
        Some(self.0.origins.bundle_of(&view.repository, &original).await.unwrap_or(original))
    }

    async fn manifest_by_tag(
        &self,
        contents: &Arc<Sources>,
        view: &View,
        tag: &Tag,
    ) -> Result<ServedManifest, ProxyError> {
        if view.target.is_some()
            && let Some(served) = self.derived(contents, view, tag).await?
        {
            return Ok(served);
        }
        let (manifest, status) = self.original(contents, tag, Demand::Believed).await?;
        let Some(key) = RelocationKey::new(view, manifest.digest) else {
            return Ok(ServedManifest { manifest, status, original: None });
        };
        match self.0.relocator.answer(contents, &key, &manifest).await {
            Ok(Answer::Relocated(Colocated { relocation, .. })) => {
                Ok(ServedManifest::relocated(&relocation, status.relocated()))
            }
            Ok(Answer::Original(_)) => Ok(ServedManifest { manifest, status, original: None }),
            Err(cause) if self.0.relocator.limits().undecided_original => {
                tracing::warn!(repository = %view.repository, %tag, %cause, "undecided, served as it stands");
                Ok(ServedManifest { manifest, status, original: None })
            }
            Err(cause) => Err(cause.into()),
        }
    }

    /// The manifest that a tag stands for upstream, or stood for not long ago.
    async fn original(
        &self,
        contents: &Arc<Sources>,
        tag: &Tag,
        demand: Demand,
    ) -> Result<(Manifest, CacheStatus), ProxyError> {
        let Resolved { content, status } = self.0.tags.resolve(&contents.own, tag, demand).await?;
        match content {
            Content::Manifest(manifest) => Ok((manifest, status)),
            Content::Digest(digest) => {
                let (manifest, fetched) = contents.manifest(&digest).await?;
                Ok((manifest, status.fetched(fetched)))
            }
        }
    }

    async fn manifest_by_digest(
        &self,
        contents: &Arc<Sources>,
        view: &View,
        digest: &Digest,
    ) -> Result<ServedManifest, ProxyError> {
        let (relocator, repository) = (&self.0.relocator, &view.repository);
        // As for blobs: an original in memory costs no look at the disk.
        if let Some(manifest) = contents.cached_manifest(digest).await {
            return Ok(ServedManifest::new(manifest, Outcome::Hit));
        }
        let (relocation, made) =
            tokio::join!(relocator.by_manifest(repository, digest), self.made_manifest(view, digest));
        if let Ok(Some(relocation)) = relocation {
            return Ok(ServedManifest::relocated(&relocation, Outcome::Relocated.into()));
        }
        if let Some(made) = made {
            return Ok(made);
        }
        let absent = match contents.manifest(digest).await {
            Ok((manifest, outcome)) => return Ok(ServedManifest::new(manifest, outcome)),
            Err(error @ ProxyError::NotFound { .. }) => error,
            Err(error) => return Err(error),
        };
        let undecided = self.search(view, digest).await;
        let relocation = relocator.by_manifest(repository, digest).await?;
        if let Some(relocation) = relocation {
            return Ok(ServedManifest::relocated(&relocation, Outcome::Relocated.into()));
        }
        if let Some(made) = self.made_manifest(view, digest).await {
            return Ok(made);
        }
        // What was searched for may have been granted.
        match contents.granted_manifest(digest).await {
            Ok(Some((manifest, outcome))) => Ok(ServedManifest::new(manifest, outcome)),
            Ok(None) => Err(undecided.unwrap_or(absent)),
            Err(error) => Err(not_elsewhere(absent, Some(error))),
        }
    }

    /// A manifest that was made here beside a bundle.
    async fn made_manifest(&self, view: &View, digest: &Digest) -> Option<ServedManifest> {
        let made = self.made(view, digest).await?;
        Some(ServedManifest::new(made.manifest()?, Outcome::Relocated))
    }

    /// What was made here beside a bundle; nothing in the exact view.
    async fn made(&self, view: &View, digest: &Digest) -> Option<Made> {
        view.target.as_ref()?;
        Made::find(&self.0.cache, &view.repository, digest).await
    }
}

async fn relocated_part(
    contents: &Sources,
    digest: &Digest,
    relocation: &Relocation,
) -> Result<ServedBlob, ProxyError> {
    if *digest == relocation.config.digest {
        let bytes = Bytes::copy_from_slice(relocation.config.text.as_bytes());
        return Ok(ServedBlob::inline(*digest, bytes));
    }
    let (original, fetched) = contents.blob(&relocation.original_layer).await?;
    Ok(ServedBlob::spliced(*digest, original, relocation.recipe.clone(), fetched))
}

fn part_head(digest: &Digest, relocation: &Relocation) -> ServedBlob {
    let is_config = *digest == relocation.config.digest;
    let size = if is_config { relocation.config.text.len() as u64 } else { relocation.recipe.size() };
    ServedBlob::unopened(*digest, size, Outcome::Relocated)
}
