//! What lies between the walker and the inflate: the stretch of a layer that is still in memory.

use std::collections::VecDeque;
use std::ops::Range;

use super::unchanged::Unchanged;
use crate::gzip::{Stop, Walker};

/// The most compressed bytes that are kept around the lock: the largest lock there is, stored, twice over. A
/// layer with more, made of thousands of tiny members, is served as it stands.
const MAX_PENDING_BYTES: usize = 20 << 20;
/// The most members that may begin while the walker waits.
const MAX_MEMBERS: usize = 1 << 16;

/// A stretch of a stream, found by its offsets in the whole.
#[derive(Default)]
pub(super) struct Buffer {
    start: u64,
    bytes: Vec<u8>,
}

impl Buffer {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn start(&self) -> u64 {
        self.start
    }

    pub(super) fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    pub(super) fn slice(&self, range: Range<u64>) -> &[u8] {
        &self.bytes[self.index(range.start)..self.index(range.end)]
    }

    pub(super) fn from(&self, offset: u64) -> &[u8] {
        &self.bytes[self.index(offset)..]
    }

    pub(super) fn drop_before(&mut self, offset: u64) {
        let passed = self.index(offset);
        self.bytes.drain(..passed);
        self.start += passed as u64;
    }

    /// Where a stream's `offset` is in the buffer; the nearest end if it is outside.
    fn index(&self, offset: u64) -> usize {
        usize::try_from(offset.saturating_sub(self.start)).unwrap_or(usize::MAX).min(self.bytes.len())
    }
}

/// A gzip member as the inflate sees it.
#[derive(Clone, Copy)]
pub(super) struct Member {
    /// Where its deflate data begins, an offset in the layer.
    pub(super) deflate_start: u64,
    /// Where its output begins, an offset in the tar.
    pub(super) output_start: u64,
    /// Where both end, once the inflate has got there.
    pub(super) end: Option<MemberEnd>,
}

#[derive(Clone, Copy)]
pub(super) struct MemberEnd {
    pub(super) deflate: u64,
    pub(super) output: u64,
}

/// See the [module](self).
pub(super) struct Stretch {
    pub(super) walker: Walker,
    /// Compressed bytes of all kinds, an offset in the layer.
    pub(super) pending: Buffer,
    /// Inflated bytes, an offset in the tar.
    pub(super) tail: Buffer,
    /// From the walker's to the inflate's.
    members: VecDeque<Member>,
}

impl Stretch {
    pub(super) fn new() -> Self {
        Self { walker: Walker::new(), pending: Buffer::default(), tail: Buffer::default(), members: VecDeque::new() }
    }

    /// Takes in compressed bytes of whatever kind.
    pub(super) fn push_compressed(&mut self, bytes: &[u8]) -> Result<(), Unchanged> {
        if self.pending.bytes.len() + bytes.len() > MAX_PENDING_BYTES || self.members.len() > MAX_MEMBERS {
            return Err(Unchanged::TooScattered);
        }
        self.pending.push(bytes);
        Ok(())
    }

    /// The bytes just pushed were a header's last: deflate data follows, and output.
    pub(super) fn begin_member(&mut self) {
        let (deflate_start, output_start) = (self.pending.end(), self.tail.end());
        self.members.push_back(Member { deflate_start, output_start, end: None });
    }

    /// The bytes just pushed were a member's last but for its trailer.
    pub(super) fn end_member(&mut self) {
        let end = MemberEnd { deflate: self.pending.end(), output: self.tail.end() };
        if let Some(member) = self.members.back_mut() {
            member.end = Some(end);
        }
    }

    /// The member that the walker is in, once there is one.
    pub(super) fn member(&self) -> Option<Member> {
        self.members.front().copied()
    }

    /// Walks in `member`, which is the walker's, with `limit` an offset in the tar.
    pub(super) fn walk(&mut self, member: Member, limit: u64, cross: bool) -> Result<Stop, Unchanged> {
        let input = self.pending.from(member.deflate_start + self.walker.position() / 8);
        let limit = limit.saturating_sub(member.output_start);
        let stop = if cross { self.walker.advance_to(input, limit) } else { self.walker.advance(input, limit) };
        Ok(stop?)
    }

    /// Puts the walker at the start of the next member, if the inflate has got there.
    pub(super) fn next_member(&mut self) -> Result<bool, Unchanged> {
        let (Some(own), Some(next)) = (self.members.front(), self.members.get(1)) else { return Ok(false) };
        // Walker and inflate are two readers of one format; where they disagree, nothing is certain.
        if own.output_start + self.walker.output() != next.output_start {
            return Err(Unchanged::Inflate);
        }
        self.members.pop_front();
        self.walker = Walker::new();
        Ok(true)
    }
}
