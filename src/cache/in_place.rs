//! Content that lies somewhere else on this machine, and is read from there rather than kept a second time.
//!
//! It is somebody else's to change, so nothing of it is believed that was not hashed: each state of it once, which its
//! [identity](super::Content::identity) tells from every other. What is wrong stays where it is, and is never served whole.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;

use super::Inner;
use super::check::{Checked, For};
use super::store::Content;
use crate::oci::Digest;
use crate::telemetry::carry;

/// Of how much content it is remembered whether it was right; some 10 MB. Over that, all is looked at anew.
const MAX_REMEMBERED: usize = 100_000;

/// What was found of content that was hashed.
#[derive(Default)]
pub(super) struct Seen(Mutex<HashMap<Key, bool>>);

type Key = (Digest, (u64, u64));

impl Seen {
    fn get(&self, key: &Key) -> Option<bool> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).copied()
    }

    pub(super) fn remember(&self, digest: Digest, content: &dyn Content, is_right: bool) {
        if !content.is_shared() {
            return;
        }
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= MAX_REMEMBERED {
            seen.clear();
        }
        seen.insert((digest, content.identity()), is_right);
    }
}

/// What a reader of such content needs besides.
#[derive(Clone)]
pub(super) struct InPlace {
    inner: Arc<Inner>,
    pub(super) content: Arc<dyn Content>,
    checked: Arc<OnceCell<Checked>>,
}

impl InPlace {
    pub(super) fn new(inner: Arc<Inner>, content: Arc<dyn Content>) -> Self {
        Self { inner, content, checked: Arc::default() }
    }

    /// Hashes it, unless that was done before.
    pub(super) async fn check(&self, digest: &Digest) -> Checked {
        match self.seen(digest) {
            Some(checked) => checked,
            None => *self.checked.get_or_init(|| self.inner.check(digest, &self.content, For::InPlace)).await,
        }
    }

    /// Whether it was found wrong before.
    pub(super) fn is_known_wrong(&self, digest: &Digest) -> bool {
        self.seen(digest) == Some(Checked::Damaged)
    }

    /// Has it hashed while its first bytes are on their way.
    pub(super) fn begin_check(&self, digest: &Digest) {
        if !self.checked.initialized() && self.seen(digest).is_none() {
            let (this, digest) = (self.clone(), *digest);
            tokio::spawn(carry(async move { this.check(&digest).await }));
        }
    }

    fn seen(&self, digest: &Digest) -> Option<Checked> {
        let is_right = self.inner.seen_in_place.get(&(*digest, self.content.identity()))?;
        Some(if is_right { Checked::Right } else { Checked::Damaged })
    }
}
