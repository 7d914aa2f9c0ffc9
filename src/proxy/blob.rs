//! A blob to be served: one that is stored, or one that is put together while it is sent.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::{Buf as _, Bytes};
use http_body_util::BodyExt as _;

use super::outcome::{CacheStatus, Forward, Outcome};
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
        /// How the original was come by.
        fetched: Outcome,
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

    pub(super) fn spliced(digest: Digest, original: Reader, recipe: Recipe, fetched: Outcome) -> Self {
        let size = recipe.size();
        Self { digest, size, outcome: Outcome::Relocated, content: Content::Spliced { original, recipe, fetched } }
    }

    pub(super) fn unopened(digest: Digest, size: u64, outcome: Outcome) -> Self {
        Self { digest, size, outcome, content: Content::Unopened }
    }

    /// What the cache had to do with it.
    pub fn status(&self) -> CacheStatus {
        let own = |outcome| CacheStatus { stored: self.is_kept(outcome), ..CacheStatus::from(outcome) };
        let status = own(self.outcome);
        match self.outcome {
            // Made here, of what perhaps had to be fetched again.
            Outcome::Relocated => match &self.content {
                Content::Spliced { fetched, .. } => own(*fetched).relocated(),
                _ => status,
            },
            // Another repository has it; nothing was recorded of this one, which is why it was asked.
            Outcome::Revalidated => {
                CacheStatus { forward: Some(Forward::UriMiss), detail: Some("confirmed"), ..status }
            }
            _ => status,
        }
    }

    /// Whether the cache keeps what this answer brings.
    fn is_kept(&self, outcome: Outcome) -> bool {
        CacheStatus::from(outcome).stored && self.has_parts() && !matches!(self.content, Content::Unopened)
    }

    /// Whether a part may be asked for. Not of what is not kept: a single byte of it would cost a whole download.
    pub fn has_parts(&self) -> bool {
        match &self.content {
            Content::Stored(reader) | Content::Spliced { original: reader, .. } => !reader.is_bypassed(),
            Content::Inline(_) | Content::Unopened => true,
        }
    }

    /// The bytes of `range`, which must lie within the blob. One that was asked for its length alone has none: its
    /// body breaks.
    pub fn body(&self, range: Range<u64>) -> Body {
        match &self.content {
            Content::Stored(reader) => reader.body(range),
            // The casts hold: the range lies within a buffer.
            Content::Inline(bytes) => body::full(bytes.slice(range.start as usize..range.end as usize)),
            Content::Spliced { original, recipe, .. } => {
                let splice = Splice::new(original, recipe.slice(range.clone()));
                body::sized(range.end - range.start, splice, Splice::next)
            }
            Content::Unopened => body::sized(range.end - range.start, (), |()| async { Ok(None) }),
        }
    }
}

/// A spliced blob on its way: what of the original lies between its first and its last piece is read once, in order,
/// and what lies between pieces is skipped.
///
/// The original's body does not end before it was verified, so no splice of wrong bytes ends cleanly.
struct Splice {
    segments: VecDeque<Segment>,
    original: Body,
    /// Read ahead of what the segments want.
    read: Bytes,
    /// Where in the original `read` begins.
    at: u64,
}

impl Splice {
    fn new(original: &Reader, segments: Vec<Segment>) -> Self {
        let ranges = || {
            segments.iter().filter_map(|segment| match segment {
                Segment::Original(range) => Some(range),
                Segment::Inline(_) => None,
            })
        };
        let start = ranges().map(|range| range.start).min().unwrap_or_default();
        let end = ranges().map(|range| range.end).max().unwrap_or_default();
        Self { original: original.body(start..end), segments: segments.into(), read: Bytes::new(), at: start }
    }

    async fn next(mut self) -> Result<Option<(Bytes, Self)>, body::BoxError> {
        let Some(segment) = self.segments.pop_front() else { return Ok(None) };
        let range = match segment {
            Segment::Inline(bytes) => return Ok(Some((bytes, self))),
            Segment::Original(range) => range,
        };
        loop {
            let skipped = usize::try_from(range.start - self.at).unwrap_or(usize::MAX).min(self.read.len());
            self.at += skipped as u64;
            self.read.advance(skipped);
            if !self.read.is_empty() {
                break;
            }
            match self.original.frame().await {
                Some(frame) => self.read = frame?.into_data().unwrap_or_default(),
                // The body ends short of what the recipe says, which is an error.
                None => return Ok(None),
            }
        }
        let wanted = usize::try_from(range.end - self.at).unwrap_or(usize::MAX).min(self.read.len());
        let bytes = self.read.split_to(wanted);
        self.at += wanted as u64;
        if self.at < range.end {
            self.segments.push_front(Segment::Original(self.at..range.end));
        }
        Ok(Some((bytes, self)))
    }
}
