//! A manifest as its raw bytes and a typed view of them.

use bytes::Bytes;
use oci_spec::image::{ImageIndex, ImageManifest};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::digest::{Digest, DigestError};
use super::media_type::{DOCKER_MANIFEST, DOCKER_MANIFEST_LIST, MediaType, is_index, is_manifest, is_schema1};
use super::platform::Platform;

/// The largest manifest that is taken in: what the distribution spec asks registries to accept at least.
pub const MAX_MANIFEST_BYTES: usize = 4 << 20;

/// What introduces Docker's name for layers that are not distributed.
const DOCKER_FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.";

/// Why bytes are not a manifest this program can read.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Over [`MAX_MANIFEST_BYTES`].
    #[error("the manifest is larger than {MAX_MANIFEST_BYTES} bytes")]
    TooLarge,
    /// Not JSON, or without a required field.
    #[error("the manifest is not valid")]
    Json(#[from] serde_json::Error),
    /// A descriptor's digest that cannot be verified.
    #[error("a descriptor's digest is not valid")]
    Digest(#[from] DigestError),
}

/// A manifest: bytes that hash to `digest`, and what kind they are.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The bytes, never changed.
    pub bytes: Bytes,
    /// Their digest; in the algorithm it was asked by.
    pub digest: Digest,
    /// What the upstream called it, or what it calls itself.
    pub media_type: MediaType,
}

impl Manifest {
    /// What is inside.
    ///
    /// # Errors
    /// When the bytes are not JSON of the shape their media type says.
    pub fn view(&self) -> Result<ManifestView, ManifestError> {
        if self.bytes.len() > MAX_MANIFEST_BYTES {
            return Err(ManifestError::TooLarge);
        }
        if is_manifest(&self.media_type) {
            let manifest: ImageManifest = read(&self.bytes, "layers")?;
            let layers = manifest.layers().iter().map(Descriptor::try_from).collect::<Result<_, _>>()?;
            return Ok(ManifestView::Image { config: manifest.config().try_into()?, layers });
        }
        if is_index(&self.media_type) {
            let index: ImageIndex = read(&self.bytes, "manifests")?;
            let manifests = index.manifests().iter().map(Descriptor::try_from).collect::<Result<_, _>>()?;
            return Ok(ManifestView::Index { manifests });
        }
        Ok(ManifestView::Other)
    }

    /// All that it names: a config and layers, or manifests. Nothing of what cannot be read.
    pub fn named(&self) -> Vec<Descriptor> {
        match self.view() {
            Ok(ManifestView::Image { config, layers }) => [config].into_iter().chain(layers).collect(),
            Ok(ManifestView::Index { manifests }) => manifests,
            Ok(ManifestView::Other) | Err(_) => Vec::new(),
        }
    }

    /// The media type that manifest bytes say of themselves, for upstreams that send none and for layouts.
    ///
    /// The `mediaType` field counts; without it the shape does, as image-spec 1.0 left the field out.
    pub fn sniff(bytes: &[u8]) -> Option<MediaType> {
        let document: Value = serde_json::from_slice(bytes).ok()?;
        if let Some(own) = document.get("mediaType").and_then(Value::as_str) {
            return Some(MediaType::from(own));
        }
        match document.get("schemaVersion").and_then(Value::as_u64) {
            Some(1) => Some(MediaType::from("application/vnd.docker.distribution.manifest.v1+json")),
            _ if document.get("manifests").is_some() => Some(MediaType::ImageIndex),
            _ if document.get("config").is_some() => Some(MediaType::ImageManifest),
            _ => None,
        }
    }

    /// Whether a `Content-Type` names some manifest at all, rather than, say, an HTML page.
    pub fn is_manifest_type(media_type: &MediaType) -> bool {
        is_manifest(media_type)
            || is_index(media_type)
            || is_schema1(media_type)
            || matches!(media_type, MediaType::ArtifactManifest)
    }
}

/// Reads a document. Go writes a list that was never filled as `null`, and CNAB bundles have such manifests: it is an empty
/// one, though `oci-spec` does not take it.
fn read<T: DeserializeOwned>(bytes: &[u8], list: &str) -> Result<T, serde_json::Error> {
    serde_json::from_slice(bytes).or_else(|error| {
        let mut document: Value = serde_json::from_slice(bytes)?;
        match document.get_mut(list) {
            Some(null @ Value::Null) => *null = Value::Array(Vec::new()),
            _ => return Err(error),
        }
        serde_json::from_value(document)
    })
}

/// What is inside a manifest, as far as this program cares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManifestView {
    /// One image.
    Image {
        /// Its configuration.
        config: Descriptor,
        /// Its layers, base first.
        layers: Vec<Descriptor>,
    },
    /// Several manifests.
    Index {
        /// In the order they are listed.
        manifests: Vec<Descriptor>,
    },
    /// Something else, which is only passed on.
    Other,
}

/// What a manifest says of one of its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// The part's media type.
    pub media_type: MediaType,
    /// The part's digest.
    pub digest: Digest,
    /// The part's length in bytes.
    pub size: u64,
    /// Which platform it is for, where an index says so.
    pub platform: Option<Platform>,
    /// Annotation keys; their values never matter here.
    pub annotation_keys: Vec<String>,
}

impl TryFrom<&oci_spec::image::Descriptor> for Descriptor {
    type Error = DigestError;

    fn try_from(descriptor: &oci_spec::image::Descriptor) -> Result<Self, DigestError> {
        let annotations = descriptor.annotations().iter().flat_map(|annotations| annotations.keys());
        Ok(Self {
            media_type: descriptor.media_type().clone(),
            digest: descriptor.digest().as_ref().parse()?,
            size: descriptor.size(),
            platform: descriptor.platform().as_ref().map(Platform::from),
            annotation_keys: annotations.cloned().collect(),
        })
    }
}

impl Descriptor {
    /// Whether this is content that registries need not have, since it may not be passed on (image-spec,
    /// "Non-Distributable Layers").
    pub fn is_non_distributable(&self) -> bool {
        let name = self.media_type.as_ref();
        name.contains("nondistributable") || name.starts_with(DOCKER_FOREIGN)
    }

    /// Whether this names an image manifest rather than an index or a blob.
    pub fn is_manifest(&self) -> bool {
        matches!(self.media_type.as_ref(), DOCKER_MANIFEST | DOCKER_MANIFEST_LIST)
            || matches!(self.media_type, MediaType::ImageManifest | MediaType::ImageIndex)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_go_never_filled_is_empty() {
        let view = |media_type: MediaType, text: &str| {
            let digest = Digest::of(text.as_bytes());
            Manifest { bytes: text.to_owned().into(), digest, media_type }.view()
        };
        let config = format!(r#"{{"mediaType":"a/b","digest":"{}","size":2}}"#, Digest::of(b"{}"));
        let image = |layers: &str| {
            view(MediaType::ImageManifest, &format!(r#"{{"schemaVersion":2,"config":{config}{layers}}}"#))
        };
        let ManifestView::Image { config, layers } = image(r#","layers":null"#).unwrap() else { panic!("no image") };
        assert_eq!((config.digest, layers.len()), (Digest::of(b"{}"), 0));
        for broken in ["", r#","layers":{}"#, r#","layers":null,"mediaType":1"#] {
            assert!(image(broken).is_err(), "{broken}");
        }
        let index = view(MediaType::ImageIndex, r#"{"schemaVersion":2,"manifests":null}"#).unwrap();
        assert_eq!(index, ManifestView::Index { manifests: Vec::new() });
    }
}
