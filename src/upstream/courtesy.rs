//! Hosts that ask to be left alone are: each host that is asked, on its own, for as long as it says.
//!
//! A 429, or a 503 with `Retry-After`, blocks its host: until then a request to it fails without being sent. A 429
//! that does not say until when counts as one for a second, then two, four and so on, until the host answers
//! properly again. So does an answer that was the last one allowed ([`Quota::exhausted`]). Which requests count is the
//! host's affair: Docker Hub counts a GET of a manifest and no HEAD, but what it says when it has had enough is about
//! the host, and taken so.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode};
use tokio::time::Instant;
use url::Url;

use super::error::UpstreamError;
use super::quota::Quota;
use super::retry_after::MAX_WAIT;
use crate::telemetry::UpstreamMetrics;

/// After the first 429 that does not say how long.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// After many.
const LONGEST_UNSAID_WAIT: Duration = Duration::from_secs(60);
/// Redirects choose hosts, so their number is the upstream's to choose.
const MAX_HOSTS: usize = 256;

/// What a host is to the upstream; its name in metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The configured host.
    Registry,
    /// Where it sends for tokens.
    Token,
    /// Where it redirects to.
    Storage,
}

/// All hosts that one upstream leads to.
pub(super) struct Courtesy {
    /// The upstream's own host and port.
    own: String,
    hosts: Mutex<HashMap<String, Host>>,
    metrics: UpstreamMetrics,
    /// Whether it is one client's, whose limits say nothing of anybody else's.
    of_client: bool,
}

#[derive(Default)]
struct Host {
    block: Option<Block>,
    /// 429s in a row that did not say how long.
    unsaid: u32,
    quota: Option<(Quota, Instant)>,
}

#[derive(Clone, Copy)]
struct Block {
    since: Instant,
    until: Instant,
    /// What the host answered: 429, or 503.
    status: StatusCode,
}

/// A request to a host, of which its answer may say how often there may be more.
#[derive(Clone)]
pub(super) struct Sent {
    courtesy: Arc<Courtesy>,
    host: String,
    role: Role,
    at: Instant,
}

impl Courtesy {
    pub(super) fn new(base: &Url, metrics: UpstreamMetrics) -> Self {
        Self { own: authority(base), hosts: Mutex::default(), metrics, of_client: false }
    }

    /// For one client of many: hosts count by who asks, and what one client has used up is no other's.
    pub(super) fn for_client(&self) -> Self {
        Self { own: self.own.clone(), hosts: Mutex::default(), metrics: self.metrics.clone(), of_client: true }
    }

    /// Leave to send a request to `url`.
    ///
    /// # Errors
    /// What its host last answered, while it is to be left alone.
    pub(super) fn admit(self: &Arc<Self>, url: &Url, role: Role) -> Result<Sent, UpstreamError> {
        let (host, now) = (authority(url), Instant::now());
        if let Some(known) = self.hosts().get(&host)
            && let Some(block) = known.block.filter(|block| now < block.until)
        {
            let retry_after = Some(block.until - now);
            return Err(match block.status {
                StatusCode::TOO_MANY_REQUESTS => {
                    UpstreamError::RateLimited { retry_after, quota: known.quota(now), asked: false }
                }
                status => UpstreamError::Unavailable { status, retry_after, asked: false },
            });
        }
        let role = if host == self.own { Role::Registry } else { role };
        Ok(Sent { courtesy: Arc::clone(self), host, role, at: now })
    }

    fn hosts(&self) -> MutexGuard<'_, HashMap<String, Host>> {
        // Nothing panics while it is held, and a map is whole after any panic.
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn metrics(&self) -> &UpstreamMetrics {
        &self.metrics
    }
}

impl Role {
    /// What metrics call such a host: the set is closed.
    fn label(self) -> &'static str {
        match self {
            Self::Registry => "registry",
            Self::Token => "token",
            Self::Storage => "storage",
        }
    }
}

impl Sent {
    /// Reads an answer's head. `retry_after` is what it says.
    pub(super) fn answered(&self, status: StatusCode, headers: &HeaderMap, retry_after: Option<Duration>) {
        let now = Instant::now();
        self.courtesy.metrics.answered(self.role.label(), Some(status.as_u16()));
        let quota = Quota::read(headers, SystemTime::now());
        let exhausted = quota.as_ref().and_then(Quota::exhausted);
        if let Some(quota) = quota {
            let number = |figure: &Option<super::Figure>| figure.as_ref().map(|figure| figure.number);
            let (limit, remaining) = (number(&quota.limit), number(&quota.remaining));
            if !self.courtesy.of_client {
                self.courtesy.metrics.quota(self.role.label(), limit, remaining);
            }
            self.host(|host| host.quota = Some((quota, now)));
        }
        let said = retry_after.filter(|wait| !wait.is_zero()).or(exhausted);
        match status {
            StatusCode::TOO_MANY_REQUESTS => self.too_many(said),
            StatusCode::SERVICE_UNAVAILABLE if said.is_some() => self.block(status, said, now),
            _ => {
                if let Some(wait) = exhausted {
                    self.block(StatusCode::TOO_MANY_REQUESTS, Some(wait), now);
                } else if status.is_success() || status.is_redirection() || status == StatusCode::NOT_FOUND {
                    // A 401 is answered before anything is counted, and a 5xx by who knows whom.
                    self.host(|host| {
                        if host.block.is_none_or(|block| block.since < self.at) {
                            host.unsaid = 0;
                        }
                    });
                }
            }
        }
    }

