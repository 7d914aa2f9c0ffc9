//! Which configuration runs, and what became of later ones.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
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
    certificate: Expiry,
}

/// When something ends, asked of who knows each time it is told.
#[derive(Clone, Default)]
struct Expiry(Arc<Mutex<Option<Ask>>>);

type Ask = Arc<dyn Fn() -> Option<SystemTime> + Send + Sync>;

impl ConfigurationMetrics {
    /// Whoever asks for metrics runs with a configuration that was taken just now.
    pub(super) fn new() -> Self {
        let new = Self {
            reloads: Family::default(),
            last_succeeded: Gauge::default(),
            loaded: Gauge::default(),
            certificate: Expiry::default(),
        };
        for outcome in ["applied", "refused"] {
            drop(new.reloads.get_or_create(&ReloadLabels { outcome }));
        }
        new.taken();
        new
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "certificate_expiry_timestamp",
            "When the certificate ends that clients are served with",
            Unit::Seconds,
            self.certificate.clone(),
        );
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
        self.last_succeeded.set(1);
        self.loaded.set(i64::try_from(seconds(SystemTime::now())).unwrap_or(i64::MAX));
    }
}

impl Expiry {
    fn seconds(&self) -> Option<u64> {
        let ask = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        ask?().map(seconds)
    }
}

impl fmt::Debug for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expiry").field(&self.seconds()).finish()
    }
}

impl EncodeMetric for Expiry {
    fn encode(&self, mut encoder: MetricEncoder) -> fmt::Result {
        self.seconds().map_or(Ok(()), |seconds| encoder.encode_gauge(&seconds))
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }

    fn is_empty(&self) -> bool {
        self.seconds().is_none()
    }
}

pub(super) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

impl Metrics {
    /// Shows when the certificate ends that clients are served with. `ask` is asked each time, since files change.
    pub fn certificate_expires(&self, ask: impl Fn() -> Option<SystemTime> + Send + Sync + 'static) {
        *self.0.configuration.certificate.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(ask));
    }

    /// Shows that the configuration that was read last is the one that runs, as it was before.
    pub fn config_settled(&self) {
        self.0.configuration.last_succeeded.set(1);
    }

    /// Counts that the configuration was read again: whether it now runs, or was refused and the old one goes on.
    pub fn config_reloaded(&self, applied: bool) {
        let configuration = &self.0.configuration;
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
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_certificate_s_end_is_shown_where_it_is_known() {
        let metrics = Metrics::new();
        assert!(!metrics.encode().contains("certificate"));
        metrics.certificate_expires(|| None);
        assert!(!metrics.encode().contains("certificate"));
        metrics.certificate_expires(|| Some(UNIX_EPOCH + Duration::from_secs(1000)));
        assert!(metrics.encode().contains("colocate_certificate_expiry_timestamp_seconds 1000"));
    }

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
