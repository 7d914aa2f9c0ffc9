//! One download into the store, followed by any number of readers.
//!
//! A fill is a task of its own, so no client's leaving ends it. It tells how far it is through a watched
//! [`Progress`]; readers wait for it to pass their offset and then read the growing content, each at its own pace.
//! There is no channel of bytes that a slow reader could fill or a late one have missed.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Body as _;
use tokio::sync::{Semaphore, watch};

use super::source::{FillError, Source};
use super::store::{PartialContent, ReadAt, Store};
use crate::body::{Body, BoxError};
use crate::oci::{Digest, Hasher};

/// How many bytes at the end no reader gets before digest and length were found right.
///
/// One byte would do for a client that counts. Some read a stream only as far as they need: a tar ends in up to
/// 20 blocks of zeros (10 KiB) and gzip's trailer after them, so with less a client could unpack a whole corrupt
/// layer and never see how the response ends. 64 KiB covers the archive's end and the last deflate block of
/// common encoders.
pub const TAIL_BYTES: u64 = 64 << 10;

/// How much is written at once, if it is there already: a write is a trip to another thread.
const BATCH_BYTES: usize = 256 << 10;
/// How many pieces are written at once: a source that sends single bytes must not have each cost a `Bytes`.
const BATCH_PIECES: usize = 256;
/// Up to here hashing costs less (some 40 µs) than the trip to another thread.
const INLINE_HASH_BYTES: usize = 64 << 10;

/// How far a fill is.
#[derive(Clone)]
pub(super) struct Progress {
    /// The content's length, once it is known.
    pub(super) size: Option<u64>,
    /// What can be read.
    written: u64,
    /// Where to read it.
    pub(super) data: Option<Arc<dyn ReadAt>>,
    /// Whether it was in the store after all, and the source was never asked.
    pub(super) was_stored: bool,
    pub(super) phase: Phase,
}

/// What a fill is doing, or how it ended.
#[derive(Clone)]
pub(super) enum Phase {
    /// Waiting for its turn, or downloading.
    Filling,
    /// Digest and length hold; being committed.
    Verified,
    /// In the store.
    Committed,
    /// Verified, but the store could not keep it; whoever reads it can go on.
    Unstored(FillError),
    /// Without result.
    Failed(FillError),
}

impl Progress {
    pub(super) fn start() -> Self {
        Self { size: None, written: 0, data: None, was_stored: false, phase: Phase::Filling }
    }

    /// How many bytes from the start on a reader may have.
    pub(super) fn visible(&self) -> u64 {
        let size = match (&self.phase, self.size) {
            (Phase::Failed(err), _) if err.taints() => return 0,
            (Phase::Filling | Phase::Failed(_), Some(size)) => size,
            (Phase::Filling | Phase::Failed(_), None) => self.written,
            (Phase::Verified | Phase::Committed | Phase::Unstored(_), _) => return self.written,
        };
        self.written.min(size.saturating_sub(TAIL_BYTES))
    }

    /// Whether the bytes were found right.
    pub(super) fn is_verified(&self) -> bool {
        matches!(self.phase, Phase::Verified | Phase::Committed | Phase::Unstored(_))
    }

    /// How it failed, if it did.
    pub(super) fn failure(&self) -> Option<&FillError> {
        if let Phase::Failed(err) = &self.phase { Some(err) } else { None }
    }

    /// Whether a reader can be handed out: the length is known, and so is the first byte.
    ///
    /// Content no longer than the tail so waits for its end, and a corrupt one becomes an error that can
    /// still be told with a status rather than a broken body.
    pub(super) fn is_readable(&self) -> bool {
        self.is_verified() || (self.size.is_some() && self.visible() > 0)
    }
}

/// What a fill works with.
pub(super) struct Filler {
    pub(super) store: Arc<dyn Store>,
    pub(super) permits: Arc<Semaphore>,
    pub(super) source: Arc<dyn Source>,
    pub(super) digest: Digest,
    /// The length that a descriptor says.
    pub(super) expected: Option<u64>,
    pub(super) progress: watch::Sender<Progress>,
}

impl Filler {
    /// Runs to the end. `registration` is dropped before anybody learns of the end, so that whoever then asks
    /// for the content finds it in the store, or starts over, and never joins a fill that is done.
    pub(super) async fn run(self, registration: impl Drop) {
        let phase = match self.fill().await {
            Ok(None) => Phase::Committed,
            Ok(Some(partial)) => {
                self.progress.send_modify(|progress| progress.phase = Phase::Verified);
                match partial.commit().await {
                    Ok(_) => Phase::Committed,
                    Err(err) => {
                        tracing::warn!(digest = %self.digest, %err, "cannot keep verified content in the cache");
                        Phase::Unstored(FillError::store(err))
                    }
                }
            }
            Err(err) => {
                self.log(&err);
                Phase::Failed(err)
            }
        };
        drop(registration);
        self.progress.send_modify(|progress| progress.phase = phase);
    }

