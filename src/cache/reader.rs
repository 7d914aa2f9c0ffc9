//! Reading content: committed, in memory, or behind a fill.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OnceCell, watch};

use super::Inner;
use super::audience::Seat;
use super::check::{Checked, For};
use super::direct::Direct;
use super::in_place::InPlace;
use super::index::Opened;
use super::progress::{CHUNK_BYTES, Phase, Progress, TAIL_BYTES};
use super::source::{FillError, ReadError};
use super::store::{Content, MAX_READ_BYTES};
use crate::body::{self, Body, BoxError};
use crate::oci::Digest;

/// How a reader came by its content; the distinction RFC 9211 (`Cache-Status`) makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lookup {
    /// It was there.
    Hit,
    /// A fill that was under way brings it, from where the caller would have had it.
    Collapsed,
    /// A fill that was under way brings it from another origin, which says nothing of the caller's.
    CollapsedElsewhere,
    /// A fill was started for it.
    Miss,
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
    Committed(Arc<dyn Content>, Use),
    InPlace(InPlace),
    Following(watch::Receiver<Progress>, Use),
}

/// What a reader of content in the store needs besides, and keeps it from being evicted.
#[derive(Clone)]
pub(super) struct Use {
    pub(super) inner: Arc<Inner>,
    pub(super) _opened: Arc<Opened>,
    /// A fill goes on for those who have a seat.
    pub(super) seat: Option<Seat>,
    /// Whether what is on the disk was known to be right when it was opened.
    pub(super) known_right: bool,
    /// Whether it was found right since. Of what arrives its progress tells.
    pub(super) checked: Arc<OnceCell<Checked>>,
}

impl Use {
    fn still_right(&self, digest: &Digest) -> bool {
        self.known_right && self.inner.index.is_verified(digest)
    }
}

impl Reader {
    pub(super) fn memory(digest: Digest, bytes: Bytes) -> Self {
        Self { digest, size: bytes.len() as u64, lookup: Lookup::Hit, origin: Origin::Memory(bytes) }
    }

    pub(super) fn committed(digest: Digest, content: Arc<dyn Content>, in_use: Use) -> Self {
        Self { digest, size: content.size(), lookup: Lookup::Hit, origin: Origin::Committed(content, in_use) }
    }

    pub(super) fn in_place(digest: Digest, place: InPlace) -> Self {
        Self { digest, size: place.content.size(), lookup: Lookup::Hit, origin: Origin::InPlace(place) }
    }

    pub(super) fn following(
        digest: Digest,
        size: u64,
        lookup: Lookup,
        progress: watch::Receiver<Progress>,
        in_use: Use,
    ) -> Self {
        Self { digest, size, lookup, origin: Origin::Following(progress, in_use) }
    }