    /// There is no answer.
    pub(super) fn unanswered(&self) {
        self.courtesy.metrics.answered(self.role.label(), None);
    }

    /// The host says that it is asked too often, and perhaps until when.
    pub(super) fn too_many(&self, wait: Option<Duration>) {
        self.block(StatusCode::TOO_MANY_REQUESTS, wait, Instant::now());
    }

    /// What is left of the time for which the host is to be left alone, and its last word on how often it may be asked.
    pub(super) fn held(&self) -> (Option<Duration>, Option<Arc<Quota>>) {
        let now = Instant::now();
        let hosts = self.courtesy.hosts();
        let Some(host) = hosts.get(&self.host) else { return (None, None) };
        let wait = host.block.and_then(|block| block.until.checked_duration_since(now));
        (wait.filter(|wait| !wait.is_zero()), host.quota(now))
    }

    fn block(&self, status: StatusCode, said: Option<Duration>, now: Instant) {
        let blocked = self.host(|host| {
            // Of many requests that were on their way, the first to come back tells for all.
            let news = host.block.is_none_or(|block| block.since < self.at);
            let wait = match said {
                Some(wait) => wait.min(MAX_WAIT),
                None if !news => return None,
                None => {
                    host.unsaid = host.unsaid.saturating_add(1);
                    let doubled = FIRST_WAIT.saturating_mul(1_u32.checked_shl(host.unsaid - 1).unwrap_or(u32::MAX));
                    doubled.min(LONGEST_UNSAID_WAIT)
                }
            };
            let until = now + wait;
            if host.block.is_some_and(|block| block.until >= until) {
                return None;
            }
            host.block = Some(Block { since: now, until, status });
            Some((wait, news))
        });
        let Some(Some((wait, news))) = blocked else { return };
        if !self.courtesy.of_client {
            self.courtesy.metrics.blocked(self.role.label(), SystemTime::now() + wait, news);
        }
        if news {
            let (host, status) = (&self.host, status.as_u16());
            tracing::warn!(host, status, ?wait, "asked to wait; nothing is sent there until then");
        }
    }

    /// Changes what is known of the host; nothing if there is no room for one more.
    fn host<T>(&self, change: impl FnOnce(&mut Host) -> T) -> Option<T> {
        let mut hosts = self.courtesy.hosts();
        if hosts.len() >= MAX_HOSTS && !hosts.contains_key(&self.host) {
            let now = Instant::now();
            hosts.retain(|_, host| host.block.is_some_and(|block| now < block.until));
            if hosts.len() >= MAX_HOSTS {
                return None;
            }
        }
        Some(change(hosts.entry(self.host.clone()).or_default()))
    }
}

impl Host {
    fn quota(&self, now: Instant) -> Option<Arc<Quota>> {
        let (quota, at) = self.quota.as_ref()?;
        Some(Arc::new(quota.after(now.saturating_duration_since(*at))))
    }
}