    fn log(&self, err: &FillError) {
        let digest = self.digest;
        match err {
            // Whoever asked says so, knowing for whom.
            FillError::Source(cause) => tracing::debug!(%digest, %cause, "a download failed"),
            FillError::Store(cause) => tracing::warn!(%digest, %cause, "cannot write to the cache"),
            other => tracing::warn!(%digest, origin = self.source.origin(), err = %other, "a download is refused"),
        }
    }

    /// Brings the content in and verifies it. `None` when it was in the store after all.
    async fn fill(&self) -> Result<Option<Box<dyn PartialContent>>, FillError> {
        // Whoever started this fill looked before it was registered: another may have ended in between.
        if let Some(content) = self.store.content(&self.digest).await.map_err(FillError::store)? {
            self.progress.send_modify(|progress| {
                progress.size = Some(content.size());
                progress.written = content.size();
                progress.data = Some(content);
                progress.was_stored = true;
            });
            return Ok(None);
        }
        let Ok(_permit) = self.permits.acquire().await else { return Err(FillError::Stopped) };
        let opened = self.source.open(0).await.map_err(FillError::source)?;
        if opened.offset != 0 {
            return Err(FillError::WrongOffset { expected: 0, actual: opened.offset });
        }
        if let (Some(expected), Some(actual)) = (self.expected, opened.size)
            && expected != actual
        {
            return Err(FillError::SizeMismatch { expected, actual });
        }
        let partial = self.store.create(&self.digest).await.map_err(FillError::store)?;
        self.progress.send_modify(|progress| {
            progress.size = self.expected.or(opened.size);
            progress.data = Some(partial.reader());
        });
        let mut taken = Taken { partial, hasher: Hasher::new(self.digest.algorithm()), written: 0 };
        self.take(opened.body, &mut taken).await?;
        self.verify(taken).map(Some)
    }

    /// Takes a body in, to its end.
    async fn take(&self, body: Body, taken: &mut Taken) -> Result<(), FillError> {
        let size = self.progress.borrow().size.unwrap_or(u64::MAX);
        let mut batches = Batches { body, end: None };
        while let Some(batch) = batches.next().await.map_err(FillError::source)? {
            let length: u64 = batch.iter().map(|piece| piece.len() as u64).sum();
            let written = taken.written.saturating_add(length);
            if written > size {
                return Err(FillError::SizeMismatch { expected: size, actual: written });
            }
            let hasher = std::mem::replace(&mut taken.hasher, Hasher::new(self.digest.algorithm()));
            let (stored, hasher) = tokio::join!(taken.partial.append(batch.clone()), hash(hasher, batch, length));
            taken.hasher = hasher.ok_or(FillError::Stopped)?;
            stored.map_err(FillError::store)?;
            taken.written = written;
            self.progress.send_modify(|progress| progress.written = written);
        }
        Ok(())
    }

    fn verify(&self, taken: Taken) -> Result<Box<dyn PartialContent>, FillError> {
        let written = taken.written;
        if let Some(expected) = self.progress.borrow().size.filter(|size| *size != written) {
            return Err(FillError::SizeMismatch { expected, actual: written });
        }
        let actual = taken.hasher.finish();
        if actual != self.digest {
            return Err(FillError::DigestMismatch { expected: self.digest, actual: Box::new(actual) });
        }
        self.progress.send_modify(|progress| progress.size = Some(written));
        Ok(taken.partial)
    }
}

/// What came so far; all that a resumed download has to go on from.
struct Taken {
    partial: Box<dyn PartialContent>,
    hasher: Hasher,
    written: u64,
}

/// Hashes beside the write. `None` if the runtime is going down.
async fn hash(mut hasher: Hasher, pieces: Vec<Bytes>, length: u64) -> Option<Hasher> {
    let work = move || {
        pieces.iter().for_each(|piece| hasher.update(piece));
        hasher
    };
    if length <= INLINE_HASH_BYTES as u64 { Some(work()) } else { tokio::task::spawn_blocking(work).await.ok() }
}

/// A body in larger pieces: all that is there at once, up to the bounds above, and never waiting for more.
struct Batches {
    body: Body,
    // How the body ended, if that was seen behind bytes that went first.
    end: Option<Result<(), BoxError>>,
}

impl Batches {
    async fn next(&mut self) -> Result<Option<Vec<Bytes>>, BoxError> {
        poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Vec<Bytes>>, BoxError>> {
        let (mut batch, mut length) = (Vec::new(), 0);
        while self.end.is_none() && length < BATCH_BYTES && batch.len() < BATCH_PIECES {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending if batch.is_empty() => return Poll::Pending,
                Poll::Pending => break,
                Poll::Ready(None) => self.end = Some(Ok(())),
                Poll::Ready(Some(Err(err))) => self.end = Some(Err(err)),
                // Trailers are nobody's business here.
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) if !data.is_empty() => {
                        length += data.len();
                        batch.push(data);
                    }
                    _ => {}
                },
            }
        }
        if !batch.is_empty() {
            return Poll::Ready(Ok(Some(batch)));
        }
        // Asked again after an error it would say "ended"; nobody does.
        Poll::Ready(self.end.replace(Ok(())).unwrap_or(Ok(())).map(|()| None))
    }
}
