//! The lives of one process after another on one store.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use colocate::body::{BoxFuture, Clock};
use colocate::cache::{Bounds, Cache, CacheLimits, FinishAbandoned, MemoryStore};
use colocate::config::AbsentTag;
use colocate::oci::{Digest, Reference};
use colocate::proxy::{OriginPolicy, Proxy, ProxyParts, RelocationLimits, TagPolicy};
use colocate::telemetry::Metrics;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::client::{Client, Ended, TAGS};
use super::content::{APP, OTHER, content};
use super::disk::Disk;
use super::upstream::Upstream;
use crate::support::chance::Chance;
use crate::support::view::only;

const STEPS: u64 = 30;
const BOUNDS: Bounds = Bounds { max: 600_000, high: 550_000, low: 300_000 };

/// The time of day, which goes on where the life before it ended.
pub(super) struct Clocked {
    begun: SystemTime,
    origin: Instant,
}

impl Clocked {
    /// Must be called on the runtime whose clock is paused.
    pub(super) fn start(begun: SystemTime) -> Self {
        Self { begun, origin: Instant::now() }
    }
}

impl Clock for Clocked {
    fn now(&self) -> SystemTime {
        self.begun + self.origin.elapsed()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'_, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// A process that has just started.
pub(super) fn proxy(
    upstream: &Arc<Upstream>,
    store: &MemoryStore,
    clock: &Arc<Clocked>,
    bounds: Option<Bounds>,
    chance: &mut Chance,
) -> (Proxy, Cache) {
    let finish = [FinishAbandoned::Always, FinishAbandoned::Never, FinishAbandoned::IfStartedOver(50)];
    let limits = CacheLimits {
        concurrent_fills: 3,
        bounds,
        finish_abandoned: *chance.pick(&finish),
        scrub: chance.once_in(2).then_some(Duration::from_secs(600)),
        ..CacheLimits::default()
    };
    let clock: Arc<dyn Clock> = Arc::clone(clock) as _;
    let metrics = Metrics::new();
    let cache = Cache::new(Arc::new(store.clone()), Arc::clone(&clock), limits, metrics.clone());
    let proxy = Proxy::new(ProxyParts {
        upstreams: only(Arc::clone(upstream) as _),
        cache: cache.clone(),
        clock,
        verdict_ttl: Duration::from_secs(60),
        relocation: RelocationLimits {
            deadline: Duration::from_secs(20),
            undecided_original: chance.once_in(4),
            negative_ttl: Duration::from_secs(30),
            max_layer_bytes: 1 << 30,
            concurrency: 2,
            max_passes: 2,
            max_passes_per_client: 2,
            max_targets: 4,
            max_images: 1000,
        },
        origins: OriginPolicy::default(),
        tags: TagPolicy {
            ttl: Duration::from_secs(10),
            stale_for: Duration::from_secs(3600),
            patience: Duration::from_secs(5),
            absent: AbsentTag::Gone,
            immutable: Vec::new(),
        },
        metrics,
    });
    (proxy, cache)
}

/// What outlives a process.
struct World {
    upstream: Arc<Upstream>,
    disk: Disk,
    store: MemoryStore,
    now: SystemTime,
    bounds: Option<Bounds>,
    /// What the test itself made wrong.
    damaged: BTreeSet<Digest>,
}

pub(super) fn run(seed: u64) {
    let mut chance = Chance::of(seed);
    let disk = Disk::new(chance.split());
    let upstream = Arc::new(Upstream::new(content(), chance.split()));
    TAGS.iter().for_each(|tag| upstream.tag(tag, *chance.pick(&content().bundles)));
    let store = MemoryStore::with_faults(disk.faults());
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let bounds = chance.once_in(2).then_some(BOUNDS);
    let mut world = World { upstream, disk, store, now, bounds, damaged: BTreeSet::new() };
    for _ in 0..chance.within(1, 4) {
        world.live(&mut chance);
        world.crash(&mut chance);
    }
    world.live_happily(&mut chance);
}

impl World {
    /// Runs a process until it is killed.
    fn live(&mut self, chance: &mut Chance) {
        let before = self.stored();
        let runtime = runtime();
        let (knows, now) = runtime.block_on(async {
            let clock = Arc::new(Clocked::start(self.now));
            let (proxy, cache) = proxy(&self.upstream, &self.store, &clock, self.bounds, chance);
            // A disk in trouble may keep it from knowing what it has.
            let knows = cache.take_stock().await.is_ok();
            tokio::spawn(cache.upkeep());
            let mut clients = JoinSet::new();
            for _ in 0..STEPS {
                self.step(&proxy, &mut clients, chance).await;
                while let Some(ended) = clients.try_join_next() {
                    ended.unwrap();
                }
            }
            // Sooner or later everybody gets an answer, also while everything goes wrong.
            if chance.once_in(2) {
                while let Some(ended) = clients.join_next().await {
                    ended.unwrap();
                }
            }
            (knows, clock.now())
        });
        drop(runtime);
        self.now = now;
        let after = self.stored();
        let bytes: usize = self.store.contents().iter().map(|(_, bytes)| bytes.len()).sum();
        assert!(!knows || self.bounds.is_none_or(|bounds| bytes as u64 <= bounds.max), "{bytes} bytes are kept");
        // Without a bound, and with a disk that never was full or odd, nothing goes.
        if !self.disk.may_have_lost() && self.bounds.is_none() {
            let lost: Vec<_> = before.difference(&after).filter(|digest| !self.damaged.contains(digest)).collect();
            assert!(lost.is_empty(), "{lost:?} was stored and is not any more");
        }
    }

    async fn step(&self, proxy: &Proxy, clients: &mut JoinSet<()>, chance: &mut Chance) {
        match chance.within(0, 20) {
            0 => self.disk.change(chance),
            1 => {
                let tag: &&str = chance.pick(&TAGS);
                self.upstream.tag(tag, *chance.pick(&content().bundles));
            }
            2 => tokio::time::sleep(Duration::from_secs(chance.within(1, 100))).await,
            _ => {
                let (proxy, upstream) = (proxy.clone(), Arc::clone(&self.upstream));
                clients.spawn(Client { proxy, upstream, chance: chance.split(), patient: false }.act());
            }
        }
        tokio::time::sleep(Duration::from_millis(chance.within(0, 800))).await;
    }

    /// Changes a bit, as a bad disk does while nobody looks.
    fn damage(&mut self, digest: &Digest, chance: &mut Chance) {
        let contents = self.store.contents();
        let Some((_, bytes)) = contents.iter().find(|(stored, bytes)| stored == digest && !bytes.is_empty()) else {
            return;
        };
        let mut bytes = bytes.to_vec();
        let at = chance.within(0, bytes.len() as u64) as usize;
        bytes[at] ^= 4;
        self.damaged.insert(*digest);
        self.store.damage(digest, bytes);
    }

    /// What a kill does to files that were not synced: nothing, mostly. And what a bad disk does meanwhile.
    fn crash(&mut self, chance: &mut Chance) {
        let stored = Vec::from_iter(self.stored());
        if !stored.is_empty() && chance.once_in(2) {
            let digest = *chance.pick(&stored);
            self.damage(&digest, chance);
        }
        self.store.damage_left(|_, bytes| match chance.within(0, 6) {
            0 => bytes.truncate(chance.within(0, bytes.len() as u64 + 1) as usize),
            1 => bytes.iter_mut().rev().take(4_096).for_each(|byte| *byte = 0),
            _ => {}
        });
    }

    /// Runs a process to which nothing bad happens.
    fn live_happily(&mut self, chance: &mut Chance) {
        self.upstream.calm_down();
        self.disk.cure();
        runtime().block_on(async {
            let clock = Arc::new(Clocked::start(self.now));
            let (proxy, cache) = proxy(&self.upstream, &self.store, &clock, self.bounds, chance);
            cache.take_stock().await.unwrap();
            let upkeep = tokio::spawn(cache.upkeep());
            // Tags may be held to be stale, and their bundles to be undecided, for a moment longer.
            tokio::time::sleep(Duration::from_secs(120)).await;
            let upstream = Arc::clone(&self.upstream);
            let mut client = Client { proxy, upstream, chance: chance.split(), patient: true };
            for (name, digest) in self.everything() {
                // What was damaged on the disk, or left damaged by a kill, may break one pull each.
                let ended = [client.blob(name, &digest).await, client.blob(name, &digest).await];
                assert_eq!(ended[1], Ended::Whole, "{digest} after {:?}", ended[0]);
            }
            for tag in TAGS {
                client.tag(tag).await.unwrap();
            }
            for digest in self.upstream.manifests() {
                client.manifest(&Reference::Digest(digest)).await.unwrap();
            }
            tokio::time::sleep(Duration::from_secs(60)).await;
            drop(client);
            let usage = cache.usage();
            assert_eq!(usage.arriving, 0);
            assert!(cache.entries().iter().all(|entry| entry.open == 0), "{:?}", cache.entries());
            drop(cache);
            upkeep.await.unwrap();
        });
        assert_eq!(self.store.partials(), 0);
        // A disk that could not show what it had led to another download; what is left of that is swept in its time.
        let (stored, mut left) = (self.stored(), Vec::new());
        self.store.damage_left(|digest, _| left.push(*digest));
        left.retain(|digest| !stored.contains(digest));
        assert_eq!(left, [], "left over");
        for (digest, bytes) in self.store.contents() {
            assert!(Digest::of(&bytes) == digest || self.damaged.contains(&digest), "{digest} is wrong in the store");
        }
    }

    fn everything(&self) -> Vec<(&'static str, Digest)> {
        let digests = content().blobs.keys();
        let both = digests.flat_map(|digest| [(APP, *digest), (OTHER, *digest)]);
        both.filter(|(name, digest)| self.upstream.has(name, digest)).collect()
    }

    fn stored(&self) -> BTreeSet<Digest> {
        let right = |(digest, bytes): (Digest, Bytes)| {
            assert!(Digest::of(&bytes) == digest || self.damaged.contains(&digest), "{digest} is wrong in the store");
            digest
        };
        self.store.contents().into_iter().map(right).collect()
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}
