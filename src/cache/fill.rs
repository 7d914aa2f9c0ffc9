//! One download into the store, followed by any number of readers.
//!
//! A fill is a task of its own, so no client's leaving ends it unless the configuration says so; to logs and traces it is
//! that of the request which started it. It tells how far it
//! is through a watched [`Progress`]; readers wait for it to pass their offset and then read the growing content, each
//! at its own pace. There is no channel of bytes that a slow reader could fill or a late one have missed.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::sync::watch;

use super::Inner;
use super::check::{Checked, For};
use super::download::{Download, SoFar, length};
use super::fill_story::{Ended, FillStory};
use super::index::Arriving;
use super::progress::{Handover, Phase, Progress};
use super::registration::Registration;
use super::source::{FillError, Source};
use super::store::{Content, PartialContent};
use crate::oci::Digest;
use crate::telemetry::{Span, SpanKind};

/// What a fill works with.
pub(super) struct Filler {
    pub(super) inner: Arc<Inner>,
    pub(super) source: Arc<dyn Source>,
    pub(super) digest: Digest,
    /// The length that a descriptor says.
    pub(super) expected: Option<u64>,
    pub(super) progress: watch::Sender<Progress>,
    /// How many have joined it.
    pub(super) joined: Arc<AtomicU64>,
}

/// How bringing content in ended, if not in an error.
enum Brought {
    /// It was in the store after all.
    Stored,
    /// It is whole and right.
    Verified(Taken),
    /// The store takes no more.
    Bypassed(Handover),
    /// Nobody waits for it any more.
    Abandoned,
}

/// Content on its way in.
struct Taken {
    partial: Box<dyn PartialContent>,
    so_far: SoFar,
    /// What it counts as, until it counts as content.
    arriving: Arriving,
}

impl Filler {
    /// Runs to the end. `registration` is dropped before anybody learns of the end, so that whoever then asks
    /// for the content finds it in the store, or starts over, and never joins a fill that is done.
    pub(super) async fn run(self, registration: Registration) {
        let _counted = self.inner.metrics.cache().filling();
        let mut story = FillStory::begin();
        let span = Span::child(SpanKind::Internal, "fill");
        let brought = span.around(self.bring(&registration, &mut story)).await;
        let (found, abandoned) = (matches!(brought, Ok(Brought::Stored)), matches!(brought, Ok(Brought::Abandoned)));
        let phase = match brought {
            Ok(Brought::Stored) => Phase::Committed,
            Ok(Brought::Verified(taken)) => {
                self.progress.send_modify(|progress| progress.phase = Phase::Verified);
                self.commit(taken).await
            }
            Ok(Brought::Bypassed(handover)) => Phase::Bypassed(Arc::new(handover)),
            Ok(Brought::Abandoned) => Phase::Failed(FillError::Stopped),
            Err(err) => Phase::Failed(err),
        };
        let (bytes, joined) = (self.progress.borrow().written, self.joined.load(Ordering::Relaxed));
        let ended = Ended { digest: self.digest, origin: self.source.origin(), bytes, joined };
        story.tell(&ended, &phase, span);
        let metrics = self.inner.metrics.cache();
        match &phase {
            Phase::Failed(err) if !abandoned => metrics.failed(err.label()),
            Phase::Failed(_) => metrics.filled("abandoned"),
            Phase::Bypassed(_) | Phase::Unstored(_) => metrics.filled("bypassed"),
            _ if found => metrics.filled("found"),
            _ => metrics.filled("stored"),
        }
        drop(registration);
        self.progress.send_modify(|progress| progress.phase = phase);
        self.inner.tell_usage();
    }

