//! Which repositories were searched for digests that nobody knows, and the tags that such a search looks at.
//!
//! A search is dear, so it is made once for a repository and target, and then not again for a while, whoever asks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::Mutex as AsyncMutex;

use crate::imgpkg::Target;
use crate::oci::{Repository, Tag};
use crate::proxy::reader::ReaderKey;
use crate::proxy::sources::Sources;
use crate::proxy::undecided::Undecided;
use crate::upstream::{ListPage, UpstreamError};

/// How many tags of a repository are looked at.
pub(in crate::proxy) const MAX_TAGS: usize = 100;
/// How many pages of tags are asked for; tags that imgpkg makes for its garbage collection fill pages, too.
const MAX_PAGES: usize = 10;
/// For how long a search is not repeated. A digest that another replica makes meanwhile is not known here until then.
const QUIET: Duration = Duration::from_secs(10);
/// And for how long if the upstream kept it from finding all there is.
const QUIET_AFTER_TROUBLE: Duration = Duration::from_secs(5);
/// How many searches are remembered; over that, all that may be repeated are forgotten.
const MAX_SEARCHES: usize = 4096;

/// How far a search goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::proxy) enum Depth {
    /// To the repository's bundles.
    Bundles,
    /// To what these name.
    Images,
}

/// Each client that the upstream judges searches for itself.
type SearchKey = (Repository, Target, Depth, Option<ReaderKey>);
type Turn = Arc<AsyncMutex<Option<Searched>>>;

/// A search that was made.
pub(super) struct Searched {
    until: SystemTime,
    /// What kept it from finding all there is.
    pub(super) undecided: Option<Undecided>,
}

impl Searched {
    /// A search that ended just now.
    pub(super) fn new(now: SystemTime, undecided: Option<Undecided>) -> Self {
        let quiet = if undecided.is_some() { QUIET_AFTER_TROUBLE } else { QUIET };
        Self { until: now + quiet, undecided }
    }

    /// Whether it is too early for another.
    pub(super) fn stands(&self, now: SystemTime) -> bool {
        now < self.until
    }
}

/// Which repositories were searched, and when.
#[derive(Default)]
pub(super) struct Searches(Mutex<HashMap<SearchKey, Turn>>);

impl Searches {
    /// The turn to search for `key`: one at a time. `None` while too many others are under way or just made.
    pub(super) fn turn(&self, key: SearchKey, now: SystemTime) -> Option<Turn> {
        let mut searches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if searches.len() >= MAX_SEARCHES {
            // One that is locked is being made.
            searches.retain(|_, turn| {
                turn.try_lock().map_or(true, |last| last.as_ref().is_some_and(|last| last.stands(now)))
            });
        }
        if searches.len() >= MAX_SEARCHES && !searches.contains_key(&key) {
            return None;
        }
        Some(Arc::clone(searches.entry(key).or_default()))
    }

    /// Has the next client search `repository` again, however short a time ago that was done: it has a bundle that the
    /// last search did not see.
    pub(super) fn forget(&self, repository: &Repository) {
        let mut searches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // One that is locked is being made, and is likely to be what found the bundle.
        searches.retain(|(searched, ..), turn| searched != repository || turn.try_lock().is_err());
    }
}

/// The tags that may name bundles: not those that imgpkg, cosign and the like derive from digests.
///
/// # Errors
/// When the upstream cannot list them, other than because there is no such repository.
pub(super) async fn tags(contents: &Sources) -> Result<Vec<Tag>, UpstreamError> {
    let mut tags = Vec::new();
    let mut page = ListPage::default();
    for _ in 0..MAX_PAGES {
        let list = match contents.upstream.tags(&contents.repository.name, &page).await {
            Ok(list) => list,
            Err(error) if error.is_absent() => break,
            Err(error) => return Err(error),
        };
        page.last = list.next().map(str::to_owned);
        let named = list.names.into_iter().filter(|tag| !tag.starts_with("sha256-"));
        tags.extend(named.filter_map(|tag| tag.parse::<Tag>().ok()));
        if page.last.is_none() || tags.len() >= MAX_TAGS {
            break;
        }
    }
    tags.truncate(MAX_TAGS);
    Ok(tags)
}
