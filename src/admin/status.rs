//! What `/api/status` says.

use std::time::SystemTime;

use serde::Serialize;

use super::Standing;
use super::board::{Notes, Site};
use super::history::{INTERVAL_SECONDS, Sample};
use crate::body::unix_seconds;
use crate::cache::Filling;
use crate::proxy::UpstreamHealth;
use crate::telemetry::BUILD;

/// How everything stands now. Times are in seconds since 1970.
#[derive(Debug, Serialize)]
pub(super) struct Status {
    version: &'static str,
    commit: &'static str,
    now: u64,
    started: u64,
    ready: bool,
    draining: bool,
    endpoint: Option<String>,
    listen: Vec<String>,
    config: ConfigStatus,
    upstreams: Vec<UpstreamStatus>,
    cache: CacheStatus,
    fills: Vec<FillStatus>,
    history: HistoryStatus,
}

#[derive(Debug, Serialize)]
struct ConfigStatus {
    file: Option<String>,
    loaded: u64,
    refused: Option<RefusedStatus>,
}

#[derive(Debug, Serialize)]
struct RefusedStatus {
    at: u64,
    problems: String,
}

#[derive(Debug, Serialize)]
struct UpstreamStatus {
    registry: String,
    place: String,
    /// `ok`, `trouble`, `waiting` or `unknown`.
    state: &'static str,
    last_ok: Option<u64>,
    trouble: Option<TroubleStatus>,
    wait_until: Option<u64>,
    requests: u64,
    failures: u64,
}

#[derive(Debug, Serialize)]
struct TroubleStatus {
    at: u64,
    text: String,
}

#[derive(Debug, Serialize)]
struct CacheStatus {
    bytes: u64,
    entries: usize,
    max_bytes: Option<u64>,
    high: Option<u64>,
    low: Option<u64>,
    disk_free: Option<u64>,
    disk_total: Option<u64>,
}

#[derive(Debug, Serialize)]
struct FillStatus {
    digest: String,
    origin: String,
    size: Option<u64>,
    written: u64,
    readers: usize,
    since: u64,
}

#[derive(Debug, Serialize)]
struct HistoryStatus {
    every: u64,
    samples: Vec<Sample>,
}

impl Status {
    pub(super) async fn of(notes: Notes, started: SystemTime, standing: Standing, samples: Vec<Sample>) -> Self {
        let Notes { site, refused, cache } = notes;
        let now = SystemTime::now();
        let (usage, bounds) = (cache.usage(), cache.bounds());
        let space = cache.space().await.ok().flatten();
        let mut fills: Vec<Filling> = cache.fills();
        fills.sort_by_key(|fill| fill.since);
        Self {
            version: BUILD.version,
            commit: BUILD.commit,
            now: unix_seconds(now),
            started: unix_seconds(started),
            ready: standing == Standing::Ready,
            draining: standing == Standing::Draining,
            upstreams: upstreams(&site, now),
            endpoint: site.endpoint,
            listen: site.listen,
            config: ConfigStatus {
                file: site.file,
                loaded: unix_seconds(site.loaded),
                refused: refused
                    .map(|refused| RefusedStatus { at: unix_seconds(refused.at), problems: refused.problems }),
            },
            cache: CacheStatus {
                bytes: usage.bytes,
                entries: usage.entries,
                max_bytes: bounds.map(|bounds| bounds.max),
                high: bounds.map(|bounds| bounds.high),
                low: bounds.map(|bounds| bounds.low),
                disk_free: space.map(|space| space.free),
                disk_total: space.map(|space| space.total),
            },
            fills: fills.into_iter().map(FillStatus::from).collect(),
            history: HistoryStatus { every: INTERVAL_SECONDS, samples },
        }
    }
}

impl From<Filling> for FillStatus {
    fn from(fill: Filling) -> Self {
        let Filling { digest, origin, size, written, readers, since } = fill;
        Self { digest: digest.to_string(), origin, size, written, readers, since: unix_seconds(since) }
    }
}

fn upstreams(site: &Site, now: SystemTime) -> Vec<UpstreamStatus> {
    let told = site.upstreams.iter().map(|(registry, place)| {
        let health = site.proxy.health(registry).unwrap_or_default();
        let state = state(&health, now);
        let UpstreamHealth { answered, failed, wait_until, requests, failures } = health;
        UpstreamStatus {
            registry: registry.to_string(),
            place: place.clone(),
            state,
            last_ok: answered.map(unix_seconds),
            trouble: failed.map(|(at, text)| TroubleStatus { at: unix_seconds(at), text }),
            wait_until: wait_until.filter(|until| *until > now).map(unix_seconds),
            requests,
            failures,
        }
    });
    told.collect()
}

/// Whatever came last counts.
fn state(health: &UpstreamHealth, now: SystemTime) -> &'static str {
    let failed = health.failed.as_ref().map(|(at, _)| *at);
    match (health.answered, failed) {
        _ if health.wait_until.is_some_and(|until| until > now) => "waiting",
        (None, None) => "unknown",
        (Some(answered), failed) if failed.is_none_or(|failed| failed <= answered) => "ok",
        _ => "trouble",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_last_word_counts() {
        let now = SystemTime::now();
        let before = now - Duration::from_secs(5);
        let health = |answered, failed: Option<SystemTime>, wait_until| UpstreamHealth {
            answered,
            failed: failed.map(|at| (at, String::new())),
            wait_until,
            requests: 1,
            failures: 0,
        };
        for (health, expected) in [
            (health(None, None, None), "unknown"),
            (health(Some(before), None, None), "ok"),
            (health(Some(now), Some(before), None), "ok"),
            (health(Some(before), Some(now), None), "trouble"),
            (health(None, Some(before), Some(before)), "trouble"),
            (health(None, Some(before), Some(now + Duration::from_secs(9))), "waiting"),
        ] {
            assert_eq!(state(&health, now), expected, "{health:?}");
        }
    }
}
