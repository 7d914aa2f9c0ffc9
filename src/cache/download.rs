//! Reading a source to its end, however often it breaks off.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::batches::Batches;
use super::source::{FillError, Source, SourceBody, SourceError};
use super::store::ReadAt;
use crate::body::Clock;
use crate::oci::{Digest, Hasher};
use crate::telemetry::Metrics;

/// How often a source is asked again without a single new byte in between. With the waits below that is some 25 s:
/// a registry that is restarted comes back in that time, and clients wait that long for bytes, but hardly longer.
const MAX_STALLS: u32 = 8;
/// The wait before the first new attempt, doubled for each further one.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// A source that asks for more is given up: followers are waiting, and a place among the downloads is taken.
const MAX_WAIT: Duration = Duration::from_secs(30);
/// Up to here hashing costs less (some 40 µs) than the trip to another thread.
const INLINE_HASH_BYTES: u64 = 64 << 10;

/// Content from its start on, as far as it has come.
#[derive(Clone)]
pub(super) struct SoFar {
    pub(super) hasher: Hasher,
    pub(super) written: u64,
}

impl SoFar {
    /// Nothing yet of content with a digest like this one.
    pub(super) fn nothing(like: &Digest) -> Self {
        Self { hasher: Hasher::new(like.algorithm()), written: 0 }
    }

    /// With more bytes at its end. `None` if the runtime is going down.
    pub(super) async fn and(self, pieces: Vec<Bytes>) -> Option<Self> {
        let Self { mut hasher, written } = self;
        let length = length(&pieces);
        let work = move || {
            pieces.iter().for_each(|piece| hasher.update(piece));
            hasher
        };
        let hasher = if length <= INLINE_HASH_BYTES { work() } else { tokio::task::spawn_blocking(work).await.ok()? };
        Some(Self { hasher, written: written + length })
    }

    /// With what can be read behind it, up to `end` or to where nothing more can.
    pub(super) async fn through(mut self, data: &dyn ReadAt, end: u64) -> io::Result<Self> {
        while self.written < end {
            let most = usize::try_from(end - self.written).unwrap_or(usize::MAX);
            let bytes = data.read_at(self.written, most).await?;
            if bytes.is_empty() {
                break;
            }
            let gone = || io::Error::other("the runtime is going down");
            self = self.and(vec![bytes]).await.ok_or_else(gone)?;
        }
        Ok(self)
    }

    /// The digest, if these were all bytes.
    pub(super) fn digest(&self) -> Digest {
        self.hasher.clone().finish()
    }
}

pub(super) fn length(pieces: &[Bytes]) -> u64 {
    pieces.iter().map(|piece| piece.len() as u64).sum()
}

/// A source being read.
///
/// When it breaks off it is asked for the rest. One that can only begin at the start is skipped through, and what
/// is skipped has to be what came before.
pub(super) struct Download {
    source: Arc<dyn Source>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    size: Option<u64>,
    body: Option<Batches>,
    stalls: u32,
    resumed: u32,
}

impl Download {
    /// `size` is what a descriptor says, if one does. Nothing is asked yet.
    pub(super) fn new(source: Arc<dyn Source>, clock: Arc<dyn Clock>, metrics: Metrics, size: Option<u64>) -> Self {
        Self { source, clock, metrics, size, body: None, stalls: 0, resumed: 0 }
    }

    /// The length of the whole, once somebody said so.
    pub(super) fn size(&self) -> Option<u64> {
        self.size
    }

    /// How often it was asked again after it had broken off.
    pub(super) fn resumed(&self) -> u32 {
        self.resumed
    }

    /// Asks for what comes after `so_far`, once; a source that cannot be read at all is its reader's to judge.
    pub(super) async fn open(&mut self, so_far: &SoFar) -> Result<(), FillError> {
        self.attempt(so_far).await.map_err(|failed| failed.error)
    }

