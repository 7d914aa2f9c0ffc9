//! Relocation: what becomes of a bundle, decided once and kept.
//!
//! [`Relocator::answer`] looks first at what it remembers (`memory`), then joins or starts the work on the bundle
//! (`work`): inspect it, run its layer through the rewriter (`pass`) while its images are looked for (`verdict`,
//! `locations`), and put the two together. One piece of work serves everyone who waits for it, and goes on when
//! they have stopped waiting. `search` finds bundles again whose relocation nobody remembers.
//!
//! An answer is a value (`answer`): relocated, original and why, or undecided and why. Once given, "relocated"
//! stays until an image is confirmed gone, which a later look (`again`) may find; and what was relocated is served by digest
//! for good. Images that are at their origins are written down with the answer (`granting`).

mod again;
mod answer;
mod granting;
mod in_files;
mod locations;
mod memory;
mod pass;
mod passes;
mod record;
mod search;
mod verdict;
mod witness;
mod work;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub(super) use answer::{Answer, Colocated, Why};
pub(super) use granting::grant;
use granting::may_read;
pub(super) use locations::Listed;
use memory::{Memory, Remembered};
use passes::Passes;
pub(super) use record::{AtOrigin, Relocation, RelocationKey};
pub(super) use search::{Depth, MAX_TAGS};
pub(super) use verdict::{Effort, Extent, Found, Sought, Verdict, look_for, verdict};
pub(super) use witness::Seen;
use witness::Witness;
pub(super) use work::{BundleLock, Worked, assemble, glance, inspect, read_lock, rewrite_layer};
use work::{Stopped, work};

use super::error::ProxyError;
use super::flights::{Crowd, Flight, Flights};
use super::made::{Kinds, Provenance};
use super::sources::Sources;
use super::undecided::Undecided;
use crate::body::Clock;
use crate::cache::Cache;
use crate::imgpkg::{ImagesLock, Target};
use crate::oci::{Digest, Manifest, Repository, Tag};
use crate::rewrite::Unchanged;
use crate::telemetry::{Metrics, Span, SpanKind};
use crate::upstream::UpstreamError;

/// How old the last look at a relocated bundle's images may be before they are looked at again. That is done
/// behind the answer, which meanwhile stands.
pub(super) const SEEN_FOR: Duration = Duration::from_secs(600);

/// And after how long, if the upstream could not say.
const LOOK_AGAIN_AFTER_TROUBLE: Duration = Duration::from_secs(30);

/// How deep bundles within bundles are followed. imgpkg's own have two or three levels.
pub(super) const MAX_NESTING: u32 = 8;

/// The limits of relocation; the configuration's `relocation`.
#[derive(Clone, Debug)]
pub struct RelocationLimits {
    /// How long a client waits for an answer.
    pub deadline: Duration,
    /// Whether a client gets the original where the answer is undecided, rather than an error.
    pub undecided_original: bool,
    /// How long "not all images are there" is believed.
    pub negative_ttl: Duration,
    /// The largest layer that is rewritten, compressed, in bytes.
    pub max_layer_bytes: u64,
    /// Images of one bundle looked for at one time.
    pub concurrency: usize,
    /// Rewriting passes at one time.
    pub max_passes: usize,
    /// Of these, for one client.
    pub max_passes_per_client: usize,
    /// Targets one bundle is relocated for.
    pub max_targets: usize,
    /// Images of one bundle that are asked for one by one.
    pub max_images: usize,
}

impl RelocationLimits {
    /// How much may be asked for one bundle.
    pub(super) fn effort(&self) -> Effort {
        Effort { concurrency: self.concurrency, max_images: self.max_images }
    }
}

/// Decides what becomes of bundles. See the [module](self).
pub(super) struct Relocator {
    clock: Arc<dyn Clock>,
    limits: RelocationLimits,
    metrics: Metrics,
    memory: Memory,
    passes: Passes,
    flights: Flights<RelocationKey, Settled>,
    searches: search::Searches,
    observer: Observer,
}

pub(super) type Settled = Result<Answer, Undecided>;

/// Who is told what was settled of a bundle, and what was seen of it.
pub(super) type Observer = Box<dyn Fn(&RelocationKey, &Settled, &Seen) + Send + Sync>;

/// How often a bundle is worked on when something is deleted beside it each time.
const MAX_ATTEMPTS: usize = 3;

