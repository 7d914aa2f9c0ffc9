//! Which images are worth a closer look.

use super::unchanged::Unchanged;
use crate::oci::{Descriptor, ManifestView, MediaType};

/// Annotations of layers that carry a table of contents: eStargz, and the two of zstd:chunked.
const TABLES_OF_CONTENTS: [&str; 3] = [
    "containerd.io/snapshot/stargz/toc.digest",
    "io.github.containers.zstd-chunked.manifest-checksum",
    "io.containers.zstd-chunked.manifest-checksum",
];

/// An image that is a bundle if its config says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The config, which carries the label.
    pub config: Descriptor,
    /// The only layer.
    pub layer: Descriptor,
}

/// Looks at a manifest alone: one layer, and of a kind that can be spliced.
///
/// The layer's kind is judged last, so that the caller may look for the label before it reports the reason:
/// `Ok` holds the candidate, and beside it the reason why it cannot be rewritten if it is a bundle.
///
/// # Errors
/// When this is no bundle whatever the config says.
pub fn candidate(view: ManifestView) -> Result<(Candidate, Option<Unchanged>), Unchanged> {
    let ManifestView::Image { config, mut layers } = view else { return Err(Unchanged::NotAnImage) };
    let count = layers.len();
    let (Some(layer), 1) = (layers.pop(), count) else { return Err(Unchanged::Layers(count)) };
    let obstacle = obstacle(&layer);
    Ok((Candidate { config, layer }, obstacle))
}

fn obstacle(layer: &Descriptor) -> Option<Unchanged> {
    let table = layer.annotation_keys.iter().find(|key| TABLES_OF_CONTENTS.contains(&key.as_str()));
    if let Some(key) = table {
        return Some(Unchanged::TableOfContents(key.clone()));
    }
    match &layer.media_type {
        MediaType::ImageLayer
        | MediaType::ImageLayerGzip
        | MediaType::ImageLayerNonDistributable
        | MediaType::ImageLayerNonDistributableGzip => None,
        MediaType::ImageLayerZstd | MediaType::ImageLayerNonDistributableZstd => Some(Unchanged::Zstd),
        other => match other.as_ref() {
            "application/vnd.docker.image.rootfs.diff.tar.gzip"
            | "application/vnd.docker.image.rootfs.diff.tar"
            | "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
            | "application/vnd.docker.image.rootfs.foreign.diff.tar" => None,
            other => Some(Unchanged::LayerType(other.chars().take(128).collect())),
        },
    }
}
