//! What a tag stands for: remembered for a while, then asked again, and remembered for longer if nobody answers.
//!
//! [`Tags::resolve`] answers from the tag's `record` while the `policy` believes it. Then the upstream is asked, by
//! HEAD, once for everybody who wants to know (`flights`). When it says something else than before, the new manifest
//! is fetched before the record changes: should the upstream go away in between, what the tag stood for is still
//! whole. When it cannot say (5xx, 429, timeout, no connection), or takes longer than anyone should wait, the older
//! answer stands in for it, marked stale, and such `trouble` is remembered for a moment. When it refuses (401, 403),
//! the older answer is nothing any more until it says so again; when the tag is gone, the record is too, unless the
//! policy has it otherwise. What is pushed or deleted through this proxy ends what was known before (`Epoch`).

mod policy;
mod record;
mod trouble;

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::StatusCode;

pub use policy::TagPolicy;
use record::{TagKey, TagRecord};
pub(super) use record::{key, known};
use trouble::Troubles;

use super::contents::Contents;
use super::epoch::{Epoch, Epochs};
use super::error::{ProxyError, Subject};
use super::flights::Flights;
use super::outcome::{CacheStatus, Forward, Outcome};
use super::reader::ReaderKey;
use crate::body::Clock;
use crate::cache::Cache;
use crate::config::AbsentTag;
use crate::oci::{Digest, Manifest, Reference, Repository, Tag, is_schema1};
use crate::telemetry::Metrics;

/// What a tag stands for, and what the cache had to do with that.
pub(super) struct Resolved {
    pub(super) content: Content,
    pub(super) status: CacheStatus,
}

pub(super) enum Content {
    /// The manifest of this digest.
    Digest(Digest),
    /// This manifest, which was sent along.
    Manifest(Manifest),
}

/// Whether a record will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Demand {
    /// As long as the policy believes it.
    Believed,
    /// Only if it never changes; else the upstream is asked.
    Asked,
}

/// What came of asking.
#[derive(Clone)]
enum Checked {
    /// There was no need: somebody else had just asked.
    Believed(TagRecord),
    /// It still stands for the same.
    Same(Digest),
    /// It stands for this, which was fetched.
    Fetched(Manifest, Forward, Outcome),
}

/// Resolves tags. See the [module](self).
pub(super) struct Tags {
    cache: Cache,
    clock: Arc<dyn Clock>,
    policy: TagPolicy,
    /// Each client that the upstream judges asks for itself: what it is refused is not refused to others.
    flights: Flights<(TagKey, Option<ReaderKey>, Epoch), Result<Checked, ProxyError>>,
    troubles: Troubles,
    epochs: Arc<Epochs>,
    metrics: Metrics,
}

impl Tags {
    /// What was asked before a push is not remembered after it, by `epochs`.
    pub(super) fn new(
        cache: Cache,
        clock: Arc<dyn Clock>,
        policy: TagPolicy,
        epochs: Arc<Epochs>,
        metrics: Metrics,
    ) -> Self {
        let (flights, troubles) = (Flights::default(), Troubles::new());
        Self { cache, clock, policy, flights, troubles, epochs, metrics }
    }

    /// Finds out what `tag` of the contents' repository stands for.
    ///
    /// # Errors
    /// When the upstream does not say, and nothing may stand in for its answer.
    pub(super) async fn resolve(
        self: &Arc<Self>,
        contents: &Arc<Contents>,
        tag: &Tag,
        demand: Demand,
    ) -> Result<Resolved, ProxyError> {
        if contents.upstream.is_in_place() {
            // Nothing is nearer than it is.
            let manifest = contents.fetch_manifest(&Reference::Tag(tag.clone())).await?;
            let status = CacheStatus::from(Outcome::InPlace);
            return Ok(Resolved { content: Content::Manifest(manifest), status });
        }
        let key = TagKey { repository: contents.repository.clone(), tag: tag.clone() };
        let now = self.clock.now();
        let known = self.known(&key).await;
        if let Some(record) = known.as_ref().filter(|record| self.stands(&key, record, demand)) {
            return Ok(self.believed(&key, record));
        }
        let stand_in = known.filter(|record| self.policy.may_stand_in(record, now));
        if let Some(record) = &stand_in
            && let Some(cause) = self.troubles.recent(&key, now).await
        {
            return Ok(self.stale(record, cause));
        }
        let this = Arc::clone(self);
        let (own_key, own_contents) = (key.clone(), Arc::clone(contents));
        // Who asks after a push does not get what was asked before it.
        let epoch = self.epochs.of(&key.repository).await;
        let mut flight = self.flights.join(&(key.clone(), contents.reader, epoch), now, None, |_| async move {
            this.ask(&own_contents, &own_key, demand, epoch).await
        });
        let joined = flight.joined;
        let landed = match &stand_in {
            None => flight.landed().await,
            Some(record) => {
                let waited = now.duration_since(flight.since).unwrap_or_default();
                tokio::select! {
                    biased;
                    landed = flight.landed() => landed,
                    () = self.clock.sleep(self.policy.patience.saturating_sub(waited)) => {
                        return Ok(self.stale(record, SLOW).forwarded(None, joined));
                    }
                }
            }
        };
        let landed = landed.ok_or_else(|| std::io::Error::other("asking for the tag ended without an answer"))?;
        match (landed, stand_in) {
            (Ok(Checked::Believed(record)), _) => Ok(self.believed(&key, &record)),
            (Ok(Checked::Same(digest)), _) => {
                Ok(self.checked(&key, Content::Digest(digest), CacheStatus::from(Outcome::Revalidated), joined))
            }
            (Ok(Checked::Fetched(manifest, forward, outcome)), _) => {
                let status = CacheStatus::from(outcome);
                // A kind that is not kept is not kept for whatever reason it was asked for.
                let forward = if outcome == Outcome::Bypass { status.forward } else { Some(forward) };
                let status = CacheStatus { forward, ..status };
                Ok(self.checked(&key, Content::Manifest(manifest), status, joined))
            }
            (Err(error), Some(record)) if self.policy.excuses(&error) => {
                let stale = self.stale(&record, error.label());
                Ok(if error.is_held_back() { stale } else { stale.forwarded(error.upstream_status(), joined) })
            }
            (Err(error), _) => Err(error),
        }
    }

