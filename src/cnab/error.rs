//! Why there is no relocation map of an index.

use crate::oci::Digest;

/// What is odd about a CNAB bundle. Most of it keeps its clients from pulling it, too.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CnabError {
    /// Nothing leads to `bundle.json`.
    #[error("no descriptor in the index is of the type config")]
    NoConfig,
    /// A descriptor by which nothing can be pulled.
    #[error("a descriptor in the index has no valid digest")]
    NoDigest,
    /// A descriptor of something else than a manifest.
    #[error("the index lists {digest} as {media_type}, which is no manifest")]
    NotAManifest {
        /// Of the descriptor.
        digest: Digest,
        /// What it says, in short.
        media_type: String,
    },
    /// A descriptor without `io.cnab.manifest.type`.
    #[error("the index does not say what {0} is to the bundle (io.cnab.manifest.type)")]
    Untyped(Digest),
    /// A descriptor with an `io.cnab.manifest.type` that means nothing.
    #[error("the index says that {digest} is `{kind}` to the bundle, which is unknown")]
    UnknownType {
        /// Of the descriptor.
        digest: Digest,
        /// What it says, in short.
        kind: String,
    },
    /// A component without a name.
    #[error("the index does not name the component {0}")]
    Unnamed(Digest),
    /// A component that is not in `bundle.json`.
    #[error("bundle.json has no image `{0}`, which the index lists")]
    UnknownComponent(String),
    /// An index with an invocation image, and a `bundle.json` without.
    #[error("bundle.json has no invocation image")]
    NoInvocationImage,
    /// Not JSON, or not of the right types.
    #[error("bundle.json cannot be read: {0}")]
    Json(String),
    /// A key that stands in an object twice; readers differ in what they make of that.
    #[error("bundle.json has the key `{0}` twice")]
    DuplicateKey(String),
    /// A key that only some readers take for another.
    #[error("bundle.json has the key `{0}`, which some readers take for another")]
    OddKey(String),
    /// Far more images than any bundle has.
    #[error("bundle.json names more than {limit} images")]
    TooManyImages {
        /// How many are read.
        limit: usize,
    },
    /// An image's name that is longer than any name can be.
    #[error("bundle.json names an image by more than {limit} bytes")]
    LongName {
        /// How many are read.
        limit: usize,
    },
    /// A map that is not worth keeping.
    #[error("the relocation map would be larger than {limit} bytes")]
    LargeMap {
        /// How large one may be.
        limit: usize,
    },
}

/// Somebody's text, short and on one line.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_debug).collect()
}
