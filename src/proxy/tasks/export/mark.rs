//! What tells a file of an archive from all others.

use crate::oci::{Algorithm, Digest, Hasher};

/// The mark of a file with this header and content: no other file has it, in this place or any.
pub(super) fn mark(header: &[u8], content: &Digest) -> Digest {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(header);
    hasher.update(content.to_string().as_bytes());
    hasher.finish()
}

/// The mark of a file, from its bytes.
///
/// It is how whoever has the beginning of an archive says what is in it ([`Task::Export`](crate::proxy::Task::Export)).
pub struct EntryMark {
    header: Vec<u8>,
    content: Hasher,
}

impl EntryMark {
    /// Of the file of this name, with all the blocks that stand before its content.
    pub fn new(name: &[u8], header: Vec<u8>) -> Self {
        // Names are made of digests, and other files are told by the usual one.
        let is_long =
            name.windows(Algorithm::Sha512.name().len()).any(|part| part == Algorithm::Sha512.name().as_bytes());
        let algorithm = if is_long { Algorithm::Sha512 } else { Algorithm::Sha256 };
        Self { header, content: Hasher::new(algorithm) }
    }

    /// Takes in some of its content.
    pub fn update(&mut self, bytes: &[u8]) {
        self.content.update(bytes);
    }

    /// The mark, once all of it was taken in.
    pub fn finish(self) -> Digest {
        mark(&self.header, &self.content.finish())
    }
}
