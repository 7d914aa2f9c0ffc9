//! The cache: content by digest, followed while it arrives, and the small records that survive a restart.
//!
//! A request asks [`Cache::content`]; a miss asks [`Cache::fill`] with a [`Source`]. The first such miss starts
//! one fill, a task that downloads into the [`Store`] and hashes on the way; it and every later one get a
//! [`Reader`] that follows the growing content at its own pace. The tail is held back until digest and length
//! were found right; only then is the content committed. What is wrong breaks every follower's body and leaves
//! nothing behind. Small content and all records are also kept in memory, in a hot set bounded by bytes.
//!
//! That content is in the cache says nothing about who may have it: [`Cache::member`] is the record that a
//! repository has it, and asking that is the caller's duty. So is everything that knows an upstream, a tag or
//! HTTP; this room sees digests, bytes and named records.

mod disk;
mod fill;
mod hot;
mod key;
mod local;
mod local_content;
mod local_directory;
mod local_record;
mod memory;
mod reader;
mod records;
mod source;
mod store;

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::sync::{Semaphore, watch};

use crate::body::Clock;
use crate::oci::{Digest, Hasher};

use fill::{Filler, Progress};
use hot::{Hot, MAX_HOT_BYTES};
use records::Turns;

pub use fill::TAIL_BYTES;
pub use key::RecordKey;
pub use local::{LocalStore, OpenError};
pub use memory::{Faults, MemoryStore, Operation};
pub use reader::{Lookup, ReadError, Reader};
pub use records::Member;
pub use source::{FillError, Source, SourceBody};
pub use store::{Content, MAX_READ_BYTES, PartialContent, ReadAt, Store};

/// How much a cache may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheLimits {
    /// The bytes the hot set may take, what it costs to keep them included.
    pub memory_bytes: u64,
    /// How many fills may run at once; more wait for their turn.
    pub concurrent_fills: usize,
}

impl Default for CacheLimits {
    /// 64 MiB of memory: some 20,000 manifests with their records. 64 fills: several large pulls at once, and in
    /// file descriptors and sockets far below the usual limit of 1,024.
    fn default() -> Self {
        Self { memory_bytes: 64 << 20, concurrent_fills: 64 }
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
    hot: Hot,
    turns: Turns,
    permits: Arc<Semaphore>,
    fills: Mutex<HashMap<Digest, Running>>,
}

/// A fill that can be joined.
struct Running {
    source: Arc<dyn Source>,
    progress: watch::Receiver<Progress>,
}

/// How often a caller whose joined fill failed goes on to its own source. Bounds what one request may wait for;
/// it takes as many other origins to get there.
const MAX_JOINS: usize = 3;

impl Cache {
    /// A cache over `store`.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, limits: CacheLimits) -> Self {
        let permits = limits.concurrent_fills.clamp(1, Semaphore::MAX_PERMITS);
        let inner = Inner {
            store,
            clock,
            hot: Hot::new(limits.memory_bytes),
            turns: Turns::new(),
            permits: Arc::new(Semaphore::new(permits)),
            fills: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The clock by which what is recorded here ages.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.inner.clock
    }

    /// Content that is committed. What the store cannot read is absent, so that it is fetched again.
    ///
    /// # Errors
    /// When the store cannot say whether it has it.
    pub async fn content(&self, digest: &Digest) -> io::Result<Option<Reader>> {
        if let Some(bytes) = self.inner.hot.content(digest).await {
            return Ok(Some(Reader::memory(*digest, bytes)));
        }
        let Some(content) = self.inner.store.content(digest).await? else { return Ok(None) };
        if content.size() > MAX_HOT_BYTES {
            return Ok(Some(Reader::committed(*digest, content)));
        }
        let bytes = self.inner.read_verified(digest, &*content).await;
        Ok(bytes.map(|bytes| Reader::memory(*digest, bytes)))
    }

    /// The whole of committed content of at most `max` bytes, hashed if it comes from the store. Larger content
    /// is absent.
    ///
    /// # Errors
    /// When the store cannot say whether it has it.
    pub async fn load(&self, digest: &Digest, max: usize) -> io::Result<Option<Bytes>> {
        if let Some(bytes) = self.inner.hot.content(digest).await {
            return Ok(Some(bytes).filter(|bytes| bytes.len() <= max));
        }
        match self.inner.store.content(digest).await? {
            Some(content) if content.size() <= max as u64 => Ok(self.inner.read_verified(digest, &*content).await),
            _ => Ok(None),
        }
    }

