//! What is counted of clients' requests.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::Metrics;
use super::gauged::Gauged;

/// From an answer out of memory to a client's patience with a large layer.
const SECONDS: [f64; 13] = [0.001, 0.005, 0.01, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0, 600.0];

/// Why an older answer stands in: all there is, so that the first one shows.
const STALE: [&str; 10] = [
    "slow",
    "unreachable",
    "timeout",
    "interrupted",
    "unavailable",
    "rate_limited",
    "unreadable",
    "renewed",
    "credentials",
    "not_found",
];

pub(super) struct RequestMetrics {
    requests: Family<RequestLabels, Counter>,
    hits: Family<RouteLabels, Counter>,
    seconds: Family<RouteLabels, Histogram, fn() -> Histogram>,
    first_byte_seconds: Family<RouteLabels, Histogram, fn() -> Histogram>,
    response_bytes: Family<RouteLabels, Counter>,
    received_bytes: Family<RouteLabels, Counter>,
    stale: Family<StaleLabels, Counter>,
    in_flight: Gauge,
    connections: Gauge,
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
struct StaleLabels {
    reason: &'static str,
}

/// One request that is over, body and all.
#[derive(Clone, Copy, Debug)]
pub struct RequestEnd {
    /// `manifest`, `blob`, …
    pub route: &'static str,
    /// `GET`, `HEAD`, …, or `other`.
    pub method: &'static str,
    /// The status sent, or `None` when the client left before there was one.
    pub status: Option<u16>,
    /// What the cache had to do with it.
    pub outcome: &'static str,
    /// Whether the answer was the cache's, with no content fetched for it.
    pub hit: bool,
    /// Why the answer was an older one, if it was.
    pub stale: Option<&'static str>,
    /// Bytes of the body that were handed to the connection.
    pub bytes: u64,
    /// From the request's head to the first of these bytes, or to the end of a body without any; `None` for an answer
    /// that never came so far.
    pub first_byte: Option<Duration>,
    /// From the request's head to the body's end.
    pub duration: Duration,
}

/// Counts the bytes of one route's request bodies.
#[derive(Clone, Debug)]
pub struct ReceivedBytes(Counter);

impl RequestMetrics {
    pub(super) fn new() -> Self {
        let new = Self {
            requests: Family::default(),
            hits: Family::default(),
            seconds: Family::new_with_constructor(histogram),
            first_byte_seconds: Family::new_with_constructor(histogram),
            response_bytes: Family::default(),
            received_bytes: Family::default(),
            stale: Family::default(),
            in_flight: Gauge::default(),
            connections: Gauge::default(),
        };
        for reason in STALE {
            drop(new.stale.get_or_create(&StaleLabels { reason }));
        }
        new
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("requests", "Requests by route, method, status and cache outcome", self.requests.clone());
        registry.register(
            "request_hits",
            "Requests answered from the cache, with no content fetched for them",
            self.hits.clone(),
        );
        registry.register_with_unit(
            "request_duration",
            "From a request's head to its body's end",
            Unit::Seconds,
            self.seconds.clone(),
        );
        registry.register_with_unit(
            "request_first_byte",
            "From a request's head to the first byte of its body, or to the end of a body without any",
            Unit::Seconds,
            self.first_byte_seconds.clone(),
        );
        registry.register_with_unit(
            "response",
            "Bytes of bodies sent to clients",
            Unit::Bytes,
            self.response_bytes.clone(),
        );
        registry.register_with_unit(
            "request_received",
            "Bytes of bodies that clients sent: what they push",
            Unit::Bytes,
            self.received_bytes.clone(),
        );
        registry.register(
            "stale_answers",
            "Requests answered with what a tag stood for earlier, by why it could not be asked",
            self.stale.clone(),
        );
        registry.register("requests_in_flight", "Requests whose body has not ended", self.in_flight.clone());
        registry.register("connections", "Open client connections", self.connections.clone());
    }
}

impl Metrics {
    /// Counts a request when its body has ended.
    pub fn request(&self, end: &RequestEnd) {
        let RequestEnd { route, method, outcome, .. } = *end;
        let (counted, by_route) = (&self.0.requests, RouteLabels { route });
        let labels = RequestLabels { route, method, status: status_class(end.status), outcome };
        counted.requests.get_or_create(&labels).inc();
        counted.seconds.get_or_create(&by_route).observe(end.duration.as_secs_f64());
        if let Some(first_byte) = end.first_byte {
            counted.first_byte_seconds.get_or_create(&by_route).observe(first_byte.as_secs_f64());
        }
        counted.response_bytes.get_or_create(&by_route).inc_by(end.bytes);
        if end.hit {
            counted.hits.get_or_create(&by_route).inc();
        }
        if let Some(reason) = end.stale {
            counted.stale.get_or_create(&StaleLabels { reason }).inc();
        }
        self.0.totals.request(end.hit, end.status, end.bytes);
    }

