//! A disk that refuses as its mood is.

use std::io;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};

use colocate::cache::{Faults, Operation};

use crate::support::chance::Chance;

#[derive(Clone)]
pub(super) struct Disk(Arc<Inner>);

struct Inner {
    mood: AtomicU8,
    /// Whether it ever was so full that the cache may have evicted, or said that it cannot read what it can.
    may_have_lost: AtomicU8,
    chance: Mutex<Chance>,
}

const HEALTHY: u8 = 0;
const FULL: u8 = 1;
const READ_ONLY: u8 = 2;
const FLAKY: u8 = 3;

impl Disk {
    pub(super) fn new(chance: Chance) -> Self {
        let (mood, may_have_lost) = (AtomicU8::new(HEALTHY), AtomicU8::new(0));
        Self(Arc::new(Inner { mood, may_have_lost, chance: Mutex::new(chance) }))
    }

    pub(super) fn healthy() -> Self {
        Self::new(Chance::of(0))
    }

    pub(super) fn cure(&self) {
        self.0.mood.store(HEALTHY, Ordering::SeqCst);
    }

    pub(super) fn change(&self, chance: &mut Chance) {
        let mood = *chance.pick(&[HEALTHY, HEALTHY, FULL, READ_ONLY, FLAKY]);
        self.0.mood.store(mood, Ordering::SeqCst);
        if matches!(mood, FULL | FLAKY) {
            self.0.may_have_lost.store(1, Ordering::SeqCst);
        }
    }

    pub(super) fn may_have_lost(&self) -> bool {
        self.0.may_have_lost.load(Ordering::SeqCst) == 1
    }

    pub(super) fn faults(&self) -> Faults {
        let inner = Arc::clone(&self.0);
        Arc::new(move |operation: &Operation| {
            let once_in = |times| inner.chance.lock().unwrap().once_in(times);
            let is_write = !matches!(
                operation,
                Operation::Content(_) | Operation::Read(..) | Operation::Record(_) | Operation::ListRecords(_)
            );
            match inner.mood.load(Ordering::SeqCst) {
                FULL if is_write && once_in(3) => Err(io::ErrorKind::StorageFull.into()),
                READ_ONLY if is_write => Err(io::ErrorKind::ReadOnlyFilesystem.into()),
                // EIO, for which there is no kind.
                FLAKY if once_in(12) => Err(io::Error::from_raw_os_error(5)),
                _ => Ok(()),
            }
        })
    }
}
