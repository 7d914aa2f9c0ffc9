//! What the relocator remembers: in records that outlive the process, and the hot part in memory.
//!
//! "Not all images are there" is remembered in memory only, and briefly: it may be untrue any moment. So is a bundle
//! of which only some references were rewritten.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::answer::{Answer, Colocated, Why};
use super::record::{AnswerRecord, Relocation, RelocationKey};
use crate::body::{Clock, unix_seconds};
use crate::cache::Cache;
use crate::oci::{Digest, Repository};
use crate::proxy::reader::ReaderKey;
use crate::rewrite::Unchanged;

/// Relocated bundles in memory, in KiB.
const MEMORY_KIB: u64 = 32 << 10;
/// How many answers are held for now; over that, all that have expired are forgotten.
const MAX_HELD: usize = 4096;
/// Pushed images of which it is remembered when they were, for longer than any work on a bundle takes.
const MAX_PUSHED: usize = 4096;
const PUSHED_FOR: Duration = Duration::from_secs(300);

pub(super) struct Memory {
    cache: Cache,
    clock: Arc<dyn Clock>,
    relocations: moka::future::Cache<(Repository, Digest), Arc<Relocation>>,
    held: Mutex<Held>,
    /// Images that were pushed through this proxy lately, and when.
    pushed: Mutex<HashMap<Digest, SystemTime>>,
}

/// Answers for now, and until when. What one client's own credential finds missing is missing for that one.
type Held = HashMap<HeldKey, (Answer, SystemTime)>;
type HeldKey = (RelocationKey, Option<ReaderKey>);

/// An answer that was given before.
pub(super) enum Remembered {
    Relocated { colocated: Colocated, seen: SystemTime },
    Original(Why),
}

impl Memory {
    pub(super) fn new(cache: Cache, clock: Arc<dyn Clock>) -> Self {
        let relocations = moka::future::Cache::builder()
            .max_capacity(MEMORY_KIB)
            .weigher(|_, relocation: &Arc<Relocation>| relocation.weight())
            .build();
        Self { cache, clock, relocations, held: Mutex::default(), pushed: Mutex::default() }
    }

    /// What `key` was answered with, if that still stands.
    pub(super) async fn answer(
        &self,
        key: &RelocationKey,
        reader: Option<ReaderKey>,
    ) -> io::Result<Option<Remembered>> {
        let now = self.clock.now();
        let held = self
            .lock_held()
            .get(&(key.clone(), reader))
            .filter(|(_, until)| *until > now)
            .map(|(answer, _)| answer.clone());
        match held {
            Some(Answer::Relocated(colocated)) => return Ok(Some(Remembered::Relocated { colocated, seen: now })),
            Some(Answer::Original(why)) => return Ok(Some(Remembered::Original(why))),
            None => {}
        }
        Ok(match self.cache.get::<AnswerRecord>(&key.record()).await? {
            None => None,
            Some(AnswerRecord::Unchanged { reason, is_bundle }) => {
                Some(Remembered::Original(Why::Recorded { reason, is_bundle }))
            }
            Some(AnswerRecord::Relocated { manifest, seen, origins }) => {
                let relocation = self.relocation(&key.repository, &manifest).await?;
                // A time beyond all times is no time at which anything was seen.
                let seen = UNIX_EPOCH.checked_add(Duration::from_secs(seen)).unwrap_or(UNIX_EPOCH);
                let colocated = |relocation| Colocated { relocation, origins: origins.into() };
                relocation.map(|relocation| Remembered::Relocated { colocated: colocated(relocation), seen })
            }
        })
    }

