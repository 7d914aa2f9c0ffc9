//! Hashing content that was on the disk before this process: the disk may have changed it.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::Inner;
use super::disk::UNREADABLE;
use super::download::SoFar;
use super::store::Content;
use crate::oci::Digest;
use crate::telemetry::carry;

/// What a check came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// The bytes are those of the digest.
    Right,
    /// They are not; the content is gone.
    Damaged,
    /// They could not be read.
    Unreadable,
}

/// Checks that are under way, for others to wait for. By digest and identity: what was damaged may be replaced while
/// somebody still has it open, and what is said of the one means nothing for the other.
pub(super) type Checks = Mutex<HashMap<(Digest, (u64, u64)), watch::Receiver<Option<Checked>>>>;

/// Damaged content that the disk does not let go of; it counts as absent.
pub(super) type Condemned = Mutex<HashSet<(Digest, (u64, u64))>>;

/// Who wants content hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum For {
    /// A client waits for its last bytes.
    Client,
    /// A client waits for the last bytes of what is not the store's.
    InPlace,
    /// Nobody in a hurry.
    Upkeep,
}

impl Inner {
    /// Hashes `content`, or waits for whoever does. What is damaged is taken out of the store.
    pub(super) async fn check(self: &Arc<Self>, digest: &Digest, content: &Arc<dyn Content>, who: For) -> Checked {
        let mut outcome = self.begin_check(digest, content, who);
        let outcome = outcome.wait_for(Option::is_some).await.map(|outcome| *outcome);
        // The runtime is going down, and took the task with it.
        outcome.ok().flatten().unwrap_or(Checked::Unreadable)
    }

    /// Starts to hash `content`, or joins whoever does.
    pub(super) fn begin_check(
        self: &Arc<Self>,
        digest: &Digest,
        content: &Arc<dyn Content>,
        who: For,
    ) -> watch::Receiver<Option<Checked>> {
        let mut checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (*digest, content.identity());
        if let Some(running) = checks.get(&key) {
            return running.clone();
        }
        let (tell, outcome) = watch::channel(None);
        checks.insert(key, outcome.clone());
        drop(checks);
        let (inner, digest, content) = (Arc::clone(self), *digest, Arc::clone(content));
        // A task of its own: whoever asked first may leave.
        tokio::spawn(carry(async move {
            let checked = inner.hash_through(&digest, &content, who).await;
            inner.checks.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
            tell.send_replace(Some(checked));
        }));
        outcome
    }

    async fn hash_through(&self, digest: &Digest, content: &Arc<dyn Content>, who: For) -> Checked {
        // Each reads a file as fast as the disk gives it, and clients want something of the disk, too.
        let permits = if who == For::Upkeep { &self.upkeep_permit } else { &self.check_permits };
        let Ok(_permit) = permits.acquire().await else { return Checked::Unreadable };
        let actual = match SoFar::nothing(digest).through(&**content, content.size()).await {
            Ok(all) => all.digest(),
            Err(err) if who == For::InPlace => {
                tracing::warn!(%digest, %err, "cannot read content where it lies");
                return Checked::Unreadable;
            }
            // A bad sector stays one.
            Err(err) if err.raw_os_error() == Some(UNREADABLE) => {
                self.discard(digest, &**content, &err).await;
                return Checked::Damaged;
            }
            Err(err) => {
                tracing::warn!(%digest, %err, "cannot read content in the cache");
                return Checked::Unreadable;
            }
        };
        if who == For::InPlace {
            return self.judge_in_place(digest, &**content, &actual);
        }
        if actual == *digest {
            self.index.set_verified(digest, true);
            return Checked::Right;
        }
        self.discard(digest, &**content, &actual).await;
        Checked::Damaged
    }

    fn judge_in_place(&self, digest: &Digest, content: &dyn Content, actual: &Digest) -> Checked {
        let is_right = actual == digest;
        self.seen_in_place.remember(*digest, content, is_right);
        if is_right {
            return Checked::Right;
        }
        tracing::warn!(%digest, %actual, "content is not what it is called where it lies");
        Checked::Damaged
    }

    /// Takes out content that was found damaged, so that it is fetched again.
    pub(super) async fn discard(&self, digest: &Digest, content: &dyn Content, found: &(dyn Display + Sync)) {
        tracing::warn!(%digest, %found, "removing damaged content from the cache");
        self.metrics.cache().damaged();
        match content.discard().await {
            Ok(true) => drop(self.index.forget(digest)),
            // It was replaced, and what replaced it was hashed on the way in.
            Ok(false) => {}
            Err(err) => {
                self.index.set_verified(digest, false);
                self.condemned.lock().unwrap_or_else(PoisonError::into_inner).insert((*digest, content.identity()));
                self.trouble.note(self, "remove damaged content", &err);
            }
        }
    }
}
