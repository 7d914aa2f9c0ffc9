//! The back of a splice: the original's bytes, with one trailer made anew.

use crc32fast::Hasher as Crc;

use super::recipe::Recipe;
use crate::gzip::{TRAILER_LENGTH, trailer};
use crate::oci::Hasher;

pub(super) struct Back {
    recipe: Recipe,
    hasher: Hasher,
    /// The range of the original that is being copied.
    copy_from: u64,
    copied_to: u64,
    /// Bytes of the old trailer that are still to come, and to be left out.
    skip: u64,
    /// The member that the patch is in, until it ends.
    member: Option<OpenMember>,
}

/// A member whose output differs from the original's up to some place and is the same behind it.
///
/// The reader computes the original's checksum in any case, and CRC-32 is linear: what the two differ by at that
/// place, carried on over the bytes that follow, is what they differ by at the end. So the new output is not run
/// through a checksum of its own.
struct OpenMember {
    difference: u32,
    /// Bytes of output since that place.
    since: u64,
    /// Bytes of new output in all.
    size: u64,
}

impl Back {
    /// Behind a patch, with the original copied from `copy_from` on.
    pub(super) fn new(recipe: Recipe, hasher: Hasher, copy_from: u64) -> Self {
        Self { recipe, hasher, copy_from, copied_to: copy_from, skip: 0, member: None }
    }

    /// The patched member goes on: up to here its new output has `size` bytes and the checksum `new`, the
    /// original's the checksum `old`.
    pub(super) fn continue_member(&mut self, new: u32, old: u32, size: u64) {
        self.member = Some(OpenMember { difference: new ^ old, since: 0, size });
    }

    /// Takes in compressed bytes of whatever kind.
    pub(super) fn push_compressed(&mut self, bytes: &[u8]) {
        let skipped = self.skip.min(bytes.len() as u64);
        self.skip -= skipped;
        self.copy_from += skipped;
        self.copied_to += bytes.len() as u64;
        self.hasher.update(&bytes[skipped as usize..]);
    }

    /// Takes in inflated bytes.
    pub(super) fn push_output(&mut self, bytes: &[u8]) {
        if let Some(member) = &mut self.member {
            member.since += bytes.len() as u64;
            member.size += bytes.len() as u64;
        }
    }

    /// The inflate's member ended, its original output with the checksum `old`: if it is the patched one, its
    /// trailer is replaced.
    pub(super) fn end_member(&mut self, old: u32) {
        if let Some(member) = self.member.take() {
            let mut carried = Crc::new_with_initial_len(member.difference, 0);
            carried.combine(&Crc::new_with_initial_len(0, member.since));
            self.replace_trailer(carried.finalize() ^ old, member.size);
        }
    }

    /// The next bytes are the patched member's trailer, which becomes another.
    pub(super) fn replace_trailer(&mut self, crc: u32, size: u64) {
        self.recipe.original(self.copy_from..self.copied_to);
        self.copy_from = self.copied_to;
        let trailer = trailer(crc, size);
        self.hasher.update(&trailer);
        self.recipe.inline(trailer.to_vec());
        self.skip = TRAILER_LENGTH as u64;
    }

    /// The layer; there are no more bytes.
    pub(super) fn finish(mut self) -> (Recipe, Hasher) {
        self.recipe.original(self.copy_from..self.copied_to);
        (self.recipe, self.hasher)
    }
}
