//! CNAB bundles as cnab-to-oci puts them into a registry, for Porter and its like: which index is one, what its `bundle.json`
//! names, and the relocation map that whoever pulls it makes of the two.
//!
//! Such a bundle is an index of a config manifest, whose config is `bundle.json`, and of the images. Its clients do not go by
//! the image names in `bundle.json` but by their relocation map: to each of these names, what the index lists, in the
//! repository that they asked. So nothing has to be rewritten, and nothing may be: the bytes pass. [`Index`] detects and
//! reads an index, [`BundleFile`] reads `bundle.json`, [`RelocationMap`] puts them together. What Go would read otherwise than
//! it looks (a key twice, or in other letters) is refused: then there is no map, rather than one that no client has.
//!
//! Pure: bytes in, values out. What is fetched and granted is the business of `proxy`.

mod bundle_file;
mod error;
mod index;
mod json;
mod relocation_map;

pub use bundle_file::{BundleFile, NamedImage, Role};
pub use error::CnabError;
pub use index::{Child, Index, Kind};
pub use relocation_map::{RelocationMap, location};

/// The largest `bundle.json` that is read.
pub const MAX_BUNDLE_FILE_BYTES: usize = 8 << 20;
