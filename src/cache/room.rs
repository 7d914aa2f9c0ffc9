//! Keeping to the bound, and what to do when the disk is full.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Inner;
use super::index::Entry;
use super::store::Listed;

/// How much the content may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes that are never exceeded: what has no room is served and not kept.
    pub max: u64,
    /// Above this, content is evicted.
    pub high: u64,
    /// Down to this.
    pub low: u64,
}

/// A full disk is relieved of a tenth of the cache at a time, and of at least this: enough for most layers.
const LEAST_RECLAIMED: u64 = 64 << 20;
/// Down to how many bytes is evicted: with what nobody made anything of, and then with what relocated bundles need.
#[derive(Clone, Copy)]
struct Goal {
    ordinary: u64,
    kept: u64,
}

impl Inner {
    /// Makes room for what is there and arrives, and fails when there is not enough to be made.
    pub(super) async fn make_room(&self) -> io::Result<()> {
        let Some(Bounds { max, high, low }) = self.limits.bounds else { return Ok(()) };
        if self.used() + self.store.left_bytes() <= high {
            return Ok(());
        }
        // What nobody may ever go on with goes before what somebody had.
        if self.store.left_bytes() > 0
            && let Err(err) = self.store.sweep(Duration::ZERO).await
        {
            self.trouble.note(self, "sweep", &err);
        }
        let used = self.used();
        // As long as there is room nobody waits for a round, and none begins that would find what the last one did.
        let worth_it = used >= self.next_round.load(Ordering::Relaxed);
        if used > max || (used > high && worth_it && self.rounds.try_lock().is_ok()) {
            self.evict(Goal { ordinary: low, kept: high }).await;
            let step = (max - high).max(max / 64);
            let next = if self.used() > high { self.used().saturating_add(step).min(max) } else { 0 };
            self.next_round.store(next, Ordering::Relaxed);
        }
        if self.used() > max {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "cache.max_bytes is used up by what must stay"));
        }
        Ok(())
    }

    fn used(&self) -> u64 {
        let usage = self.index.usage();
        usage.bytes + usage.arriving
    }

    /// Makes room on a disk that refused to take more. Says whether trying again makes sense.
    pub(super) async fn reclaim(&self, err: &io::Error) -> bool {
        if !matches!(err.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            return false;
        }
        let swept = self.store.sweep(Duration::ZERO).await.unwrap_or_default();
        let usage = self.index.usage();
        let goal = usage.bytes.saturating_sub((usage.bytes / 10).max(LEAST_RECLAIMED)) + usage.arriving;
        let all = usage.bytes + usage.arriving;
        swept > 0
            || self.evict(Goal { ordinary: goal, kept: all }).await > 0
            || self.evict(Goal { ordinary: goal, kept: goal }).await > 0
            // Somebody else did it.
            || self.index.usage().bytes < usage.bytes
    }

    /// Evicts, as far as that goes. Gives how many bytes went.
    async fn evict(&self, goal: Goal) -> u64 {
        // One round at a time: two would each evict what one has to.
        let _round = self.rounds.lock().await;
        if self.used() <= goal.ordinary {
            return 0;
        }
        if let Err(err) = self.know_pins().await {
            // Nobody can say what is pinned, so nothing goes.
            self.trouble.note(self, "read the pins", &err);
            return 0;
        }
        let (mut entries, mut bytes) = (0_u64, 0);
        for victim in self.index.victims() {
            if self.used() <= if victim.kept { goal.kept } else { goal.ordinary } {
                break;
            }
            // Whoever commits the same content waits, and so is not removed along with it. Not waited for itself: who
            // makes room may be the one whose turn it is.
            let Some(_turn) = self.turns.try_of(victim.digest) else { continue };
            if !self.index.evict(&victim) {
                continue;
            }
            if let Err(err) = self.store.remove(&victim.digest).await {
                self.trouble.note(self, "evict", &err);
                // It still takes its room.
                let Entry { digest, size, accessed, .. } = victim;
                self.index.load(vec![Listed { digest, size, accessed }]);
                continue;
            }
            self.hot.forget_content(&victim.digest).await;
            entries += 1;
            bytes += victim.size;
            self.metrics.cache().evicted(victim.size);
        }
        if entries > 0 {
            tracing::info!(entries, bytes, left = self.used(), "evicted what was not used for longest");
        }
        self.tell_usage();
        bytes
    }

    pub(super) fn tell_usage(&self) {
        let usage = self.index.usage();
        self.metrics.cache().holds(usage.entries, usage.bytes);
    }
}