    /// What comes after `so_far`; `None` at the end.
    pub(super) async fn next(&mut self, so_far: &SoFar) -> Result<Option<Vec<Bytes>>, FillError> {
        loop {
            if self.size == Some(so_far.written) && self.body.is_none() {
                return Ok(None);
            }
            let failed = match &mut self.body {
                None => match self.attempt(so_far).await {
                    Ok(()) => continue,
                    Err(failed) => failed,
                },
                Some(body) => match body.next().await {
                    Ok(Some(batch)) => {
                        self.stalls = 0;
                        return Ok(Some(batch));
                    }
                    Ok(None) => match self.size {
                        // It ended as if it were whole, which a connection that was cut can look like.
                        Some(expected) if so_far.written < expected => {
                            Failed::again(FillError::SizeMismatch { expected, actual: so_far.written }, None)
                        }
                        _ => return Ok(None),
                    },
                    Err(err) => Failed::again(FillError::source(err), None),
                },
            };
            self.body = None;
            let too_long = failed.retry_after.is_some_and(|wait| wait > MAX_WAIT);
            if !failed.worth_asking_again || too_long || self.stalls >= MAX_STALLS {
                return Err(failed.error);
            }
            let wait = (FIRST_WAIT * 2_u32.pow(self.stalls)).max(failed.retry_after.unwrap_or_default());
            self.stalls += 1;
            tracing::debug!(origin = self.source.origin(), at = so_far.written, error = ?failed.error, "a download broke off");
            self.clock.sleep(wait).await;
            self.metrics.cache().resumed();
            self.resumed += 1;
        }
    }

    async fn attempt(&mut self, so_far: &SoFar) -> Result<(), Failed> {
        let expected = so_far.written;
        let SourceBody { offset, size, body } = self.source.open(expected).await?;
        if let (Some(expected), Some(actual)) = (self.size, size)
            && expected != actual
        {
            return Err(Failed::final_(FillError::SizeMismatch { expected, actual }));
        }
        self.size = self.size.or(size);
        let mut body = Batches::new(body);
        if offset != expected {
            if offset != 0 {
                return Err(Failed::final_(FillError::WrongOffset { expected, actual: offset }));
            }
            body = skip(body, so_far).await?;
        }
        self.body = Some(body);
        Ok(())
    }
}

/// Reads past what came before, if it is that.
async fn skip(mut body: Batches, so_far: &SoFar) -> Result<Batches, Failed> {
    let mut again = SoFar::nothing(&so_far.digest());
    while again.written < so_far.written {
        let batch = body.next().await.map_err(|err| Failed::again(FillError::source(err), None))?;
        let Some(mut batch) = batch else {
            let short = FillError::SizeMismatch { expected: so_far.written, actual: again.written };
            return Err(Failed::again(short, None));
        };
        let mut left = so_far.written - again.written;
        let mut rest = Vec::new();
        for piece in &mut batch {
            let here = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
            let beyond = piece.split_off(here);
            left -= here as u64;
            if !beyond.is_empty() {
                rest.push(beyond);
            }
        }
        body.put_back(rest);
        again = again.and(batch).await.ok_or(Failed::final_(FillError::Stopped))?;
    }
    if again.digest() != so_far.digest() {
        return Err(Failed::final_(FillError::Changed { at: so_far.written }));
    }
    Ok(body)
}

/// An attempt that came to nothing.
struct Failed {
    error: FillError,
    worth_asking_again: bool,
    retry_after: Option<Duration>,
}

impl Failed {
    fn final_(error: FillError) -> Self {
        Self { error, worth_asking_again: false, retry_after: None }
    }

    fn again(error: FillError, retry_after: Option<Duration>) -> Self {
        Self { error, worth_asking_again: true, retry_after }
    }
}

impl From<SourceError> for Failed {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::Final(cause) => Self::final_(FillError::source(cause)),
            SourceError::Transient { cause, retry_after } => Self::again(FillError::source(cause), retry_after),
        }
    }
}
