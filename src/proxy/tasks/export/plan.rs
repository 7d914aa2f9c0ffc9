//! What an archive will be, file by file.

use std::sync::Arc;

use bytes::Bytes;

use super::mark;
use crate::oci::Digest;
use crate::proxy::tasks::findings::MAX_DESCRIBED_BYTES;
use crate::proxy::tasks::pull::Puller;
use crate::tar::{END_BYTES, file_header, padded};

/// A reference that was asked for.
pub(super) struct Root {
    /// `HOST/REPOSITORY`, where it came from.
    pub(super) name: String,
    /// The tag, if it was asked for by one.
    pub(super) tag: Option<String>,
    pub(super) digest: Digest,
}

/// A file of an archive.
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) size: u64,
    pub(super) digest: Digest,
    pub(super) content: Content,
}

/// What is in a file.
pub(super) enum Content {
    /// What is at hand.
    Bytes(Bytes),
    /// A blob, and who pulls it.
    Blob(Arc<Puller>),
}

impl Entry {
    /// A document.
    pub(super) fn document(name: impl Into<String>, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self { name: name.into(), size: bytes.len() as u64, digest: Digest::of(&bytes), content: Content::Bytes(bytes) }
    }

    /// What stands before its bytes.
    pub(super) fn header(&self) -> Vec<u8> {
        file_header(&self.name, self.size)
    }

    /// Its mark.
    pub(super) fn mark(&self) -> Digest {
        mark(&self.header(), &self.digest)
    }

    /// How long it is, with its header and what fills its last block.
    pub(super) fn length(&self) -> u64 {
        padded(self.size).saturating_add(self.header().len() as u64)
    }
}

/// How long an archive of these files is.
pub(super) fn length(entries: &[Entry]) -> u64 {
    // A manifest may say any size.
    entries.iter().map(Entry::length).fold(END_BYTES as u64, u64::saturating_add)
}

/// Why there is no archive.
pub(super) struct Refused {
    pub(super) digest: Digest,
    pub(super) problem: String,
}

impl Refused {
    pub(super) fn new(digest: Digest, problem: impl Into<String>) -> Self {
        Self { digest, problem: problem.into() }
    }

    pub(super) fn too_long(digest: Digest) -> Self {
        let problem = format!("what there is to say of all images has more than {MAX_DESCRIBED_BYTES} bytes");
        Self::new(digest, problem)
    }
}
