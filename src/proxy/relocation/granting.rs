//! Grants for the images of relocated bundles: written down, found again, and looked at before an answer counts on them.

use super::answer::Colocated;
use super::record::AtOrigin;
use crate::oci::{Digest, Reference};
use crate::proxy::error::ProxyError;
use crate::proxy::readers::Probe;
use crate::proxy::sources::Sources;
use crate::proxy::undecided::Undecided;

/// Whether a client may read the origins that a relocated bundle has images at.
pub(super) async fn may_read(contents: &Sources, colocated: &Colocated) -> Result<bool, Undecided> {
    for AtOrigin { repository, images } in colocated.origins.iter() {
        let Some(image) = images.first() else { continue };
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

/// Writes down where the images of a bundle are that are elsewhere; again, should that have been lost.
pub(in crate::proxy) async fn grant(contents: &Sources, original: &Digest, at_origins: &[AtOrigin]) {
    let Some(origins) = &contents.origins else { return };
    for AtOrigin { repository, images } in at_origins {
        for image in images {
            if let Err(error) = origins.grant(image, original, repository).await {
                tracing::warn!(repository = %contents.repository, %image, %error, "a grant could not be recorded");
            }
        }
    }
}
