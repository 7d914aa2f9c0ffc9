//! The cache: content by digest, followed while it arrives, and the small records that survive a restart.
//!
//! A request asks [`Cache::content`]; a miss asks [`Cache::fill`] with a [`Source`]. The first such miss starts
//! one fill, a task that downloads into the [`Store`] and hashes on the way; it and every later one get a
//! [`Reader`] that follows the growing content at its own pace. The tail is held back until digest and length
//! were found right; only then is the content committed. What is wrong breaks every follower's body and leaves
//! nothing behind. Small content and all records are also kept in memory, in a hot set bounded by bytes.
//!
//! A disk that takes no more in ends no pull: readers get the rest past the store (`direct`), and nothing is kept.
//! What was on the disk before this process is hashed while it is first read (`check`), and so is content that stays where
//! it lies, outside the store (`in_place`). `index` knows what there is
//! and when it was used, `room` evicts by that, and `upkeep` does both in the background.
//!
//! That content is in the cache says nothing about who may have it: [`Cache::member`] is the record that a
//! repository has it, and asking that is the caller's duty. So is everything that knows an upstream, a tag or
//! HTTP; this room sees digests, bytes and named records.

mod audience;
mod batches;
mod check;
mod direct;
mod disk;
mod download;
mod fill;
mod fill_story;
mod hot;
mod in_place;
mod index;
mod key;
mod local;
mod local_content;
mod local_directory;
mod local_record;
mod memory;
mod pins;
mod progress;
mod reader;
mod records;
mod registration;
mod room;
mod source;
mod store;
mod trouble;
mod turns;
mod upkeep;

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::{OnceCell, Semaphore, watch};

use crate::body::Clock;
use crate::oci::{Digest, Hasher};
use crate::telemetry::{Metrics, carry};

use audience::{Audience, Seat};
use check::{Checks, Condemned};
use fill::Filler;
use hot::{Hot, MAX_HOT_BYTES};
use in_place::{InPlace, Seen};
use index::Index;
use progress::{Phase, Progress};
use reader::Use;
use registration::{Registration, Running};
use trouble::Trouble;
use turns::Turns;

pub use check::Checked;
pub use index::{Entry, Usage};
pub use key::RecordKey;
pub use local::{CONTROL_SOCKET, LocalStore, OpenError};
pub use memory::{Faults, MemoryStore, Operation};
pub use pins::{Hold, Pin};
pub use progress::TAIL_BYTES;
pub use reader::{Lookup, Reader};
pub use records::Member;
pub use registration::{Filling, FinishAbandoned};
pub use room::Bounds;
pub use source::{FillError, ReadError, Source, SourceBody, SourceError};
pub use store::{Content, Listed, MAX_READ_BYTES, PartialContent, ReadAt, Space, Store};

/// How much a cache may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheLimits {
    /// The bytes the hot set may take, what it costs to keep them included.
    pub memory_bytes: u64,
    /// How many fills may run at once; more wait for their turn.
    pub concurrent_fills: usize,
    /// How much the content may take; as much as the disk has, without.
    pub bounds: Option<Bounds>,
    /// What becomes of a fill that nobody waits for any more.
    pub finish_abandoned: FinishAbandoned,
    /// In what time all content is hashed once in the background; not at all, without.
    pub scrub: Option<Duration>,
}

impl Default for CacheLimits {
    /// 64 MiB of memory: some 20,000 manifests with their records. 64 fills: several large pulls at once, and in
    /// file descriptors and sockets far below the usual limit of 1,024.
    fn default() -> Self {
        let (bounds, finish_abandoned, scrub) = (None, FinishAbandoned::Always, None);
        Self { memory_bytes: 64 << 20, concurrent_fills: 64, bounds, finish_abandoned, scrub }
    }
}

/// Content and records in a store, with a hot set in memory. Clones share everything.
#[derive(Clone)]
pub struct Cache {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    limits: CacheLimits,
    hot: Hot,
    // Of content and of records apart: the sync of a large blob takes seconds.
    turns: Turns,
    record_turns: Turns,
    permits: Semaphore,
    fills: Mutex<HashMap<Digest, Running>>,
    index: Arc<Index>,
    checks: Checks,
    seen_in_place: Seen,
    check_permits: Semaphore,
    upkeep_permit: Semaphore,
    condemned: Condemned,
    // Held by the one who evicts.
    rounds: tokio::sync::Mutex<()>,
    // How much has to be used for the next round to be worth it.
    next_round: AtomicU64,
    trouble: Trouble,
    stocked: OnceCell<()>,
    pins_known: OnceCell<()>,
}

/// How many contents are hashed from the disk at once for clients; for upkeep, it is one more.
const CONCURRENT_CHECKS: usize = 4;

