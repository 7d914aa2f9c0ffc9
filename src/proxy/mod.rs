//! The flow of a request, from what is asked to what is answered.
//!
//! A manifest by tag: what the tag stands for (`tag`), the original (`contents`), and what becomes of it for this
//! client (`relocation`). By digest (`by_digest`): exactly that digest, from whatever has it. Blobs are served by `blob`.
//! What a repository does not have may be granted from where a lock says it is (`origins`); both together are what can be
//! pulled under its name (`sources`). What belongs to a bundle by other names is in `beside`, and made in `made`; what is done
//! for bundles of CNAB's kind, in `cnab`. What nobody here remembers is found again by a `search`. What refers to a manifest is told by `referrers`, and which
//! repositories there are by `catalog`. What clients change goes the other way (`push`).
//! Who may read what is cached is what its registry last said of them (`reader`, `readers`); a [`View`] says how one
//! client sees the registry. `explain` tells all of it to a person, `tasks` are what operators have done.
//!
//! Everything here is in the registry's own terms. HTTP is above, in `server`; bytes and their safe-keeping below,
//! in `cache`; the registry behind is below, too, in `upstream`.

mod beside;
mod blob;
mod by_digest;
mod catalog;
mod cnab;
mod contents;
mod counted;
mod epoch;
mod error;
mod explain;
mod flights;
mod health;
mod made;
mod origins;
mod outcome;
mod push;
mod reader;
mod readers;
mod recent;
mod referrers;
mod relocation;
mod seal;
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
use by_digest::{ABlob, ALength, AManifest, Want};
use cnab::Cnab;
use contents::Contents;
use counted::Counted;
use epoch::Epochs;
pub use error::{ProxyError, Side, Subject};
pub use explain::{ExplainedChild, ExplainedCnab, ExplainedCnabImage, ExplainedImage, Explanation, Nested, Relocated};
use health::Health;
pub use health::UpstreamHealth;
pub use origins::OriginPolicy;
use origins::{Grants, OriginParts, Origins};
pub use outcome::{CacheStatus, Forward, Outcome};
pub use push::{Begun, Mount, Piece, PushError, Put, Uploading};
use push::{Sessions, SubjectTurns};
pub use reader::Reader;
use readers::{Probe, Readers};
use recent::Recent;
pub use recent::{BundleDetails, LockTexts, RecentBundle};
pub use relocation::RelocationLimits;
use relocation::{Answer, Colocated, Observer, Relocation, RelocationKey, Relocator};
use seal::Seal;
use sources::Sources;
pub use tag::TagPolicy;
use tag::{Content, Demand, Resolved, Tags};
pub use tasks::{
    Amount, ArchiveFormat, Bound, Disk, EntryMark, Event, Events, Exported, ExportedRoot, ListedContent, Progress,
    ReadReference, Stats, Task, Tasks, Wanted, Warmed,
};
pub use undecided::Undecided;
pub use view::{Payer, Rights, View};

use crate::body::Clock;
use crate::cache::Cache;
use crate::oci::{Digest, Manifest, MediaType, Reference, RegistryName, Tag};
use crate::telemetry::Metrics;
use crate::upstream::{ListPage, NameList, Upstream};

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
    cnab: Cnab,
    health: HashMap<RegistryName, Watched>,
    shared: Shared,
}

/// A registry as it was given, and how it has answered.
struct Watched {
    upstream: Arc<dyn Upstream>,
    health: Arc<Health>,
}

/// What stays the same when a proxy is configured anew.
#[derive(Clone)]
struct Shared {
    /// What was asked before something was deleted is not remembered after it.
    deletions: Arc<Epochs>,
    /// The same of what a tag stood for before something was pushed.
    pushes: Arc<Epochs>,
    /// Which repositories have any is remembered by all alike.
    grants: Arc<Grants>,
    seal: Arc<Seal>,
    sessions: Arc<Sessions>,
    subject_turns: Arc<SubjectTurns>,
    recent: Arc<Recent>,
}

