//! The work on one manifest or blob, by the paths that clients' requests take.

use std::error::Error;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::teller::Teller;
use super::{Wanted, full_name};
use crate::cache::Member;
use crate::cnab::Index;
use crate::imgpkg::ImageReference;
use crate::oci::{Descriptor, Digest, Manifest, Reference};
use crate::proxy::cnab;
use crate::proxy::contents::{fill_failure, read_failure};
use crate::proxy::error::ProxyError;
use crate::proxy::outcome::Outcome;
use crate::proxy::relocation::{Answer, Colocated, Relocation, RelocationKey, inspect, read_lock};
use crate::proxy::sources::Sources;
use crate::proxy::tag::Demand;
use crate::proxy::undecided::Undecided;
use crate::proxy::view::View;
use crate::proxy::{Proxy, Subject};
use crate::rewrite::MAX_CONFIG_BYTES;

/// How long to wait before a manifest is asked for again: blobs are, too, and a pull of hundreds of images should
/// not have to be begun again because of one bad moment.
const ASKED_AGAIN_AFTER: [Duration; 3] = [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];
/// The most that an upstream's own wish to be left alone makes it wait.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Pulls from one repository.
pub(super) struct Puller {
    pub(super) contents: Arc<Sources>,
    pub(super) teller: Arc<Teller>,
    proxy: Proxy,
    pub(super) view: View,
    /// Whether it matters how a lock names images, and not only which.
    reads_locks: bool,
}

/// Something to pull.
pub(super) enum Job {
    /// A manifest that is at hand.
    Known(Original),
    /// A manifest.
    Manifest { digest: Digest, depth: u32 },
    /// The list of images in an image's lock, if it is a bundle; or of those that a CNAB bundle names elsewhere.
    Images { manifest: Manifest, depth: u32, key: Option<RelocationKey> },
    /// A config or layer.
    Blob(Descriptor),
    /// A config that is to be read.
    Config(Descriptor),
}

/// What a reference stands for.
pub(super) struct Original {
    pub(super) manifest: Manifest,
    /// How it is relocated for the clients of a tag.
    pub(super) key: Option<RelocationKey>,
    /// Whether the registry could not be asked.
    pub(super) stale: bool,
    /// Whether it ought to be in the cache now.
    pub(super) is_kept: bool,
}

/// What was pulled.
pub(super) enum Pulled {
    Manifest { manifest: Manifest, depth: u32, key: Option<RelocationKey>, is_kept: bool },
    Images { images: Images, depth: u32, fate: Fate },
    Blob { size: u64 },
    Config { digest: Digest, bytes: Bytes },
}

/// The images that a lock names.
#[derive(Default)]
pub(super) struct Images {
    pub(super) digests: Vec<Digest>,
    /// How it names them, where somebody wants to know.
    pub(super) references: Vec<ImageReference>,
}

/// What clients get for a bundle.
#[derive(Default)]
pub(super) struct Fate {
    /// The relocated one.
    pub(super) relocated: Option<Digest>,
    /// Why it is the original.
    pub(super) reason: Option<String>,
}

/// Whether the cache keeps what is come by so.
fn is_kept(outcome: Outcome) -> bool {
    !matches!(outcome, Outcome::Bypass | Outcome::InPlace)
}

impl Puller {
    /// # Errors
    /// When there is no such registry.
    pub(super) async fn new(proxy: &Proxy, view: &View, teller: Arc<Teller>) -> Result<Self, ProxyError> {
        let contents = proxy.contents(view).await?;
        Ok(Self { contents, teller, proxy: proxy.clone(), view: view.clone(), reads_locks: false })
    }

    /// The same, which reads every lock.
    pub(super) fn reading_locks(self) -> Self {
        Self { reads_locks: true, ..self }
    }

