//! The files of an OCI image layout directory (image-spec, `image-layout.md`).
//!
//! Nothing is followed outside the directory: paths are made from valid digests, and links are not opened.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::Deserialize;

use super::files_opened::{Opened, Piece, Stamp};
use crate::oci::Digest;
use crate::upstream::UpstreamError;

/// The largest index that is read: some fifty thousand entries.
pub(super) const MAX_INDEX_BYTES: u64 = 32 << 20;
/// `oci-layout` has some thirty bytes.
pub(super) const MAX_MARKER_BYTES: u64 = 4 << 10;

/// The file that says what a layout has; when it changes, the layout has.
fn index_path(directory: &Path) -> PathBuf {
    directory.join("index.json")
}

/// Whether a directory says of itself that it is a layout.
pub(super) fn is_layout(directory: &Path) -> bool {
    directory.join("oci-layout").is_file()
}

/// What tells one state of a layout from every other.
pub(super) fn stamp(directory: &Path) -> Result<Stamp, UpstreamError> {
    let path = index_path(directory);
    Stamp::of(&path).map_err(|cause| unreadable(&path, cause))
}

/// The `index.json` of a layout.
pub(super) fn read(directory: &Path) -> Result<Bytes, UpstreamError> {
    check_marker(&read_file(&directory.join("oci-layout"), MAX_MARKER_BYTES)?)?;
    read_file(&index_path(directory), MAX_INDEX_BYTES)
}

/// The content of a digest, if it is there.
pub(super) fn open(directory: &Path, digest: &Digest) -> Result<Option<Piece>, UpstreamError> {
    let path = directory.join("blobs").join(digest.algorithm().name()).join(digest.hex());
    match Opened::open_itself(&path) {
        Ok(file) => Ok(Some(Piece::whole(file))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(unreadable(&path, cause)),
    }
}

/// Image-spec asks for the marker, and for version 1.
pub(super) fn check_marker(bytes: &[u8]) -> Result<(), UpstreamError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Marker {
        image_layout_version: String,
    }
    match serde_json::from_slice::<Marker>(bytes) {
        Ok(marker) if marker.image_layout_version.starts_with("1.") => Ok(()),
        _ => Err(UpstreamError::malformed("is no image layout of version 1; its oci-layout says so")),
    }
}

fn read_file(path: &Path, cap: u64) -> Result<Bytes, UpstreamError> {
    let file = Opened::open_itself(path).map_err(|cause| unreadable(path, cause))?;
    Piece::whole(file).read_all(cap)
}

pub(super) fn unreadable(path: &Path, cause: io::Error) -> UpstreamError {
    UpstreamError::io(format!("{} cannot be read", path.display()), cause)
}
