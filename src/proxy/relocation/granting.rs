//! Grants for the images of relocated bundles: written down, found again, and looked at before an answer counts on them.

use std::collections::HashSet;
use std::sync::Arc;

use super::Relocator;
use super::answer::Colocated;
use super::record::AtOrigin;
use super::verdict::{Extent, Sought, Verdict, verdict};
use crate::oci::{Digest, Manifest, Reference};
use crate::proxy::contents::Contents;
use crate::proxy::error::ProxyError;
use crate::proxy::readers::Probe;
use crate::proxy::undecided::Undecided;

impl Relocator {
    /// Finds the images of a relocated bundle again whose grants are lost.
    pub(in crate::proxy) async fn grant_again(
        &self,
        contents: &Arc<Contents>,
        manifest: &Manifest,
        colocated: &Colocated,
    ) -> Result<(), Undecided> {
        let Some(origins) = contents.origins.as_ref().filter(|_| !colocated.origins.is_empty()) else { return Ok(()) };
        let mut lost = HashSet::new();
        for image in &colocated.relocation.images {
            // What the repository itself gave needs none.
            if origins.known(image).await.is_empty() && contents.cached_manifest(image).await.is_none() {
                lost.insert(*image);
            }
        }
        if lost.is_empty() {
            return Ok(());
        }
        let Ok(lock) = self.lock_of(contents, manifest).await? else { return Ok(()) };
        let mut images = Sought::of(&lock, contents, true);
        images.retain(|image| lost.contains(image.digest()));
        let verdict = verdict(contents, manifest.digest, images, self.limits.effort(), Extent::Whole).await;
        grant(contents, &manifest.digest, &verdict).await;
        verdict.undecided().map_or(Ok(()), Err)
    }
}

/// Whether a client may read the origins that a relocated bundle has images at.
pub(super) async fn may_read(contents: &Contents, colocated: &Colocated) -> Result<bool, Undecided> {
    for AtOrigin { repository, image } in colocated.origins.iter() {
        let Some(origins) = &contents.origins else { return Ok(false) };
        let Some(there) = origins.open(repository).await else { return Ok(false) };
        match origins.may_read(&there, Probe::Manifest(Reference::Digest(*image))).await {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(ProxyError::Upstream(error)) => {
                return Err(Undecided::Upstream { what: format!("asking whether {repository} may be read"), error });
            }
            Err(error) => return Err(Undecided::Internal(error.to_string())),
        }
    }
    Ok(true)
}

/// Writes down what was found elsewhere.
pub(super) async fn grant(contents: &Contents, original: &Digest, verdict: &Verdict) {
    let Some(origins) = &contents.origins else { return };
    for (image, origin) in verdict.at_origins() {
        if let Err(error) = origins.grant(image, original, origin).await {
            tracing::warn!(repository = %contents.repository, %image, %error, "a grant could not be recorded");
        }
    }
}
