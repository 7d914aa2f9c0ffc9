//! How long a tag's answer holds, and what stands in for a new one.

use std::time::{Duration, SystemTime};

use super::record::{TagKey, TagRecord};
use crate::config::{AbsentTag, Glob};
use crate::oci::{Repository, Tag};
use crate::proxy::error::ProxyError;
use crate::upstream::UpstreamError;

/// How tags are believed; the configuration's `tags`.
#[derive(Clone, Debug)]
pub struct TagPolicy {
    /// How long a tag's answer is believed before the upstream is asked again.
    pub ttl: Duration,
    /// How long after the upstream last said so a tag's answer may stand in for a new one.
    pub stale_for: Duration,
    /// How long a client waits for the upstream while an older answer could stand in.
    pub patience: Duration,
    /// What it means that the upstream no longer has a tag.
    pub absent: AbsentTag,
    /// Tags, as `[registry/]repository:tag`, whose answer is believed for good.
    pub immutable: Vec<Glob>,
}

impl Default for TagPolicy {
    /// As the configuration has it by default.
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(60),
            stale_for: Duration::from_secs(24 * 3600),
            patience: Duration::from_secs(5),
            absent: AbsentTag::Gone,
            immutable: Vec::new(),
        }
    }
}

impl TagPolicy {
    pub(super) fn is_immutable(&self, key: &TagKey) -> bool {
        self.immutable_by(&key.repository, &key.tag).is_some()
    }

    /// The pattern by which a tag's answer is believed for good, by its place in the list.
    pub fn immutable_by(&self, repository: &Repository, tag: &Tag) -> Option<usize> {
        // Most configurations have no pattern, and then there is nothing to put together.
        if self.immutable.is_empty() {
            return None;
        }
        let names = names(repository, tag);
        self.immutable.iter().position(|pattern| names.iter().any(|name| pattern.matches(name)))
    }

    /// Whether a record is believed without asking. One that was written in the future is not: the clock was set
    /// back, and it might be believed for ever.
    pub(super) fn is_fresh(&self, record: &TagRecord, now: SystemTime) -> bool {
        !record.refused && record.age(now).is_some_and(|age| age < self.ttl)
    }

    /// Whether a record may stand in when the upstream cannot be asked. One that was written in the future may: on a
    /// machine that starts without a network its clock is wrong, too, and that is when it is needed.
    pub(super) fn may_stand_in(&self, record: &TagRecord, now: SystemTime) -> bool {
        !record.refused && record.age(now).is_none_or(|age| age <= self.stale_for)
    }

    /// Whether what the upstream did is a reason to serve an older answer.
    pub(super) fn excuses(&self, error: &ProxyError) -> bool {
        match error {
            // A storage that refuses may only have been sent a bad signature; it may also be who decides.
            // Nor has anybody refused anything where the proxy does not know who it is.
            ProxyError::Upstream(UpstreamError::Credentials { .. }) => true,
            ProxyError::Upstream(error) => error.is_transient() && !error.is_refusal(),
            ProxyError::NotFound { .. } => self.absent == AbsentTag::Stale,
            ProxyError::NoRegistry
            | ProxyError::NoCatalog
            | ProxyError::Undecided(_)
            | ProxyError::Push(_)
            | ProxyError::Cache(_) => false,
        }
    }
}

/// As patterns name a tag: `repository:tag`, and the same behind the registry's name.
fn names(repository: &Repository, tag: &Tag) -> [String; 2] {
    [format!("{}:{tag}", repository.name), format!("{repository}:{tag}")]
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::oci::Digest;
    use crate::upstream::{Challenges, TimeoutStage};

    #[test]
    fn a_record_is_fresh_then_stale_then_nothing() {
        let policy = TagPolicy::default();
        let start = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let record = TagRecord::new(Digest::of(b""), start);
        for (seconds, fresh, stale) in
            [(0, true, true), (59, true, true), (60, false, true), (86_400, false, true), (86_401, false, false)]
        {
            let now = start + Duration::from_secs(seconds);
            let is = (policy.is_fresh(&record, now), policy.may_stand_in(&record, now));
            assert_eq!(is, (fresh, stale), "{seconds}");
        }
        let before = start - Duration::from_secs(1);
        assert_eq!((policy.is_fresh(&record, before), policy.may_stand_in(&record, before)), (false, true));
        let refused = record.refused();
        assert_eq!((policy.is_fresh(&refused, start), policy.may_stand_in(&refused, start)), (false, false));
    }

    #[test]
    fn patterns_see_repository_and_tag() {
        let immutable = ["acme/**:v*", "*:latest", "ghcr.io/other/app:edge"]
            .map(|pattern| Glob::new(pattern).expect("a pattern"))
            .to_vec();
        let policy = TagPolicy { immutable, ..TagPolicy::default() };
        let is = |repository: &str, tag: &str| {
            let repository = format!("ghcr.io/{repository}").parse().expect("a name");
            let tag = tag.parse().expect("a tag");
            policy.is_immutable(&TagKey { repository, tag })
        };
        assert!(is("acme/team/app", "v1") && is("app", "latest"));
        assert!(is("other/app", "edge") && !is("another/app", "edge"), "also behind the registry's name");
        assert!(!is("acme/team/app", "main") && !is("acme/app", "latest") && !is("other/app", "v1"));
    }

    #[test]
    fn trouble_by_class() {
        let gone = TagPolicy::default();
        let stale = TagPolicy { absent: AbsentTag::Stale, ..TagPolicy::default() };
        let timeout = ProxyError::Upstream(UpstreamError::Timeout { what: TimeoutStage::Response });
        let absent = ProxyError::NotFound {
            subject: crate::proxy::Subject::Manifest,
            repository: "registry.example/acme/app".parse().expect("a name"),
        };
        assert!(gone.excuses(&timeout) && stale.excuses(&timeout));
        assert!(!gone.excuses(&absent) && stale.excuses(&absent));
        for never in [UpstreamError::Unauthorized { challenges: Challenges::default() }, UpstreamError::Denied] {
            assert!(!stale.excuses(&ProxyError::Upstream(never)));
        }
    }
}