    async fn commit(&self, taken: Taken) -> Phase {
        let Taken { partial, arriving: _arriving, .. } = taken;
        let size = partial.written();
        let _turn = self.inner.turns.of(&self.digest).await;
        match partial.commit().await {
            Ok(_) => {
                self.inner.trouble.over();
                self.inner.index.add(self.digest, size, self.inner.clock.now());
                Phase::Committed
            }
            Err(err) => {
                self.inner.trouble.note(&self.inner, "commit", &err);
                Phase::Unstored(FillError::store(err))
            }
        }
    }

    /// Brings the content in and verifies it.
    async fn bring(&self, registration: &Registration, story: &mut FillStory) -> Result<Brought, FillError> {
        let inner = &self.inner;
        // Whoever started this fill looked before it was registered: another may have ended in between.
        if let Some(content) = self.stored().await {
            self.progress.send_modify(|progress| {
                progress.size = Some(content.size());
                progress.written = content.size();
                progress.data = Some(content);
                progress.was_stored = true;
            });
            return Ok(Brought::Stored);
        }
        let _permit = tokio::select! {
            biased;
            () = registration.abandoned(&self.progress) => return Ok(Brought::Abandoned),
            permit = inner.permits.acquire() => permit.map_err(|_| FillError::Stopped)?,
        };
        let mut download = self.download();
        let mut left = self.left().await;
        if let Some(taken) = left.take_if(|taken| taken.so_far.digest() == self.digest) {
            // All of it was there when the process before this one was stopped. The source only has to say that it
            // has it: who may have it is decided by that.
            download.open(&SoFar::nothing(&self.digest)).await?;
            story.opened(taken.so_far.written);
            return self.verify(taken).await;
        }
        if let Some(Taken { so_far, .. }) = &left
            && let Err(err) = download.open(so_far).await
        {
            // What an earlier attempt left behind may be of no use; the source has the last word.
            tracing::debug!(digest = %self.digest, %err, "cannot go on with an earlier download");
            self.progress.send_modify(|progress| progress.written = 0);
            left = None;
            download = self.download();
        }
        if left.is_none() {
            download.open(&SoFar::nothing(&self.digest)).await?;
        }
        story.opened(left.as_ref().map_or(0, |taken| taken.so_far.written));
        self.progress.send_modify(|progress| progress.size = download.size());
        if let Some(err) = self.too_large(download.size()) {
            return Ok(Brought::Bypassed(self.handover(SoFar::nothing(&self.digest), err)));
        }
        let mut taken = match left {
            Some(taken) => taken,
            None => match self.begin().await {
                Ok(taken) => taken,
                Err(err) => {
                    inner.trouble.note(inner, "begin", &err);
                    return Ok(Brought::Bypassed(self.handover(SoFar::nothing(&self.digest), err)));
                }
            },
        };
        let taken_in = self.take(&mut download, &mut taken, registration).await;
        story.resumed = download.resumed();
        match taken_in {
            Ok(None) => self.verify(taken).await,
            Ok(Some(ended)) => {
                // On a disk that is full, what cannot be finished is better gone.
                if matches!(ended, Brought::Bypassed(_)) {
                    taken.partial.discard().await;
                }
                Ok(ended)
            }
            Err(err) => {
                if err.taints() {
                    taken.partial.discard().await;
                }
                Err(err)
            }
        }
    }

    /// The content, if it is in the store after all, and right.
    async fn stored(&self) -> Option<Arc<dyn Content>> {
        let (content, known_right) = self.inner.stored(&self.digest).await?;
        let is_right = known_right || self.inner.check(&self.digest, &content, For::Client).await == Checked::Right;
        is_right.then_some(content)
    }

    fn download(&self) -> Download {
        let inner = &self.inner;
        Download::new(Arc::clone(&self.source), Arc::clone(&inner.clock), inner.metrics.clone(), self.expected)
    }