    /// The relocated bundle whose manifest is `digest`.
    pub(super) async fn relocation(
        &self,
        repository: &Repository,
        digest: &Digest,
    ) -> io::Result<Option<Arc<Relocation>>> {
        let key = (repository.clone(), *digest);
        if let Some(relocation) = self.relocations.get(&key).await {
            return Ok(Some(relocation));
        }
        let record = self.cache.get::<Relocation>(&Relocation::record(repository, digest)).await?;
        // A record is small enough to be checked each time it is read; damage makes it absent, to be made again.
        let whole = record.filter(|relocation| {
            let holds = |text: &str, digest: &Digest| Digest::of(text.as_bytes()) == *digest;
            relocation.manifest.digest == *digest
                && holds(&relocation.manifest.text, digest)
                && holds(&relocation.config.text, &relocation.config.digest)
        });
        let Some(relocation) = whole.map(Arc::new) else { return Ok(None) };
        // A disk that was in trouble may have kept one record and not the other.
        self.record_parts(repository, &relocation).await?;
        self.relocations.insert(key, Arc::clone(&relocation)).await;
        Ok(Some(relocation))
    }

    /// Records what leads to a relocated bundle, where that is not known, and keeps what it is made of.
    async fn record_parts(&self, repository: &Repository, relocation: &Relocation) -> io::Result<()> {
        let manifest = relocation.manifest.digest;
        for part in [relocation.config.digest, relocation.layer] {
            let key = Relocation::part_record(repository, &part);
            if self.cache.get::<Digest>(&key).await? != Some(manifest) {
                self.cache.put_record(&key, &manifest).await?;
            }
        }
        self.cache.keep(&[relocation.original, relocation.original_layer]).await
    }

    /// The relocated bundle that has `digest` for its config or layer.
    pub(super) async fn relocation_of_part(
        &self,
        repository: &Repository,
        digest: &Digest,
    ) -> io::Result<Option<Arc<Relocation>>> {
        match self.cache.get::<Digest>(&Relocation::part_record(repository, digest)).await? {
            Some(manifest) => self.relocation(repository, &manifest).await,
            None => Ok(None),
        }
    }

    /// Up to `limit` bundles of a repository that were answered before.
    pub(super) async fn originals(&self, repository: &Repository, limit: usize) -> io::Result<Vec<Digest>> {
        let keys = self.cache.list(&RelocationKey::originals(repository)).await?;
        let mut originals: Vec<Digest> = keys.iter().filter_map(|key| key.components().nth(2)?.parse().ok()).collect();
        originals.dedup();
        originals.truncate(limit);
        Ok(originals)
    }

    /// For how many targets the bundle of `key` is answered already, other than its own.
    pub(super) async fn other_targets(&self, key: &RelocationKey) -> io::Result<usize> {
        let own = key.target.to_string();
        let siblings = self.cache.list(&key.siblings()).await?;
        let others: HashSet<&str> = siblings.iter().filter_map(|sibling| sibling.components().nth(3)).collect();
        Ok(others.iter().filter(|target| **target != own).count())
    }

    /// Records an answer; gives the reason of the one before, if that was "not now".
    ///
    /// Parts come before the whole, so that a crash leaves nothing that leads nowhere.
    pub(super) async fn record(
        &self,
        key: &RelocationKey,
        reader: Option<ReaderKey>,
        answer: &Answer,
        hold: Duration,
    ) -> io::Result<Option<Why>> {
        let before = match self.lock_held().remove(&(key.clone(), reader)) {
            Some((Answer::Original(why), _)) => Some(why),
            Some((Answer::Relocated(_), _)) | None => None,
        };
        match answer {
            Answer::Relocated(colocated) => {
                let relocation = &colocated.relocation;
                let (repository, manifest) = (&key.repository, relocation.manifest.digest);
                self.cache.put_record(&Relocation::record(repository, &manifest), &**relocation).await?;
                self.record_parts(repository, relocation).await?;
                self.relocations.insert((repository.clone(), manifest), Arc::clone(relocation)).await;
                if relocation.complete {
                    self.seen(key, colocated).await?;
                } else {
                    self.hold(key, reader, answer, hold);
                }
            }
            Answer::Original(why @ Why::Unchanged(reason))
                if reason.is_lasting() && !(key.each && *reason == Unchanged::NothingChanges) =>
            {
                let is_bundle = !reason.is_not_a_bundle();
                let record = AnswerRecord::Unchanged { reason: why.to_string(), is_bundle };
                self.cache.put_record(&key.record(), &record).await?;
            }
            Answer::Original(_) => self.hold(key, reader, answer, hold),
        }
        Ok(before)
    }

