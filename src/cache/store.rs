//! What keeps the bytes: content by digest, and small named records.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::key::RecordKey;
use crate::body::BoxFuture;
use crate::oci::Digest;

/// The most that one [`ReadAt::read_at`] returns, whatever was asked: a read is a buffer, and every buffer has a cap.
pub const MAX_READ_BYTES: usize = 1 << 20;

/// Where content and records are kept.
///
/// Only [`LocalStore`](super::LocalStore) may assume files: a fleet of replicas can share an object store behind
/// this trait. What is damaged or not of this store's making is absent, and gone after it was found; an error is
/// for a store that cannot tell, or cannot take in.
pub trait Store: Send + Sync + 'static {
    /// Committed content.
    fn content<'a>(&'a self, digest: &'a Digest) -> BoxFuture<'a, io::Result<Option<Arc<dyn Content>>>>;

    /// Starts to take in content. Nothing shows under `digest` before [`PartialContent::commit`], and several
    /// may be under way for one digest.
    fn create<'a>(&'a self, digest: &'a Digest) -> BoxFuture<'a, io::Result<Box<dyn PartialContent>>>;

    /// Takes over what an earlier attempt at this content left behind, if there is any. Its bytes are whatever a
    /// crash made of them: the caller hashes them again.
    fn resume<'a>(&'a self, digest: &'a Digest) -> BoxFuture<'a, io::Result<Option<Box<dyn PartialContent>>>>;

    /// Removes what earlier attempts left behind at least `age` ago and nobody took over. Gives how many.
    fn sweep(&self, age: Duration) -> BoxFuture<'_, io::Result<usize>>;

    /// How many bytes earlier attempts left behind.
    fn left_bytes(&self) -> u64;

    /// All committed content, in no order.
    fn list_content(&self) -> BoxFuture<'_, io::Result<Vec<Listed>>>;

    /// How much room there is, if this store is somewhere that has an end.
    fn space(&self) -> BoxFuture<'_, io::Result<Option<Space>>> {
        Box::pin(async { Ok(None) })
    }

    /// Notes when content was last used, so that it is still known after a restart.
    fn touch<'a>(&'a self, digest: &'a Digest, at: SystemTime) -> BoxFuture<'a, io::Result<()>>;

    /// Takes content out. Whoever has it open goes on reading.
    fn remove<'a>(&'a self, digest: &'a Digest) -> BoxFuture<'a, io::Result<()>>;

    /// A record's bytes.
    fn record<'a>(&'a self, key: &'a RecordKey) -> BoxFuture<'a, io::Result<Option<Bytes>>>;

    /// Writes a record, durably, and in one step: at any instant there is the old one or the new one.
    fn put_record<'a>(&'a self, key: &'a RecordKey, bytes: Bytes) -> BoxFuture<'a, io::Result<()>>;

    /// Takes a record out. Not to find it is a success.
    fn delete_record<'a>(&'a self, key: &'a RecordKey) -> BoxFuture<'a, io::Result<()>>;

    /// The keys that begin with the components of `prefix` and go on, in order.
    fn list_records<'a>(&'a self, prefix: &'a RecordKey) -> BoxFuture<'a, io::Result<Vec<RecordKey>>>;
}

/// Committed content, as [`Store::list_content`] tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Which content.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// When it was last used, as far as that was noted.
    pub accessed: SystemTime,
}

/// The room of the file system that a store is in, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// All of it.
    pub total: u64,
    /// What may still be written.
    pub free: u64,
}

/// Bytes that can be read anywhere, by any number of readers.
pub trait ReadAt: Send + Sync + 'static {
    /// Up to `max` bytes from `offset` on, and no more than [`MAX_READ_BYTES`]; fewer only at the end of what is
    /// there, none beyond it.
    fn read_at(&self, offset: u64, max: usize) -> BoxFuture<'_, io::Result<Bytes>>;
}

/// Committed content, open. Stays readable after it was taken out of the store.
pub trait Content: ReadAt {
    /// Its length in bytes.
    fn size(&self) -> u64;

    /// Tells it from what else was, or will be, the content of its digest, for as long as it is open.
    fn identity(&self) -> (u64, u64);

    /// Whether others that are opened have the same identity.
    fn is_shared(&self) -> bool {
        true
    }

    /// Takes it out of the store because it was found damaged; whatever replaced it meanwhile stays. Says whether it
    /// still was there.
    fn discard(&self) -> BoxFuture<'_, io::Result<bool>>;
}

/// Content that is being taken in. Dropped before it is committed, it is left for [`Store::resume`].
pub trait PartialContent: Send {
    /// How many bytes there are.
    fn written(&self) -> u64;

    /// Adds to the end. When the future is done, [`reader`](Self::reader) gives the bytes.
    ///
    /// After an error the content is what it was before, if the store can say so; else every further `append` fails.
    /// What was there before stays readable either way.
    fn append(&mut self, pieces: Vec<Bytes>) -> BoxFuture<'_, io::Result<()>>;

    /// Reads what was written so far. Stays good after the end, whichever it is.
    fn reader(&self) -> Arc<dyn ReadAt>;

    /// Makes it the content of its digest, durably. The caller has verified it: a store does not hash.
    fn commit(self: Box<Self>) -> BoxFuture<'static, io::Result<Arc<dyn Content>>>;

    /// Removes it, because it is wrong.
    fn discard(self: Box<Self>) -> BoxFuture<'static, ()>;
}
