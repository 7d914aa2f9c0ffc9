//! Whether a bundle's images can be pulled under its repository's name.
//!
//! imgpkg leaves a locations image beside a bundle that it copied with all its images; with one, nothing else is
//! asked. Without, one HEAD per digest, a few at a time. "Not there" is a 404, or a 403 while the bundle itself
//! can be read: the upstream knows who asks and does not show it. A 401 says that the credential is no good,
//! which is nothing about the image, so like every other failure it leaves the matter undecided.
//!
//! What the repository does not have is looked for where the lock says it came from, as far as that is allowed
//! (`origins`). There a refusal settles it, too: whether an origin is for everyone is just what is being asked.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use tokio::task::JoinSet;

use super::answer::Colocated;
use super::locations::{self, Listed};
use super::record::AtOrigin;
use crate::imgpkg::{ImageReference, ImagesLock};
use crate::oci::{Digest, Reference, Repository};
use crate::proxy::origins::{Elsewhere, Obstacle};
use crate::proxy::sources::Sources;
use crate::proxy::undecided::Undecided;
use crate::telemetry::carry;
use crate::upstream::UpstreamError;

/// A lock may name one digest at so many places; those behind are not looked at.
const MAX_PLACES: usize = 8;

/// An image to be looked for.
#[derive(Clone, Debug)]
pub(in crate::proxy) struct Sought {
    digest: Digest,
    /// Where else it may be, or why not.
    origins: Vec<Result<Repository, Elsewhere>>,
    /// Whether it is known to have been there, so that the repository need not be asked first.
    granted: bool,
}

impl Sought {
    /// Every image of a lock, once. Without `from_origin`, only what is beside the bundle counts for this client.
    pub(in crate::proxy) async fn of(lock: &ImagesLock, contents: &Sources, from_origin: bool) -> Vec<Self> {
        let references: Vec<&ImageReference> = lock.images().map(|image| &image.reference).collect();
        Self::named(&references, contents, from_origin).await
    }

    /// The same of images that something else names.
    pub(in crate::proxy) async fn named(
        references: &[&ImageReference],
        contents: &Sources,
        from_origin: bool,
    ) -> Vec<Self> {
        let barred = |origin: Repository| Elsewhere { place: origin.to_string(), problem: Obstacle::NotForClient };
        let seen = |candidate: Result<Repository, Elsewhere>| {
            candidate.and_then(|origin| if from_origin { Ok(origin) } else { Err(barred(origin)) })
        };
        let mut images: BTreeMap<Digest, Vec<Result<Repository, Elsewhere>>> = BTreeMap::new();
        if let Some(origins) = &contents.origins {
            let digests: Vec<Digest> = references.iter().map(|reference| reference.digest).collect();
            for (digest, candidate) in origins.in_files(&digests).await {
                images.entry(digest).or_default().push(seen(candidate));
            }
        }
        for reference in references {
            let origins = images.entry(reference.digest).or_default();
            if origins.len() >= MAX_PLACES {
                continue;
            }
            let candidate = contents.origins.as_ref().and_then(|origins| origins.candidate(reference)).map(&seen);
            origins.extend(candidate.filter(|candidate| !origins.contains(candidate)));
        }
        images.into_iter().map(|(digest, origins)| Self { digest, origins, granted: false }).collect()
    }

    /// The images of a relocated bundle, here or where they were then.
    pub(super) fn again(colocated: &Colocated) -> Vec<Self> {
        let mut origins: HashMap<Digest, Vec<Result<Repository, Elsewhere>>> = HashMap::new();
        for AtOrigin { repository, images } in colocated.origins.iter() {
            for image in images {
                origins.entry(*image).or_default().push(Ok(repository.clone()));
            }
        }
        let images = colocated.relocation.images.iter().map(|image| {
            let origins = origins.remove(image).unwrap_or_default();
            Self { digest: *image, granted: !origins.is_empty(), origins }
        });
        images.collect()
    }
}

/// Where an image was found, or why not.
#[derive(Clone, Debug)]
pub(in crate::proxy) enum Found {
    /// imgpkg's locations image says so.
    Locations,
    /// The repository answers for its digest.
    Repository,
    /// The repository that the lock names does.
    Origin(Repository),
    /// Neither does.
    Missing(Vec<Elsewhere>),
    /// It could not be said.
    Undecided {
        /// Who could not; `None` for the bundle's repository.
        origin: Option<Repository>,
        /// Why.
        error: UpstreamError,
    },
}

