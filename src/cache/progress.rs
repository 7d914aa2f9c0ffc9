//! How far a fill is, as its followers see it.

use std::sync::Arc;

use super::download::SoFar;
use super::source::{FillError, Source};
use super::store::ReadAt;

/// How many bytes at the end no reader gets before digest and length were found right.
///
/// One byte would do for a client that counts. Some read a stream only as far as they need: a tar ends in up to
/// 20 blocks of zeros (10 KiB) and gzip's trailer after them, so with less a client could unpack a whole corrupt
/// layer and never see how the response ends. 64 KiB covers the archive's end and the last deflate block of
/// common encoders.
pub const TAIL_BYTES: u64 = 64 << 10;

/// How much of a body is read at once: what each slow client costs in memory, against a trip to another thread.
pub(super) const CHUNK_BYTES: usize = 128 << 10;

/// How far a fill is.
#[derive(Clone)]
pub(super) struct Progress {
    /// The content's length, once it is known.
    pub(super) size: Option<u64>,
    /// What can be read.
    pub(super) written: u64,
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
    /// The store takes no more. Whoever reads it gets the rest past the store.
    Bypassed(Arc<Handover>),
    /// Without result.
    Failed(FillError),
}

/// From where a reader goes on by itself when the store has failed.
pub(super) struct Handover {
    pub(super) source: Arc<dyn Source>,
    /// What the readers may have had from the store.
    pub(super) so_far: SoFar,
    pub(super) cause: FillError,
}

impl Progress {
    pub(super) fn start() -> Self {
        Self { size: None, written: 0, data: None, was_stored: false, phase: Phase::Filling }
    }

    /// How many bytes from the start on a reader may have.
    pub(super) fn visible(&self) -> u64 {
        let size = match (&self.phase, self.size) {
            (Phase::Failed(err), _) if err.taints() => return 0,
            (Phase::Verified | Phase::Committed | Phase::Unstored(_), _) => return self.written,
            (_, Some(size)) => size,
            (_, None) => self.written,
        };
        self.written.min(size.saturating_sub(TAIL_BYTES))
    }

    /// Whether the bytes were found right.
    pub(super) fn is_verified(&self) -> bool {
        matches!(self.phase, Phase::Verified | Phase::Committed | Phase::Unstored(_))
    }

    /// Why no more comes of it, if that is so.
    pub(super) fn failure(&self) -> Option<&FillError> {
        match &self.phase {
            Phase::Failed(err) => Some(err),
            Phase::Bypassed(handover) => Some(&handover.cause),
            _ => None,
        }
    }

    /// Whether a reader can be handed out: the length is known, and so is the first byte.
    ///
    /// Content no longer than the tail so waits for its end, and a corrupt one becomes an error that can
    /// still be told with a status rather than a broken body.
    pub(super) fn is_readable(&self) -> bool {
        self.is_verified() || (self.size.is_some() && self.visible() > 0)
    }
}