    async fn known(&self, key: &TagKey) -> Option<TagRecord> {
        // What the disk cannot say the upstream can.
        self.cache.get(&key.record()).await.unwrap_or_default()
    }

    /// Whether a record is the answer, with nobody asked.
    fn stands(&self, key: &TagKey, record: &TagRecord, demand: Demand) -> bool {
        let fresh = demand == Demand::Believed && self.policy.is_fresh(record, self.clock.now());
        fresh || (!record.refused && self.policy.is_immutable(key))
    }

    /// Asks the upstream, and writes down what it says.
    async fn ask(
        &self,
        contents: &Contents,
        key: &TagKey,
        demand: Demand,
        epoch: Epoch,
    ) -> Result<Checked, ProxyError> {
        let known = self.known(key).await;
        let checked = match &known {
            // Whoever started this looked before it was on the board: another may have landed in between.
            Some(record) if self.stands(key, record, demand) => return Ok(Checked::Believed(record.clone())),
            Some(record) => {
                let checked = self.revalidate(contents, key, record, epoch).await;
                self.metrics.tag_revalidated(result(record, &checked));
                checked
            }
            None => self.fetch(contents, key, Forward::UriMiss, epoch).await,
        };
        match &checked {
            Ok(_) => self.troubles.forget(key).await,
            Err(error) if self.policy.excuses(error) => {
                // What one client is asked to wait for is no trouble of others.
                let own = contents.reader.is_some() && error.upstream_status() == Some(StatusCode::TOO_MANY_REQUESTS);
                if !own {
                    self.troubles.remember(key, error, self.clock.now()).await;
                }
                if known.is_some() {
                    let (repository, tag, cause) = (&key.repository, &key.tag, error.label());
                    tracing::warn!(%repository, %tag, cause, "the upstream does not say what a tag stands for now");
                }
            }
            // Refused to the proxy, that is; where it asks for a client, the refusal is that client's.
            Err(ProxyError::Upstream(error)) if error.is_refusal() && contents.reader.is_none() => {
                if let Some(record) = known {
                    self.write(key, &record.refused(), epoch).await;
                }
            }
            Err(_) => {}
        }
        checked
    }

    async fn revalidate(
        &self,
        contents: &Contents,
        key: &TagKey,
        record: &TagRecord,
        epoch: Epoch,
    ) -> Result<Checked, ProxyError> {
        let TagKey { repository, tag } = key;
        let head = contents.upstream.manifest_head(&repository.name, &Reference::Tag(tag.clone())).await;
        match head {
            Ok(head) if is_schema1(&head.media_type) => self.fetch(contents, key, Forward::Stale, epoch).await,
            Ok(head) if head.digest == record.digest => {
                self.write(key, &TagRecord::new(head.digest, self.clock.now()), epoch).await;
                Ok(Checked::Same(head.digest))
            }
            Ok(head) => {
                let (manifest, outcome) = contents.manifest(&head.digest).await?;
                tracing::info!(%repository, %tag, from = %record.digest, to = %head.digest, "a tag moved");
                self.write(key, &TagRecord::new(head.digest, self.clock.now()), epoch).await;
                if outcome == Outcome::Hit {
                    return Ok(Checked::Same(head.digest));
                }
                Ok(Checked::Fetched(manifest, Forward::Stale, outcome))
            }
            Err(error) => {
                if error.is_absent() && self.policy.absent == AbsentTag::Gone {
                    self.forget(key).await;
                }
                Err(ProxyError::upstream(error, Subject::Manifest, &repository.name))
            }
        }
    }

