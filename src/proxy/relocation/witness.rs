//! What was seen of a bundle while it was settled what becomes of it, for whoever asks later why it is so.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::verdict::Verdict;
use crate::imgpkg::ImagesLock;

/// Takes note. Clones write on the same page.
#[derive(Clone, Default)]
pub(super) struct Witness(Arc<Mutex<Seen>>);

/// The notes: nothing where the bundle was not read that far.
#[derive(Clone, Default)]
pub(in crate::proxy) struct Seen {
    /// The lock as it stands, and what it says.
    pub(in crate::proxy) lock: Option<(Vec<u8>, ImagesLock)>,
    /// Where its images were found. Of a bundle that lacks one, the others may not have been looked for.
    pub(in crate::proxy) verdict: Option<Verdict>,
}

impl Witness {
    pub(super) fn read(&self, text: &[u8], lock: &ImagesLock) {
        self.page().lock = Some((text.to_vec(), lock.clone()));
    }

    pub(super) fn looked(&self, verdict: &Verdict) {
        self.page().verdict = Some(verdict.clone());
    }

    /// All that was seen so far.
    pub(super) fn seen(&self) -> Seen {
        std::mem::take(&mut self.page())
    }

    fn page(&self) -> MutexGuard<'_, Seen> {
        // Nothing panics while it is held, and each note is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
