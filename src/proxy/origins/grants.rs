//! Grants, as they are written down.

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex as SyncMutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::cache::{Cache, RecordKey};
use crate::oci::{Digest, Repository};

/// One digest may be had from so many origins; a lock that names it at more places is no better off.
const MAX_ORIGINS: usize = 8;

/// That a digest may be pulled under a repository's name from where a lock there says it came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Grant {
    /// The bundle, in that very repository, whose lock it goes back to.
    pub(super) bundle: Digest,
    /// Where it may be had.
    pub(super) origins: Vec<Repository>,
}

/// Repositories of which it is remembered whether they have any grants; over that, those without are looked at anew.
const MAX_REMEMBERED: usize = 4096;

/// All grants.
pub(in crate::proxy) struct Grants {
    cache: Cache,
    /// Whether a repository has any. Most have none, and what is not cached should not wait for the disk to say so.
    any: SyncMutex<HashMap<Repository, bool>>,
    /// Held while one is read to be changed.
    changing: Mutex<()>,
}

impl Grants {
    pub(in crate::proxy) fn new(cache: Cache) -> Self {
        Self { cache, any: SyncMutex::default(), changing: Mutex::default() }
    }

    /// What is granted of `digest` under `repository`. A disk that cannot say grants nothing.
    pub(super) async fn of(&self, repository: &Repository, digest: &Digest) -> Option<Grant> {
        if !self.has_any(repository).await {
            return None;
        }
        self.cache.get(&key(repository, digest)).await.unwrap_or_default()
    }

    async fn has_any(&self, repository: &Repository) -> bool {
        if let Some(any) = self.lock_any().get(repository) {
            return *any;
        }
        let Ok(keys) = self.cache.list(&RecordKey::new([KIND, &repository.to_string()])).await else { return true };
        let mut any = self.lock_any();
        if any.len() >= MAX_REMEMBERED {
            any.retain(|_, any| *any);
        }
        // One that was added meanwhile has said so.
        *any.entry(repository.clone()).or_insert(!keys.is_empty())
    }

    fn lock_any(&self) -> MutexGuard<'_, HashMap<Repository, bool>> {
        // Nothing panics while it is held, and a map is whole after any panic.
        self.any.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Grants it. It is worth no wait: what is lost in a crash is found again as after the loss of the whole cache.
    pub(super) async fn add(
        &self,
        repository: &Repository,
        digest: &Digest,
        bundle: &Digest,
        origin: &Repository,
    ) -> io::Result<()> {
        let known = self.of(repository, digest).await;
        let has = |grant: &Grant| grant.origins.contains(origin) || grant.origins.len() >= MAX_ORIGINS;
        if known.as_ref().is_some_and(has) {
            return Ok(());
        }
        let _turn = self.changing.lock().await;
        let mut grant = match self.of(repository, digest).await {
            Some(grant) if has(&grant) => return Ok(()),
            Some(grant) => grant,
            None => Grant { bundle: *bundle, origins: Vec::new() },
        };
        grant.origins.push(origin.clone());
        self.lock_any().insert(repository.clone(), true);
        self.cache.put_record_behind(&key(repository, digest), &grant).await
    }

    /// Takes back what was granted of `digest`, from wherever.
    pub(super) async fn take_back(&self, repository: &Repository, digest: &Digest) -> io::Result<()> {
        if !self.has_any(repository).await {
            return Ok(());
        }
        let _turn = self.changing.lock().await;
        self.cache.delete(&key(repository, digest)).await
    }

    /// Takes back all that was granted under `repository` from `origin`.
    pub(super) async fn revoke(&self, repository: &Repository, origin: &Repository) -> io::Result<()> {
        let _turn = self.changing.lock().await;
        for key in self.cache.list(&RecordKey::new([KIND, &repository.to_string()])).await? {
            let Some(mut grant) = self.cache.get::<Grant>(&key).await? else { continue };
            if !grant.origins.contains(origin) {
                continue;
            }
            grant.origins.retain(|other| other != origin);
            if grant.origins.is_empty() {
                self.cache.delete(&key).await?;
            } else {
                self.cache.put_record(&key, &grant).await?;
            }
        }
        Ok(())
    }
}

const KIND: &str = "grants";

fn key(repository: &Repository, digest: &Digest) -> RecordKey {
    RecordKey::new([KIND, &repository.to_string(), &digest.to_string()])
}
