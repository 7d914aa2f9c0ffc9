//! Media types of manifests, and the one `Accept` every upstream is asked with.

pub use oci_spec::image::MediaType;

/// Docker's name for an image manifest, schema 2.
pub(super) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's name for an index.
pub(super) const DOCKER_MANIFEST_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// What introduces both spellings of Docker's schema 1, signed and not.
const DOCKER_SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+";

/// The `Accept` that upstreams are asked with, whatever the client said: a tag has one answer, and
/// docker-registry answers a narrower one with schema 1 under another digest.
pub const MANIFEST_ACCEPT: &str = "application/vnd.oci.image.manifest.v1+json, \
    application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.docker.distribution.manifest.list.v2+json";

/// An image manifest, OCI's or Docker's.
pub fn is_manifest(media_type: &MediaType) -> bool {
    matches!(media_type, MediaType::ImageManifest) || media_type.as_ref() == DOCKER_MANIFEST
}

/// An index or manifest list.
pub fn is_index(media_type: &MediaType) -> bool {
    matches!(media_type, MediaType::ImageIndex) || media_type.as_ref() == DOCKER_MANIFEST_LIST
}

/// Docker schema 1, which passes uncached: registries make it up while they answer, and its digest is not
/// that of the bytes sent.
pub fn is_schema1(media_type: &MediaType) -> bool {
    media_type.as_ref().starts_with(DOCKER_SCHEMA1)
}
