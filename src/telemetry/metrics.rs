//! All metrics of the process, and how they are told.

use std::fmt;
use std::sync::Arc;

use prometheus_client::encoding::text;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::build::BUILD;
use super::cache::CacheMetrics;
use super::configuration::ConfigurationMetrics;
use super::process::Process;
use super::relocation::RelocationMetrics;
use super::requests::RequestMetrics;
use super::totals::{Running, Totals};
use super::upstream::UpstreamFamilies;

/// All metrics of the process; clones share them.
#[derive(Clone)]
pub struct Metrics(pub(super) Arc<Inner>);

pub(super) struct Inner {
    registry: Registry,
    pub(super) requests: RequestMetrics,
    pub(super) relocations: RelocationMetrics,
    pub(super) upstreams: UpstreamFamilies,
    pub(super) cache: CacheMetrics,
    pub(super) configuration: ConfigurationMetrics,
    pub(super) totals: Running,
}

impl Metrics {
    /// Metrics that all read zero.
    pub fn new() -> Self {
        let mut inner = Inner {
            registry: Registry::default(),
            requests: RequestMetrics::new(),
            relocations: RelocationMetrics::new(),
            upstreams: UpstreamFamilies::default(),
            cache: CacheMetrics::new(),
            configuration: ConfigurationMetrics::new(),
            totals: Running::default(),
        };
        // Of the process under the names that they have everywhere, without the prefix.
        inner.registry.register_collector(Box::new(Process));
        let registry = inner.registry.sub_registry_with_prefix("colocate");
        registry.register("build", "What is running", build());
        inner.requests.register(registry);
        inner.relocations.register(registry);
        inner.upstreams.register(registry);
        inner.cache.register(registry);
        inner.configuration.register(registry);
        Self(Arc::new(inner))
    }

    /// Sums over everything.
    pub fn totals(&self) -> Totals {
        self.0.totals.read()
    }

    /// What the cache counts.
    pub fn cache(&self) -> &CacheMetrics {
        &self.0.cache
    }

    /// All metrics as OpenMetrics text.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a String does not fail; what was written so far is still the best answer if it did.
        let _ = text::encode(&mut text, &self.0.registry);
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

/// What is running.
fn build() -> Info<[(&'static str, &'static str); 3]> {
    Info::new([("version", BUILD.version), ("commit", BUILD.commit), ("rustc", BUILD.rustc)])
}
