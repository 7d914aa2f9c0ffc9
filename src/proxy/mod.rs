//! The flow of a request, from what is asked to what is answered.
//!
//! A manifest by tag: what the tag stands for (`tag`), the original (`contents`), and what becomes of it for this
//! client (`relocation`). By digest: exactly that digest, from whatever has it: a relocated bundle, the cache,
//! the upstream, and last a search for the bundle that it could have been made of. Blobs likewise (`blob`).
//! `explain` tells all of it to a person, `tasks` are what operators have done. A [`View`] says how one client sees the registry.
//!
//! Everything here is in the registry's own terms. HTTP is above, in `server`; bytes and their safe-keeping below,
//! in `cache`; the registry behind is below, too, in `upstream`.

mod blob;
mod contents;
mod counted;
mod error;
mod explain;
mod flights;
mod outcome;
mod relocation;
mod tag;
mod tasks;
mod undecided;
mod view;

use std::sync::Arc;

use bytes::Bytes;

pub use blob::ServedBlob;
use contents::Contents;
use counted::Counted;
pub use error::{ProxyError, Side, Subject};
pub use explain::{ExplainedImage, Explanation, Relocated};
pub use outcome::{CacheStatus, Forward, Outcome};
pub use relocation::RelocationLimits;
use relocation::{Answer, Relocation, RelocationKey, Relocator};
pub use tag::TagPolicy;
use tag::{Content, Demand, Resolved, Tags};
pub use tasks::{
    Amount, Bound, Disk, Event, Events, ListedContent, Progress, ReadReference, Stats, Task, Tasks, Wanted, Warmed,
};
pub use undecided::Undecided;
pub use view::View;

use crate::body::Clock;
use crate::cache::Cache;
use crate::imgpkg::Target;
use crate::oci::{Digest, Manifest, MediaType, Reference, RepositoryName, Tag};
use crate::telemetry::Metrics;
use crate::upstream::{TagList, TagPage, Upstream};

/// What a proxy is made of.
pub struct ProxyParts {
    /// The registry behind.
    pub upstream: Arc<dyn Upstream>,
    /// What is kept of it.
    pub cache: Cache,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Limits of relocation.
    pub relocation: RelocationLimits,
    /// How tags are believed.
    pub tags: TagPolicy,
    /// Where things are counted.
    pub metrics: Metrics,
}

/// The proxy; clones share everything.
#[derive(Clone)]
pub struct Proxy(Arc<Inner>);

struct Inner {
    contents: Arc<Contents>,
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
}

impl ServedManifest {
    fn new(manifest: Manifest, outcome: Outcome) -> Self {
        Self { manifest, status: CacheStatus::from(outcome) }
    }
}

impl Proxy {
    /// A proxy of these parts. Nothing is asked of the upstream before the first request.
    pub fn new(parts: ProxyParts) -> Self {
        let ProxyParts { upstream, cache, clock, relocation, tags, metrics } = parts;
        let upstream = Arc::new(Counted { upstream, metrics: metrics.clone() });
        let contents = Arc::new(Contents { upstream, cache });
        let tags = Tags::new(Arc::clone(&contents), Arc::clone(&clock), tags);
        let relocator = Relocator::new(Arc::clone(&contents), clock, relocation, metrics);
        Self(Arc::new(Inner { contents, tags: Arc::new(tags), relocator: Arc::new(relocator) }))
    }

    /// The registry behind, for people.
    pub fn upstream_name(&self) -> &str {
        self.0.contents.upstream.name()
    }

