//! Counters, gauges and histograms, in the OpenMetrics text format.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::build::BUILD;
use super::cache::CacheMetrics;
use super::configuration::ConfigurationMetrics;
use super::gauged::Gauged;
use super::quota::QuotaMetrics;
use super::totals::{Running, Totals};

/// From an answer out of memory to a client's patience with a large layer.
const SECONDS: [f64; 13] = [0.001, 0.005, 0.01, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0, 600.0];

/// All metrics of the process; clones share them.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    request_seconds: Family<RouteLabels, Histogram, fn() -> Histogram>,
    response_bytes: Family<RouteLabels, Counter>,
    in_flight: Gauge,
    connections: Gauge,
    relocations: Family<ReasonLabels, Counter>,
    answer_changes: Family<ChangeLabels, Counter>,
    upstream_requests: Family<UpstreamLabels, Counter>,
    upstream_bytes: Counter,
    cache: CacheMetrics,
    quota: QuotaMetrics,
    configuration: ConfigurationMetrics,
    totals: Running,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    route: &'static str,
    method: &'static str,
    status: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RouteLabels {
    route: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabels {
    outcome: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ChangeLabels {
    change: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct UpstreamLabels {
    operation: &'static str,
    outcome: &'static str,
}

/// One request that is over, body and all.
#[derive(Clone, Copy, Debug)]
pub struct RequestEnd {
    /// `manifest`, `blob`, …
    pub route: &'static str,
    /// `GET`, `HEAD` or `other`.
    pub method: &'static str,
    /// The status sent, or `None` when the client left before there was one.
    pub status: Option<u16>,
    /// What the cache had to do with it.
    pub outcome: &'static str,
    /// Whether the answer was the cache's, with no content fetched for it.
    pub hit: bool,
    /// Bytes of the body that were handed to the connection.
    pub bytes: u64,
    /// From the request's head to the body's end.
    pub duration: Duration,
}

impl Metrics {
    /// Metrics that all read zero.
    pub fn new() -> Self {
        let build = Info::new([("version", BUILD.version), ("commit", BUILD.commit), ("rustc", BUILD.rustc)]);
        let mut registry = Registry::with_prefix("colocate");
        registry.register("build", "What is running", build);
        let mut inner = Inner {
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(request_histogram),
            response_bytes: Family::default(),
            in_flight: Gauge::default(),
            connections: Gauge::default(),
            relocations: Family::default(),
            answer_changes: Family::default(),
            upstream_requests: Family::default(),
            upstream_bytes: Counter::default(),
            cache: CacheMetrics::default(),
            quota: QuotaMetrics::default(),
            configuration: ConfigurationMetrics::new(),
            totals: Running::default(),
            registry,
        };
        inner.register();
        Self(Arc::new(inner))
    }

    /// Counts a request when its body has ended.
    pub fn request(&self, end: &RequestEnd) {
        let RequestEnd { route, method, outcome, .. } = *end;
        let labels = RequestLabels { route, method, status: status_class(end.status), outcome };
        self.0.requests.get_or_create(&labels).inc();
        self.0.request_seconds.get_or_create(&RouteLabels { route }).observe(end.duration.as_secs_f64());
        self.0.response_bytes.get_or_create(&RouteLabels { route }).inc_by(end.bytes);
        self.0.totals.request(end.hit, end.status, end.bytes);
    }

    /// Counts a request as running until the guard is dropped.
    pub fn in_flight(&self) -> Gauged {
        Gauged::new(&self.0.in_flight)
    }

    /// Counts a connection as open until the guard is dropped.
    pub fn connection(&self) -> Gauged {
        Gauged::new(&self.0.connections)
    }

    /// Counts a bundle that was looked at: `outcome` is what became of it (such as `relocated`, `original`,
    /// `undecided`), `reason` why.
    pub fn relocation(&self, outcome: &'static str, reason: &'static str) {
        self.0.relocations.get_or_create(&ReasonLabels { outcome, reason }).inc();
    }

    /// Counts that one bundle under one endpoint is answered differently from before.
    pub fn answer_changed(&self, change: &'static str) {
        self.0.answer_changes.get_or_create(&ChangeLabels { change }).inc();
    }

    /// Counts a request to the registry behind, by what was asked and how it went.
    pub fn upstream_request(&self, operation: &'static str, outcome: &'static str) {
        self.0.upstream_requests.get_or_create(&UpstreamLabels { operation, outcome }).inc();
    }

    /// Counts bytes of bodies received from the registry behind.
    pub fn upstream_bytes(&self, bytes: u64) {
        self.0.upstream_bytes.inc_by(bytes);
        self.0.totals.received(bytes);
    }

    /// Sums over everything.
    pub fn totals(&self) -> Totals {
        self.0.totals.read()
    }

    /// What the cache counts.
    pub fn cache(&self) -> &CacheMetrics {
        &self.0.cache
    }

    pub(super) fn quota(&self) -> &QuotaMetrics {
        &self.0.quota
    }

    pub(super) fn configuration(&self) -> &ConfigurationMetrics {
        &self.0.configuration
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

impl Inner {
    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("requests", "Requests by route, method, status and cache outcome", self.requests.clone());
        registry.register_with_unit(
            "request_duration",
            "From a request's head to its body's end",
            Unit::Seconds,
            self.request_seconds.clone(),
        );
        registry.register_with_unit(
            "response",
            "Bytes of bodies sent to clients",
            Unit::Bytes,
            self.response_bytes.clone(),
        );
        registry.register("requests_in_flight", "Requests whose body has not ended", self.in_flight.clone());
        registry.register("connections", "Open client connections", self.connections.clone());
        registry.register("relocations", "Bundles looked at, by what became of them and why", self.relocations.clone());
        registry.register("answer_changes", "Bundles answered differently from before", self.answer_changes.clone());
        registry.register(
            "upstream_requests",
            "Requests to the registry behind, by what was asked and how it went",
            self.upstream_requests.clone(),
        );
        registry.register_with_unit(
            "upstream_received",
            "Bytes of bodies from the registry behind",
            Unit::Bytes,
            self.upstream_bytes.clone(),
        );
        self.cache.register(registry);
        self.quota.register(registry);
        self.configuration.register(registry);
    }
}

fn request_histogram() -> Histogram {
    Histogram::new(SECONDS)
}

fn status_class(status: Option<u16>) -> &'static str {
    match status {
        Some(100..=199) => "1xx",
        Some(200..=299) => "2xx",
        Some(300..=399) => "3xx",
        Some(400..=499) => "4xx",
        Some(_) => "5xx",
        None => "none",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_encodes() {
        let metrics = Metrics::new();
        let guard = metrics.in_flight();
        metrics.relocation("relocated", "all_colocated");
        metrics.answer_changed("image_gone");
        metrics.upstream_request("blob", "ok");
        metrics.upstream_bytes(7);
        metrics.request(&RequestEnd {
            route: "blob",
            method: "GET",
            status: Some(206),
            outcome: "hit",
            hit: true,
            bytes: 5,
            duration: Duration::from_millis(2),
        });
        let text = metrics.encode();
        for line in [
            "colocate_requests_total{route=\"blob\",method=\"GET\",status=\"2xx\",outcome=\"hit\"} 1",
            "colocate_request_duration_seconds_bucket{le=\"0.005\",route=\"blob\"} 1",
            "colocate_response_bytes_total{route=\"blob\"} 5",
            "colocate_relocations_total{outcome=\"relocated\",reason=\"all_colocated\"} 1",
            "colocate_answer_changes_total{change=\"image_gone\"} 1",
            "colocate_upstream_requests_total{operation=\"blob\",outcome=\"ok\"} 1",
            "colocate_upstream_received_bytes_total 7",
            "colocate_requests_in_flight 1",
            "colocate_build_info{version=",
            "# EOF",
        ] {
            assert!(text.contains(line), "{line}\nnot in\n{text}");
        }
        let totals = Totals { requests: 1, hits: 1, errors: 0, served_bytes: 5, received_bytes: 7 };
        assert_eq!(metrics.totals(), totals);
        drop(guard);
        assert!(metrics.encode().contains("colocate_requests_in_flight 0"));
    }
}