    async fn fetch(
        &self,
        contents: &Contents,
        key: &TagKey,
        forward: Forward,
        epoch: Epoch,
    ) -> Result<Checked, ProxyError> {
        let TagKey { repository, tag } = key;
        let before = contents.deletions.of(repository).await;
        let manifest = contents.fetch_manifest(&Reference::Tag(tag.clone())).await?;
        let outcome = contents.keep_manifest(&manifest, before).await;
        if outcome == Outcome::Bypass {
            // What it stood for before is past, and what it stands for is not kept.
            self.forget(key).await;
        } else {
            self.write(key, &TagRecord::new(manifest.digest, self.clock.now()), epoch).await;
        }
        Ok(Checked::Fetched(manifest, forward, outcome))
    }

    async fn write(&self, key: &TagKey, record: &TagRecord, epoch: Epoch) {
        // What was asked before a push says nothing of after it.
        let Some(_still) = self.epochs.still(&key.repository, epoch).await else { return };
        if let Err(error) = self.cache.put_record_behind(&key.record(), record).await {
            tracing::warn!(repository = %key.repository, tag = %key.tag, %error, "a tag could not be recorded");
        }
    }

    async fn forget(&self, key: &TagKey) {
        if let Err(error) = self.cache.delete(&key.record()).await {
            tracing::warn!(repository = %key.repository, tag = %key.tag, %error, "a tag could not be forgotten");
        }
    }

    /// A repository was changed through this proxy, and perhaps a tag: what that stands for is to be asked.
    pub(super) async fn changed(&self, repository: &Repository, tag: Option<&Tag>) {
        self.epochs.next(repository).await;
        if let Some(tag) = tag {
            self.forget(&TagKey { repository: repository.clone(), tag: tag.clone() }).await;
        }
    }

    /// Forgets all tags of a repository that stand for a manifest which is gone.
    pub(super) async fn forget_all(&self, repository: &Repository, digest: &Digest) -> io::Result<()> {
        for key in self.cache.list(&record::all(repository)).await? {
            if self.cache.get::<TagRecord>(&key).await?.is_some_and(|record| record.digest == *digest) {
                self.cache.delete(&key).await?;
            }
        }
        Ok(())
    }

    /// The answer of a record that is believed.
    fn believed(&self, key: &TagKey, record: &TagRecord) -> Resolved {
        let age = self.age(record, self.clock.now());
        let ttl = (!self.policy.is_immutable(key)).then(|| left(self.policy.ttl, age));
        let status = CacheStatus { age: Some(age), ttl, ..CacheStatus::from(Outcome::Hit) };
        Resolved { content: Content::Digest(record.digest), status }
    }

    /// The answer that the upstream has just given.
    fn checked(&self, key: &TagKey, content: Content, status: CacheStatus, joined: bool) -> Resolved {
        let bypass = status.outcome == Outcome::Bypass;
        let ttl = (!bypass && !self.policy.is_immutable(key)).then(|| left(self.policy.ttl, 0));
        let outcome = if joined && !bypass { Outcome::Collapsed } else { status.outcome };
        Resolved { content, status: CacheStatus { outcome, ttl, collapsed: joined, ..status } }
    }

    /// The answer of a record that stands in, for a reason.
    fn stale(&self, record: &TagRecord, cause: &'static str) -> Resolved {
        let age = self.age(record, self.clock.now());
        // Stale by the clock or not, it is told as stale.
        let ttl = Some(left(self.policy.ttl, age).min(-1));
        let status = CacheStatus { age: Some(age), ttl, detail: Some(cause), ..CacheStatus::from(Outcome::Stale) };
        Resolved { content: Content::Digest(record.digest), status }
    }

    fn age(&self, record: &TagRecord, now: SystemTime) -> u64 {
        record.age(now).unwrap_or_default().as_secs()
    }
}

impl Resolved {
    /// The same, with the upstream asked in vain.
    fn forwarded(mut self, upstream: Option<StatusCode>, collapsed: bool) -> Self {
        self.status = CacheStatus { forward: Some(Forward::Stale), upstream, collapsed, ..self.status };
        self
    }
}

/// Why an older answer stands in for one that is on its way.
const SLOW: &str = "slow";

/// What came of asking whether a tag still stands for the same, in a word for metrics.
fn result(before: &TagRecord, checked: &Result<Checked, ProxyError>) -> &'static str {
    match checked {
        Ok(Checked::Same(digest)) if *digest == before.digest => "unchanged",
        Ok(Checked::Same(_) | Checked::Fetched(..) | Checked::Believed(_)) => "moved",
        Err(ProxyError::NotFound { .. }) => "gone",
        Err(ProxyError::Upstream(error)) if error.is_refusal() => "refused",
        Err(_) => "failed",
    }
}

/// What is left of a lifetime, in seconds.
fn left(ttl: Duration, age: u64) -> i64 {
    let seconds = |whole: u64| i64::try_from(whole).unwrap_or(i64::MAX);
    seconds(ttl.as_secs()) - seconds(age)
}