    /// Counts a request as running until the guard is dropped.
    pub fn in_flight(&self) -> Gauged {
        Gauged::new(&self.0.requests.in_flight)
    }

    /// Counts a connection as open until the guard is dropped.
    pub fn connection(&self) -> Gauged {
        Gauged::new(&self.0.requests.connections)
    }

    /// Counts what a client sends in a request of this route.
    pub fn received(&self, route: &'static str) -> ReceivedBytes {
        ReceivedBytes(self.0.requests.received_bytes.get_or_create(&RouteLabels { route }).clone())
    }
}

impl ReceivedBytes {
    /// Counts bytes more.
    pub fn add(&self, bytes: u64) {
        self.0.inc_by(bytes);
    }
}

fn histogram() -> Histogram {
    Histogram::new(SECONDS)
}

pub(super) fn status_class(status: Option<u16>) -> &'static str {
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
    use super::super::Totals;
    use super::*;

    const END: RequestEnd = RequestEnd {
        route: "blob",
        method: "GET",
        status: Some(206),
        outcome: "hit",
        hit: true,
        stale: None,
        bytes: 5,
        first_byte: Some(Duration::from_millis(2)),
        duration: Duration::from_millis(7),
    };

    #[test]
    fn counts_requests() {
        let metrics = Metrics::new();
        let guard = metrics.in_flight();
        metrics.received("upload").add(9);
        metrics.request(&END);
        let text = metrics.encode();
        for line in [
            "colocate_requests_total{route=\"blob\",method=\"GET\",status=\"2xx\",outcome=\"hit\"} 1",
            "colocate_request_hits_total{route=\"blob\"} 1",
            "colocate_request_duration_seconds_bucket{le=\"0.005\",route=\"blob\"} 0",
            "colocate_request_duration_seconds_bucket{le=\"0.01\",route=\"blob\"} 1",
            "colocate_request_first_byte_seconds_bucket{le=\"0.005\",route=\"blob\"} 1",
            "colocate_response_bytes_total{route=\"blob\"} 5",
            "colocate_request_received_bytes_total{route=\"upload\"} 9",
            "colocate_requests_in_flight 1",
            "colocate_stale_answers_total{reason=\"slow\"} 0",
        ] {
            assert!(text.contains(line), "{line}\nnot in\n{text}");
        }
        drop(guard);
        assert!(metrics.encode().contains("colocate_requests_in_flight 0"));
    }

    #[test]
    fn sums_are_of_all_requests() {
        let metrics = Metrics::new();
        metrics.request(&END);
        metrics.request(&RequestEnd { status: Some(503), outcome: "upstream_error", hit: false, ..END });
        metrics.request(&RequestEnd { status: None, first_byte: None, hit: false, bytes: 0, ..END });
        let totals = Totals { requests: 3, hits: 1, errors: 1, served_bytes: 10, received_bytes: 0 };
        assert_eq!(metrics.totals(), totals);
        assert!(metrics.encode().contains("colocate_request_first_byte_seconds_count{route=\"blob\"} 2"));
    }
}
