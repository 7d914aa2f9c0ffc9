//! What a cache does for itself: learning what it has, keeping to its bound, looking for damage.

use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::check::For;
use super::index::{Entry, Usage};
use super::store::Space;
use super::{Bounds, Cache, Checked, Inner};
use crate::oci::Digest;

/// How often the bound is looked at beside the looks that each arrival takes.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// How long a download that was left unfinished waits for somebody to go on with it.
const LEFT_FOR: Duration = Duration::from_secs(3600);

impl Cache {
    /// Learns what the store has. Until then what nobody asked for is not evicted.
    ///
    /// # Errors
    /// When the store cannot say.
    pub async fn take_stock(&self) -> io::Result<()> {
        self.inner.take_stock().await
    }

    /// Keeps to the bound, sweeps what nobody goes on with, and hashes what is there, as the limits say. Ends when
    /// the cache is dropped.
    pub fn upkeep(&self) -> impl Future<Output = ()> + Send + 'static {
        let (housekeeping, scrub) = (Arc::downgrade(&self.inner), Arc::downgrade(&self.inner));
        let period = self.inner.limits.scrub;
        async move {
            tokio::join!(keep_house(housekeeping), async {
                if let Some(period) = period {
                    look_for_damage(scrub, period).await;
                }
            });
        }
    }

    /// All content there is, in no order.
    pub fn entries(&self) -> Vec<Entry> {
        self.inner.index.entries()
    }

    /// How much there is.
    pub fn usage(&self) -> Usage {
        self.inner.index.usage()
    }

    /// How much there may be; as much as the disk has, without.
    pub fn bounds(&self) -> Option<Bounds> {
        self.inner.limits.bounds
    }

    /// How much room there is where it is kept, if that can be told.
    ///
    /// # Errors
    /// When the store cannot say.
    pub async fn space(&self) -> io::Result<Option<Space>> {
        self.inner.store.space().await
    }

    /// Hashes content as it is in the store. What is damaged goes; so it is if the store no longer has what it had.
    /// `None` if there is no such content.
    pub async fn check(&self, digest: &Digest) -> Option<Checked> {
        self.inner.check_stored(digest).await
    }
}

impl Inner {
    /// Once is enough: from then on the index goes along with what happens.
    async fn take_stock(&self) -> io::Result<()> {
        let stocked = self.stocked.get_or_try_init(async || {
            self.index.load(self.store.list_content().await?);
            Ok::<(), io::Error>(())
        });
        stocked.await?;
        self.tell_usage();
        self.know_pins().await
    }

    async fn check_stored(self: &Arc<Self>, digest: &Digest) -> Option<Checked> {
        // Not by way of a reader: being looked at is no use that would keep it.
        let _opened = self.index.open(digest);
        match self.store.content(digest).await {
            Ok(Some(content)) => Some(self.check(digest, &content, For::Upkeep).await),
            // Who evicts or removes content forgets it first: this was lost, cut short, or replaced.
            Ok(None) => self.index.forget(digest).then_some(Checked::Damaged),
            Err(_) => Some(Checked::Unreadable),
        }
    }

    async fn tell_space(&self) {
        let space = self.store.space().await.unwrap_or_else(|err| {
            tracing::debug!(%err, "the disk does not say how much room it has");
            None
        });
        self.metrics.cache().disk(space.map(|space| space.total), space.map(|space| space.free));
    }
}

async fn keep_house(cache: Weak<Inner>) {
    while let Some(inner) = cache.upgrade() {
        if let Err(err) = inner.take_stock().await {
            tracing::warn!(%err, "the cache cannot be listed, so what was in it is not evicted for now");
        }
        // What has no room now may have some when readers have left.
        let _ = inner.make_room().await;
        if let Err(err) = inner.store.sweep(LEFT_FOR).await {
            tracing::warn!(%err, "cannot sweep unfinished downloads");
        }
        inner.tell_usage();
        inner.tell_space().await;
        let clock = Arc::clone(&inner.clock);
        drop(inner);
        clock.sleep(LOOK_EVERY).await;
    }
}

/// Hashes everything once in each `period`, and spreads the work over it by size.
async fn look_for_damage(cache: Weak<Inner>, period: Duration) {
    loop {
        let Some(inner) = cache.upgrade() else { return };
        let clock = Arc::clone(&inner.clock);
        let mut entries = inner.index.entries();
        entries.sort_unstable_by_key(|entry| entry.digest);
        let total: u64 = entries.iter().map(|entry| entry.size.max(1)).sum();
        drop(inner);
        if entries.is_empty() {
            clock.sleep(LOOK_EVERY.min(period)).await;
        }
        for entry in entries {
            clock.sleep(period.mul_f64(entry.size.max(1) as f64 / total as f64)).await;
            let Some(inner) = cache.upgrade() else { return };
            inner.check_stored(&entry.digest).await;
        }
    }
}
