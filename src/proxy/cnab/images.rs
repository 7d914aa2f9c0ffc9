//! The images that a CNAB bundle names by digest and does not list.

use std::sync::Arc;
use std::time::Duration;

use super::looks::{AFTER_TROUBLE, Turn};
use crate::cnab::{BundleFile, Index};
use crate::imgpkg::ImageReference;
use crate::oci::{Digest, Manifest};
use crate::proxy::Proxy;
use crate::proxy::origins::Obstacle;
use crate::proxy::relocation::{AtOrigin, Extent, Found, SEEN_FOR, Sought, Verdict, grant, look_for};
use crate::proxy::sources::Sources;
use crate::proxy::undecided::Undecided;

/// The images that `bundle.json` names by digest and the index does not list, and where they came from.
pub(in crate::proxy) fn missing_from(index: &Index, file: &BundleFile) -> Vec<ImageReference> {
    let reference = |(_, image): (_, &crate::cnab::NamedImage)| {
        let digest = image.digest().filter(|digest| !index.lists(digest))?;
        let repository = image.repository()?;
        let (registry, repository) = (repository.registry.to_string(), repository.name.to_string());
        Some(ImageReference { registry, repository, digest })
    };
    file.all().filter_map(reference).collect()
}

impl Proxy {
    /// Looks for these images, and grants those that are at their origins.
    pub(super) async fn find_images(
        &self,
        contents: &Arc<Sources>,
        manifest: &Manifest,
        index: &Index,
        file: &BundleFile,
        turn: Turn,
    ) -> Result<(), Undecided> {
        let (limits, repository, original) = (self.0.relocator.limits(), &contents.repository, &manifest.digest);
        let references = missing_from(index, file);
        if references.is_empty() {
            turn.settled();
            return Ok(());
        }
        let sought = Sought::named(&references.iter().collect::<Vec<_>>(), contents, true).await;
        let verdict = look_for(contents, *original, sought, limits.effort(), Extent::Whole).await;
        let at_origins = verdict.at_origins();
        grant(contents, original, &at_origins).await;
        let undecided = verdict.undecided();
        let before = self.0.cnab.granted(repository, original).await;
        revoke(contents, &before, &verdict).await;
        // What could not be looked for may be where it was.
        if undecided.is_none()
            && before[..] != at_origins[..]
            && let Err(error) = self.0.cnab.record(repository, original, at_origins.to_vec()).await
        {
            tracing::warn!(%repository, digest = %original, %error, "what is granted of a CNAB bundle could not be recorded");
        }
        let quiet = quiet(&verdict, &references, undecided.is_some(), limits.negative_ttl);
        turn.ends(quiet, undecided.clone());
        undecided.map_or(Ok(()), Err)
    }
}

/// For how long the same images are not looked for again.
fn quiet(verdict: &Verdict, references: &[ImageReference], undecided: bool, negative_ttl: Duration) -> Duration {
    if undecided {
        AFTER_TROUBLE
    } else if references.iter().all(|reference| verdict.is_colocated(&reference.digest)) {
        SEEN_FOR
    } else {
        negative_ttl
    }
}

/// Takes back what was granted from an origin that is no longer for everyone to read.
async fn revoke(contents: &Sources, before: &[AtOrigin], verdict: &Verdict) {
    let Some(origins) = &contents.origins else { return };
    let is_closed = |image: &Digest, origin: &str| {
        let Some(Found::Missing(elsewhere)) = verdict.found(image) else { return false };
        elsewhere.iter().any(|it| it.problem == Obstacle::NotPublic && it.place == origin)
    };
    for AtOrigin { repository, images } in before {
        let place = repository.to_string();
        if images.iter().any(|image| is_closed(image, &place)) {
            origins.revoke(repository).await;
        }
    }
}