/// What is known of a bundle's images; by digest, since that is all a repository is asked for.
#[derive(Clone, Debug, Default)]
pub(in crate::proxy) struct Verdict {
    found: HashMap<Digest, Found>,
    /// imgpkg's own list, if there is one.
    pub(super) listed: Option<Arc<Listed>>,
    /// How many would have had to be asked for, if that is too many.
    too_many: Option<usize>,
    /// Whether a look at an image ended without a result, which no image may profit from.
    crashed: bool,
}

impl Verdict {
    pub(in crate::proxy) fn found(&self, digest: &Digest) -> Option<&Found> {
        self.found.get(digest)
    }

    /// Whether references to `digest` may be rewritten.
    pub(in crate::proxy) fn is_colocated(&self, digest: &Digest) -> bool {
        matches!(self.found.get(digest), Some(Found::Locations | Found::Repository | Found::Origin(_)))
    }

    /// The first image that is not there, and why it is not taken from elsewhere.
    pub(in crate::proxy) fn missing(&self) -> Option<(Digest, &[Elsewhere])> {
        let missing = self.found.iter().filter_map(|(digest, found)| match found {
            Found::Missing(elsewhere) => Some((*digest, elsewhere.as_slice())),
            _ => None,
        });
        missing.min_by_key(|(digest, _)| *digest)
    }

    /// How many images would have to be asked for, if that is more than is done for one bundle.
    pub(in crate::proxy) fn too_many(&self) -> Option<usize> {
        self.too_many
    }

    /// The images that are at an origin, by origin.
    pub(in crate::proxy) fn at_origins(&self) -> Arc<[AtOrigin]> {
        let mut at_origins: BTreeMap<&Repository, Vec<Digest>> = BTreeMap::new();
        for (image, found) in &self.found {
            if let Found::Origin(origin) = found {
                at_origins.entry(origin).or_default().push(*image);
            }
        }
        let sorted = |(repository, mut images): (&Repository, Vec<Digest>)| {
            images.sort_unstable();
            AtOrigin { repository: repository.clone(), images }
        };
        at_origins.into_iter().map(sorted).collect()
    }

