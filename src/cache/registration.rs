//! A fill's place among those that can be joined.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::SystemTime;

use tokio::sync::watch;

use super::Inner;
use super::audience::Audience;
use super::progress::Progress;
use super::source::Source;
use crate::oci::Digest;

/// What becomes of a fill that nobody waits for any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FinishAbandoned {
    /// It goes on to its end: somebody wanted it, somebody will.
    #[default]
    Always,
    /// It goes on if at least so many percent of it are there.
    IfStartedOver(u8),
    /// It stops; what is there is left for the next one.
    Never,
}

impl FinishAbandoned {
    fn goes_on(self, progress: &Progress) -> bool {
        match (self, progress.size) {
            (Self::Always, _) => true,
            (Self::Never, _) | (Self::IfStartedOver(_), None) => false,
            (Self::IfStartedOver(percent), Some(size)) => {
                u128::from(progress.written) * 100 >= u128::from(size) * u128::from(percent)
            }
        }
    }
}

/// A fill that can be joined.
pub(super) struct Running {
    pub(super) source: Arc<dyn Source>,
    pub(super) since: SystemTime,
    pub(super) progress: watch::Receiver<Progress>,
    pub(super) audience: Audience,
    /// How many have joined it.
    pub(super) joined: Arc<AtomicU64>,
}

impl Running {
    /// How it stands.
    pub(super) fn filling(&self, digest: Digest) -> Filling {
        let Progress { size, written, .. } = *self.progress.borrow();
        let (origin, readers) = (self.source.origin().to_owned(), self.audience.count());
        Filling { digest, origin, size, written, readers, since: self.since }
    }
}

/// A download that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filling {
    /// Of what.
    pub digest: Digest,
    /// Where it comes from.
    pub origin: String,
    /// The whole length in bytes, once it is known.
    pub size: Option<u64>,
    /// How much is there.
    pub written: u64,
    /// Who waits for it.
    pub readers: usize,
    /// When it began.
    pub since: SystemTime,
}

/// Takes a fill off the board when it ends, in whatever way.
pub(super) struct Registration {
    inner: Arc<Inner>,
    digest: Digest,
    audience: Audience,
}

impl Registration {
    pub(super) fn new(inner: Arc<Inner>, digest: Digest, audience: Audience) -> Self {
        Self { inner, digest, audience }
    }

    /// Ready when nobody waits for this fill and it shall not go on; nobody can join it then any more.
    pub(super) async fn abandoned(&self, progress: &watch::Sender<Progress>) {
        let policy = self.inner.limits.finish_abandoned;
        if policy == FinishAbandoned::Always {
            return std::future::pending().await;
        }
        loop {
            self.audience.becomes_empty(true).await;
            let goes_on = policy.goes_on(&progress.borrow());
            if !goes_on && self.give_up() {
                return;
            }
            self.audience.becomes_empty(false).await;
        }
    }

    /// Takes the fill off the board, unless somebody has joined it. Joining takes the same lock.
    fn give_up(&self) -> bool {
        let mut fills = self.inner.fills();
        let alone = self.audience.is_empty();
        if alone {
            fills.remove(&self.digest);
        }
        alone
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut fills = self.inner.fills();
        // After it gave up, another may have taken its place.
        if fills.get(&self.digest).is_some_and(|running| running.audience.is(&self.audience)) {
            fills.remove(&self.digest);
        }
    }
}