    /// Keeps small content that is at hand, such as a manifest.
    ///
    /// # Errors
    /// When the bytes are not those of `digest` (`InvalidData`), or the store cannot take them.
    pub async fn put(&self, digest: &Digest, bytes: Bytes) -> io::Result<()> {
        // Concurrent requests for one manifest all come here; the first writes.
        let _turn = self.inner.turns.of(digest).await;
        if self.inner.hot.content(digest).await.is_some() {
            return Ok(());
        }
        if hash(digest, &bytes).await? != *digest {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("these bytes are not those of {digest}")));
        }
        let mut partial = self.inner.store.create(digest).await?;
        partial.append(vec![bytes.clone()]).await?;
        partial.commit().await?;
        self.inner.hot.keep_content(*digest, &bytes).await;
        Ok(())
    }

    /// Takes content out. Readers that have it go on.
    ///
    /// # Errors
    /// When the store cannot.
    pub async fn remove(&self, digest: &Digest) -> io::Result<()> {
        self.inner.store.remove(digest).await?;
        self.inner.hot.forget_content(digest).await;
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
            if let Some(reader) = self.content(digest).await.map_err(FillError::store)? {
                return Ok(reader);
            }
            let (lookup, mut progress, other_origin) = self.join_or_start(digest, size, &source);
            let ready = progress.wait_for(|progress| progress.is_readable() || progress.failure().is_some()).await;
            let ready = ready.map_err(|_| FillError::Stopped)?.clone();
            match (ready.failure(), ready.size, size) {
                // Another registry's trouble is not this caller's.
                (Some(_), ..) if other_origin && joined < MAX_JOINS => joined += 1,
                (Some(err), ..) => return Err(err.clone()),
                (None, Some(actual), Some(expected)) if actual != expected => {
                    return Err(FillError::SizeMismatch { expected, actual });
                }
                (None, Some(size), _) => {
                    // Whoever filled it before is who gave it; this caller's source was not asked.
                    let lookup = if ready.was_stored { Lookup::Hit } else { lookup };
                    return Ok(Reader::following(*digest, size, lookup, progress));
                }
                (None, None, _) => return Err(FillError::Stopped),
            }
        }
    }

    /// How to follow the fill of `digest`, and whether it is one from another origin.
    fn join_or_start(
        &self,
        digest: &Digest,
        expected: Option<u64>,
        source: &Arc<dyn Source>,
    ) -> (Lookup, watch::Receiver<Progress>, bool) {
        let mut fills = self.inner.fills();
        if let Some(running) = fills.get(digest) {
            let other_origin = running.source.origin() != source.origin();
            return (Lookup::Collapsed, running.progress.clone(), other_origin);
        }
        let (sender, progress) = watch::channel(Progress::start());
        fills.insert(*digest, Running { source: Arc::clone(source), progress: progress.clone() });
        let registration = Registration { inner: Arc::clone(&self.inner), digest: *digest };
        let filler = Filler {
            store: Arc::clone(&self.inner.store),
            permits: Arc::clone(&self.inner.permits),
            source: Arc::clone(source),
            digest: *digest,
            expected,
            progress: sender,
        };
        // A runtime that is going down drops the task here and now, and with it the registration, which locks.
        drop(fills);
        tokio::spawn(filler.run(registration));
        (Lookup::Miss, progress, false)
    }
}

impl Inner {
    fn fills(&self) -> MutexGuard<'_, HashMap<Digest, Running>> {
        self.fills.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads content whole, and takes it out if it is not what it is called.
    async fn read_verified(&self, digest: &Digest, content: &dyn Content) -> Option<Bytes> {
        match read_whole(content).await {
            Ok(bytes) => match hash(digest, &bytes).await {
                Ok(actual) if actual == *digest => {
                    self.hot.keep_content(*digest, &bytes).await;
                    return Some(bytes);
                }
                Ok(actual) => {
                    tracing::warn!(%digest, %actual, "removing damaged content from the cache");
                    if let Err(err) = content.discard().await {
                        tracing::warn!(%digest, %err, "cannot remove it");
                    }
                }
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

/// A fill's place among those that can be joined, given up when the fill ends in whatever way.
struct Registration {
    inner: Arc<Inner>,
    digest: Digest,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.inner.fills().remove(&self.digest);
    }
}