    /// A manifest: by tag, relocated if it is a bundle and this view relocates; by digest, exactly that one.
    ///
    /// # Errors
    /// When it is not there, or it cannot be said now what to answer.
    pub async fn manifest(
        &self,
        view: &View,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<ServedManifest, ProxyError> {
        match reference {
            Reference::Tag(tag) => self.manifest_by_tag(view, repository, tag).await,
            Reference::Digest(digest) => self.manifest_by_digest(view, repository, digest).await,
        }
    }

    /// A blob, which may still be arriving.
    ///
    /// # Errors
    /// When it is not there, or the upstream fails.
    pub async fn blob(
        &self,
        view: &View,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<ServedBlob, ProxyError> {
        let relocator = &self.0.relocator;
        // Nearly all that is asked for is an original, and which digests were made here is on the disk.
        if let Some(reader) = self.0.contents.cached_blob(repository, digest).await {
            return Ok(ServedBlob::stored(*digest, reader, Outcome::Hit));
        }
        if let Ok(Some(relocation)) = relocator.by_part(repository, digest).await {
            return self.relocated_part(repository, digest, &relocation).await;
        }
        let absent = match self.0.contents.blob(repository, digest).await {
            Ok((reader, outcome)) => return Ok(ServedBlob::stored(*digest, reader, outcome)),
            Err(error @ ProxyError::NotFound { .. }) => error,
            Err(error) => return Err(error),
        };
        let undecided = self.search(view, repository).await;
        match relocator.by_part(repository, digest).await? {
            Some(relocation) => self.relocated_part(repository, digest, &relocation).await,
            None => Err(undecided.unwrap_or(absent)),
        }
    }

    /// A blob's length alone: what a HEAD asks, and a client that has it already. Nothing is fetched for it.
    ///
    /// # Errors
    /// As [`blob`](Self::blob).
    pub async fn blob_head(
        &self,
        view: &View,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<ServedBlob, ProxyError> {
        let relocator = &self.0.relocator;
        if let Ok(Some(relocation)) = relocator.by_part(repository, digest).await {
            return Ok(part_head(digest, &relocation));
        }
        let absent = match self.0.contents.blob_head(repository, digest).await {
            Ok((size, outcome)) => return Ok(ServedBlob::unopened(*digest, size, outcome)),
            Err(error @ ProxyError::NotFound { .. }) => error,
            Err(error) => return Err(error),
        };
        let undecided = self.search(view, repository).await;
        let relocation = relocator.by_part(repository, digest).await?;
        relocation.map(|relocation| part_head(digest, &relocation)).ok_or_else(|| undecided.unwrap_or(absent))
    }

    /// One page of a repository's tags.
    ///
    /// # Errors
    /// When the repository is not there, or the upstream fails.
    pub async fn tags(&self, repository: &RepositoryName, page: &TagPage) -> Result<TagList, ProxyError> {
        let tags = self.0.contents.upstream.tags(repository, page).await;
        tags.map_err(|error| ProxyError::upstream(error, Subject::Repository, repository))
    }

    async fn manifest_by_tag(
        &self,
        view: &View,
        repository: &RepositoryName,
        tag: &Tag,
    ) -> Result<ServedManifest, ProxyError> {
        let (manifest, status) = self.original(repository, tag, Demand::Believed).await?;
        let Some((target, each)) = view.target(repository) else { return Ok(ServedManifest { manifest, status }) };
        let key = RelocationKey { repository: repository.clone(), original: manifest.digest, target, each };
        match self.0.relocator.answer(&key, &manifest).await {
            Ok(Answer::Relocated(relocation)) => {
                Ok(ServedManifest { manifest: relocated_manifest(&relocation), status: status.relocated() })
            }
            Ok(Answer::Original(_)) => Ok(ServedManifest { manifest, status }),
            Err(cause) if self.0.relocator.limits().undecided_original => {
                tracing::warn!(%repository, %tag, %cause, "undecided, served as it stands");
                Ok(ServedManifest { manifest, status })
            }
            Err(cause) => Err(cause.into()),
        }
    }

    /// The manifest that a tag stands for upstream, or stood for not long ago.
    async fn original(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        demand: Demand,
    ) -> Result<(Manifest, CacheStatus), ProxyError> {
        let Resolved { content, status } = self.0.tags.resolve(repository, tag, demand).await?;
        match content {
            Content::Manifest(manifest) => Ok((manifest, status)),
            Content::Digest(digest) => {
                let (manifest, fetched) = self.0.contents.manifest(repository, &digest).await?;
                Ok((manifest, status.fetched(fetched)))
            }
        }
    }

    async fn manifest_by_digest(
        &self,
        view: &View,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<ServedManifest, ProxyError> {
        let relocator = &self.0.relocator;
        // As for blobs: an original in memory costs no look at the disk.
        if let Some(manifest) = self.0.contents.cached_manifest(repository, digest).await {
            return Ok(ServedManifest::new(manifest, Outcome::Hit));
        }
        if let Ok(Some(relocation)) = relocator.by_manifest(repository, digest).await {
            return Ok(ServedManifest::new(relocated_manifest(&relocation), Outcome::Relocated));
        }
        let absent = match self.0.contents.manifest(repository, digest).await {
            Ok((manifest, outcome)) => return Ok(ServedManifest::new(manifest, outcome)),
            Err(error @ ProxyError::NotFound { .. }) => error,
            Err(error) => return Err(error),
        };
        let undecided = self.search(view, repository).await;
        let relocation = relocator.by_manifest(repository, digest).await?;
        let served =
            |relocation: Arc<Relocation>| ServedManifest::new(relocated_manifest(&relocation), Outcome::Relocated);
        relocation.map(served).ok_or_else(|| undecided.unwrap_or(absent))
    }

    async fn relocated_part(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        relocation: &Relocation,
    ) -> Result<ServedBlob, ProxyError> {
        if *digest == relocation.config.digest {
            let bytes = Bytes::copy_from_slice(relocation.config.text.as_bytes());
            return Ok(ServedBlob::inline(*digest, bytes));
        }
        let (original, fetched) = self.0.contents.blob(repository, &relocation.original_layer).await?;
        Ok(ServedBlob::spliced(*digest, original, relocation.recipe.clone(), fetched))
    }

    /// Relocates the bundles that the repository's tags name, so that their parts are known by digest. Gives what
    /// kept it from doing so, as the answer for a digest that is still not known.
    async fn search(&self, view: &View, repository: &RepositoryName) -> Option<ProxyError> {
        let (target, each) = view.target(repository)?;
        let relocator = &self.0.relocator;
        let search = async {
            let mut undecided = None;
            for digest in relocator.known_originals(repository).await {
                let original = self.0.contents.manifest(repository, &digest).await.map(|(manifest, _)| manifest);
                undecided = undecided.or(self.relocate_found(repository, &target, each, original).await);
            }
            let tags = match relocator.candidate_tags(repository).await {
                Ok(tags) => tags,
                Err(error) => return Some(Undecided::Upstream { what: "listing the tags".to_owned(), error }),
            };
            for tag in tags {
                // Asked anew: a tag that has moved may be what the digest was made of.
                let original = self.original(repository, &tag, Demand::Asked).await.map(|(manifest, _)| manifest);
                undecided = undecided.or(self.relocate_found(repository, &target, each, original).await);
            }
            undecided
        };
        relocator.search(repository, &target, search).await.map(ProxyError::from)
    }

    /// Relocates what a search found; gives what kept it from doing so.
    async fn relocate_found(
        &self,
        repository: &RepositoryName,
        target: &Target,
        each: bool,
        original: Result<Manifest, ProxyError>,
    ) -> Option<Undecided> {
        let manifest = match original {
            Ok(manifest) => manifest,
            Err(ProxyError::NotFound { .. }) => return None,
            Err(ProxyError::Upstream(error)) => {
                return Some(Undecided::Upstream { what: "searching the repository".to_owned(), error });
            }
            Err(error) => return Some(Undecided::Internal(error.to_string())),
        };
        let (repository, target) = (repository.clone(), target.clone());
        let key = RelocationKey { repository, original: manifest.digest, target, each };
        self.0.relocator.answer(&key, &manifest).await.err()
    }
}

fn part_head(digest: &Digest, relocation: &Relocation) -> ServedBlob {
    let is_config = *digest == relocation.config.digest;
    let size = if is_config { relocation.config.text.len() as u64 } else { relocation.recipe.size() };
    ServedBlob::unopened(*digest, size, Outcome::Relocated)
}

fn relocated_manifest(relocation: &Relocation) -> Manifest {
    Manifest {
        bytes: Bytes::copy_from_slice(relocation.manifest.text.as_bytes()),
        digest: relocation.manifest.digest,
        media_type: MediaType::from(relocation.media_type.as_str()),
    }
}
