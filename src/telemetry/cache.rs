//! What the cache counts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::gauged::Gauged;

/// The cache's counters and gauges.
#[derive(Debug, Default)]
pub struct CacheMetrics {
    fills: Family<FillLabels, Counter>,
    fills_in_flight: Gauge,
    resumed: Counter,
    bytes: Gauge,
    entries: Gauge,
    evicted: Counter,
    evicted_bytes: Counter,
    damaged: Counter,
    trouble: Family<TroubleLabels, Counter>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct FillLabels {
    end: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct TroubleLabels {
    kind: &'static str,
}

impl CacheMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("cache");
        registry.register("fills", "Downloads into the cache, by how they ended", self.fills.clone());
        registry.register("fills_in_flight", "Downloads that are under way", self.fills_in_flight.clone());
        registry.register("fills_resumed", "Times a download that broke off was gone on with", self.resumed.clone());
        registry.register_with_unit("size", "Content that is kept", Unit::Bytes, self.bytes.clone());
        registry.register("entries", "Contents that are kept", self.entries.clone());
        registry.register("evictions", "Contents evicted", self.evicted.clone());
        registry.register_with_unit("evicted", "Content evicted", Unit::Bytes, self.evicted_bytes.clone());
        registry.register("damaged", "Contents found damaged and removed", self.damaged.clone());
        registry.register("trouble", "Times the disk refused, by kind; pulls went on", self.trouble.clone());
    }

    /// Counts a download as running until the guard is dropped.
    pub fn filling(&self) -> Gauged {
        Gauged::new(&self.fills_in_flight)
    }

    /// Counts a download that is over: `stored`, `bypassed`, `source`, `wrong` or `stopped`.
    pub fn filled(&self, end: &'static str) {
        self.fills.get_or_create(&FillLabels { end }).inc();
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
