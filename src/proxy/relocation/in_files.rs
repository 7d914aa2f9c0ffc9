//! Images in files, which come and go without a word: whether what was found there still is.

use super::answer::Colocated;
use super::record::AtOrigin;
use crate::oci::Digest;
use crate::proxy::sources::Sources;

/// Whether an image of a relocated bundle was in files, and is no more.
pub(super) async fn is_lost(contents: &Sources, colocated: &Colocated) -> bool {
    let Some(origins) = &contents.origins else { return false };
    for AtOrigin { repository, images } in colocated.origins.iter().filter(|at| origins.is_in_files(&at.repository)) {
        let found = origins.in_files(images).await;
        if !images.iter().all(|image| found.iter().any(|(there, _)| there == image)) {
            tracing::debug!(%repository, "images that were there are gone");
            return true;
        }
    }
    if !contents.upstream.is_in_place() {
        return false;
    }
    let elsewhere = |image: &&Digest| colocated.origins.iter().any(|at| at.images.contains(image));
    let own: Vec<Digest> = colocated.relocation.images.iter().filter(|image| !elsewhere(image)).copied().collect();
    contents.upstream.holders(&own).await.len() < own.len()
}

/// Whether an image that was missing is in files now.
pub(super) async fn has(contents: &Sources, image: &Digest) -> bool {
    match &contents.origins {
        Some(origins) => origins.in_files(&[*image]).await.iter().any(|(_, origin)| origin.is_ok()),
        None => false,
    }
}
