//! What the registry behind, and the hosts it leads to, say of how often they may be asked.

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::Metrics;

/// By host: the configured registry's name, `token` or `storage`.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct HostLabels {
    host: String,
}

#[derive(Default)]
pub(super) struct QuotaMetrics {
    limit: Family<HostLabels, Gauge>,
    remaining: Family<HostLabels, Gauge>,
    blocked_until: Family<HostLabels, Gauge>,
    backoffs: Family<HostLabels, Counter>,
}

impl QuotaMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("upstream_ratelimit_limit", "Requests a host allows, as it last said", self.limit.clone());
        registry.register(
            "upstream_ratelimit_remaining",
            "Requests a host still allows, as it last said",
            self.remaining.clone(),
        );
        registry.register_with_unit(
            "upstream_blocked_until_timestamp",
            "Until when a host last asked to be left alone",
            Unit::Seconds,
            self.blocked_until.clone(),
        );
        registry.register("upstream_backoffs", "Times a host asked to be left alone", self.backoffs.clone());
    }
}

impl Metrics {
    /// Shows what a host says of how many requests it allows, and still allows. `host` is the configured registry's
    /// name, or one of few words.
    pub fn upstream_quota(&self, host: &str, limit: Option<u64>, remaining: Option<u64>) {
        let quota = self.quota();
        for (family, number) in [(&quota.limit, limit), (&quota.remaining, remaining)] {
            if let Some(number) = number {
                family.get_or_create(&labels(host)).set(i64::try_from(number).unwrap_or(i64::MAX));
            }
        }
    }

    /// Shows until when a host asks to be left alone, and counts it if it is `news`.
    pub fn upstream_blocked(&self, host: &str, until: SystemTime, news: bool) {
        let quota = self.quota();
        let seconds = until.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        quota.blocked_until.get_or_create(&labels(host)).set(i64::try_from(seconds).unwrap_or(i64::MAX));
        if news {
            quota.backoffs.get_or_create(&labels(host)).inc();
        }
    }
}

fn labels(host: &str) -> HostLabels {
    HostLabels { host: host.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn says_what_the_hosts_said() {
        let metrics = Metrics::new();
        metrics.upstream_quota("registry.example", Some(100), None);
        metrics.upstream_quota("registry.example", None, Some(7));
        metrics.upstream_blocked("token", UNIX_EPOCH + Duration::from_secs(1000), true);
        metrics.upstream_blocked("token", UNIX_EPOCH + Duration::from_secs(2000), false);
        let text = metrics.encode();
        for line in [
            "colocate_upstream_ratelimit_limit{host=\"registry.example\"} 100",
            "colocate_upstream_ratelimit_remaining{host=\"registry.example\"} 7",
            "colocate_upstream_blocked_until_timestamp_seconds{host=\"token\"} 2000",
            "colocate_upstream_backoffs_total{host=\"token\"} 1",
        ] {
            assert!(text.contains(line), "{line}\nnot in\n{text}");
        }
    }
}
