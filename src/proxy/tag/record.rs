//! What a tag stood for, as it is written down.

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::body::unix_seconds;
use crate::cache::{Cache, RecordKey};
use crate::oci::{Digest, Repository, Tag};

/// A tag of a repository.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct TagKey {
    pub(super) repository: Repository,
    pub(super) tag: Tag,
}

impl TagKey {
    /// Where it is recorded.
    pub(super) fn record(&self) -> RecordKey {
        key(&self.repository, &self.tag)
    }
}

/// What a tag stood for when the upstream last said so.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct TagRecord {
    pub(super) digest: Digest,
    /// Seconds since 1970.
    checked: u64,
    /// Whether the upstream has since refused to say. Then this stands in for nothing, whatever happens to the
    /// upstream, until it says so again.
    #[serde(default)]
    pub(super) refused: bool,
}

impl TagRecord {
    /// What the upstream says at `now`.
    pub(super) fn new(digest: Digest, now: SystemTime) -> Self {
        let checked = unix_seconds(now);
        Self { digest, checked, refused: false }
    }

    /// The same after the upstream has refused to say.
    pub(super) fn refused(self) -> Self {
        Self { refused: true, ..self }
    }

    /// How long ago that was; `None` when it is yet to come, because the clock was set back.
    pub(super) fn age(&self, now: SystemTime) -> Option<Duration> {
        let checked = UNIX_EPOCH.checked_add(Duration::from_secs(self.checked))?;
        now.duration_since(checked).ok()
    }
}

/// What a tag stood for when the upstream last said so, however long ago.
pub(in crate::proxy) async fn known(cache: &Cache, repository: &Repository, tag: &Tag) -> io::Result<Option<Digest>> {
    Ok(cache.get::<TagRecord>(&key(repository, tag)).await?.map(|known| known.digest))
}

/// Where a tag is recorded.
pub(in crate::proxy) fn key(repository: &Repository, tag: &Tag) -> RecordKey {
    RecordKey::new(["tags", &repository.to_string(), tag.as_str()])
}

/// Where all tags of a repository are recorded.
pub(super) fn all(repository: &Repository) -> RecordKey {
    RecordKey::new(["tags", &repository.to_string()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_an_earlier_version_is_not_refused_and_a_later_clock_ages_nothing() {
        let text = format!(r#"{{"digest":"{}","checked":1000}}"#, Digest::of(b""));
        let record: TagRecord = serde_json::from_str(&text).expect("a record");
        assert!(!record.refused);
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(record.age(at(1060)), Some(Duration::from_secs(60)));
        assert_eq!(record.age(at(999)), None);
        let endless: TagRecord = serde_json::from_str(&text.replace("1000", &u64::MAX.to_string())).expect("a record");
        assert_eq!(endless.age(at(0)), None);
    }
}
