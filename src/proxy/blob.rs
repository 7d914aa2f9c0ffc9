//! A blob to be served: one that is stored, or one that is put together while it is sent.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;

use super::contents::CHUNK_BYTES;
use super::outcome::Outcome;
use crate::body::{self, Body};
use crate::cache::Reader;
use crate::oci::Digest;
use crate::rewrite::{Recipe, Segment};

/// A blob, open.
pub struct ServedBlob {
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Where it comes from.
    pub outcome: Outcome,
    content: Content,
}

enum Content {
    Stored(Reader),
    Inline(Bytes),
    Spliced { original: Reader, recipe: Recipe },
}

impl ServedBlob {
    pub(super) fn stored(digest: Digest, reader: Reader, outcome: Outcome) -> Self {
        Self { digest, size: reader.size(), outcome, content: Content::Stored(reader) }
    }

    pub(super) fn inline(digest: Digest, bytes: Bytes) -> Self {
        Self { digest, size: bytes.len() as u64, outcome: Outcome::Relocated, content: Content::Inline(bytes) }
    }

    pub(super) fn spliced(digest: Digest, original: Reader, recipe: Recipe) -> Self {
        let size = recipe.size();
        Self { digest, size, outcome: Outcome::Relocated, content: Content::Spliced { original, recipe } }
    }

    /// The bytes of `range`, which must lie within the blob.
    pub fn body(&self, range: Range<u64>) -> Body {
        match &self.content {
            Content::Stored(reader) => reader.body(range),
            // The casts hold: the range lies within a buffer.
            Content::Inline(bytes) => body::full(bytes.slice(range.start as usize..range.end as usize)),
            Content::Spliced { original, recipe } => {
                let segments: VecDeque<Segment> = recipe.slice(range.clone()).into();
                let original = original.clone();
                body::sized(range.end - range.start, segments, move |segments| next(original.clone(), segments))
            }
        }
    }
}

/// The next piece of a spliced blob, at most one chunk, and the segments after it.
async fn next(
    original: Reader,
    mut segments: VecDeque<Segment>,
) -> Result<Option<(Bytes, VecDeque<Segment>)>, body::BoxError> {
    Ok(match segments.pop_front() {
        None => None,
        Some(Segment::Inline(bytes)) => Some((bytes, segments)),
        Some(Segment::Original(range)) => {
            let wanted = usize::try_from(range.end - range.start).unwrap_or(usize::MAX).min(CHUNK_BYTES);
            let bytes = original.read_at(range.start, wanted).await?;
            let read = range.start + bytes.len() as u64;
            // Nothing to read where the recipe says there is: the body ends short, which is an error.
            if bytes.is_empty() {
                return Ok(None);
            }
            if read < range.end {
                segments.push_front(Segment::Original(read..range.end));
            }
            Some((bytes, segments))
        }
    })
}