    /// The original that a reference stands for, and how it is to be relocated for a tag's clients.
    pub(super) async fn original(&self, wanted: &Wanted) -> Result<Original, ProxyError> {
        let Wanted { view, reference } = wanted;
        let (manifest, outcome, key) = match reference {
            Reference::Tag(tag) => {
                let (manifest, status) = self.proxy.original(&self.contents, tag, Demand::Believed).await?;
                let key = RelocationKey::new(view, manifest.digest);
                (manifest, status.outcome, key)
            }
            Reference::Digest(digest) => {
                let served = self.proxy.manifest(view, reference).await?;
                let relocation = match served.status.outcome {
                    Outcome::Relocated => self.proxy.0.relocator.by_manifest(&view.repository, digest).await?,
                    _ => None,
                };
                match relocation {
                    // All that a relocated bundle has of its own is recorded.
                    Some(relocation) => {
                        let (manifest, outcome) = self.contents.manifest(&relocation.original).await?;
                        (manifest, outcome, None)
                    }
                    None => (served.manifest, served.status.outcome, None),
                }
            }
        };
        self.mention_uncached(&manifest.digest, outcome).await;
        Ok(Original { manifest, key, stale: outcome == Outcome::Stale, is_kept: is_kept(outcome) })
    }

    /// Does a piece of work; tells if it cannot be done.
    pub(super) async fn run(&self, job: Job) -> Option<Pulled> {
        match job {
            Job::Known(Original { manifest, key, is_kept, .. }) => {
                Some(Pulled::Manifest { manifest, depth: 0, key, is_kept })
            }
            Job::Manifest { digest, depth } => {
                let (manifest, outcome) = self.told(&digest, self.manifest(&digest).await).await?;
                Some(Pulled::Manifest { manifest, depth, key: None, is_kept: is_kept(outcome) })
            }
            Job::Images { manifest, depth, key } => {
                let (images, fate) = self.images(&manifest, key).await;
                Some(Pulled::Images { images, depth, fate })
            }
            Job::Blob(descriptor) => {
                let pulled = self.blob(&descriptor).await;
                if descriptor.is_non_distributable() && matches!(pulled, Err(ProxyError::NotFound { .. })) {
                    return Some(Pulled::Blob { size: descriptor.size });
                }
                self.told(&descriptor.digest, pulled).await?;
                Some(Pulled::Blob { size: descriptor.size })
            }
            Job::Config(descriptor) => {
                let read = self.contents.small_blob(&descriptor.digest, MAX_CONFIG_BYTES).await;
                let bytes = self.told(&descriptor.digest, read).await?;
                Some(Pulled::Config { digest: descriptor.digest, bytes })
            }
        }
    }

    async fn manifest(&self, digest: &Digest) -> Result<(Manifest, Outcome), ProxyError> {
        let mut waits = ASKED_AGAIN_AFTER.into_iter();
        loop {
            match self.contents.manifest(digest).await {
                Err(ProxyError::Upstream(error)) if error.is_transient() => {
                    let Some(wait) = waits.next() else { return Err(error.into()) };
                    let wait = error.retry_after().unwrap_or(wait).min(LONGEST_WAIT);
                    self.contents.cache.clock().sleep(wait).await;
                }
                Err(error) => return Err(error),
                Ok((manifest, outcome)) => {
                    self.mention_uncached(digest, outcome).await;
                    return Ok((manifest, outcome));
                }
            }
        }
    }

    async fn mention_uncached(&self, digest: &Digest, outcome: Outcome) {
        if outcome == Outcome::Bypass {
            self.problem(digest, "is of a kind that is not cached (Docker schema 1)").await;
        }
    }

    /// Waits until a blob is in the cache, and the repository that has it is known to.
    async fn blob(&self, descriptor: &Descriptor) -> Result<(), ProxyError> {
        let contents = &self.contents;
        let (reader, outcome, holder) = contents.held_blob(&descriptor.digest).await?;
        if outcome == Outcome::InPlace {
            return reader.verified().await.map_err(read_failure);
        }
        let counted = self.teller.arriving(&reader);
        let complete = reader.complete().await;
        drop(counted);
        complete.map_err(fill_failure)?;
        // Also recorded beside the answer to whoever asked first, which need not be done yet.
        let member = Member { media_type: None, size: reader.size() };
        Ok(contents.cache.add_member(&holder, &descriptor.digest, member).await?)
    }