    /// The images of a relocated bundle were all there just now.
    pub(super) async fn seen(&self, key: &RelocationKey, colocated: &Colocated) -> io::Result<()> {
        let seen = unix_seconds(self.clock.now());
        let record = AnswerRecord::Relocated {
            manifest: colocated.relocation.manifest.digest,
            seen,
            origins: colocated.origins.to_vec(),
        };
        self.cache.put_record(&key.record(), &record).await
    }

    /// Takes an answer back. What was relocated is still served by digest: clients have written it down.
    pub(super) async fn withdraw(
        &self,
        key: &RelocationKey,
        reader: Option<ReaderKey>,
        why: &Why,
        hold: Duration,
    ) -> io::Result<()> {
        self.hold(key, reader, &Answer::Original(why.clone()), hold);
        self.cache.delete(&key.record()).await
    }

    /// Forgets what an image that was pushed may have changed: answers that wait for it, and those for now in its repository.
    pub(super) fn pushed(&self, repository: &Repository, image: &Digest) {
        let now = self.clock.now();
        let mut pushed = self.lock_pushed();
        if pushed.len() >= MAX_PUSHED {
            pushed.retain(|_, at| now.duration_since(*at).is_ok_and(|age| age < PUSHED_FOR));
        }
        if pushed.len() < MAX_PUSHED {
            pushed.insert(*image, now);
        }
        drop(pushed);
        self.lock_held().retain(|(key, _), (answer, _)| {
            let waits = matches!(answer, Answer::Original(Why::Missing { image: missing, .. }) if missing == image);
            !waits && key.repository != *repository
        });
    }

    /// Whether an answer that was begun `since` then is news no more: an image that it misses was pushed meanwhile.
    pub(super) fn is_overtaken(&self, answer: &Answer, since: SystemTime) -> bool {
        let Answer::Original(Why::Missing { image, .. }) = answer else { return false };
        self.lock_pushed().get(image).is_some_and(|at| *at >= since)
    }

    fn lock_pushed(&self) -> MutexGuard<'_, HashMap<Digest, SystemTime>> {
        // Nothing panics while it is held, and a map is whole after any panic.
        self.pushed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets the answers of a repository that a manifest which is gone has a part in: as the bundle, or as an image of it. Of
    /// the bundle, what was made of it goes, too.
    pub(super) async fn deleted(&self, repository: &Repository, gone: &Digest) -> io::Result<()> {
        self.lock_held().retain(|(key, _), _| key.repository != *repository);
        for key in self.cache.list(&RelocationKey::originals(repository)).await? {
            let Some(AnswerRecord::Relocated { manifest, .. }) = self.cache.get(&key).await? else { continue };
            let relocation = self.relocation(repository, &manifest).await?;
            if relocation.is_none_or(|made| made.original == *gone || made.images.contains(gone)) {
                self.cache.delete(&key).await?;
            }
        }
        // Also what was made of it and is no longer the answer.
        for key in self.cache.list(&Relocation::all(repository)).await? {
            let Some(relocation) = self.cache.get::<Relocation>(&key).await? else { continue };
            if relocation.original == *gone {
                self.cache.delete(&key).await?;
                self.relocations.remove(&(repository.clone(), relocation.manifest.digest)).await;
            }
        }
        Ok(())
    }

    /// Gives an answer for a while, in memory.
    pub(super) fn hold(&self, key: &RelocationKey, reader: Option<ReaderKey>, answer: &Answer, hold: Duration) {
        let now = self.clock.now();
        let mut held = self.lock_held();
        if held.len() >= MAX_HELD {
            held.retain(|_, (_, until)| *until > now);
        }
        if held.len() < MAX_HELD {
            held.insert((key.clone(), reader), (answer.clone(), now + hold));
        }
    }

    fn lock_held(&self) -> MutexGuard<'_, Held> {
        // Nothing panics while it is held, and a map is whole after any panic.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
