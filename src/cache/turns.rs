//! One at a time, for those who write the same thing.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard};

/// Locks for keys: a fixed number of them, shared by whatever hashes alike. So nobody whose turn it is may wait for
/// another one.
pub(super) struct Turns {
    locks: [Arc<Mutex<()>>; 64],
    hasher: RandomState,
}

impl Turns {
    pub(super) fn new() -> Self {
        Self { locks: std::array::from_fn(|_| Arc::default()), hasher: RandomState::new() }
    }

    /// Waits for the turn of `key`, which lasts as long as the guard.
    pub(super) async fn of(&self, key: impl Hash) -> OwnedMutexGuard<()> {
        Arc::clone(self.lock(key)).lock_owned().await
    }

    /// The turn of `key`, if nobody has it.
    pub(super) fn try_of(&self, key: impl Hash) -> Option<OwnedMutexGuard<()>> {
        Arc::clone(self.lock(key)).try_lock_owned().ok()
    }

    /// Waits until everybody who has a turn now is done.
    pub(super) async fn done(&self) {
        for lock in &self.locks {
            drop(lock.lock().await);
        }
    }

    fn lock(&self, key: impl Hash) -> &Arc<Mutex<()>> {
        &self.locks[self.hasher.hash_one(key) as usize % self.locks.len()]
    }
}