impl Relocator {
    pub(super) fn new(
        cache: Cache,
        clock: Arc<dyn Clock>,
        limits: RelocationLimits,
        metrics: Metrics,
        observer: Observer,
    ) -> Self {
        Self {
            memory: Memory::new(cache, Arc::clone(&clock)),
            passes: Passes::new(limits.max_passes, limits.max_passes_per_client, metrics.clone()),
            clock,
            limits,
            metrics,
            flights: Flights::default(),
            searches: search::Searches::default(),
            observer,
        }
    }

    pub(super) fn limits(&self) -> &RelocationLimits {
        &self.limits
    }

    /// What becomes of the image `manifest` for the clients of `key`; of these, for the one of `contents`.
    ///
    /// An image at its origin counts for those who may read it there. For others only what is beside the bundle does.
    pub(super) async fn answer(
        self: &Arc<Self>,
        contents: &Arc<Sources>,
        key: &RelocationKey,
        manifest: &Manifest,
    ) -> Settled {
        match self.answer_all(contents, key, manifest).await? {
            Answer::Relocated(colocated) if !may_read(contents, &colocated).await? => {
                self.answer_all(contents, &key.beside(), manifest).await
            }
            answer => Ok(answer),
        }
    }

    async fn answer_all(
        self: &Arc<Self>,
        contents: &Arc<Sources>,
        key: &RelocationKey,
        manifest: &Manifest,
    ) -> Settled {
        // Most images have several layers; that needs no work, no record and no mention.
        if let Err(reason) = work::glance(manifest) {
            return Ok(Answer::Original(Why::Unchanged(reason)));
        }
        match self.memory.answer(key, contents.reader).await {
            // Of files that were taken away, nothing is believed to be there.
            Ok(Some(Remembered::Relocated { colocated, .. })) if in_files::is_lost(contents, &colocated).await => {
                return landed(self.look_again(contents, key, manifest, &colocated)).await;
            }
            Ok(Some(Remembered::Relocated { colocated, seen })) => {
                if self.clock.now().duration_since(seen).is_ok_and(|age| age > SEEN_FOR) {
                    drop(self.look_again(contents, key, manifest, &colocated));
                }
                return Ok(Answer::Relocated(colocated));
            }
            Ok(Some(Remembered::Original(Why::Missing { image, .. }))) if in_files::has(contents, &image).await => {
                self.pushed(&key.repository, &image);
            }
            Ok(Some(Remembered::Original(why))) => return Ok(Answer::Original(why)),
            Ok(None) => {}
            // What cannot be remembered can be found out again.
            Err(error) => tracing::warn!(%error, "a record of relocation could not be read"),
        }
        let settled = async {
            let flight = self.work_on(contents, key, manifest);
            let (joined, since) = (flight.joined, flight.since);
            match landed(flight).await {
                // An image was pushed while it was looked for.
                Ok(answer) if self.memory.is_overtaken(&answer, since) => {
                    landed(self.work_on(contents, key, manifest)).await
                }
                // Refused to the client that it was asked for first, which need not hold for this one.
                Err(Undecided::Upstream { error, .. })
                    if joined && contents.reader.is_some() && error.is_forbidden() =>
                {
                    landed(self.work_on(contents, key, manifest)).await
                }
                Ok(Answer::Original(Why::Missing { .. })) if joined && contents.reader.is_some() => {
                    landed(self.work_on(contents, key, manifest)).await
                }
                settled => settled,
            }
        };
        tokio::select! {
            settled = settled => settled,
            () = self.clock.sleep(self.limits.deadline) => {
                // Of the work, which goes on, it is counted later what came of it.
                self.metrics.relocation("undecided", Undecided::Deadline.label());
                Err(Undecided::Deadline)
            }
        }
    }

    /// Has it settled what becomes of a bundle, once for everybody who wants to know.
    fn work_on(self: &Arc<Self>, contents: &Arc<Sources>, key: &RelocationKey, manifest: &Manifest) -> Flight<Settled> {
        let this = Arc::clone(self);
        let (own_contents, own_key, manifest) = (Arc::clone(contents), key.clone(), manifest.clone());
        self.flights.join(key, self.clock.now(), contents.payer.as_ref(), |crowd| async move {
            let mut span = Span::child(SpanKind::Internal, "relocation");
            span.note("colocate.repository", &own_key.repository);
            span.note("colocate.original", own_key.original);
            let settled = span.around(this.settle(&own_contents, own_key, manifest, &crowd)).await;
            match &settled {
                Ok(Answer::Relocated(_)) => span.note("colocate.outcome", "relocated"),
                Ok(Answer::Original(why)) => span.note("colocate.outcome", why.label()),
                Err(_) => span.fail("undecided"),
            }
            settled
        })
    }

