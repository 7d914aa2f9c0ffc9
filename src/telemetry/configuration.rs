//! Which configuration runs, and what became of later ones.

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::Metrics;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReloadLabels {
    outcome: &'static str,
}

/// The configuration's counters and gauges.
#[derive(Debug)]
pub(super) struct ConfigurationMetrics {
    reloads: Family<ReloadLabels, Counter>,
    last_succeeded: Gauge,
    loaded: Gauge,
}

impl ConfigurationMetrics {
    /// Whoever asks for metrics runs with a configuration that was taken just now.
    pub(super) fn new() -> Self {
        let new = Self { reloads: Family::default(), last_succeeded: Gauge::default(), loaded: Gauge::default() };
        for outcome in ["applied", "refused"] {
            drop(new.reloads.get_or_create(&ReloadLabels { outcome }));
        }
        new.taken();
        new
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("config");
        registry.register("reloads", "Times the configuration was read again, by outcome", self.reloads.clone());
        registry.register(
            "last_reload_successful",
            "Whether the configuration that was read last is the one that runs",
            self.last_succeeded.clone(),
        );
        registry.register_with_unit(
            "loaded_timestamp",
            "When the configuration that runs was taken",
            Unit::Seconds,
            self.loaded.clone(),
        );
    }

    fn taken(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.last_succeeded.set(1);
        self.loaded.set(i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    }
}

impl Metrics {
    /// Counts that the configuration was read again: whether it now runs, or was refused and the old one goes on.
    pub fn config_reloaded(&self, applied: bool) {
        let configuration = self.configuration();
        let outcome = if applied { "applied" } else { "refused" };
        configuration.reloads.get_or_create(&ReloadLabels { outcome }).inc();
        if applied {
            configuration.taken();
        } else {
            configuration.last_succeeded.set(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_configuration_shows_until_one_is_applied() {
        let metrics = Metrics::new();
        let shows = |lines: [&str; 3]| {
            let text = metrics.encode();
            lines.into_iter().for_each(|line| assert!(text.contains(line), "{line}\nnot in\n{text}"));
        };
        let (applied, refused) = ("colocate_config_reloads_total{outcome=\"applied\"}", "{outcome=\"refused\"}");
        shows([&format!("{applied} 0"), &format!("{refused} 0"), "colocate_config_last_reload_successful 1"]);
        metrics.config_reloaded(false);
        shows([&format!("{applied} 0"), &format!("{refused} 1"), "colocate_config_last_reload_successful 0"]);
        metrics.config_reloaded(true);
        shows([&format!("{applied} 1"), &format!("{refused} 1"), "colocate_config_last_reload_successful 1"]);
    }
}
