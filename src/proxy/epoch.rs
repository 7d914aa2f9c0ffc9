//! Changes divide the time of a repository: what was asked of the upstream before one is not written down after it.

use std::sync::atomic::{AtomicU64, Ordering};

use moka::future::Cache;
use moka::policy::EvictionPolicy;
use tokio::sync::{RwLock, RwLockReadGuard};

use crate::oci::Repository;

/// Repositories that were changed lately. One that so many others were changed after is as one that never was.
const MAX_REPOSITORIES: u64 = 20_000;

/// The time between two changes of a repository; the first has none before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub(super) struct Epoch(u64);

/// The epochs of all repositories, by one kind of change.
pub(super) struct Epochs {
    current: Cache<Repository, Epoch>,
    last: AtomicU64,
    /// Held by those who write down what they asked in the current one.
    writing: RwLock<()>,
}

impl Epochs {
    pub(super) fn new() -> Self {
        let current = Cache::builder().max_capacity(MAX_REPOSITORIES).eviction_policy(EvictionPolicy::lru()).build();
        Self { current, last: AtomicU64::new(0), writing: RwLock::default() }
    }

    /// The current epoch of a repository.
    pub(super) async fn of(&self, repository: &Repository) -> Epoch {
        self.current.get(repository).await.unwrap_or_default()
    }

    /// Begins the next, once nobody writes down anything of this one any more.
    pub(super) async fn next(&self, repository: &Repository) {
        let _nobody = self.writing.write().await;
        let next = Epoch(self.last.fetch_add(1, Ordering::Relaxed) + 1);
        self.current.insert(repository.clone(), next).await;
    }

    /// Keeps `epoch` from ending, if it is still the current one.
    pub(super) async fn still(&self, repository: &Repository, epoch: Epoch) -> Option<RwLockReadGuard<'_, ()>> {
        let still = self.writing.read().await;
        (self.of(repository).await == epoch).then_some(still)
    }
}
