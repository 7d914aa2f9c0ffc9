//! What is known of one registry's lists, for a while.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use moka::future::Cache;

use crate::oci::RepositoryName;

/// How long it is believed how a registry lists, and how long a whole list serves those who ask for its later pages.
const KEPT_FOR: Duration = Duration::from_secs(60);
/// What all that is kept of one face of a registry may take, in KiB.
const MAX_KEPT_KIB: u64 = 32 << 10;

/// Which list.
#[derive(Clone, Copy, Debug)]
pub(super) enum Listed<'a> {
    /// The tags of a repository.
    Tags(&'a RepositoryName),
    /// The repositories.
    Catalog,
}

/// What is known of one registry's lists.
#[derive(Debug, Default)]
pub(super) struct Lists(OnceLock<Cache<Option<RepositoryName>, Known>>);

/// How a list can be asked for.
#[derive(Clone, Debug)]
pub(super) enum Known {
    /// It can be asked page by page.
    InOrder,
    /// It cannot; this is all of it.
    Whole(Arc<[String]>),
}

impl Lists {
    // Most faces of a registry are never asked for a list.
    fn cache(&self) -> &Cache<Option<RepositoryName>, Known> {
        self.0.get_or_init(|| {
            let weight = |known: &Known| match known {
                Known::InOrder => 0,
                Known::Whole(names) => names.iter().map(|name| name.len() + size_of::<String>()).sum(),
            };
            Cache::builder()
                .weigher(move |_, known| u32::try_from((256 + weight(known)).div_ceil(1024)).unwrap_or(u32::MAX))
                .max_capacity(MAX_KEPT_KIB)
                .time_to_live(KEPT_FOR)
                .build()
        })
    }

    /// What is known of a list.
    pub(super) async fn known(&self, listed: Listed<'_>) -> Option<Known> {
        self.0.get()?.get(&listed.key()).await
    }

    /// Something was pushed to a repository, or deleted there: no later page is cut from what was.
    pub(super) async fn forget(&self, repository: &RepositoryName) {
        for key in [Some(repository.clone()), None] {
            self.cache().invalidate(&key).await;
        }
    }

    /// Remembers it.
    pub(super) async fn keep(&self, listed: Listed<'_>, known: Known) {
        self.cache().insert(listed.key(), known).await;
    }
}

impl Listed<'_> {
    fn key(self) -> Option<RepositoryName> {
        match self {
            Self::Tags(repository) => Some(repository.clone()),
            Self::Catalog => None,
        }
    }
}
