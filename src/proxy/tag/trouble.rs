//! Trouble with the upstream, remembered for a moment, so that not every pull meets it again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use moka::future::Cache;

use super::record::TagKey;
use crate::oci::RegistryName;
use crate::proxy::error::ProxyError;
use crate::upstream::{TimeoutStage, UpstreamError};

/// How long an older answer is served before the upstream is asked again, unless it said when. Long enough that a
/// dead upstream adds its timeout to few pulls; short enough that nobody notices when it is back.
const HELD: Duration = Duration::from_secs(5);
/// The least, also when the upstream says that it may be asked again at once.
const LEAST: Duration = Duration::from_secs(1);
/// Tags of which trouble is remembered.
const MAX_TAGS: u64 = 10_000;

/// What went wrong, and for how long that is taken for what would go wrong again.
#[derive(Clone, Copy, Debug)]
struct Trouble {
    cause: &'static str,
    since: SystemTime,
    held: Duration,
}

impl Trouble {
    fn is_recent(&self, now: SystemTime) -> bool {
        // A clock that was set back ends it.
        now.duration_since(self.since).is_ok_and(|age| age < self.held)
    }
}

/// Trouble by tag, and what is the same for all tags of a registry: that there is no connection.
pub(super) struct Troubles {
    tags: Cache<TagKey, Trouble>,
    connections: Mutex<HashMap<RegistryName, Trouble>>,
}

impl Troubles {
    pub(super) fn new() -> Self {
        Self { tags: Cache::builder().max_capacity(MAX_TAGS).build(), connections: Mutex::default() }
    }

    /// What went wrong a moment ago, and likely would again.
    pub(super) async fn recent(&self, key: &TagKey, now: SystemTime) -> Option<&'static str> {
        let connection = self.connections().get(&key.repository.registry).copied();
        let tag = self.tags.get(key).await;
        connection.into_iter().chain(tag).find(|trouble| trouble.is_recent(now)).map(|trouble| trouble.cause)
    }

    /// Remembers an error after which an older answer is served.
    pub(super) async fn remember(&self, key: &TagKey, error: &ProxyError, now: SystemTime) {
        let held = error.retry_after().unwrap_or(HELD).max(LEAST);
        let trouble = Trouble { cause: error.label(), since: now, held };
        if is_connection(error) {
            self.connections().insert(key.repository.registry.clone(), trouble);
        } else {
            self.connections().remove(&key.repository.registry);
            self.tags.insert(key.clone(), trouble).await;
        }
    }

    /// The upstream has said what the tag stands for.
    pub(super) async fn forget(&self, key: &TagKey) {
        self.connections().remove(&key.repository.registry);
        self.tags.invalidate(key).await;
    }

    fn connections(&self) -> MutexGuard<'_, HashMap<RegistryName, Trouble>> {
        // Nothing panics while it is held, and a map is whole after any panic.
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether there was nobody to ask, which is not about a tag.
fn is_connection(error: &ProxyError) -> bool {
    matches!(
        error,
        ProxyError::Upstream(UpstreamError::Connect { .. } | UpstreamError::Timeout { what: TimeoutStage::Connect })
    )
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use http::StatusCode;

    use super::*;

    fn key(tag: &str) -> TagKey {
        TagKey { repository: "registry.example/acme/app".parse().expect("a name"), tag: tag.parse().expect("a tag") }
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1000 + seconds)
    }

    #[tokio::test]
    async fn trouble_of_one_tag_is_held_for_a_moment_or_as_long_as_the_upstream_says() {
        let troubles = Troubles::new();
        let down = |retry_after| {
            let status = StatusCode::BAD_GATEWAY;
            ProxyError::Upstream(UpstreamError::Unavailable { status, retry_after, asked: true })
        };
        troubles
            .remember(&key("a"), &ProxyError::Upstream(UpstreamError::Timeout { what: TimeoutStage::Response }), at(0))
            .await;
        troubles.remember(&key("b"), &down(Some(Duration::from_secs(60))), at(0)).await;
        troubles.remember(&key("c"), &down(Some(Duration::ZERO)), at(0)).await;
        for (tag, seconds, expected) in [
            ("a", 4, Some("timeout")),
            ("a", 5, None),
            ("b", 59, Some("unavailable")),
            ("b", 60, None),
            ("c", 0, Some("unavailable")),
            ("c", 1, None),
            ("d", 0, None),
        ] {
            assert_eq!(troubles.recent(&key(tag), at(seconds)).await, expected, "{tag} after {seconds}");
        }
        assert_eq!(troubles.recent(&key("a"), at(0) - Duration::from_secs(1)).await, None, "the clock was set back");
        troubles.forget(&key("b")).await;
        assert_eq!(troubles.recent(&key("b"), at(1)).await, None);
    }

    #[tokio::test]
    async fn no_connection_is_trouble_of_all_of_a_registrys_tags_until_anything_is_answered() {
        let troubles = Troubles::new();
        let refused = || {
            ProxyError::Upstream(UpstreamError::Connect {
                cause: std::sync::Arc::new(std::io::Error::other("refused")),
            })
        };
        troubles.remember(&key("a"), &refused(), at(0)).await;
        assert_eq!(troubles.recent(&key("b"), at(1)).await, Some("unreachable"));
        let elsewhere = TagKey { repository: "other.example/acme/app".parse().expect("a name"), ..key("b") };
        assert_eq!(troubles.recent(&elsewhere, at(1)).await, None);
        troubles.forget(&key("c")).await;
        assert_eq!(troubles.recent(&key("b"), at(1)).await, None);
        troubles.remember(&key("a"), &refused(), at(2)).await;
        troubles
            .remember(&key("c"), &ProxyError::Upstream(UpstreamError::Timeout { what: TimeoutStage::Response }), at(2))
            .await;
        assert_eq!(troubles.recent(&key("b"), at(2)).await, None);
    }
}
