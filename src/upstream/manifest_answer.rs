//! Whether what an upstream sent is the manifest that was asked for.

use bytes::Bytes;

use super::ManifestHead;
use super::error::UpstreamError;
use super::transport::Answer;
use crate::oci::{Algorithm, Digest, Hasher, MAX_MANIFEST_BYTES, Manifest, MediaType, Reference, is_schema1};

/// What the answer to a HEAD says, if it says all of it.
pub(super) fn told(answer: &Answer, reference: &Reference) -> Result<Option<ManifestHead>, UpstreamError> {
    let (Some(media_type), Some(size)) = (answer.media_type(), answer.content_length()) else { return Ok(None) };
    // Schema 1 is hashed here, as it is for a GET, so that both say the same.
    if !Manifest::is_manifest_type(&media_type) || is_schema1(&media_type) {
        return Ok(None);
    }
    if size > MAX_MANIFEST_BYTES as u64 {
        return Err(UpstreamError::TooLarge { limit: MAX_MANIFEST_BYTES as u64 });
    }
    let Some(digest) = answer.content_digest() else { return Ok(None) };
    match reference {
        Reference::Digest(asked) if asked.algorithm() != digest.algorithm() => Ok(None),
        Reference::Digest(asked) if *asked != digest => Err(UpstreamError::mismatch(*asked, digest)),
        _ => Ok(Some(ManifestHead { digest, media_type, size })),
    }
}

/// Refuses an answer that calls itself something else than a manifest, before its body is read.
pub(super) fn check_type(named: Option<&MediaType>) -> Result<(), UpstreamError> {
    match named {
        Some(named) if !Manifest::is_manifest_type(named) && !says_little(named) => {
            Err(UpstreamError::NotAManifest { media_type: named.clone() })
        }
        _ => Ok(()),
    }
}

/// The manifest that `bytes` are, `named` so by whoever sent them and `claimed` to have a digest.
pub(super) fn verify(
    bytes: Bytes,
    named: Option<MediaType>,
    reference: &Reference,
    claimed: Option<Digest>,
) -> Result<Manifest, UpstreamError> {
    let media_type = named.filter(Manifest::is_manifest_type);
    let media_type = media_type.or_else(|| Manifest::sniff(&bytes).filter(Manifest::is_manifest_type));
    if let Some(media_type) = media_type.as_ref().filter(|own| is_schema1(own)) {
        // Its digest is that of the payload inside the signatures, which are made anew for each answer.
        return Ok(Manifest { digest: Digest::of(&bytes), bytes, media_type: media_type.clone() });
    }
    let expected = match reference {
        Reference::Digest(digest) => Some(*digest),
        Reference::Tag(_) => claimed,
    };
    let mut hasher = Hasher::new(expected.map_or(Algorithm::Sha256, |expected| expected.algorithm()));
    hasher.update(&bytes);
    let digest = hasher.finish();
    match (expected, media_type) {
        (Some(expected), _) if expected != digest => Err(UpstreamError::mismatch(expected, digest)),
        (_, Some(media_type)) => Ok(Manifest { bytes, digest, media_type }),
        (_, None) => Err(UpstreamError::malformed("answered something that is no manifest")),
    }
}

/// A media type that servers fall back to: the bytes tell more.
fn says_little(media_type: &MediaType) -> bool {
    matches!(media_type.as_ref(), "application/json" | "application/octet-stream" | "binary/octet-stream")
}
