//! What is counted of the registries behind, each under its configured name.
//!
//! One registry leads to several hosts: itself, where it sends for tokens, and the storage that it redirects to. What is
//! told apart is which of the three it was; the hosts' names are the registry's to choose, and in the log.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::Metrics;
use super::configuration::seconds;
use super::requests::status_class;

/// Every host that a registry can lead to.
const HOSTS: [&str; 3] = ["registry", "token", "storage"];
/// How a host may answer, a status of its own for what tells most.
const STATUSES: [&str; 9] = ["2xx", "3xx", "401", "403", "404", "429", "4xx", "5xx", "none"];
/// What may come of asking for a token.
const OUTCOMES: [&str; 3] = ["fetched", "refused", "failed"];

#[derive(Default)]
pub(super) struct UpstreamFamilies {
    requests: Family<RequestLabels, Counter>,
    answers: Family<AnswerLabels, Counter>,
    received_bytes: Family<UpstreamLabels, Counter>,
    sent_bytes: Family<UpstreamLabels, Counter>,
    tokens: Family<TokenLabels, Counter>,
    limit: Family<HostLabels, Gauge>,
    remaining: Family<HostLabels, Gauge>,
    blocked_until: Family<HostLabels, Gauge>,
    backoffs: Family<HostLabels, Counter>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct UpstreamLabels {
    upstream: Arc<str>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    upstream: Arc<str>,
    operation: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct AnswerLabels {
    upstream: Arc<str>,
    host: &'static str,
    status: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct TokenLabels {
    upstream: Arc<str>,
    credentials: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct HostLabels {
    upstream: Arc<str>,
    host: &'static str,
}

/// The counters and gauges of one registry; clones share them.
#[derive(Clone)]
pub struct UpstreamMetrics(Arc<Handle>);

struct Handle {
    metrics: Metrics,
    upstream: Arc<str>,
    // Looked up once, since every frame of a body counts.
    received: Counter,
    sent: Counter,
}

impl UpstreamFamilies {
    pub(super) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("upstream");
        registry.register(
            "requests",
            "Questions to a registry behind, by what was asked and what came of it",
            self.requests.clone(),
        );
        registry.register(
            "answers",
            "Answers of a registry's hosts, single requests and redirects too, by status",
            self.answers.clone(),
        );
        registry.register_with_unit(
            "received",
            "Bytes of bodies that came from a registry's hosts",
            Unit::Bytes,
            self.received_bytes.clone(),
        );
        registry.register_with_unit(
            "sent",
            "Bytes of bodies that went to a registry's hosts",
            Unit::Bytes,
            self.sent_bytes.clone(),
        );
        registry.register("tokens", "Tokens asked for, by whose credentials and what came of it", self.tokens.clone());
        registry.register("ratelimit_limit", "Requests a host allows, as it last said", self.limit.clone());
        registry.register(
            "ratelimit_remaining",
            "Requests a host still allows, as it last said",
            self.remaining.clone(),
        );
        registry.register_with_unit(
            "blocked_until_timestamp",
            "Until when a host last asked to be left alone",
            Unit::Seconds,
            self.blocked_until.clone(),
        );
        registry.register("backoffs", "Times a host asked to be left alone", self.backoffs.clone());
    }
}

impl Metrics {
    /// The metrics of the registry with this configured name.
    pub fn upstream(&self, name: &str) -> UpstreamMetrics {
        let (families, upstream) = (&self.0.upstreams, Arc::<str>::from(name));
        for host in HOSTS {
            let labels = HostLabels { upstream: Arc::clone(&upstream), host };
            drop(families.backoffs.get_or_create(&labels));
            drop(families.blocked_until.get_or_create(&labels));
            for status in STATUSES {
                let labels = AnswerLabels { upstream: Arc::clone(&upstream), host, status };
                drop(families.answers.get_or_create(&labels));
            }
        }
        for (credentials, outcome) in
            ["own", "client", "none"].into_iter().flat_map(|whose| OUTCOMES.map(|one| (whose, one)))
        {
            let labels = TokenLabels { upstream: Arc::clone(&upstream), credentials, outcome };
            drop(families.tokens.get_or_create(&labels));
        }
        let labels = UpstreamLabels { upstream: Arc::clone(&upstream) };
        let received = families.received_bytes.get_or_create(&labels).clone();
        let sent = families.sent_bytes.get_or_create(&labels).clone();
        UpstreamMetrics(Arc::new(Handle { metrics: self.clone(), upstream, received, sent }))
    }
}

impl UpstreamMetrics {
    /// Counts a question, by what was asked and what came of it.
    pub fn asked(&self, operation: &'static str, outcome: &'static str) {
        let labels = RequestLabels { upstream: self.name(), operation, outcome };
        self.families().requests.get_or_create(&labels).inc();
    }

    /// Counts an answer of one of its hosts (`registry`, `token` or `storage`), or that there was none.
    pub fn answered(&self, host: &'static str, status: Option<u16>) {
        let labels = AnswerLabels { upstream: self.name(), host, status: answer_class(status) };
        self.families().answers.get_or_create(&labels).inc();
    }

    /// Counts bytes of bodies that came.
    pub fn received(&self, bytes: u64) {
        self.0.received.inc_by(bytes);
        self.0.metrics.0.totals.received(bytes);
    }

    /// Counts bytes of bodies that went.
    pub fn sent(&self, bytes: u64) {
        self.0.sent.inc_by(bytes);
    }

    /// Counts what came of asking for a token with the configured credentials (`own`), those of a `client`, or with
    /// `none`: `fetched`, `refused` or `failed`.
    pub fn token(&self, credentials: &'static str, outcome: &'static str) {
        self.families().tokens.get_or_create(&TokenLabels { upstream: self.name(), credentials, outcome }).inc();
    }

    /// Shows what a host says of how many requests it allows, and still allows.
    pub fn quota(&self, host: &'static str, limit: Option<u64>, remaining: Option<u64>) {
        let families = self.families();
        for (family, number) in [(&families.limit, limit), (&families.remaining, remaining)] {
            if let Some(number) = number {
                family.get_or_create(&self.host(host)).set(i64::try_from(number).unwrap_or(i64::MAX));
            }
        }
    }

    /// Shows until when a host asks to be left alone, and counts it if it is `news`.
    pub fn blocked(&self, host: &'static str, until: SystemTime, news: bool) {
        let (families, labels) = (self.families(), self.host(host));
        let seconds = seconds(until);
        families.blocked_until.get_or_create(&labels).set(i64::try_from(seconds).unwrap_or(i64::MAX));
        if news {
            families.backoffs.get_or_create(&labels).inc();
        }
    }

    fn families(&self) -> &UpstreamFamilies {
        &self.0.metrics.0.upstreams
    }

    fn name(&self) -> Arc<str> {
        Arc::clone(&self.0.upstream)
    }

    fn host(&self, host: &'static str) -> HostLabels {
        HostLabels { upstream: self.name(), host }
    }
}

impl fmt::Debug for UpstreamMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UpstreamMetrics").field(&self.0.upstream).finish()
    }
}

fn answer_class(status: Option<u16>) -> &'static str {
    match status {
        Some(401) => "401",
        Some(403) => "403",
        Some(404) => "404",
        Some(429) => "429",
        other => status_class(other),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[track_caller]
    fn shows(metrics: &Metrics, lines: &[&str]) {
        let text = metrics.encode();
        lines.iter().for_each(|line| assert!(text.contains(line), "{line}\nnot in\n{text}"));
    }

    #[test]
    fn counts_by_registry_and_host() {
        let metrics = Metrics::new();
        let (hub, other) = (metrics.upstream("docker.io"), metrics.upstream("ghcr.io"));
        hub.asked("blob", "ok");
        hub.answered("registry", Some(302));
        hub.answered("storage", Some(200));
        hub.answered("registry", Some(429));
        hub.answered("registry", Some(410));
        other.answered("registry", None);
        hub.received(7);
        other.received(5);
        hub.sent(3);
        hub.token("own", "refused");
        assert_eq!(metrics.totals().received_bytes, 12);
        shows(
            &metrics,
            &[
                "colocate_upstream_requests_total{upstream=\"docker.io\",operation=\"blob\",outcome=\"ok\"} 1",
                "colocate_upstream_answers_total{upstream=\"docker.io\",host=\"registry\",status=\"3xx\"} 1",
                "colocate_upstream_answers_total{upstream=\"docker.io\",host=\"storage\",status=\"2xx\"} 1",
                "colocate_upstream_answers_total{upstream=\"docker.io\",host=\"registry\",status=\"429\"} 1",
                "colocate_upstream_answers_total{upstream=\"docker.io\",host=\"registry\",status=\"4xx\"} 1",
                "colocate_upstream_answers_total{upstream=\"docker.io\",host=\"registry\",status=\"none\"} 0",
                "colocate_upstream_answers_total{upstream=\"ghcr.io\",host=\"registry\",status=\"none\"} 1",
                "colocate_upstream_received_bytes_total{upstream=\"docker.io\"} 7",
                "colocate_upstream_sent_bytes_total{upstream=\"docker.io\"} 3",
                "colocate_upstream_tokens_total{upstream=\"docker.io\",credentials=\"own\",outcome=\"refused\"} 1",
                "colocate_upstream_tokens_total{upstream=\"ghcr.io\",credentials=\"own\",outcome=\"refused\"} 0",
            ],
        );
    }

    #[test]
    fn says_what_the_hosts_said() {
        let metrics = Metrics::new();
        let upstream = metrics.upstream("registry.example");
        assert!(!metrics.encode().contains("ratelimit"), "of a host that said nothing");
        upstream.quota("registry", Some(100), None);
        upstream.quota("registry", None, Some(7));
        upstream.blocked("token", UNIX_EPOCH + Duration::from_secs(1000), true);
        upstream.blocked("token", UNIX_EPOCH + Duration::from_secs(2000), false);
        let token = "{upstream=\"registry.example\",host=\"token\"}";
        shows(
            &metrics,
            &[
                "colocate_upstream_ratelimit_limit{upstream=\"registry.example\",host=\"registry\"} 100",
                "colocate_upstream_ratelimit_remaining{upstream=\"registry.example\",host=\"registry\"} 7",
                &format!("colocate_upstream_blocked_until_timestamp_seconds{token} 2000"),
                &format!("colocate_upstream_backoffs_total{token} 1"),
            ],
        );
    }
}
