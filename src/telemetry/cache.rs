//! What the cache counts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::gauged::Gauged;
use super::known::Known;

/// The cache's counters and gauges.
#[derive(Debug)]
pub struct CacheMetrics {
    started: Counter,
    joined: Family<SourceLabels, Counter>,
    ended: Family<EndLabels, Counter>,
    failed: Family<CauseLabels, Counter>,
    fills_in_flight: Gauge,
    resumed: Counter,
    bytes: Gauge,
    entries: Gauge,
    limit: Known,
    disk_free: Known,
    disk_size: Known,
    evicted: Counter,
    evicted_bytes: Counter,
    damaged: Counter,
    trouble: Family<TroubleLabels, Counter>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct SourceLabels {
    source: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct EndLabels {
    end: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CauseLabels {
    cause: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct TroubleLabels {
    kind: &'static str,
}

impl CacheMetrics {
    pub(super) fn new() -> Self {
        let new = Self {
            started: Counter::default(),
            joined: Family::default(),
            ended: Family::default(),
            failed: Family::default(),
            fills_in_flight: Gauge::default(),
            resumed: Counter::default(),
            bytes: Gauge::default(),
            entries: Gauge::default(),
            limit: Known::default(),
            disk_free: Known::default(),
            disk_size: Known::default(),
            evicted: Counter::default(),
            evicted_bytes: Counter::default(),
            damaged: Counter::default(),
            trouble: Family::default(),
        };
        for source in ["same", "other"] {
            drop(new.joined.get_or_create(&SourceLabels { source }));
        }
        for end in ["stored", "found", "bypassed", "abandoned", "failed"] {
            drop(new.ended.get_or_create(&EndLabels { end }));
        }
        for cause in ["source", "wrong_offset", "digest_mismatch", "size_mismatch", "changed", "store", "stopped"] {
            drop(new.failed.get_or_create(&CauseLabels { cause }));
        }
        for kind in ["full", "read_only", "permission", "io"] {
            drop(new.trouble.get_or_create(&TroubleLabels { kind }));
        }
        new
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("cache");
        registry.register("fills_started", "Downloads into the cache that were begun", self.started.clone());
        registry.register(
            "fills_joined",
            "Times a download that was under way was waited for instead of beginning another",
            self.joined.clone(),
        );
        registry.register("fills_ended", "Downloads into the cache that are over, by how", self.ended.clone());
        registry.register("fills_failed", "Downloads into the cache that failed, by why", self.failed.clone());
        registry.register("fills_in_flight", "Downloads that are under way", self.fills_in_flight.clone());
        registry.register("fills_resumed", "Times a download that broke off was gone on with", self.resumed.clone());
        registry.register_with_unit("size", "Content that is kept", Unit::Bytes, self.bytes.clone());
        registry.register("entries", "Contents that are kept", self.entries.clone());
        registry.register_with_unit("limit", "How much content may be kept", Unit::Bytes, self.limit.clone());
        registry.register_with_unit(
            "disk_free",
            "What may still be written where content is kept",
            Unit::Bytes,
            self.disk_free.clone(),
        );
        registry.register_with_unit(
            "disk_size",
            "What there is of the disk where content is kept",
            Unit::Bytes,
            self.disk_size.clone(),
        );
        registry.register("evictions", "Contents evicted", self.evicted.clone());
        registry.register_with_unit("evicted", "Content evicted", Unit::Bytes, self.evicted_bytes.clone());
        registry.register("damaged", "Contents found damaged and removed", self.damaged.clone());
        registry.register("trouble", "Times the disk refused, by kind; pulls went on", self.trouble.clone());
    }

    /// Counts a download that begins.
    pub fn started(&self) {
        self.started.inc();
    }

    /// Counts that a download which is under way is waited for, and whether it comes from elsewhere than who waits would
    /// have had it from.
    pub fn joined(&self, elsewhere: bool) {
        self.joined.get_or_create(&SourceLabels { source: if elsewhere { "other" } else { "same" } }).inc();
    }

    /// Counts a download as running until the guard is dropped.
    pub fn filling(&self) -> Gauged {
        Gauged::new(&self.fills_in_flight)
    }

    /// Counts a download that is over: `stored`, `found`, `bypassed` or `abandoned`.
    pub fn filled(&self, end: &'static str) {
        self.ended.get_or_create(&EndLabels { end }).inc();
    }

    /// Counts a download that is over without a result, by why.
    pub fn failed(&self, cause: &'static str) {
        self.filled("failed");
        self.failed.get_or_create(&CauseLabels { cause }).inc();
    }

    /// Counts that a download which broke off was gone on with.
    pub fn resumed(&self) {
        self.resumed.inc();
    }

    /// Tells how much is kept.
    pub fn holds(&self, entries: usize, bytes: u64) {
        self.entries.set(i64::try_from(entries).unwrap_or(i64::MAX));
        self.bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Tells how much may be kept, if there is a limit.
    pub fn may_hold(&self, bytes: Option<u64>) {
        self.limit.set(bytes);
    }

    /// Tells how large the disk is, and what of it is free, if that can be told.
    pub fn disk(&self, size: Option<u64>, free: Option<u64>) {
        self.disk_size.set(size);
        self.disk_free.set(free);
    }

    /// Counts an eviction.
    pub fn evicted(&self, bytes: u64) {
        self.evicted.inc();
        self.evicted_bytes.inc_by(bytes);
    }

    /// Counts damage that was found.
    pub fn damaged(&self) {
        self.damaged.inc();
    }

    /// Counts that the disk refused: `full`, `read_only`, `permission` or `io`.
    pub fn trouble(&self, kind: &'static str) {
        self.trouble.get_or_create(&TroubleLabels { kind }).inc();
    }
}