/// How often a caller whose joined fill failed goes on to its own source. Bounds what one request may wait for;
/// it takes as many other origins to get there.
const MAX_JOINS: usize = 3;

impl Cache {
    /// A cache over `store`. What the store has is known to eviction only after
    /// [`take_stock`](Self::take_stock).
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, limits: CacheLimits, metrics: Metrics) -> Self {
        let permits = limits.concurrent_fills.clamp(1, Semaphore::MAX_PERMITS);
        metrics.cache().may_hold(limits.bounds.map(|bounds| bounds.max));
        let inner = Inner {
            store,
            clock,
            metrics,
            limits,
            hot: Hot::new(limits.memory_bytes),
            turns: Turns::new(),
            record_turns: Turns::new(),
            permits: Semaphore::new(permits),
            fills: Mutex::default(),
            index: Arc::default(),
            checks: Mutex::default(),
            seen_in_place: Seen::default(),
            check_permits: Semaphore::new(CONCURRENT_CHECKS),
            upkeep_permit: Semaphore::new(1),
            condemned: Condemned::default(),
            rounds: tokio::sync::Mutex::default(),
            next_round: AtomicU64::new(0),
            trouble: Trouble::default(),
            stocked: OnceCell::new(),
            pins_known: OnceCell::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The clock by which what is recorded here ages.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.inner.clock
    }

    /// Content that is committed. What the store cannot read is absent, so that it is fetched again.
    pub async fn content(&self, digest: &Digest) -> Option<Reader> {
        let inner = &self.inner;
        if let Some(bytes) = inner.hot.content(digest).await {
            inner.touch(digest, None);
            return Some(Reader::memory(*digest, bytes));
        }
        // Open before it is looked for, so that it is not evicted in between.
        let in_use = self.in_use(digest, None);
        let (content, known_right) = inner.stored(digest).await?;
        if content.size() > MAX_HOT_BYTES {
            return Some(Reader::committed(*digest, content, Use { known_right, ..in_use }));
        }
        let bytes = inner.read_verified(digest, &*content).await;
        bytes.map(|bytes| Reader::memory(*digest, bytes))
    }

    /// Content that lies elsewhere on this machine and stays there, whatever the cache itself has. It is hashed as what was
    /// on the disk before this process is.
    pub fn in_place(&self, digest: &Digest, content: Arc<dyn Content>) -> Reader {
        Reader::in_place(*digest, InPlace::new(Arc::clone(&self.inner), content))
    }

    /// The whole of committed content of at most `max` bytes, hashed if it comes from the store. Larger content
    /// is absent.
    pub async fn load(&self, digest: &Digest, max: usize) -> Option<Bytes> {
        let inner = &self.inner;
        if let Some(bytes) = inner.hot.content(digest).await {
            inner.touch(digest, None);
            return Some(bytes).filter(|bytes| bytes.len() <= max);
        }
        let (content, _) = inner.stored(digest).await.filter(|(content, _)| content.size() <= max as u64)?;
        inner.read_verified(digest, &*content).await
    }

    /// Keeps small content that is at hand, such as a manifest: in memory, if the disk does not take it.
    ///
    /// # Errors
    /// When the bytes are not those of `digest` (`InvalidData`).
    pub async fn put(&self, digest: &Digest, bytes: Bytes) -> io::Result<()> {
        match self.begin_put(digest, bytes).await? {
            // A task of its own: who asked may leave, and the index must learn of what was written.
            Some(write) => tokio::spawn(carry(write)).await.map_err(io::Error::other),
            None => Ok(()),
        }
    }

    /// Keeps small content that is worth no wait: it is there from now on, and survives a crash a moment later.
    ///
    /// # Errors
    /// When the bytes are not those of `digest` (`InvalidData`).
    pub async fn put_behind(&self, digest: &Digest, bytes: Bytes) -> io::Result<()> {
        // What memory does not take is there only when it is written.
        let fits = bytes.len() as u64 <= MAX_HOT_BYTES.min(self.inner.limits.memory_bytes / 16);
        match self.begin_put(digest, bytes).await? {
            Some(write) if fits => {
                tokio::spawn(carry(write));
                Ok(())
            }
            Some(write) => tokio::spawn(carry(write)).await.map_err(io::Error::other),
            None => Ok(()),
        }
    }

    /// Puts content into memory, and gives what writes it, unless it is there already.
    async fn begin_put(
        &self,
        digest: &Digest,
        bytes: Bytes,
    ) -> io::Result<Option<impl Future<Output = ()> + Send + 'static>> {
        let inner = Arc::clone(&self.inner);
        // Concurrent requests for one manifest all come here; the first writes.
        let turn = inner.turns.of(digest).await;
        // What only memory has was refused by the disk, which may have come round.
        if inner.hot.content(digest).await.is_some() && inner.index.knows(digest) {
            return Ok(None);
        }
        if hash(digest, &bytes).await? != *digest {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("these bytes are not those of {digest}")));
        }
        inner.hot.keep_content(*digest, &bytes).await;
        let digest = *digest;
        Ok(Some(async move {
            inner.write_small(&digest, &bytes).await;
            drop(turn);
        }))
    }

    /// Waits until all that was put behind is written.
    pub async fn settled(&self) {
        self.inner.turns.done().await;
        self.inner.record_turns.done().await;
    }

    /// Takes content out. Readers that have it go on.
    ///
    /// # Errors
    /// When the store cannot.
    pub async fn remove(&self, digest: &Digest) -> io::Result<()> {
        let _turn = self.inner.turns.of(digest).await;
        self.inner.hot.forget_content(digest).await;
        self.inner.store.remove(digest).await?;
        self.inner.index.forget(digest);
        Ok(())
    }

    /// Content that is committed, or being filled, or else is filled now from `source`.
    ///
    /// Ready as soon as there is a first byte to read and the length is known; for content of at most
    /// [`TAIL_BYTES`], or of a length that neither `size` nor the source says, that is the end. The fill goes on
    /// without its caller. A running fill is joined whatever its source, so the caller has made sure that its
    /// client may have the content; only if that fill fails is `source` asked.
    ///
    /// # Errors
    /// When the content cannot be fetched, is not what was asked for, or cannot be stored.
    pub async fn fill(&self, digest: &Digest, size: Option<u64>, source: Arc<dyn Source>) -> Result<Reader, FillError> {
        let mut joined = 0;
        loop {
            if let Some(reader) = self.content(digest).await {
                return Ok(reader);
            }
            let Joined { lookup, mut progress, seat } = self.join_or_start(digest, size, &source);
            let in_use = self.in_use(digest, Some(seat));
            let ready = progress.wait_for(|progress| progress.is_readable() || progress.failure().is_some()).await;
            let Ok(ready) = ready.map(|ready| ready.clone()) else {
                // Its task is gone without a word: whoever is left takes over.
                if joined == MAX_JOINS {
                    return Err(FillError::Stopped);
                }
                joined += 1;
                continue;
            };
            match (&ready.phase, ready.size, size) {
                // Another registry's trouble is not this caller's.
                (Phase::Failed(_), ..) if lookup == Lookup::CollapsedElsewhere && joined < MAX_JOINS => joined += 1,
                (Phase::Failed(err), ..) => return Err(err.clone()),
                (_, Some(actual), Some(expected)) if actual != expected => {
                    return Err(FillError::SizeMismatch { expected, actual });
                }
                (_, Some(size), _) => {
                    // Whoever filled it before is who gave it; this caller's source was not asked.
                    let lookup = if ready.was_stored { Lookup::Hit } else { lookup };
                    return Ok(Reader::following(*digest, size, lookup, progress, in_use));
                }
                // Without a length there is no body to give past the store.
                (_, None, _) => return Err(ready.failure().cloned().unwrap_or(FillError::Stopped)),
            }
        }
    }

    /// The downloads that are under way.
    pub fn fills(&self) -> Vec<Filling> {
        self.inner.fills().iter().map(|(digest, running)| running.filling(*digest)).collect()
    }

    fn join_or_start(&self, digest: &Digest, expected: Option<u64>, source: &Arc<dyn Source>) -> Joined {
        let mut fills = self.inner.fills();
        if let Some(Running { source: other, progress, audience, joined, .. }) = fills.get(digest) {
            joined.fetch_add(1, Ordering::Relaxed);
            let other_origin = other.origin() != source.origin();
            self.inner.metrics.cache().joined(other_origin);
            // Taken under the lock: a fill is given up only if no seat is taken.
            let seat = audience.seat();
            let lookup = if other_origin { Lookup::CollapsedElsewhere } else { Lookup::Collapsed };
            return Joined { lookup, progress: progress.clone(), seat };
        }
        let (sender, progress) = watch::channel(Progress::start());
        let audience = Audience::new();
        let seat = audience.seat();
        let registration = Registration::new(Arc::clone(&self.inner), *digest, audience.clone());
        let (since, joined) = (self.inner.clock.now(), Arc::default());
        let (progress_of, joined_of) = (progress.clone(), Arc::clone(&joined));
        let running = Running { source: Arc::clone(source), since, progress: progress_of, audience, joined: joined_of };
        fills.insert(*digest, running);
        let (inner, source) = (Arc::clone(&self.inner), Arc::clone(source));
        let filler = Filler { inner, source, digest: *digest, expected, progress: sender, joined };
        // A runtime that is going down drops the task here and now, and with it the registration, which locks.
        drop(fills);
        self.inner.metrics.cache().started();
        tokio::spawn(carry(filler.run(registration)));
        Joined { lookup: Lookup::Miss, progress, seat }
    }

    fn in_use(&self, digest: &Digest, seat: Option<Seat>) -> Use {
        let opened = Arc::new(self.inner.index.open(digest));
        Use { inner: Arc::clone(&self.inner), _opened: opened, seat, known_right: false, checked: Arc::default() }
    }
}