    /// The relocated bundle that `digest` is the manifest of.
    pub(super) async fn by_manifest(
        &self,
        repository: &Repository,
        digest: &Digest,
    ) -> io::Result<Option<Arc<Relocation>>> {
        self.memory.relocation(repository, digest).await
    }

    /// The relocated bundle that `digest` is the config or the layer of.
    pub(super) async fn by_part(
        &self,
        repository: &Repository,
        digest: &Digest,
    ) -> io::Result<Option<Arc<Relocation>>> {
        self.memory.relocation_of_part(repository, digest).await
    }

    /// Runs `search` for digests that are not known, unless that was done a moment ago. Gives what kept it from
    /// finding all there is; then a digest that is still unknown may exist all the same.
    pub(super) async fn search<F>(
        &self,
        contents: &Sources,
        target: &Target,
        depth: Depth,
        search: F,
    ) -> Option<Undecided>
    where
        F: Future<Output = Option<Undecided>>,
    {
        let Some(turn) =
            self.searches.turn((contents.repository.clone(), target.clone(), depth, contents.reader), self.clock.now())
        else {
            return Some(Undecided::Internal("too many repositories are being searched".to_owned()));
        };
        let mut last = turn.lock().await;
        if !last.as_ref().is_some_and(|last| last.stands(self.clock.now())) {
            // Should the client leave, the search was made all the same, and did not end.
            *last = Some(search::Searched::new(self.clock.now(), Some(Undecided::Deadline)));
            let undecided = tokio::select! {
                undecided = search => undecided,
                () = self.clock.sleep(self.limits.deadline) => Some(Undecided::Deadline),
            };
            *last = Some(search::Searched::new(self.clock.now(), undecided));
        }
        last.as_ref().and_then(|last| last.undecided.clone())
    }

    /// The tags of a repository that may name bundles.
    pub(super) async fn candidate_tags(&self, contents: &Sources) -> Result<Vec<Tag>, UpstreamError> {
        search::tags(contents).await
    }

    /// Bundles of a repository that were answered before, whatever their tags have become.
    pub(super) async fn known_originals(&self, repository: &Repository) -> Vec<Digest> {
        self.memory.originals(repository, search::MAX_TAGS).await.unwrap_or_default()
    }

    /// An image was pushed to a repository: bundles may have waited for it.
    pub(super) fn pushed(&self, repository: &Repository, image: &Digest) {
        self.memory.pushed(repository, image);
        // What nobody had made a moment ago may follow from what there is now.
        self.searches.forget(repository);
    }

    /// A manifest was deleted from a repository: a bundle, or an image of one.
    pub(super) async fn deleted(&self, repository: &Repository, gone: &Digest) -> io::Result<()> {
        self.memory.deleted(repository, gone).await
    }

    /// The lock of a bundle.
    pub(super) async fn lock_of(
        &self,
        contents: &Sources,
        manifest: &Manifest,
    ) -> Result<Result<ImagesLock, Unchanged>, Undecided> {
        let bundle = match inspect(contents, manifest, self.limits.max_layer_bytes).await? {
            Ok(bundle) => bundle,
            Err(reason) => return Ok(Err(reason)),
        };
        let turn = self.passes.turn(contents.payer.as_ref(), &Crowd::default()).await;
        let _turn = turn.map_err(|error| Undecided::Internal(error.to_string()))?;
        Ok(read_lock(contents, &bundle).await?.map(|lock| lock.images))
    }

    async fn settle(&self, contents: &Arc<Sources>, key: RelocationKey, manifest: Manifest, crowd: &Crowd) -> Settled {
        let begun = self.clock.now();
        // Whoever started this looked before it was on the board: another may have landed in between.
        match self.memory.answer(&key, contents.reader).await {
            Ok(Some(Remembered::Relocated { colocated, .. })) => return Ok(Answer::Relocated(colocated)),
            Ok(Some(Remembered::Original(why))) => return Ok(Answer::Original(why)),
            Ok(None) | Err(_) => {}
        }
        for _ in 0..MAX_ATTEMPTS {
            let before = contents.deletions.of(&key.repository).await;
            let witness = Witness::default();
            let settled = match self.decide(contents, &key, &manifest, crowd, &witness).await {
                Ok(answer) => Ok(answer),
                Err(Stopped::Answer(why)) => Ok(Answer::Original(why)),
                Err(Stopped::Undecided(cause)) => Err(cause),
            };
            // What counts on something that was deleted meanwhile is not remembered: it may be the bundle itself.
            if let Some(_still) = contents.deletions.still(&key.repository, before).await {
                self.report(&key, &settled, self.clock.now().duration_since(begun).unwrap_or_default());
                (self.observer)(&key, &settled, &witness.seen());
                return self.remember(contents, &key, settled, begun).await;
            }
            if let Err(ProxyError::NotFound { .. }) = contents.manifest(&manifest.digest).await {
                break;
            }
        }
        Err(Undecided::Internal("something was deleted from its repository meanwhile".to_owned()))
    }

