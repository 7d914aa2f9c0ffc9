//! The `manifest.json` of an archive that `imgpkg copy --to-tar` writes: a description of every image, with the exact bytes
//! of its manifest and config. Layers are entries of their own beside it.

use serde::{Deserialize, Serialize};

use crate::oci::Digest;

/// The description's name in the archive, whose first entry it is.
pub const DESCRIPTION_FILE: &str = "manifest.json";
/// The label of the bundles that were asked for, apart from those that they name.
pub const ROOT_BUNDLE_LABEL: &str = "dev.carvel.imgpkg.copy.root-bundle";

/// The name of a layer's entry.
pub fn layer_file(digest: &Digest) -> String {
    format!("{}-{}.tar.gz", digest.algorithm().name(), digest.hex())
}

/// One image, or one index with all that is in it. Exactly one of both is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Described {
    /// An index.
    pub image_index: Option<DescribedIndex>,
    /// An image.
    pub image: Option<DescribedImage>,
}

/// An index.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DescribedIndex {
    /// Where it was found: `REGISTRY/REPOSITORY@DIGEST`.
    pub refs: Vec<String>,
    /// The images in it.
    pub images: Option<Vec<DescribedImage>>,
    /// The indexes in it.
    pub indexes: Option<Vec<DescribedIndex>>,
    /// Its media type.
    pub media_type: String,
    /// Its digest.
    pub digest: String,
    /// Its bytes.
    pub raw: String,
    /// Its tag, or nothing.
    pub tag: String,
    /// As a lock has it.
    pub orig_ref: String,
    /// What imgpkg has to say of it.
    pub labels: Option<Labels>,
}

/// An image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DescribedImage {
    /// Where it was found: `REGISTRY/REPOSITORY@DIGEST`.
    pub refs: Vec<String>,
    /// Its layers, base first.
    pub layers: Option<Vec<DescribedLayer>>,
    /// Its config.
    pub config: DescribedConfig,
    /// Its manifest.
    pub manifest: DescribedManifest,
    /// Its tag, or nothing.
    pub tag: String,
    /// As a lock has it.
    pub orig_ref: String,
    /// What imgpkg has to say of it.
    pub labels: Option<Labels>,
}

/// Labels, by their keys.
pub type Labels = std::collections::BTreeMap<String, String>;

/// A layer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DescribedLayer {
    /// Its media type.
    pub media_type: String,
    /// Its digest.
    pub digest: String,
    /// The digest of what is in it, uncompressed.
    #[serde(rename = "DiffID")]
    pub diff_id: String,
    /// Its length in bytes.
    pub size: u64,
}

/// A config.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DescribedConfig {
    /// Its digest.
    pub digest: String,
    /// Its bytes.
    pub raw: String,
}

/// A manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DescribedManifest {
    /// Its media type.
    pub media_type: String,
    /// Its digest.
    pub digest: String,
    /// Its bytes.
    pub raw: String,
}