/// How to follow a fill.
struct Joined {
    lookup: Lookup,
    progress: watch::Receiver<Progress>,
    seat: Seat,
}

impl Inner {
    fn fills(&self) -> MutexGuard<'_, HashMap<Digest, Running>> {
        self.fills.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Content in the store, which is used now, and whether it is known to be right. A store that cannot say has
    /// nothing, for this once.
    async fn stored(&self, digest: &Digest) -> Option<(Arc<dyn Content>, bool)> {
        // Asked before the content is opened: what was right then can only have been replaced by what is right, too.
        let known_right = self.index.is_verified(digest);
        match self.store.content(digest).await {
            Ok(Some(content)) if self.is_condemned(digest, &*content) => None,
            Ok(Some(content)) => {
                self.touch(digest, Some(content.size()));
                Some((content, known_right))
            }
            Ok(None) => None,
            Err(err) => {
                self.trouble.note(self, "open", &err);
                None
            }
        }
    }

    fn is_condemned(&self, digest: &Digest, content: &dyn Content) -> bool {
        let condemned = self.condemned.lock().unwrap_or_else(PoisonError::into_inner);
        !condemned.is_empty() && condemned.contains(&(*digest, content.identity()))
    }

    /// `size` is given by who found it in the store: what is only in memory takes no room there.
    fn touch(&self, digest: &Digest, size: Option<u64>) {
        let now = self.clock.now();
        if self.index.touch(digest, size, now) {
            let (store, digest) = (Arc::clone(&self.store), *digest);
            // Nobody waits for it, and if it fails the content only looks older than it is.
            tokio::spawn(async move { store.touch(&digest, now).await });
        }
    }

