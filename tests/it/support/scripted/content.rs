//! What a blob or a document is made of.

use std::ops::Range;

use bytes::Bytes;

use crate::support::pattern::Pattern;

/// Bytes in memory, or ones that are made as they are sent.
#[derive(Clone)]
pub(super) enum Content {
    Bytes(Bytes),
    Pattern(Pattern),
}

impl Content {
    pub(super) fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Pattern(pattern) => pattern.size(),
        }
    }

    /// The bytes of `range`, or some of its first ones.
    pub(super) fn piece(&self, range: Range<u64>) -> Bytes {
        let index = |at: u64| usize::try_from(at).expect("an offset in memory");
        match self {
            Self::Bytes(bytes) => bytes.slice(index(range.start)..index(range.end)),
            Self::Pattern(pattern) => pattern.piece(range),
        }
    }
}

impl From<Bytes> for Content {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}