fn authority(url: &Url) -> String {
    format!("{}:{}", url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use tokio::time::advance;

    use super::*;
    use crate::telemetry::Metrics;

    const OK: StatusCode = StatusCode::OK;
    const LIMITED: StatusCode = StatusCode::TOO_MANY_REQUESTS;

    fn url(text: &str) -> Url {
        text.parse().expect("a URL")
    }

    fn courtesy() -> Arc<Courtesy> {
        let base = url("https://registry.example/v2/");
        Arc::new(Courtesy::new(&base, Metrics::new().upstream("registry.example")))
    }

    /// How long a request is held back.
    fn held(courtesy: &Arc<Courtesy>, host: &str) -> Option<u64> {
        let error = courtesy.admit(&url(host), Role::Storage).err()?;
        Some(error.retry_after().expect("a time").as_secs_f64().ceil() as u64)
    }

    fn sent(courtesy: &Arc<Courtesy>) -> Sent {
        courtesy.admit(&url(HOST), Role::Registry).expect("admitted")
    }

    const HOST: &str = "https://registry.example/v2/a/manifests/b";

    #[tokio::test(start_paused = true)]
    async fn a_host_is_left_alone_for_as_long_as_it_says_and_no_other_is() {
        let courtesy = courtesy();
        sent(&courtesy).answered(LIMITED, &HeaderMap::new(), Some(Duration::from_secs(30)));
        assert_eq!(held(&courtesy, HOST), Some(30));
        assert_eq!(held(&courtesy, "https://registry.example:443/token"), Some(30), "the same host");
        assert_eq!(held(&courtesy, "https://registry.example:5000/"), None);
        assert_eq!(held(&courtesy, "https://cdn.example/"), None);
        advance(Duration::from_secs(29)).await;
        assert_eq!(held(&courtesy, HOST), Some(1));
        advance(Duration::from_secs(1)).await;
        assert_eq!(held(&courtesy, HOST), None);
        sent(&courtesy).answered(LIMITED, &HeaderMap::new(), Some(Duration::from_secs(1_000_000)));
        assert_eq!(held(&courtesy, HOST), Some(3600));
    }

    #[tokio::test(start_paused = true)]
    async fn unsaid_waits_double_until_it_answers() {
        let courtesy = courtesy();
        for expected in [1, 2, 4, 8, 16, 32, 60, 60] {
            sent(&courtesy).answered(LIMITED, &HeaderMap::new(), None);
            assert_eq!(held(&courtesy, HOST), Some(expected));
            advance(Duration::from_secs(expected)).await;
        }
        sent(&courtesy).answered(StatusCode::UNAUTHORIZED, &HeaderMap::new(), None);
        sent(&courtesy).answered(LIMITED, &HeaderMap::new(), Some(Duration::ZERO));
        assert_eq!(held(&courtesy, HOST), Some(60), "a challenge says nothing, and neither does no time at all");
        advance(Duration::from_secs(60)).await;
        sent(&courtesy).answered(OK, &HeaderMap::new(), None);
        sent(&courtesy).answered(LIMITED, &HeaderMap::new(), None);
        assert_eq!(held(&courtesy, HOST), Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn requests_that_were_on_their_way_count_once() {
        let courtesy = courtesy();
        let (first, second, third) = (sent(&courtesy), sent(&courtesy), sent(&courtesy));
        advance(Duration::from_millis(10)).await;
        first.answered(LIMITED, &HeaderMap::new(), None);
        second.answered(LIMITED, &HeaderMap::new(), None);
        third.answered(OK, &HeaderMap::new(), None);
        assert_eq!(held(&courtesy, HOST), Some(1));
        advance(Duration::from_secs(1)).await;
        sent(&courtesy).answered(LIMITED, &HeaderMap::new(), None);
        assert_eq!(held(&courtesy, HOST), Some(2), "one that was sent before says nothing of after");
    }

    #[tokio::test(start_paused = true)]
    async fn an_unavailable_host_is_left_alone_only_if_it_says_how_long() {
        let courtesy = courtesy();
        sent(&courtesy).answered(StatusCode::SERVICE_UNAVAILABLE, &HeaderMap::new(), None);
        assert_eq!(held(&courtesy, HOST), None);
        sent(&courtesy).answered(StatusCode::SERVICE_UNAVAILABLE, &HeaderMap::new(), Some(Duration::from_secs(5)));
        let error = courtesy.admit(&url(HOST), Role::Registry).err().expect("held back");
        assert!(matches!(error, UpstreamError::Unavailable { asked: false, .. }), "{error:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_request_allowed_is_the_last_until_the_reset() {
        let courtesy = courtesy();
        let headers = |remaining: u64| {
            let header =
                |name: &'static str, value: u64| (http::HeaderName::from_static(name), HeaderValue::from(value));
            [header("ratelimit-remaining", remaining), header("ratelimit-reset", 20)].into_iter().collect()
        };
        sent(&courtesy).answered(OK, &headers(1), None);
        assert_eq!(held(&courtesy, HOST), None);
        sent(&courtesy).answered(OK, &headers(0), None);
        advance(Duration::from_secs(5)).await;
        let error = courtesy.admit(&url(HOST), Role::Registry).err().expect("held back");
        let UpstreamError::RateLimited { quota: Some(quota), asked: false, .. } = error else { panic!("{error:?}") };
        assert_eq!(quota.reset, Some(Duration::from_secs(15)));
        assert_eq!(quota.remaining.as_ref().map(|remaining| remaining.number), Some(0));
    }

    #[tokio::test(start_paused = true)]
    async fn hosts_do_not_pile_up() {
        let courtesy = courtesy();
        sent(&courtesy).answered(LIMITED, &HeaderMap::new(), Some(MAX_WAIT));
        for number in 0..2 * MAX_HOSTS {
            let url = url(&format!("https://shard{number}.example/"));
            let sent = courtesy.admit(&url, Role::Storage).expect("admitted");
            sent.answered(OK, &HeaderMap::new(), None);
        }
        assert!(courtesy.hosts().len() <= MAX_HOSTS);
        assert_eq!(held(&courtesy, HOST), Some(3600));
    }
}