    /// Writes down what was settled, which was `begun` then.
    async fn remember(&self, contents: &Sources, key: &RelocationKey, settled: Settled, begun: SystemTime) -> Settled {
        if let Ok(answer) = &settled
            && !self.memory.is_overtaken(answer, begun)
        {
            match self.memory.record(key, contents.reader, answer, self.limits.negative_ttl).await {
                Ok(Some(before)) if matches!(answer, Answer::Relocated(_)) => {
                    tracing::info!(repository = %key.repository, original = %key.original, %before, "now relocated");
                    self.metrics.answer_changed("original_to_relocated");
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "a relocation could not be recorded");
                    // Its manifest would name blobs that nobody finds.
                    if matches!(answer, Answer::Relocated(_)) {
                        return Err(Undecided::Internal("the relocated bundle could not be recorded".to_owned()));
                    }
                }
            }
            // What its images are made of is not granted yet, only the images themselves.
            if matches!(answer, Answer::Relocated(colocated) if !colocated.origins.is_empty()) {
                self.searches.forget(&key.repository);
            }
        }
        settled
    }

    async fn decide(
        &self,
        contents: &Arc<Sources>,
        key: &RelocationKey,
        manifest: &Manifest,
        crowd: &Crowd,
        witness: &Witness,
    ) -> Result<Answer, Stopped> {
        let limits = &self.limits;
        let bundle = inspect(contents, manifest, limits.max_layer_bytes).await??;
        if self.memory.other_targets(key).await.is_ok_and(|targets| targets >= limits.max_targets) {
            return Err(Stopped::Answer(Why::TooManyTargets(limits.max_targets)));
        }
        let turn = self.passes.turn(contents.payer.as_ref(), crowd);
        let worked = work(contents, key, &bundle, turn, limits.effort(), witness).await?;
        if let Some(kinds) = worked.verdict.listed.as_ref().and_then(|listed| Kinds::listed(listed, &worked.lock))
            && let Err(error) = kinds.record(&contents.cache, &key.repository, &key.original).await
        {
            tracing::warn!(repository = %key.repository, %error, "a list of locations could not be recorded");
        }
        // Before the answer that counts on them.
        grant(contents, &key.original, &worked.verdict.at_origins()).await;
        let lock = worked.lock.clone();
        let answer = assemble(manifest, &key.target, &bundle, worked)?;
        if let Answer::Relocated(Colocated { relocation, .. }) = &answer
            // Another replica that is asked for it has to find it by relocating the bundle.
            && let Err(error) = Provenance::make(&contents.cache, &key.repository, relocation, &lock).await
        {
            tracing::warn!(repository = %key.repository, %error, "what a bundle was made of could not be recorded");
        }
        Ok(answer)
    }

    fn report(&self, key: &RelocationKey, settled: &Settled, took: Duration) {
        // `target` is where in the program a line comes from.
        let RelocationKey { repository, original, target: colocated_at, .. } = key;
        let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        match settled {
            Ok(Answer::Relocated(Colocated { relocation, origins })) => {
                let (relocated, images, origins) =
                    (&relocation.manifest.digest, relocation.images.len(), origins.len());
                tracing::info!(%repository, %original, %colocated_at, %relocated, images, origins, duration_ms, "relocated");
                self.metrics.relocation_ended("relocated", "colocated", took);
            }
            Ok(Answer::Original(why)) => {
                // Most images are no bundles, and that is no event.
                if why.is_not_a_bundle() {
                    tracing::debug!(%repository, %original, %why, "served as it stands");
                } else {
                    tracing::info!(%repository, %original, %colocated_at, %why, duration_ms, "served as it stands");
                }
                self.metrics.relocation_ended("original", why.label(), took);
            }
            Err(cause) => {
                tracing::warn!(%repository, %original, %colocated_at, %cause, duration_ms, "undecided");
                self.metrics.relocation_ended("undecided", cause.label(), took);
            }
        }
    }
}

async fn landed(mut flight: Flight<Settled>) -> Settled {
    let crashed = || Undecided::Internal("the work on the bundle ended without an answer".to_owned());
    flight.landed().await.ok_or_else(crashed)?
}
