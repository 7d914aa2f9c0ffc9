//! The way past a store that takes no more: each reader downloads the rest for itself.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::Inner;
use super::download::{Download, SoFar, length};
use super::progress::{CHUNK_BYTES, Handover, TAIL_BYTES};
use super::source::{FillError, ReadError};
use super::store::ReadAt;
use crate::oci::Digest;

/// Part of some content, read from what the store still had and then from the source.
///
/// The whole is hashed, also what the part leaves out: the end of the part is held back until the digest matches.
pub(super) struct Direct {
    digest: Digest,
    kept: Option<Arc<dyn ReadAt>>,
    kept_bytes: u64,
    download: Download,
    so_far: SoFar,
    /// What is still to be given.
    rest: Range<u64>,
    /// Its beginning, as far as it came from the source.
    waiting: VecDeque<Bytes>,
    verified: bool,
}

impl Direct {
    pub(super) fn new(
        inner: &Inner,
        digest: Digest,
        size: u64,
        kept: Option<Arc<dyn ReadAt>>,
        handover: &Handover,
        rest: Range<u64>,
    ) -> Self {
        let Handover { source, so_far, .. } = handover;
        let (source, clock, metrics) = (Arc::clone(source), Arc::clone(&inner.clock), inner.metrics.clone());
        Self {
            digest,
            kept,
            kept_bytes: so_far.written,
            download: Download::new(source, clock, metrics, Some(size)),
            so_far: so_far.clone(),
            rest,
            waiting: VecDeque::new(),
            verified: false,
        }
    }

    /// The next bytes; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, ReadError> {
        loop {
            let free = if self.verified { self.rest.end } else { self.rest.end.saturating_sub(TAIL_BYTES) };
            let most = usize::try_from(free.saturating_sub(self.rest.start)).unwrap_or(usize::MAX).min(CHUNK_BYTES);
            if most > 0
                && let Some(bytes) = self.ready(most).await?
            {
                self.rest.start += bytes.len() as u64;
                return Ok(Some(bytes));
            }
            if self.verified {
                return Ok(None);
            }
            self.advance().await?;
        }
    }

    /// Up to `most` bytes that are at hand.
    async fn ready(&mut self, most: usize) -> Result<Option<Bytes>, ReadError> {
        if let Some(kept) = self.kept.as_ref().filter(|_| self.rest.start < self.kept_bytes) {
            let left = usize::try_from(self.kept_bytes - self.rest.start).unwrap_or(usize::MAX);
            let bytes = kept.read_at(self.rest.start, most.min(left)).await;
            let bytes = bytes.map_err(|err| ReadError::Store(Arc::new(err)))?;
            return if bytes.is_empty() { Err(FillError::Stopped.into()) } else { Ok(Some(bytes)) };
        }
        let Some(mut piece) = self.waiting.pop_front() else { return Ok(None) };
        if piece.len() > most {
            self.waiting.push_front(piece.split_off(most));
        }
        Ok(Some(piece))
    }

    /// Takes in one batch more, or verifies the whole at its end.
    async fn advance(&mut self) -> Result<(), FillError> {
        let Some(batch) = self.download.next(&self.so_far).await? else {
            let actual = self.so_far.digest();
            if actual != self.digest {
                return Err(FillError::DigestMismatch { expected: self.digest, actual: Box::new(actual) });
            }
            self.verified = true;
            return Ok(());
        };
        let mut at = self.so_far.written;
        if let Some(expected) = self.download.size().filter(|size| at + length(&batch) > *size) {
            return Err(FillError::SizeMismatch { expected, actual: at + length(&batch) });
        }
        self.so_far = self.so_far.clone().and(batch.clone()).await.ok_or(FillError::Stopped)?;
        for piece in batch {
            let end = at + piece.len() as u64;
            let within = |offset: u64| usize::try_from(offset.clamp(at, end) - at).unwrap_or_default();
            let wanted = piece.slice(within(self.rest.start)..within(self.rest.end));
            if !wanted.is_empty() {
                self.waiting.push_back(wanted);
            }
            at = end;
        }
        Ok(())
    }
}