    /// What an earlier attempt left, hashed again.
    async fn left(&self) -> Option<Taken> {
        let partial = self.inner.store.resume(&self.digest).await.unwrap_or_else(|err| {
            tracing::warn!(digest = %self.digest, %err, "cannot go on with an earlier download");
            None
        })?;
        let (data, there) = (partial.reader(), partial.written());
        let so_far = SoFar::nothing(&self.digest).through(&*data, there).await.ok()?;
        self.progress.send_modify(|progress| progress.data = Some(data));
        if so_far.written < there || self.expected.is_some_and(|expected| there > expected) {
            partial.discard().await;
            return None;
        }
        tracing::debug!(digest = %self.digest, bytes = so_far.written, "going on with an earlier download");
        self.progress.send_modify(|progress| progress.written = so_far.written);
        let mut arriving = self.inner.index.arriving();
        arriving.grow(so_far.written);
        Some(Taken { partial, so_far, arriving })
    }

    /// Content for which everything else would be evicted, for nothing.
    fn too_large(&self, size: Option<u64>) -> Option<io::Error> {
        let max = self.inner.limits.bounds?.max;
        let what = "the content is larger than cache.max_bytes";
        size.filter(|size| *size > max).map(|_| io::Error::new(io::ErrorKind::FileTooLarge, what))
    }

    async fn begin(&self) -> io::Result<Taken> {
        let partial = self.inner.store.create(&self.digest).await?;
        self.progress.send_modify(|progress| progress.data = Some(partial.reader()));
        Ok(Taken { partial, so_far: SoFar::nothing(&self.digest), arriving: self.inner.index.arriving() })
    }

    /// Takes the rest in, to its end, unless something else ends it.
    async fn take(
        &self,
        download: &mut Download,
        taken: &mut Taken,
        registration: &Registration,
    ) -> Result<Option<Brought>, FillError> {
        loop {
            let next = tokio::select! {
                // In this order: of a source that always has more, nobody would learn that nobody waits.
                biased;
                () = registration.abandoned(&self.progress) => return Ok(Some(Brought::Abandoned)),
                next = download.next(&taken.so_far) => next?,
            };
            let Some(batch) = next else { return Ok(None) };
            let (length, before) = (length(&batch), taken.so_far.clone());
            if let Some(expected) = download.size().filter(|size| before.written + length > *size) {
                return Err(FillError::SizeMismatch { expected, actual: before.written + length });
            }
            let (stored, so_far) = tokio::join!(self.append(taken, &batch, length), before.clone().and(batch.clone()));
            if let Err(err) = stored {
                self.inner.trouble.note(&self.inner, "append", &err);
                return Ok(Some(Brought::Bypassed(self.handover(before, err))));
            }
            taken.so_far = so_far.ok_or(FillError::Stopped)?;
            self.progress.send_modify(|progress| {
                progress.written = taken.so_far.written;
                progress.size = download.size();
            });
        }
    }

    async fn append(&self, taken: &mut Taken, batch: &[Bytes], length: u64) -> io::Result<()> {
        // Counted before there is room: of two that look at one time, each would find room for itself.
        taken.arriving.grow(length);
        self.inner.make_room().await?;
        let partial = &mut taken.partial;
        match partial.append(batch.to_vec()).await {
            Err(err) if self.inner.reclaim(&err).await => partial.append(batch.to_vec()).await,
            other => other,
        }
    }

    fn handover(&self, so_far: SoFar, err: io::Error) -> Handover {
        Handover { source: Arc::clone(&self.source), so_far, cause: FillError::store(err) }
    }

    async fn verify(&self, taken: Taken) -> Result<Brought, FillError> {
        let (actual, written) = (taken.so_far.digest(), taken.so_far.written);
        let announced = self.progress.borrow().size;
        let error = match announced {
            Some(expected) if expected != written => FillError::SizeMismatch { expected, actual: written },
            _ if actual != self.digest => FillError::DigestMismatch { expected: self.digest, actual: Box::new(actual) },
            _ => {
                self.progress.send_modify(|progress| progress.size = Some(written));
                return Ok(Brought::Verified(taken));
            }
        };
        taken.partial.discard().await;
        Err(error)
    }
}
