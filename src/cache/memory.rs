//! A store in memory, for tests and simulations: what a directory does, without one.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::key::RecordKey;
use super::store::{Content, Listed, MAX_READ_BYTES, PartialContent, ReadAt, Store};
use crate::body::BoxFuture;
use crate::oci::Digest;

/// What a [`MemoryStore`] is about to do, for the hook that may make it fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Look content up.
    Content(Digest),
    /// Start content, or go on with it.
    Create(Digest),
    /// Add to content that has so many bytes.
    Append(Digest, u64),
    /// Read content at an offset.
    Read(Digest, u64),
    /// Commit content.
    Commit(Digest),
    /// Take content out.
    Remove(Digest),
    /// Read a record.
    Record(RecordKey),
    /// Write a record.
    PutRecord(RecordKey),
    /// Take a record out.
    DeleteRecord(RecordKey),
    /// List records.
    ListRecords(RecordKey),
}

/// Decides whether an operation works.
pub type Faults = Arc<dyn Fn(&Operation) -> io::Result<()> + Send + Sync>;

/// A store in memory. Clones share what is kept, so a clone given to a new cache is a restart.
#[derive(Clone, Default)]
pub struct MemoryStore(Arc<State>);

#[derive(Default)]
struct State {
    content: Mutex<HashMap<Digest, Arc<Kept>>>,
    accessed: Mutex<HashMap<Digest, SystemTime>>,
    records: Mutex<BTreeMap<RecordKey, Bytes>>,
    partials: AtomicUsize,
    left: Mutex<HashMap<Digest, Vec<u8>>>,
    faults: Option<Faults>,
}

impl MemoryStore {
    /// A store whose operations fail when `faults` says so.
    pub fn with_faults(faults: Faults) -> Self {
        Self(Arc::new(State { faults: Some(faults), ..State::default() }))
    }

    /// How many contents are being written: zero when nothing leaks.
    pub fn partials(&self) -> usize {
        self.0.partials.load(Ordering::SeqCst)
    }

    /// How many were left for somebody to go on with.
    pub fn left(&self) -> usize {
        lock(&self.0.left).len()
    }

    /// Does to what was left whatever a crash does to bytes that were not synced.
    pub fn damage_left(&self, mut damage: impl FnMut(&Digest, &mut Vec<u8>)) {
        lock(&self.0.left).iter_mut().for_each(|(digest, bytes)| damage(digest, bytes));
    }

    /// All content there is, for looking behind the cache's back.
    pub fn contents(&self) -> Vec<(Digest, Bytes)> {
        lock(&self.0.content).values().map(|kept| (kept.digest, kept.bytes.clone())).collect()
    }

    /// Puts bytes under a digest they need not have, as a damaged disk does.
    pub fn damage(&self, digest: &Digest, bytes: impl Into<Bytes>) {
        self.0.keep(*digest, bytes.into());
    }
}

impl State {
    fn check(&self, operation: Operation) -> io::Result<()> {
        self.faults.as_ref().map_or(Ok(()), |faults| faults(&operation))
    }

    fn keep(&self, digest: Digest, bytes: Bytes) {
        lock(&self.content).insert(digest, Arc::new(Kept { digest, bytes }));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bytes under a digest; an identity of its own tells a repair from the damage.
struct Kept {
    digest: Digest,
    bytes: Bytes,
}

struct MemoryContent {
    state: Arc<State>,
    kept: Arc<Kept>,
}

impl ReadAt for MemoryContent {
    fn read_at(&self, offset: u64, max: usize) -> BoxFuture<'_, io::Result<Bytes>> {
        Box::pin(async move {
            self.state.check(Operation::Read(self.kept.digest, offset))?;
            let (from, to) = window(offset, max, self.kept.bytes.len());
            Ok(self.kept.bytes.slice(from..to))
        })
    }
}

impl Content for MemoryContent {
    fn size(&self) -> u64 {
        self.kept.bytes.len() as u64
    }

    fn identity(&self) -> (u64, u64) {
        (0, Arc::as_ptr(&self.kept) as u64)
    }

    fn discard(&self) -> BoxFuture<'_, io::Result<bool>> {
        Box::pin(async {
            let mut content = lock(&self.state.content);
            let is_there = content.get(&self.kept.digest).is_some_and(|there| Arc::ptr_eq(there, &self.kept));
            if is_there {
                content.remove(&self.kept.digest);
            }
            Ok(is_there)
        })
    }
}

/// Where a read begins and ends in `len` bytes.
fn window(offset: u64, max: usize, len: usize) -> (usize, usize) {
    let from = usize::try_from(offset).unwrap_or(usize::MAX).min(len);
    (from, from + max.min(MAX_READ_BYTES).min(len - from))
}

struct MemoryPartial {
    digest: Digest,
    data: Arc<Growing>,
    ended: bool,
}

impl MemoryPartial {
    fn start(state: &Arc<State>, digest: Digest, bytes: Vec<u8>) -> Box<dyn PartialContent> {
        state.partials.fetch_add(1, Ordering::SeqCst);
        let data = Arc::new(Growing { state: Arc::clone(state), digest, bytes: RwLock::new(bytes) });
        Box::new(Self { digest, data, ended: false })
    }

    fn len(&self) -> usize {
        self.data.bytes.read().unwrap_or_else(PoisonError::into_inner).len()
    }
}

struct Growing {
    state: Arc<State>,
    digest: Digest,
    bytes: RwLock<Vec<u8>>,
}

impl ReadAt for Growing {
    fn read_at(&self, offset: u64, max: usize) -> BoxFuture<'_, io::Result<Bytes>> {
        Box::pin(async move {
            self.state.check(Operation::Read(self.digest, offset))?;
            let bytes = self.bytes.read().unwrap_or_else(PoisonError::into_inner);
            let (from, to) = window(offset, max, bytes.len());
            Ok(Bytes::copy_from_slice(&bytes[from..to]))
        })
    }
}

