//! What a tag stands for, remembered for a while and then asked again.

use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::contents::Contents;
use super::error::{ProxyError, Subject};
use super::outcome::Outcome;
use crate::body::Clock;
use crate::cache::RecordKey;
use crate::oci::{Digest, Manifest, Reference, RepositoryName, Tag, is_schema1};

/// What a tag stood for when the upstream was last asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct TagRecord {
    digest: Digest,
    /// Seconds since 1970.
    checked: u64,
}

/// What a tag stands for.
pub(super) enum Resolved {
    /// The manifest of this digest.
    Digest(Digest, Outcome),
    /// This manifest, which was sent along.
    Manifest(Manifest, Outcome),
}

/// Where a tag is recorded.
pub(super) fn record(repository: &RepositoryName, tag: &Tag) -> RecordKey {
    RecordKey::new(["tags", repository.as_str(), tag.as_str()])
}

/// Finds out what `tag` stands for, asking the upstream if the last answer is older than `ttl`.
pub(super) async fn resolve(
    contents: &Contents,
    clock: &dyn Clock,
    ttl: Duration,
    repository: &RepositoryName,
    tag: &Tag,
) -> Result<Resolved, ProxyError> {
    let key = record(repository, tag);
    let now = clock.now();
    let reference = Reference::Tag(tag.clone());
    let Some(known) = contents.cache.get::<TagRecord>(&key).await? else {
        return fetch(contents, clock, repository, tag).await;
    };
    // A time in the future is a clock that was set back, and no reason to believe the record for ever.
    let checked = UNIX_EPOCH.checked_add(Duration::from_secs(known.checked));
    if checked.and_then(|checked| now.duration_since(checked).ok()).is_some_and(|age| age < ttl) {
        return Ok(Resolved::Digest(known.digest, Outcome::Hit));
    }
    match contents.upstream.manifest_head(repository, &reference).await {
        Ok(head) if is_schema1(&head.media_type) => fetch(contents, clock, repository, tag).await,
        Ok(head) => {
            if head.digest != known.digest {
                tracing::info!(%repository, %tag, from = %known.digest, to = %head.digest, "a tag moved");
            }
            remember(contents, clock, &key, head.digest).await;
            Ok(Resolved::Digest(head.digest, Outcome::Revalidated))
        }
        Err(error) if error.is_absent() => {
            if let Err(error) = contents.cache.delete(&key).await {
                tracing::warn!(%repository, %tag, %error, "a tag that is gone could not be forgotten");
            }
            Err(ProxyError::upstream(error, Subject::Manifest, repository))
        }
        Err(error) if error.is_transient() => {
            tracing::warn!(%repository, %tag, %error, "served stale: the upstream cannot be asked");
            Ok(Resolved::Digest(known.digest, Outcome::Stale))
        }
        Err(error) => Err(error.into()),
    }
}

async fn fetch(
    contents: &Contents,
    clock: &dyn Clock,
    repository: &RepositoryName,
    tag: &Tag,
) -> Result<Resolved, ProxyError> {
    let manifest = contents
        .upstream
        .manifest(repository, &Reference::Tag(tag.clone()))
        .await
        .map_err(|error| ProxyError::upstream(error, Subject::Manifest, repository))?;
    let outcome = contents.keep_manifest(repository, &manifest).await;
    if outcome != Outcome::Bypass {
        remember(contents, clock, &record(repository, tag), manifest.digest).await;
    }
    Ok(Resolved::Manifest(manifest, outcome))
}

async fn remember(contents: &Contents, clock: &dyn Clock, key: &RecordKey, digest: Digest) {
    let checked = clock.now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    if let Err(error) = contents.cache.put_record(key, &TagRecord { digest, checked }).await {
        tracing::warn!(%key, %error, "a tag could not be recorded");
    }
}
