//! What imgpkg makes and reads: the ImagesLock of a bundle, the locations list beside it, the marks by which a bundle is
//! known, and the description of its archives.
//!
//! A lock comes in as the bytes of `.imgpkg/images.yml`, is read as imgpkg reads it ([`ImagesLock::parse`]), and
//! goes out as imgpkg would have written it for a [`Target`] ([`ImagesLock::relocate`]). "As imgpkg" means byte
//! for byte: the result enters the digest `D'` that clients pin. So every step has its counterpart there:
//!
//! 1. `document`: bytes to a tree of nodes. imgpkg reads with go-yaml v2, a YAML 1.1 port of libyaml. `serde_yaml`
//!    stands on libyaml too, so it finds the same structure; but it resolves plain scalars by YAML 1.2. It hands
//!    out most scalars as slices of the input, and what stands around a slice tells whether it was quoted; the
//!    plain ones are then resolved once more, by
//! 2. `scalar`: what go-yaml takes a plain scalar for (`yes`, `012`, `1_000`), and how Go prints it as a string.
//! 3. `lock`: Go's strict JSON decoding into the ImagesLock struct, and `reference`: go-containerregistry's names.
//! 4. `emit`: go-yaml's emitter for the one shape of document that is written here, since `serde_yaml` quotes,
//!    folds and indents differently; `order`: the order of its keys.
//!
//! Where it cannot be told what imgpkg would do, or imgpkg itself would do one thing now and another later, the
//! lock is refused with [`LockError::Unsure`]: the bundle then passes unchanged, which is never wrong. These are:
//! tags (`!!str`) and directives, two keys that differ only in case or in type, numbers above 64 bits and odd times
//! (Go and sigs.k8s.io/yaml changed their minds about them), annotation keys whose order varies or is
//! not known, U+FEFF inside the text and U+0085 in a string (lost on imgpkg's way out).
//!
//! Left out: whether the images are there, and tar and gzip around the lock. Pure: bytes in, bytes out. Reading a
//! hostile 8 MiB takes a good part of a second, so call [`ImagesLock::parse`] off the runtime.

mod archive;
mod bundle;
mod description;
mod document;
mod emit;
mod error;
mod locations;
mod locations_image;
mod lock;
mod order;
mod reference;
mod scalar;
mod tags;
mod target;

pub use archive::{
    DESCRIPTION_FILE, Described, DescribedConfig, DescribedImage, DescribedIndex, DescribedLayer, DescribedManifest,
    Labels, ROOT_BUNDLE_LABEL, layer_file,
};
pub use bundle::{BUNDLE_LABEL, LOCK_PATH, PathRole, has_bundle_label, path_role};
pub use description::{DescriptionTooLong, description};
pub use document::MAX_LOCK_BYTES;
pub use error::LockError;
pub use locations::{ImageLocation, ImageLocations, LOCATIONS_FILE, locations_tag};
pub use locations_image::LocationsImage;
pub use lock::{ImagesLock, LockedImage};
pub use reference::ImageReference;
pub use tags::DerivedTag;
pub use target::Target;