impl PartialContent for MemoryPartial {
    fn written(&self) -> u64 {
        self.len() as u64
    }

    fn append(&mut self, pieces: Vec<Bytes>) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move {
            let mut bytes = self.data.bytes.write().unwrap_or_else(PoisonError::into_inner);
            self.data.state.check(Operation::Append(self.digest, bytes.len() as u64))?;
            pieces.iter().for_each(|piece| bytes.extend_from_slice(piece));
            Ok(())
        })
    }

    fn reader(&self) -> Arc<dyn ReadAt> {
        Arc::clone(&self.data) as Arc<dyn ReadAt>
    }

    fn commit(mut self: Box<Self>) -> BoxFuture<'static, io::Result<Arc<dyn Content>>> {
        Box::pin(async move {
            self.ended = true;
            let state = &self.data.state;
            state.check(Operation::Commit(self.digest))?;
            let bytes = self.data.bytes.read().unwrap_or_else(PoisonError::into_inner).clone();
            state.keep(self.digest, bytes.into());
            lock(&state.left).remove(&self.digest);
            let kept = lock(&state.content).get(&self.digest).map(Arc::clone).ok_or(io::ErrorKind::NotFound)?;
            Ok(Arc::new(MemoryContent { state: Arc::clone(state), kept }) as Arc<dyn Content>)
        })
    }

    fn discard(mut self: Box<Self>) -> BoxFuture<'static, ()> {
        self.ended = true;
        Box::pin(async {})
    }
}

impl Drop for MemoryPartial {
    fn drop(&mut self) {
        let state = &self.data.state;
        if !self.ended && self.len() > 0 {
            let bytes = self.data.bytes.read().unwrap_or_else(PoisonError::into_inner).clone();
            lock(&state.left).insert(self.digest, bytes);
        }
        state.partials.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Store for MemoryStore {
    fn content<'a>(&'a self, digest: &'a Digest) -> BoxFuture<'a, io::Result<Option<Arc<dyn Content>>>> {
        Box::pin(async {
            self.0.check(Operation::Content(*digest))?;
            let kept = lock(&self.0.content).get(digest).map(Arc::clone);
            Ok(kept.map(|kept| Arc::new(MemoryContent { state: Arc::clone(&self.0), kept }) as Arc<dyn Content>))
        })
    }

    fn create<'a>(&'a self, digest: &'a Digest) -> BoxFuture<'a, io::Result<Box<dyn PartialContent>>> {
        Box::pin(async {
            self.0.check(Operation::Create(*digest))?;
            Ok(MemoryPartial::start(&self.0, *digest, Vec::new()))
        })
    }

    fn resume<'a>(&'a self, digest: &'a Digest) -> BoxFuture<'a, io::Result<Option<Box<dyn PartialContent>>>> {
        Box::pin(async {
            self.0.check(Operation::Create(*digest))?;
            let left = lock(&self.0.left).remove(digest);
            Ok(left.map(|bytes| MemoryPartial::start(&self.0, *digest, bytes)))
        })
    }

    fn sweep(&self, age: Duration) -> BoxFuture<'_, io::Result<usize>> {
        // There is no clock here, so nothing gets old.
        let swept = if age.is_zero() { lock(&self.0.left).drain().count() } else { 0 };
        Box::pin(async move { Ok(swept) })
    }

    fn left_bytes(&self) -> u64 {
        lock(&self.0.left).values().map(|bytes| bytes.len() as u64).sum()
    }

    fn list_content(&self) -> BoxFuture<'_, io::Result<Vec<Listed>>> {
        Box::pin(async {
            let accessed = lock(&self.0.accessed);
            let listed = |kept: &Arc<Kept>| Listed {
                digest: kept.digest,
                size: kept.bytes.len() as u64,
                accessed: accessed.get(&kept.digest).copied().unwrap_or(SystemTime::UNIX_EPOCH),
            };
            Ok(lock(&self.0.content).values().map(listed).collect())
        })
    }

    fn touch<'a>(&'a self, digest: &'a Digest, at: SystemTime) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            lock(&self.0.accessed).insert(*digest, at);
            Ok(())
        })
    }

    fn remove<'a>(&'a self, digest: &'a Digest) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async {
            self.0.check(Operation::Remove(*digest))?;
            lock(&self.0.content).remove(digest);
            Ok(())
        })
    }

    fn record<'a>(&'a self, key: &'a RecordKey) -> BoxFuture<'a, io::Result<Option<Bytes>>> {
        Box::pin(async {
            self.0.check(Operation::Record(key.clone()))?;
            Ok(lock(&self.0.records).get(key).cloned())
        })
    }

    fn put_record<'a>(&'a self, key: &'a RecordKey, bytes: Bytes) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async {
            self.0.check(Operation::PutRecord(key.clone()))?;
            // As in a directory, where such a key has no file.
            key.last().ok_or(io::ErrorKind::InvalidInput)?;
            lock(&self.0.records).insert(key.clone(), bytes);
            Ok(())
        })
    }

    fn delete_record<'a>(&'a self, key: &'a RecordKey) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async {
            self.0.check(Operation::DeleteRecord(key.clone()))?;
            lock(&self.0.records).remove(key);
            Ok(())
        })
    }

    fn list_records<'a>(&'a self, prefix: &'a RecordKey) -> BoxFuture<'a, io::Result<Vec<RecordKey>>> {
        Box::pin(async {
            self.0.check(Operation::ListRecords(prefix.clone()))?;
            Ok(lock(&self.0.records).keys().filter(|key| key.is_under(prefix)).cloned().collect())
        })
    }
}
