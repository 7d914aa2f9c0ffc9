//! Reading content: committed, in memory, or behind a fill.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

use super::fill::{Phase, Progress, TAIL_BYTES};
use super::source::FillError;
use super::store::{Content, MAX_READ_BYTES};
use crate::body::{self, Body};
use crate::oci::Digest;

/// How much of a body is read at once: what each slow client costs in memory, against a trip to another thread.
const CHUNK_BYTES: usize = 128 << 10;

/// How a reader came by its content; the distinction RFC 9211 (`Cache-Status`) makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lookup {
    /// It was there.
    Hit,
    /// A fill that was under way brings it.
    Collapsed,
    /// A fill was started for it.
    Miss,
}

/// Why content could not be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// The fill that brings it failed.
    #[error("the content did not arrive")]
    Fill(#[from] FillError),
    /// The store could not read it.
    #[error("the cache could not read the content")]
    Store(#[source] Arc<io::Error>),
}

/// Content that can be read anywhere, also while it is still arriving. Clones read independently.
#[derive(Clone)]
pub struct Reader {
    digest: Digest,
    size: u64,
    lookup: Lookup,
    origin: Origin,
}

#[derive(Clone)]
enum Origin {
    Memory(Bytes),
    Committed(Arc<dyn Content>),
    Following(watch::Receiver<Progress>),
}

impl Reader {
    pub(super) fn memory(digest: Digest, bytes: Bytes) -> Self {
        Self { digest, size: bytes.len() as u64, lookup: Lookup::Hit, origin: Origin::Memory(bytes) }
    }

    pub(super) fn committed(digest: Digest, content: Arc<dyn Content>) -> Self {
        Self { digest, size: content.size(), lookup: Lookup::Hit, origin: Origin::Committed(content) }
    }

    pub(super) fn following(digest: Digest, size: u64, lookup: Lookup, progress: watch::Receiver<Progress>) -> Self {
        Self { digest, size, lookup, origin: Origin::Following(progress) }
    }

    /// Which content.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Its length in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// How it was come by.
    pub fn lookup(&self) -> Lookup {
        self.lookup
    }

    /// Whether it is in the store, verified and durable.
    pub fn is_complete(&self) -> bool {
        match &self.origin {
            Origin::Memory(_) | Origin::Committed(_) => true,
            Origin::Following(progress) => matches!(progress.borrow().phase, Phase::Committed),
        }
    }

    /// Waits until the bytes were found right.
    ///
    /// # Errors
    /// When they are wrong, or do not arrive.
    pub async fn verified(&self) -> Result<(), FillError> {
        self.wait(Progress::is_verified).await.map(drop)
    }

    /// Waits until [`is_complete`](Self::is_complete).
    ///
    /// # Errors
    /// When the bytes are wrong, do not arrive, or could not be stored.
    pub async fn complete(&self) -> Result<(), FillError> {
        match self.wait(|progress| matches!(progress.phase, Phase::Committed | Phase::Unstored(_))).await? {
            Some(Progress { phase: Phase::Unstored(err), .. }) => Err(err),
            _ => Ok(()),
        }
    }

    /// Up to `max` bytes from `offset` on, as soon as one of them is there; none only at the end, or for a `max`
    /// of 0.
    ///
    /// While a fill is under way, its last [`TAIL_BYTES`] are waited for until all bytes were found right. What
    /// comes before is as it arrived: whoever acts on it before [`verified`](Self::verified) acts on bytes that
    /// may turn out wrong.
    ///
    /// # Errors
    /// When the fill fails before it gets there, or its bytes were found wrong, or the store cannot read.
    pub async fn read_at(&self, offset: u64, max: usize) -> Result<Bytes, ReadError> {
        let most = |end: u64| {
            let left = usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX);
            max.min(left).min(MAX_READ_BYTES)
        };
        let read = match &self.origin {
            Origin::Memory(bytes) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                return Ok(bytes.slice(start..start + most(self.size)));
            }
            _ if max == 0 => return Ok(Bytes::new()),
            Origin::Committed(content) => content.read_at(offset, most(self.size)).await,
            Origin::Following(_) => {
                let progress = self.wait(|progress| progress.is_verified() || progress.visible() > offset).await?;
                let Some(Progress { data: Some(data), .. }) = &progress else { return Err(FillError::Stopped.into()) };
                let visible = progress.as_ref().map_or(0, Progress::visible);
                data.read_at(offset, most(visible)).await
            }
        };
        let bytes = read.map_err(|err| ReadError::Store(Arc::new(err)))?;
        if bytes.is_empty() && offset < self.size {
            // Shortened under our hands; an early end must not look like the end.
            return Err(ReadError::Store(Arc::new(io::ErrorKind::UnexpectedEof.into())));
        }
        Ok(bytes)
    }

    /// A body of the bytes in `range`, as far as there are such, in pieces of bounded size.
    ///
    /// It never ends cleanly before *all* bytes of the content were found right, so that no response passes for
    /// whole that is part of a corrupt blob: the last [`TAIL_BYTES`] of the range are held back until then.
    pub fn body(&self, range: Range<u64>) -> Body {
        let end = range.end.min(self.size);
        let start = range.start.min(end);
        if let Origin::Memory(bytes) = &self.origin {
            let index = |at: u64| usize::try_from(at).unwrap_or(bytes.len());
            return body::full(bytes.slice(index(start)..index(end)));
        }
        let held = end - TAIL_BYTES.min(end - start);
        body::sized(end - start, (self.clone(), start), move |(reader, at)| async move {
            if at >= held {
                reader.verified().await.map_err(ReadError::from)?;
            }
            let until = if at < held { held } else { end };
            let max = usize::try_from(until - at).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
            let bytes = reader.read_at(at, max).await?;
            let next = at + bytes.len() as u64;
            Ok((!bytes.is_empty()).then_some((bytes, (reader, next))))
        })
    }

    /// Waits for a fill to get somewhere, which it may have done before it failed; `None` if there is no fill.
    async fn wait(&self, mut enough: impl FnMut(&Progress) -> bool) -> Result<Option<Progress>, FillError> {
        let Origin::Following(progress) = &self.origin else { return Ok(None) };
        let mut progress = progress.clone();
        let seen = progress.wait_for(|progress| enough(progress) || progress.failure().is_some()).await;
        // A fill whose task is gone without a word was cancelled by the runtime, or panicked.
        let seen = seen.map_err(|_| FillError::Stopped)?.clone();
        match seen.failure() {
            Some(err) if !enough(&seen) => Err(err.clone()),
            _ => Ok(Some(seen)),
        }
    }
}
