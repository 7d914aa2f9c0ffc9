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
    Spliced {
        original: Reader,
        recipe: Recipe,
    },
    /// Asked for its length alone.
    Unopened,
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

    pub(super) fn unopened(digest: Digest, size: u64, outcome: Outcome) -> Self {
        Self { digest, size, outcome, content: Content::Unopened }
    }

    /// The bytes of `range`, which must lie within the blob. One that was asked for its length alone has none: its
    /// body breaks.
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
            Content::Unopened => body::sized(range.end - range.start, (), |()| async { Ok(None) }),
        }
    }
}

/// The next piece of a spliced blob, at most one chunk, and the segments after it.
///
/// The last piece waits until the original is verified, wherever in it the piece is from: what is spliced from
/// wrong bytes must not end cleanly.
async fn next(
    original: Reader,
    mut segments: VecDeque<Segment>,
) -> Result<Option<(Bytes, VecDeque<Segment>)>, body::BoxError> {
    let Some(segment) = segments.pop_front() else { return Ok(None) };
    let bytes = match segment {
        Segment::Inline(bytes) => bytes,
        Segment::Original(range) => {
            let wanted = usize::try_from(range.end - range.start).unwrap_or(usize::MAX).min(CHUNK_BYTES);
            let bytes = original.read_at(range.start, wanted).await?;
            // Nothing to read where the recipe says there is: the body ends short, which is an error.
            if bytes.is_empty() {
                return Ok(None);
            }
            let read = range.start + bytes.len() as u64;
            if read < range.end {
                segments.push_front(Segment::Original(read..range.end));
            }
            bytes
        }
    };
    if segments.is_empty() {
        original.verified().await?;
    }
    Ok(Some((bytes, segments)))
}
