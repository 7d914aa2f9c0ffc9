//! The vocabulary of the registry protocol: digests, names, media types, manifests and error documents.
//!
//! Everything a client or an upstream sends is turned into these types at the edge, and only a valid value
//! can be made; nobody inside checks again. Documents are kept as their raw bytes beside a typed view read
//! with `oci-spec`: a typed round trip drops unknown fields and would change a digest, so nothing in this
//! program is ever written back from the view.
//!
//! Pure: no input or output, no clock, no runtime.

mod digest;
mod error;
mod go_json;
mod manifest;
mod media_type;
mod members;
mod name;
mod platform;
mod referrer;
mod repository;

pub use digest::{Algorithm, Digest, DigestError, Hasher};
pub use error::{ErrorCode, ErrorDocument};
pub use go_json::GoFormatter;
pub use manifest::{Descriptor, MAX_MANIFEST_BYTES, Manifest, ManifestError, ManifestView};
pub use media_type::{MANIFEST_ACCEPT, MediaType, is_index, is_manifest, is_schema1};
pub use members::Members;
pub use name::{NameError, Reference, RepositoryName, Tag};
pub use platform::{Platform, PlatformError};
pub use referrer::referrer_of;
pub use repository::{RegistryName, Repository};
