//! What content there is, how large, when it was used, and what must stay: all that eviction needs to know.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::store::Listed;
use crate::oci::Digest;

/// How often the time of last use is written down: exact enough for least-recently-used over days, and one write
/// an hour for whatever is in use.
const NOTED_EVERY: Duration = Duration::from_secs(3600);

/// One piece of content, as the index knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Which content.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// When it was last used.
    pub accessed: SystemTime,
    /// Whether it was pinned, and so is never evicted.
    pub pinned: bool,
    /// Whether a relocated bundle is made of it, so that it goes last.
    pub kept: bool,
    /// How many readers have it open.
    pub open: usize,
    /// Whether its bytes were found right since this process started.
    pub verified: bool,
}

/// How much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Contents.
    pub entries: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of content that is still arriving.
    pub arriving: u64,
}

#[derive(Default)]
pub(super) struct Index(Mutex<State>);

#[derive(Default)]
struct State {
    entries: HashMap<Digest, Known>,
    bytes: u64,
    arriving: u64,
    // Also of content that is still arriving.
    open: HashMap<Digest, usize>,
    // By name, since two pins may share content.
    pins: HashMap<String, Vec<Digest>>,
    pinned: HashSet<Digest>,
    kept: HashSet<Digest>,
}

struct Known {
    size: u64,
    accessed: SystemTime,
    noted: SystemTime,
    verified: bool,
}

impl Index {
    /// Takes in what was there before this process. What is known better stays.
    pub(super) fn load(&self, listed: Vec<Listed>) {
        let mut state = self.state();
        for Listed { digest, size, accessed } in listed {
            if !state.entries.contains_key(&digest) {
                state.insert(digest, Known { size, accessed, noted: accessed, verified: false });
            }
        }
    }

    /// Content that was committed just now.
    pub(super) fn add(&self, digest: Digest, size: u64, now: SystemTime) {
        self.state().insert(digest, Known { size, accessed: now, noted: now, verified: true });
    }

    /// Content is used; what was not known is added, if its size is given. Says whether the store should note it.
    pub(super) fn touch(&self, digest: &Digest, size: Option<u64>, now: SystemTime) -> bool {
        let mut state = self.state();
        let Some(known) = state.entries.get_mut(digest) else {
            if let Some(size) = size {
                state.insert(*digest, Known { size, accessed: now, noted: now, verified: false });
            }
            return size.is_some();
        };
        known.accessed = now;
        let due = now.duration_since(known.noted).is_ok_and(|since| since >= NOTED_EVERY);
        if due {
            known.noted = now;
        }
        due
    }

    /// Content is gone. Says whether it was known to be there.
    pub(super) fn forget(&self, digest: &Digest) -> bool {
        self.state().remove(digest)
    }

    pub(super) fn knows(&self, digest: &Digest) -> bool {
        self.state().entries.contains_key(digest)
    }

    pub(super) fn is_verified(&self, digest: &Digest) -> bool {
        self.state().entries.get(digest).is_some_and(|known| known.verified)
    }

    pub(super) fn set_verified(&self, digest: &Digest, verified: bool) {
        if let Some(known) = self.state().entries.get_mut(digest) {
            known.verified = verified;
        }
    }

    /// Says that content is being read, for as long as the guard lives.
    pub(super) fn open(self: &Arc<Self>, digest: &Digest) -> Opened {
        *self.state().open.entry(*digest).or_default() += 1;
        Opened { index: Arc::clone(self), digest: *digest }
    }

    /// Counts bytes that are arriving, for as long as the guard lives.
    pub(super) fn arriving(self: &Arc<Self>) -> Arriving {
        Arriving { index: Arc::clone(self), bytes: 0 }
    }

    /// Replaces what is pinned under `name`; an empty list unpins.
    pub(super) fn pin(&self, name: String, digests: Vec<Digest>) {
        let mut state = self.state();
        if digests.is_empty() {
            state.pins.remove(&name)
        } else {
            state.pins.insert(name, digests)
        };
        state.pinned = state.pins.values().flatten().copied().collect();
    }

    /// Content that is evicted last.
    pub(super) fn keep(&self, digests: impl IntoIterator<Item = Digest>) {
        self.state().kept.extend(digests);
    }

    pub(super) fn is_kept(&self, digest: &Digest) -> bool {
        self.state().kept.contains(digest)
    }

    pub(super) fn is_pinned(&self, digest: &Digest) -> bool {
        self.state().pinned.contains(digest)
    }

    pub(super) fn usage(&self) -> Usage {
        let state = self.state();
        Usage { entries: state.entries.len(), bytes: state.bytes, arriving: state.arriving }
    }

    /// Everything, in no order.
    pub(super) fn entries(&self) -> Vec<Entry> {
        let state = self.state();
        state.entries.iter().map(|(digest, known)| state.entry(digest, known)).collect()
    }

    /// What may be evicted, what goes first in front.
    pub(super) fn victims(&self) -> Vec<Entry> {
        let mut victims = self.entries();
        victims.retain(|entry| !entry.pinned && entry.open == 0);
        victims.sort_unstable_by_key(|entry| (entry.kept, entry.accessed, entry.digest));
        victims
    }

    /// Takes an entry out, unless somebody began to read it, or used or pinned it.
    pub(super) fn evict(&self, victim: &Entry) -> bool {
        let mut state = self.state();
        let same = state.entries.get(&victim.digest).map(|known| state.entry(&victim.digest, known));
        let goes = same.is_some_and(|now| now.open == 0 && !now.pinned && now.accessed == victim.accessed);
        if goes {
            state.remove(&victim.digest);
        }
        goes
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn insert(&mut self, digest: Digest, known: Known) {
        self.remove(&digest);
        self.bytes += known.size;
        self.entries.insert(digest, known);
    }

    fn remove(&mut self, digest: &Digest) -> bool {
        let known = self.entries.remove(digest);
        self.bytes -= known.as_ref().map_or(0, |known| known.size);
        known.is_some()
    }

    fn entry(&self, digest: &Digest, known: &Known) -> Entry {
        Entry {
            digest: *digest,
            size: known.size,
            accessed: known.accessed,
            pinned: self.pinned.contains(digest),
            kept: self.kept.contains(digest),
            open: self.open.get(digest).copied().unwrap_or_default(),
            verified: known.verified,
        }
    }
}

/// Content is being read while this lives.
pub(super) struct Opened {
    index: Arc<Index>,
    digest: Digest,
}

impl Drop for Opened {
    fn drop(&mut self) {
        let mut state = self.index.state();
        if let Some(open) = state.open.get_mut(&self.digest) {
            *open -= 1;
            if *open == 0 {
                state.open.remove(&self.digest);
            }
        }
    }
}

/// Bytes that count as used while they arrive.
pub(super) struct Arriving {
    index: Arc<Index>,
    bytes: u64,
}

impl Arriving {
    pub(super) fn grow(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.index.state().arriving += bytes;
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        self.index.state().arriving -= self.bytes;
    }
}
