//! Which bundles were looked into, and which of their images are granted.
//!
//! Looking is dear, so it is done once for a bundle, and then not again for a while, whoever asks.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

use crate::cache::{Cache, RecordKey};
use crate::oci::{Digest, Repository};
use crate::proxy::reader::ReaderKey;
use crate::proxy::relocation::AtOrigin;
use crate::proxy::sources::Sources;
use crate::proxy::undecided::Undecided;

/// How many bundles are looked into ahead at one time. More are left to those who ask for their images.
const AHEAD: usize = 4;
/// How many looks are remembered; over that, all that may be repeated are forgotten.
const MAX_LOOKS: usize = 4096;
/// For how long it is remembered that there is nothing to look for: that lies in the bytes, and will not change.
const SETTLED_FOR: Duration = Duration::from_secs(600);
/// And that a bundle is odd: what is not there may come.
const ODD_FOR: Duration = Duration::from_secs(60);
/// And that the registry, or an origin, kept it from being done.
pub(super) const AFTER_TROUBLE: Duration = Duration::from_secs(5);

/// Each client that the upstream judges looks for itself.
type LookKey = (Repository, Digest, Option<ReaderKey>);
type Look = Arc<AsyncMutex<Option<Looked>>>;

/// A look that was taken.
#[derive(Debug)]
struct Looked {
    until: SystemTime,
    /// What kept it from finding all there is.
    undecided: Option<Undecided>,
}

/// What is remembered of CNAB bundles.
pub(in crate::proxy) struct Cnab {
    cache: Cache,
    looks: Mutex<HashMap<LookKey, Look>>,
    ahead: Arc<Semaphore>,
}

/// The turn to look into a bundle: one at a time.
pub(in crate::proxy) struct Turn {
    last: OwnedMutexGuard<Option<Looked>>,
    now: SystemTime,
    _ahead: Option<OwnedSemaphorePermit>,
}

impl Turn {
    /// What the last look came to, if it is too early for another.
    pub(super) fn stands(&self) -> Option<Result<(), Undecided>> {
        let last = self.last.as_ref().filter(|last| self.now < last.until)?;
        Some(last.undecided.clone().map_or(Ok(()), Err))
    }

    /// There is nothing to look for.
    pub(super) fn settled(self) {
        self.ends(SETTLED_FOR, None);
    }

    /// What there is to look for cannot be told.
    pub(super) fn odd(self) {
        self.ends(ODD_FOR, None);
    }

    /// The look ended like this, and is not repeated for so long.
    pub(super) fn ends(mut self, quiet: Duration, undecided: Option<Undecided>) {
        *self.last = Some(Looked { until: self.now + quiet, undecided });
    }
}

/// Which images of a bundle are granted, and from where.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Granted {
    origins: Vec<AtOrigin>,
}

impl Cnab {
    pub(in crate::proxy) fn new(cache: Cache) -> Self {
        Self { cache, looks: Mutex::default(), ahead: Arc::new(Semaphore::new(AHEAD)) }
    }

    /// The turn to look into a bundle. `None` while too many others are under way or just made.
    pub(super) async fn turn(&self, contents: &Sources, index: &Digest) -> Option<Turn> {
        let last = self.look(contents, index)?.lock_owned().await;
        Some(Turn { last, now: self.cache.clock().now(), _ahead: None })
    }

    /// The same, if nobody has it, it is time, and there is not much else to do.
    pub(super) fn turn_ahead(&self, contents: &Sources, index: &Digest) -> Option<Turn> {
        let last = self.look(contents, index)?.try_lock_owned().ok()?;
        let permit = Arc::clone(&self.ahead).try_acquire_owned().ok()?;
        let mut turn = Turn { last, now: self.cache.clock().now(), _ahead: Some(permit) };
        if turn.stands().is_some() {
            return None;
        }
        // Should it come to no end, the next pull need not begin it again at once.
        *turn.last = Some(Looked { until: turn.now + AFTER_TROUBLE, undecided: Some(Undecided::Deadline) });
        Some(turn)
    }

    fn look(&self, contents: &Sources, index: &Digest) -> Option<Look> {
        let key = (contents.repository.clone(), *index, contents.reader);
        let mut looks = self.lock_looks();
        if looks.len() >= MAX_LOOKS {
            let now = self.cache.clock().now();
            // One that is locked is being taken.
            looks.retain(|_, look| {
                look.try_lock().map_or(true, |last| last.as_ref().is_some_and(|last| now < last.until))
            });
        }
        if looks.len() >= MAX_LOOKS && !looks.contains_key(&key) {
            return None;
        }
        Some(Arc::clone(looks.entry(key).or_default()))
    }

    fn lock_looks(&self) -> MutexGuard<'_, HashMap<LookKey, Look>> {
        // Nothing panics while it is held, and a map is whole after any panic.
        self.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which images of a bundle were granted when it was last looked into.
    pub(in crate::proxy) async fn granted(&self, repository: &Repository, index: &Digest) -> Vec<AtOrigin> {
        self.cache.get::<Granted>(&key(repository, index)).await.unwrap_or_default().unwrap_or_default().origins
    }

    /// Writes down which are now. They are listed next, so it has to be in the store.
    pub(super) async fn record(
        &self,
        repository: &Repository,
        index: &Digest,
        origins: Vec<AtOrigin>,
    ) -> io::Result<()> {
        self.cache.put_record(&key(repository, index), &Granted { origins }).await
    }

    /// The granted images of all bundles in a repository, of at most so many.
    pub(in crate::proxy) async fn all_granted(&self, repository: &Repository, limit: usize) -> Vec<Digest> {
        let keys = self.cache.list(&RecordKey::new([KIND, &repository.to_string()])).await.unwrap_or_default();
        let mut images = Vec::new();
        for key in keys.iter().take(limit) {
            let granted = self.cache.get::<Granted>(key).await.unwrap_or_default().unwrap_or_default();
            images.extend(granted.origins.into_iter().flat_map(|origin| origin.images));
        }
        images
    }

    /// Forgets a bundle that is gone.
    pub(in crate::proxy) async fn forget(&self, repository: &Repository, index: &Digest) -> io::Result<()> {
        self.lock_looks().retain(|(of, digest, _), _| of != repository || digest != index);
        self.cache.delete(&key(repository, index)).await
    }
}

const KIND: &str = "cnab";

fn key(repository: &Repository, index: &Digest) -> RecordKey {
    RecordKey::new([KIND, &repository.to_string(), &index.to_string()])
}
