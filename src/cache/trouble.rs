//! The store's trouble: told once, not for every request that meets it, and what it kept from being written.

use std::collections::HashSet;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::Inner;
use super::key::RecordKey;

/// How often a disk that stays in trouble is mentioned.
const MENTIONED_EVERY: Duration = Duration::from_secs(60);
/// How many records are known not to be written; a disk in trouble for longer has more, and then some of them are
/// written only when they change.
const MAX_REFUSED: usize = 4096;

#[derive(Default)]
pub(super) struct Trouble {
    mentioned: Mutex<Option<SystemTime>>,
    refused: Mutex<HashSet<RecordKey>>,
}

impl Trouble {
    /// Notes that the store failed; pulls go on without it.
    pub(super) fn note(&self, inner: &Inner, doing: &'static str, err: &io::Error) {
        inner.metrics.cache().trouble(kind(err));
        let now = inner.clock.now();
        let mut mentioned = self.mentioned.lock().unwrap_or_else(PoisonError::into_inner);
        if mentioned.is_none_or(|last| now.duration_since(last).is_ok_and(|since| since >= MENTIONED_EVERY)) {
            *mentioned = Some(now);
            drop(mentioned);
            tracing::warn!(doing, %err, "the cache's disk is in trouble; pulls go on without being cached");
        }
    }

    /// Notes that the store took something in.
    pub(super) fn over(&self) {
        let was = self.mentioned.lock().unwrap_or_else(PoisonError::into_inner).take();
        if was.is_some() {
            tracing::info!("the cache's disk takes in content again");
        }
    }

    /// The store did not take this record: it is in memory only.
    pub(super) fn refused(&self, key: &RecordKey) {
        let mut refused = self.records();
        if refused.len() < MAX_REFUSED {
            refused.insert(key.clone());
        }
    }

    /// The store took it.
    pub(super) fn taken(&self, key: &RecordKey) {
        self.records().remove(key);
    }

    pub(super) fn was_refused(&self, key: &RecordKey) -> bool {
        self.records().contains(key)
    }

    fn records(&self) -> MutexGuard<'_, HashSet<RecordKey>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A word for metrics; the set is closed.
fn kind(err: &io::Error) -> &'static str {
    match err.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "full",
        io::ErrorKind::ReadOnlyFilesystem => "read_only",
        io::ErrorKind::PermissionDenied => "permission",
        _ => "io",
    }
}