    /// The same, for somebody for whom no download has to go on.
    pub fn bystander(&self) -> Self {
        let mut reader = self.clone();
        if let Origin::Following(_, in_use) = &mut reader.origin {
            in_use.seat = None;
        }
        reader
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
            Origin::Memory(_) | Origin::Committed(..) | Origin::InPlace(_) => true,
            Origin::Following(progress, _) => matches!(progress.borrow().phase, Phase::Committed),
        }
    }

    /// How many bytes of it are in the store by now.
    pub fn arrived(&self) -> u64 {
        match &self.origin {
            Origin::Memory(_) | Origin::Committed(..) | Origin::InPlace(_) => self.size,
            Origin::Following(progress, _) => progress.borrow().written.min(self.size),
        }
    }

    /// Whether it is known to have other bytes than its digest says, where it lies.
    pub fn is_known_wrong(&self) -> bool {
        matches!(&self.origin, Origin::InPlace(place) if place.is_known_wrong(&self.digest))
    }

    /// Whether it goes past the store. Then any part costs a download of the whole, which has to be hashed.
    pub fn is_bypassed(&self) -> bool {
        match &self.origin {
            Origin::Memory(_) | Origin::Committed(..) | Origin::InPlace(_) => false,
            Origin::Following(progress, _) => matches!(progress.borrow().phase, Phase::Bypassed(_)),
        }
    }

    /// Waits until the bytes were found right: those that arrive as well as those that were on the disk before this
    /// process.
    ///
    /// # Errors
    /// When they are wrong, or do not arrive.
    pub async fn verified(&self) -> Result<(), ReadError> {
        let damaged = |what| ReadError::Store(Arc::new(io::Error::new(io::ErrorKind::InvalidData, what)));
        let in_place = |what| ReadError::InPlace(Arc::new(io::Error::new(io::ErrorKind::InvalidData, what)));
        match &self.origin {
            Origin::Memory(_) => Ok(()),
            Origin::Following(..) => Ok(self.wait(Progress::is_verified).await.map(drop)?),
            Origin::InPlace(place) => match place.check(&self.digest).await {
                Checked::Right => Ok(()),
                Checked::Damaged => Err(ReadError::WrongInPlace),
                Checked::Unreadable => Err(in_place("it cannot be read, or changed while it was")),
            },
            // Asked again: since it was opened, the scrub may have found otherwise.
            Origin::Committed(_, in_use) if in_use.still_right(&self.digest) => Ok(()),
            Origin::Committed(content, in_use) => {
                let check = || in_use.inner.check(&self.digest, content, For::Client);
                match in_use.checked.get_or_init(check).await {
                    Checked::Right => Ok(()),
                    Checked::Damaged => Err(damaged("the cache's disk damaged the content; it will be fetched again")),
                    Checked::Unreadable => Err(damaged("the cache's disk cannot read the content")),
                }
            }
        }
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
            Origin::Committed(content, _) => content.read_at(offset, most(self.size)).await,
            Origin::InPlace(place) => {
                let read = place.content.read_at(offset, most(self.size)).await;
                return read.map_err(|err| ReadError::InPlace(Arc::new(err)));
            }
            Origin::Following(..) => {
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
        let walk = Walk { reader: self.clone(), at: start, held, end, direct: None, check_begun: false };
        body::sized(end - start, walk, Walk::next)
    }

    /// Waits for a fill to get somewhere, which it may have done before it failed; `None` if there is no fill.
    async fn wait(&self, mut enough: impl FnMut(&Progress) -> bool) -> Result<Option<Progress>, FillError> {
        let Origin::Following(progress, _) = &self.origin else { return Ok(None) };
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

/// A body on its way.
struct Walk {
    reader: Reader,
    at: u64,
    /// From here on the bytes wait for the verification.
    held: u64,
    end: u64,
    direct: Option<Box<Direct>>,
    check_begun: bool,
}

impl Walk {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, BoxError> {
        self.begin_check();
        if self.direct.is_none() {
            match self.step().await {
                Ok(bytes) => {
                    self.at += bytes.len() as u64;
                    return Ok((!bytes.is_empty()).then_some((bytes, self)));
                }
                Err(err) => {
                    self.look_at_damage(&err);
                    self.direct = Some(self.past_the_store().ok_or(err)?);
                }
            }
        }
        let bytes = match &mut self.direct {
            Some(direct) => direct.next().await?,
            None => None,
        };
        Ok(bytes.map(|bytes| (bytes, self)))
    }

    /// The next bytes from the store.
    async fn step(&self) -> Result<Bytes, ReadError> {
        if self.at >= self.held {
            self.reader.verified().await?;
        }
        let until = if self.at < self.held { self.held } else { self.end };
        let max = usize::try_from(until - self.at).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
        self.reader.read_at(self.at, max).await
    }

    /// What cannot be read now may never be: then it goes, and the next one fetches it again.
    fn look_at_damage(&self, err: &ReadError) {
        if let (ReadError::Store(_), Origin::Committed(content, in_use)) = (err, &self.reader.origin) {
            in_use.inner.begin_check(&self.reader.digest, content, For::Client);
        }
    }

    /// How to go on if the store takes no more of what is arriving.
    fn past_the_store(&self) -> Option<Box<Direct>> {
        let Origin::Following(progress, in_use) = &self.reader.origin else { return None };
        let progress = progress.borrow();
        let Phase::Bypassed(handover) = &progress.phase else { return None };
        let (kept, rest) = (progress.data.clone(), self.at..self.end);
        Some(Box::new(Direct::new(&in_use.inner, self.reader.digest, self.reader.size, kept, handover, rest)))
    }

    /// Has content hashed that nobody has looked at yet, while its first bytes are on their way.
    fn begin_check(&mut self) {
        if std::mem::replace(&mut self.check_begun, true) {
            return;
        }
        match &self.reader.origin {
            Origin::Committed(content, in_use)
                if !in_use.still_right(&self.reader.digest) && !in_use.checked.initialized() =>
            {
                in_use.inner.begin_check(&self.reader.digest, content, For::Client);
            }
            Origin::InPlace(place) => place.begin_check(&self.reader.digest),
            _ => {}
        }
    }
}