    /// The images that the lock of a bundle names, and what clients get for it; nothing for other images.
    async fn images(&self, manifest: &Manifest, key: Option<RelocationKey>) -> (Images, Fate) {
        if let Some(index) = Index::of(manifest) {
            return (self.cnab_images(manifest, &index).await, Fate::default());
        }
        let (mut fate, by_tag) = (Fate::default(), key.is_some());
        // A bundle that is pulled by its digest stays as it is; but what it names has to be found, wherever that is.
        if let Some(key) = key.or_else(|| RelocationKey::new(&self.view, manifest.digest)) {
            match self.relocate(&key, manifest).await {
                Ok(Answer::Relocated(Colocated { relocation, .. })) => {
                    fate.relocated = Some(relocation.manifest.digest);
                    let fate = if by_tag { fate } else { Fate::default() };
                    let images = match &*relocation {
                        Relocation { images, complete: true, .. } if !self.reads_locks => images.clone(),
                        _ => return (self.lock(manifest).await.unwrap_or_default(), fate),
                    };
                    return (Images { digests: images, references: Vec::new() }, fate);
                }
                Ok(Answer::Original(why)) if by_tag => fate.reason = Some(why.to_string()),
                Ok(Answer::Original(_)) => {}
                Err(cause) => {
                    self.problem(&manifest.digest, format!("cannot be relocated now: {cause}")).await;
                }
            }
        }
        match self.lock(manifest).await {
            Some(images) => (images, fate),
            None => (Images::default(), Fate::default()),
        }
    }

    /// The images of a CNAB bundle that it does not list, and that are granted from their origins.
    async fn cnab_images(&self, manifest: &Manifest, index: &Index) -> Images {
        if let Err(cause) = self.proxy.found_cnab(&self.contents, &self.view, manifest, index).await {
            let problem = format!("the images of this CNAB bundle cannot all be looked for now: {cause}");
            self.problem(&manifest.digest, problem).await;
        }
        let granted = self.proxy.0.cnab.granted(&self.contents.repository, &manifest.digest).await;
        let digests: Vec<Digest> = granted.into_iter().flat_map(|origin| origin.images).collect();
        let mut references = Vec::new();
        if self.reads_locks
            && let Ok(Ok(file)) = cnab::read(&self.contents, index).await
        {
            references = cnab::missing_from(index, &file);
            references.retain(|reference| digests.contains(&reference.digest));
        }
        Images { digests, references }
    }

    /// Has a bundle relocated, however long that takes: nobody waits with a request for it.
    async fn relocate(&self, key: &RelocationKey, manifest: &Manifest) -> Result<Answer, Undecided> {
        loop {
            match self.proxy.0.relocator.answer(&self.contents, key, manifest).await {
                Err(Undecided::Deadline) => {}
                settled => return settled,
            }
        }
    }

    /// What the lock of a bundle names; `None` for what is no bundle.
    async fn lock(&self, manifest: &Manifest) -> Option<Images> {
        let limits = self.proxy.0.relocator.limits();
        let read = async {
            let bundle = match inspect(&self.contents, manifest, limits.max_layer_bytes).await? {
                Ok(bundle) => bundle,
                Err(reason) => return Ok(Err(reason)),
            };
            read_lock(&self.contents, &bundle).await.map(|lock| lock.map(|lock| lock.images))
        };
        match read.await {
            Ok(Ok(lock)) => {
                let references: Vec<ImageReference> = lock.images().map(|image| image.reference.clone()).collect();
                Some(Images { digests: references.iter().map(|reference| reference.digest).collect(), references })
            }
            Ok(Err(reason)) if reason.is_not_a_bundle() => None,
            Ok(Err(reason)) => {
                self.problem(&manifest.digest, format!("the images of this bundle are not known: {reason}")).await;
                Some(Images::default())
            }
            Err(cause) => {
                let problem = format!("whether this is a bundle, and of which images, is not known now: {cause}");
                self.problem(&manifest.digest, problem).await;
                Some(Images::default())
            }
        }
    }

    pub(super) async fn told<T>(&self, digest: &Digest, result: Result<T, ProxyError>) -> Option<T> {
        match result {
            Ok(value) => return Some(value),
            Err(ProxyError::NotFound { subject: Subject::Manifest, .. }) => {
                self.problem(digest, "this image is not in the repository").await;
            }
            Err(error) => self.failed(digest, &error).await,
        }
        None
    }

    /// Tells a problem with a part.
    pub(super) async fn problem(&self, digest: &Digest, problem: impl Display) {
        self.teller.problem(full_name(&self.contents.repository, &digest.to_string()), problem).await;
    }

    /// Tells an error about a part, with its causes.
    pub(super) async fn failed(&self, digest: &Digest, error: &(dyn Error + Send + Sync + 'static)) {
        self.teller.failed(full_name(&self.contents.repository, &digest.to_string()), error).await;
    }
}