    /// Writes small content that is at hand. A disk in trouble is no error: it stays in memory.
    async fn write_small(&self, digest: &Digest, bytes: &Bytes) {
        let mut stored = self.store_whole(digest, bytes).await;
        if let Err(err) = &stored
            && self.reclaim(err).await
        {
            stored = self.store_whole(digest, bytes).await;
        }
        match stored {
            Ok(()) => {
                self.trouble.over();
                self.index.add(*digest, bytes.len() as u64, self.clock.now());
            }
            Err(err) => self.trouble.note(self, "store", &err),
        }
    }

    async fn store_whole(&self, digest: &Digest, bytes: &Bytes) -> io::Result<()> {
        let mut arriving = self.index.arriving();
        arriving.grow(bytes.len() as u64);
        self.make_room().await?;
        let mut partial = self.store.create(digest).await?;
        if let Err(err) = partial.append(vec![bytes.clone()]).await {
            partial.discard().await;
            return Err(err);
        }
        partial.commit().await.map(drop)
    }

    /// Reads content whole, and takes it out if it is not what it is called.
    async fn read_verified(&self, digest: &Digest, content: &dyn Content) -> Option<Bytes> {
        match read_whole(content).await {
            Ok(bytes) => match hash(digest, &bytes).await {
                Ok(actual) if actual == *digest => {
                    self.hot.keep_content(*digest, &bytes).await;
                    self.index.set_verified(digest, true);
                    return Some(bytes);
                }
                Ok(actual) => self.discard(digest, content, &actual).await,
                Err(_) => {}
            },
            // Perhaps for now only: fetching it again costs less than finding out.
            Err(err) => tracing::warn!(%digest, %err, "cannot read content in the cache"),
        }
        None
    }
}

async fn read_whole(content: &dyn Content) -> io::Result<Bytes> {
    let size = usize::try_from(content.size()).unwrap_or(usize::MAX);
    let first = content.read_at(0, size).await?;
    if first.len() >= size {
        return Ok(first);
    }
    let mut whole = BytesMut::from(first);
    while whole.len() < size {
        let more = content.read_at(whole.len() as u64, size - whole.len()).await?;
        if more.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        whole.extend_from_slice(&more);
    }
    Ok(whole.freeze())
}

/// The digest of `bytes` in the algorithm of `like`; large ones off the runtime.
async fn hash(like: &Digest, bytes: &Bytes) -> io::Result<Digest> {
    let (algorithm, bytes) = (like.algorithm(), bytes.clone());
    let small = bytes.len() as u64 <= MAX_HOT_BYTES;
    let work = move || {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(&bytes);
        hasher.finish()
    };
    if small { Ok(work()) } else { disk::blocking(move || Ok(work())).await }
}