    /// Why it is not known of every image whether it is there.
    pub(in crate::proxy) fn undecided(&self) -> Option<Undecided> {
        if self.crashed {
            return Some(Undecided::Internal("looking for an image crashed".to_owned()));
        }
        self.found.iter().find_map(|(digest, found)| match found {
            Found::Undecided { origin, error } => {
                let at = origin.as_ref().map(|origin| format!(" at {origin}")).unwrap_or_default();
                let what = format!("looking for the image {digest}{at}");
                Some(Undecided::Upstream { what, error: error.clone() })
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

/// How much may be asked for one bundle.
#[derive(Clone, Copy, Debug)]
pub(in crate::proxy) struct Effort {
    /// Images at one time.
    pub(in crate::proxy) concurrency: usize,
    /// Images one by one.
    pub(in crate::proxy) max_images: usize,
}

/// Looks for the images of the bundle `original`.
pub(in crate::proxy) async fn verdict(
    contents: &Arc<Sources>,
    original: Digest,
    images: Vec<Sought>,
    effort: Effort,
    extent: Extent,
) -> Verdict {
    let listed = locations::listed(contents, &original).await.map(Arc::new);
    ask_for(Verdict { listed, ..Verdict::default() }, contents, original, images, effort, extent).await
}

/// Looks for images that `original` names, of which nobody has a list.
pub(in crate::proxy) async fn look_for(
    contents: &Arc<Sources>,
    original: Digest,
    images: Vec<Sought>,
    effort: Effort,
    extent: Extent,
) -> Verdict {
    ask_for(Verdict::default(), contents, original, images, effort, extent).await
}

/// Looks for those images that are not in the list.
async fn ask_for(
    mut verdict: Verdict,
    contents: &Arc<Sources>,
    original: Digest,
    images: Vec<Sought>,
    effort: Effort,
    extent: Extent,
) -> Verdict {
    let listed: HashSet<Digest> = verdict.listed.iter().flat_map(|listed| listed.digests()).collect();
    let (there, mut ask): (Vec<Sought>, Vec<Sought>) =
        images.into_iter().partition(|image| listed.contains(&image.digest));
    verdict.found.extend(there.into_iter().map(|image| (image.digest, Found::Locations)));
    // Each place is a question of its own.
    let places: usize =
        ask.iter().map(|image| image.origins.iter().filter(|origin| origin.is_ok()).count().max(1)).sum();
    if places > effort.max_images {
        verdict.too_many = Some(places);
        return verdict;
    }
    let mut asking = JoinSet::new();
    loop {
        while asking.len() < effort.concurrency.max(1)
            && let Some(image) = ask.pop()
        {
            let contents = Arc::clone(contents);
            asking.spawn(carry(async move { (image.digest, look(&contents, &original, &image).await) }));
        }
        let Some(looked) = asking.join_next().await else { return verdict };
        let Ok((digest, found)) = looked else {
            verdict.crashed = true;
            continue;
        };
        if matches!(found, Found::Undecided { .. }) && extent == Extent::UntilMissing {
            // Those under way may still find one missing; more would only wait for the same trouble.
            ask.clear();
        }
        let missing = matches!(found, Found::Missing(_));
        verdict.found.insert(digest, found);
        if missing && extent == Extent::UntilMissing {
            return verdict;
        }
    }
}

async fn look(contents: &Sources, original: &Digest, image: &Sought) -> Found {
    if image.granted
        && let found @ Found::Origin(_) = look_elsewhere(contents, image).await
    {
        return found;
    }
    match look_here(contents, original, &image.digest).await {
        Ok(true) => Found::Repository,
        Ok(false) => look_elsewhere(contents, image).await,
        Err(error) => Found::Undecided { origin: None, error },
    }
}

/// Whether the bundle's repository has it.
async fn look_here(contents: &Sources, original: &Digest, digest: &Digest) -> Result<bool, UpstreamError> {
    let head =
        async |digest| contents.upstream.manifest_head(&contents.repository.name, &Reference::Digest(digest)).await;
    match head(*digest).await {
        Ok(_) => Ok(true),
        Err(UpstreamError::NotFound) if contents.reader.is_none() => Ok(false),
        // The client that is asked for may no longer be let in, and some registries say 404 for that, too. A bundle that
        // is itself here by a grant is not there to be asked for.
        Err(error @ (UpstreamError::Denied | UpstreamError::NotFound)) => {
            let root = match &contents.origins {
                Some(origins) => origins.root(original).await,
                None => *original,
            };
            head(root).await.map(|_| false).map_err(|_| error)
        }
        Err(error) => Err(error),
    }
}

/// Whether one of the places that the lock names has it.
async fn look_elsewhere(contents: &Sources, image: &Sought) -> Found {
    let (mut elsewhere, mut trouble) = (Vec::new(), None);
    for origin in &image.origins {
        let (origin, origins) = match (origin, &contents.origins) {
            (Ok(origin), Some(origins)) => (origin, origins),
            (Ok(_), None) => continue,
            (Err(why), _) => {
                elsewhere.push(why.clone());
                continue;
            }
        };
        let Some(there) = origins.open(origin).await else {
            elsewhere.push(Elsewhere { place: origin.to_string(), problem: Obstacle::NotAllowed });
            continue;
        };
        let head = there.upstream.manifest_head(&origin.name, &Reference::Digest(image.digest)).await;
        let problem = match head {
            Ok(_) => return Found::Origin(origin.clone()),
            Err(UpstreamError::NotFound) => Obstacle::Absent,
            Err(error) if error.is_forbidden() => origins.refused(origin),
            Err(UpstreamError::DigestMismatch { .. }) => Obstacle::OtherDigest,
            // What is not meant for programs, such as a page that wants a login, says nothing of the image.
            Err(UpstreamError::NotAManifest { media_type }) if media_type.as_ref().starts_with("application/") => {
                Obstacle::ForeignType(media_type)
            }
            Err(error) => {
                trouble = trouble.or_else(|| Some(Found::Undecided { origin: Some(origin.clone()), error }));
                continue;
            }
        };
        elsewhere.push(Elsewhere { place: origin.to_string(), problem });
    }
    trouble.unwrap_or(Found::Missing(elsewhere))
}