impl Shared {
    fn new(cache: &Cache) -> Self {
        let seal = Arc::new(Seal::new(cache.clone()));
        Self {
            deletions: Arc::new(Epochs::new()),
            pushes: Arc::new(Epochs::new()),
            grants: Arc::new(Grants::new(cache.clone())),
            sessions: Arc::new(Sessions::new(Arc::clone(&seal))),
            seal,
            subject_turns: Arc::new(SubjectTurns::new()),
            recent: Arc::default(),
        }
    }
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
        let shared = Shared::new(&parts.cache);
        Self::with(parts, shared, &HashMap::new())
    }

    /// This proxy with other parts, over the same cache. Requests that this one has begun go on as they are, and both know
    /// of what is deleted meanwhile.
    pub fn reconfigured(&self, parts: ProxyParts) -> Self {
        Self::with(parts, self.0.shared.clone(), &self.0.health)
    }

    fn with(parts: ProxyParts, shared: Shared, before: &HashMap<RegistryName, Watched>) -> Self {
        let ProxyParts { upstreams, cache, clock, verdict_ttl, relocation, origins, tags, metrics } = parts;
        let mut health = HashMap::new();
        let counted = |(name, upstream): (RegistryName, Arc<dyn Upstream>)| {
            // How one at another place answered says nothing of this one.
            let same = before.get(&name).filter(|before| Arc::ptr_eq(&before.upstream, &upstream));
            let own = same.map_or_else(|| Arc::new(Health::new(Arc::clone(&clock))), |same| Arc::clone(&same.health));
            let watched = Watched { upstream: Arc::clone(&upstream), health: Arc::clone(&own) };
            health.insert(name.clone(), watched);
            let metrics = metrics.upstream(name.as_str());
            let upstream: Arc<dyn Upstream> = Arc::new(Counted { upstream, health: own, as_client: false, metrics });
            (name, upstream)
        };
        let upstreams = Arc::new(upstreams.into_iter().map(counted).collect::<HashMap<_, _>>());
        let readers = Arc::new(Readers::new(Arc::clone(&clock), verdict_ttl));
        let (behind, known, gone) = (Arc::clone(&upstreams), Arc::clone(&readers), Arc::clone(&shared.deletions));
        let origins =
            Arc::new(OriginParts::new(origins, behind, known, cache.clone(), gone, Arc::clone(&shared.grants)));
        let tags =
            Arc::new(Tags::new(cache.clone(), Arc::clone(&clock), tags, Arc::clone(&shared.pushes), metrics.clone()));
        let (recent, watch) = (Arc::clone(&shared.recent), Arc::clone(&clock));
        let observer: Observer = Box::new(move |key, settled, seen| recent.settled(key, settled, seen, watch.now()));
        let relocator = Arc::new(Relocator::new(cache.clone(), clock, relocation, metrics, observer));
        let cnab = Cnab::new(cache.clone());
        Self(Arc::new(Inner { upstreams, cache, readers, origins, tags, relocator, cnab, health, shared }))
    }

    /// Bundles that were pulled by tag lately, the last first.
    pub fn recent_bundles(&self) -> Vec<RecentBundle> {
        self.0.shared.recent.bundles()
    }

    /// What was seen of one of them, by its id.
    pub fn recent_bundle(&self, id: &str) -> Option<BundleDetails> {
        self.0.shared.recent.details(id)
    }

    /// How a registry behind has answered so far.
    pub fn health(&self, registry: &RegistryName) -> Option<UpstreamHealth> {
        self.0.health.get(registry).map(|watched| watched.health.seen())
    }

    /// A manifest: by tag, relocated if it is a bundle and this view relocates; by digest, exactly that one.
    ///
    /// # Errors
    /// When it is not there, or it cannot be said now what to answer.
    pub async fn manifest(&self, view: &View, reference: &Reference) -> Result<ServedManifest, ProxyError> {
        let contents = self.contents(view).await?;
        self.admit(&contents, view, self.probe_manifest(view, reference)).await?;
        let served = match reference {
            Reference::Tag(tag) => self.manifest_by_tag(&contents, view, tag).await?,
            Reference::Digest(digest) => self.by_digest::<AManifest>(&contents, view, digest).await?,
        };
        self.look_ahead(&contents, view, &served.manifest);
        Ok(served)
    }

    /// A blob, which may still be arriving.
    ///
    /// # Errors
    /// When it is not there, or the upstream fails.
    pub async fn blob(&self, view: &View, digest: &Digest) -> Result<ServedBlob, ProxyError> {
        let contents = self.contents(view).await?;
        self.admit(&contents, view, self.probe_blob(view, digest)).await?;
        self.by_digest::<ABlob>(&contents, view, digest).await
    }

    /// A blob's length alone: what a HEAD asks, and a client that has it already. Nothing is fetched for it.
    ///
    /// # Errors
    /// As [`blob`](Self::blob).
    pub async fn blob_head(&self, view: &View, digest: &Digest) -> Result<ServedBlob, ProxyError> {
        let contents = self.contents(view).await?;
        self.admit(&contents, view, self.probe_blob(view, digest)).await?;
        self.by_digest::<ALength>(&contents, view, digest).await
    }

    /// One page of a repository's tags, in lexical order.
    ///
    /// # Errors
    /// When the repository is not there, or the upstream fails.
    pub async fn tags(&self, view: &View, page: &ListPage) -> Result<NameList, ProxyError> {
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
            deletions: Arc::clone(&self.0.shared.deletions),
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
            Reference::Digest(digest) => self.bundle_of::<AManifest>(view, digest).await,
        };
        match bundle {
            Some(digest) => Probe::Original { digest, asked: Subject::Manifest },
            None => Probe::Manifest(reference.clone()),
        }
    }

    /// The same for a blob.
    async fn probe_blob(&self, view: &View, digest: &Digest) -> Probe {
        match self.bundle_of::<ABlob>(view, digest).await {
            Some(digest) => Probe::Original { digest, asked: Subject::Blob },
            None => Probe::Blob(*digest),
        }
    }

    /// The bundle in the view's repository that something not of the repository's own goes back to.
    async fn bundle_of<W: Want>(&self, view: &View, digest: &Digest) -> Option<Digest> {
        let bundle_of = |digest| async move { self.0.origins.bundle_of(&view.repository, &digest).await };
        let Some(part) = self.part::<W>(view, digest).await else { return bundle_of(*digest).await };
        // A bundle within a bundle may itself be there by a grant.
        let original = *part.originals().last()?;
        Some(bundle_of(original).await.unwrap_or(original))
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
        let settled = self.0.relocator.answer(contents, &key, &manifest).await;
        self.0.shared.recent.pulled(&key, tag, &settled, self.0.cache.clock().now());
        match settled {
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
}
