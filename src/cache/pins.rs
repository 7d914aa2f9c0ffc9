//! What must stay in the cache: what somebody pinned, and, as long as there is room, what relocated bundles are
//! made of.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use super::index::Index;
use super::key::RecordKey;
use super::{Cache, Inner};
use crate::oci::{Digest, Repository};

/// Content that is never evicted, under the name by which somebody asked for that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// The repository.
    pub repository: Repository,
    /// The tag or digest.
    pub reference: String,
    /// All that belongs to it.
    pub digests: Vec<Digest>,
}

impl Pin {
    fn key(repository: &Repository, reference: &str) -> RecordKey {
        RecordKey::new(["pins", &repository.to_string(), reference])
    }
}

/// Content that stays while this lives, whether or not it is there yet.
pub struct Hold {
    index: Arc<Index>,
    name: String,
    digests: HashSet<Digest>,
}

impl Hold {
    /// Holds these, too.
    pub fn add(&mut self, digests: impl IntoIterator<Item = Digest>) {
        self.digests.extend(digests);
        self.index.pin(self.name.clone(), self.digests.iter().copied().collect());
    }

    /// All that is held, in order.
    pub fn digests(&self) -> Vec<Digest> {
        let mut digests: Vec<Digest> = self.digests.iter().copied().collect();
        digests.sort_unstable();
        digests
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.index.pin(std::mem::take(&mut self.name), Vec::new());
    }
}

impl Cache {
    /// Keeps content from being evicted, whether or not it is there yet. Replaces an earlier pin of that name.
    ///
    /// # Errors
    /// When the store cannot take the record.
    pub async fn pin(&self, pin: &Pin) -> io::Result<()> {
        let key = Pin::key(&pin.repository, &pin.reference);
        self.put_record(&key, pin).await?;
        self.inner.index.pin(key.to_string(), pin.digests.clone());
        Ok(())
    }

    /// Takes a pin back; says whether there was one.
    ///
    /// # Errors
    /// When the store cannot remove the record.
    pub async fn unpin(&self, repository: &Repository, reference: &str) -> io::Result<bool> {
        let key = Pin::key(repository, reference);
        let known = self.get::<Pin>(&key).await?.is_some();
        self.delete(&key).await?;
        self.inner.index.pin(key.to_string(), Vec::new());
        Ok(known)
    }

    /// All pins, in order.
    ///
    /// # Errors
    /// When the store cannot list them.
    pub async fn pins(&self) -> io::Result<Vec<Pin>> {
        let mut pins = Vec::new();
        for key in self.list(&RecordKey::new(["pins"])).await? {
            pins.extend(self.get(&key).await?);
        }
        Ok(pins)
    }

    /// Whether somebody pinned this content, whether or not it is there.
    pub fn is_pinned(&self, digest: &Digest) -> bool {
        self.inner.index.is_pinned(digest)
    }

    /// Keeps content from being evicted for as long as the hold lives; nothing is recorded.
    pub fn hold(&self) -> Hold {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("hold {}", NEXT.fetch_add(1, Ordering::Relaxed));
        Hold { index: Arc::clone(&self.inner.index), name, digests: HashSet::new() }
    }

    /// Has content evicted last: what is made of it could not be made again if its source lost it.
    ///
    /// # Errors
    /// When the store cannot take the record.
    pub async fn keep(&self, digests: &[Digest]) -> io::Result<()> {
        for digest in digests.iter().filter(|digest| !self.inner.index.is_kept(digest)) {
            self.put_record(&RecordKey::new(["kept", &digest.to_string()]), &()).await?;
            self.inner.index.keep([*digest]);
        }
        Ok(())
    }
}

impl Inner {
    /// Learns what was pinned and kept before this process, which nothing may be evicted without.
    pub(super) async fn know_pins(&self) -> io::Result<()> {
        let known = self.pins_known.get_or_try_init(async || {
            for key in self.store.list_records(&RecordKey::new(["pins"])).await? {
                let Some(bytes) = self.store.record(&key).await? else { continue };
                match serde_json::from_slice::<Pin>(&bytes) {
                    Ok(pin) => self.index.pin(key.to_string(), pin.digests),
                    Err(err) => tracing::warn!(%key, %err, "a pin cannot be read, and holds nothing; pin it again"),
                }
            }
            let kept = self.store.list_records(&RecordKey::new(["kept"])).await?;
            self.index.keep(kept.iter().filter_map(|key| key.last()?.parse().ok()));
            Ok(())
        });
        known.await.copied()
    }
}
