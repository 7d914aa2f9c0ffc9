//! Looking at what a cache has: listing, counting, hashing.

use std::collections::HashMap;

use tokio::task::JoinSet;

use super::event::{Bound, Disk, Event, ListedContent, Stats};
use super::teller::Teller;
use super::{Means, full_name};
use crate::body::unix_seconds;
use crate::cache::{Bounds, Checked, Space};
use crate::oci::Digest;

/// Contents hashed at one time. The cache has a bound of its own, so this only keeps its queue filled.
const CONCURRENT_CHECKS: usize = 4;

impl Means {
    /// Tells of all content, what was used last in front.
    pub(super) async fn list(&self, teller: &Teller) {
        let found = async { Ok::<_, std::io::Error>((self.pins().await?, self.cache.members().await?)) };
        let (mut pins, mut members) = match found.await {
            Ok(found) => found,
            Err(error) => return teller.failed("the records", &error).await,
        };
        let mut entries = self.cache.entries();
        entries.sort_unstable_by_key(|entry| (std::cmp::Reverse(entry.accessed), entry.digest));
        for entry in entries {
            let content = ListedContent {
                digest: entry.digest,
                bytes: entry.size,
                used: unix_seconds(entry.accessed),
                pins: pins.remove(&entry.digest).unwrap_or_default(),
                kept: entry.kept,
                repositories: members.remove(&entry.digest).unwrap_or_default(),
            };
            teller.tell(Event::Content(content)).await;
        }
    }

    /// The names under which content was pinned.
    pub(super) async fn pins(&self) -> std::io::Result<HashMap<Digest, Vec<String>>> {
        let mut pins: HashMap<Digest, Vec<String>> = HashMap::new();
        for pin in self.cache.pins().await? {
            let name = full_name(&pin.repository, &pin.reference);
            for digest in pin.digests {
                pins.entry(digest).or_default().push(name.clone());
            }
        }
        Ok(pins)
    }

    /// Tells how much there is.
    pub(super) async fn stats(&self, teller: &Teller) {
        let mut stats = Stats::default();
        for entry in self.cache.entries() {
            stats.contents.add(entry.size);
            if entry.pinned {
                stats.pinned.add(entry.size);
            }
            if entry.kept {
                stats.kept.add(entry.size);
            }
        }
        stats.arriving_bytes = self.cache.usage().arriving;
        stats.bound = self.cache.bounds().map(|Bounds { max, high, low }| Bound { max, high, low });
        match self.cache.record_counts().await {
            Ok(records) => stats.records = records,
            Err(error) => teller.failed("the records", &error).await,
        }
        match self.cache.space().await {
            Ok(space) => stats.disk = space.map(|Space { total, free }| Disk { total, free }),
            Err(error) => teller.failed("the file system", &error).await,
        }
        teller.tell(Event::Stats(stats)).await;
    }

    /// Hashes all content; tells what was damaged, which is gone then.
    pub(super) async fn verify(&self, teller: &Teller) {
        let mut entries = self.cache.entries();
        entries.sort_unstable_by_key(|entry| entry.digest);
        entries.iter().for_each(|entry| teller.tally().known.add(entry.size));
        let mut entries = entries.into_iter();
        let mut checks = JoinSet::new();
        let (mut contents, mut bytes) = (0, 0);
        loop {
            while checks.len() < CONCURRENT_CHECKS
                && let Some(entry) = entries.next()
            {
                let cache = self.cache.clone();
                checks.spawn(async move { (entry, cache.check(&entry.digest).await) });
            }
            let Some(checked) = checks.join_next().await else { break };
            let Ok((entry, checked)) = checked else {
                teller.problem("verify", "hashing a part crashed").await;
                continue;
            };
            teller.tally().done.add(entry.size);
            match checked {
                Some(Checked::Right) => {
                    contents += 1;
                    bytes += entry.size;
                }
                Some(Checked::Damaged) => {
                    teller.tell(Event::Damaged { digest: entry.digest, bytes: entry.size }).await;
                }
                Some(Checked::Unreadable) => teller.problem(entry.digest, "cannot be read").await,
                // Evicted, or taken out by somebody else.
                None => {}
            }
        }
        teller.tell(Event::Verified { contents, bytes }).await;
    }
}
