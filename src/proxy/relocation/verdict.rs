//! Whether a bundle's images are in its repository.
//!
//! imgpkg leaves a locations image beside a bundle that it copied with all its images; with one, nothing else is
//! asked. Without, one HEAD per digest, a few at a time. "Not there" is a 404, or a 403 while the bundle itself
//! can be read: the upstream knows who asks and does not show it. A 401 says that the credential is no good,
//! which is nothing about the image, so like every other failure it leaves the matter undecided.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio::task::JoinSet;

use super::locations;
use crate::oci::{Digest, Reference};
use crate::proxy::contents::Contents;
use crate::proxy::undecided::Undecided;
use crate::upstream::UpstreamError;

/// Where an image was found, or why not.
#[derive(Clone, Debug)]
pub(in crate::proxy) enum Found {
    /// imgpkg's locations image says so.
    Locations,
    /// The repository answers for its digest.
    Repository,
    /// The repository does not have it.
    Missing,
    /// The repository could not say.
    Undecided(UpstreamError),
}

/// What is known of a bundle's images; by digest, since that is all a repository is asked for.
#[derive(Clone, Debug, Default)]
pub(in crate::proxy) struct Verdict {
    found: HashMap<Digest, Found>,
    /// Whether a look at an image ended without a result, which no image may profit from.
    crashed: bool,
}

impl Verdict {
    pub(in crate::proxy) fn found(&self, digest: &Digest) -> Option<&Found> {
        self.found.get(digest)
    }

    /// Whether references to `digest` may be rewritten.
    pub(in crate::proxy) fn is_colocated(&self, digest: &Digest) -> bool {
        matches!(self.found.get(digest), Some(Found::Locations | Found::Repository))
    }

    /// The first image that is not there.
    pub(in crate::proxy) fn missing(&self) -> Option<Digest> {
        self.found.iter().filter(|(_, found)| matches!(found, Found::Missing)).map(|(digest, _)| *digest).min()
    }

    /// Why it is not known of every image whether it is there.
    pub(in crate::proxy) fn undecided(&self) -> Option<Undecided> {
        if self.crashed {
            return Some(Undecided::Internal("looking for an image crashed".to_owned()));
        }
        self.found.iter().find_map(|(digest, found)| match found {
            Found::Undecided(error) => {
                Some(Undecided::Upstream { what: format!("looking for the image {digest}"), error: error.clone() })
            }
            _ => None,
        })
    }
}

/// Which images have to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) enum Extent {
    /// Up to the first that is not there.
    UntilMissing,
    /// Every one.
    Whole,
}

/// Looks for images in the repository of the bundle `original`.
pub(in crate::proxy) async fn verdict(
    contents: &Arc<Contents>,
    original: Digest,
    images: impl IntoIterator<Item = Digest>,
    concurrency: usize,
    extent: Extent,
) -> Verdict {
    let digests: HashSet<Digest> = images.into_iter().collect();
    let listed = locations::listed(contents, &original).await;
    let mut verdict = Verdict::default();
    let mut ask = Vec::new();
    for digest in digests {
        if listed.contains(&digest) {
            verdict.found.insert(digest, Found::Locations);
        } else {
            ask.push(digest);
        }
    }
    let mut asking = JoinSet::new();
    loop {
        while asking.len() < concurrency.max(1)
            && let Some(digest) = ask.pop()
        {
            let contents = Arc::clone(contents);
            asking.spawn(async move { (digest, look(&contents, &original, &digest).await) });
        }
        let Some(looked) = asking.join_next().await else { return verdict };
        let Ok((digest, found)) = looked else {
            verdict.crashed = true;
            continue;
        };
        if matches!(found, Found::Undecided(_)) && extent == Extent::UntilMissing {
            // Those under way may still find one missing; more would only wait for the same trouble.
            ask.clear();
        }
        let missing = matches!(found, Found::Missing);
        verdict.found.insert(digest, found);
        if missing && extent == Extent::UntilMissing {
            return verdict;
        }
    }
}

async fn look(contents: &Contents, original: &Digest, digest: &Digest) -> Found {
    let head =
        async |digest| contents.upstream.manifest_head(&contents.repository.name, &Reference::Digest(digest)).await;
    match head(*digest).await {
        Ok(_) => Found::Repository,
        Err(UpstreamError::NotFound) if contents.reader.is_none() => Found::Missing,
        // The client that is asked for may no longer be let in, and some registries say 404 for that, too.
        Err(error @ (UpstreamError::Denied | UpstreamError::NotFound)) => match head(*original).await {
            Ok(_) => Found::Missing,
            Err(_) => Found::Undecided(error),
        },
        Err(error) => Found::Undecided(error),
    }
}
