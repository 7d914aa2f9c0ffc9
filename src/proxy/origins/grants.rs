//! Grants, as they are written down.

use std::io;

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

/// All grants.
pub(super) struct Grants {
    cache: Cache,
    /// Held while one is read to be changed.
    changing: Mutex<()>,
}

impl Grants {
    pub(super) fn new(cache: Cache) -> Self {
        Self { cache, changing: Mutex::default() }
    }

    /// What is granted of `digest` under `repository`. A disk that cannot say grants nothing.
    pub(super) async fn of(&self, repository: &Repository, digest: &Digest) -> Option<Grant> {
        self.cache.get(&key(repository, digest)).await.unwrap_or_default()
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
        self.cache.put_record_behind(&key(repository, digest), &grant).await
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
