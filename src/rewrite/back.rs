//! The back of a splice: the original's bytes, with one trailer made anew.

use flate2::Crc;

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

struct OpenMember {
    crc: Crc,
    size: u64,
}

impl Back {
    /// Behind a patch: `crc` and `size` are of the member's output so far, and the original is copied from
    /// `copy_from` on.
    pub(super) fn new(recipe: Recipe, hasher: Hasher, copy_from: u64, crc: Crc, size: u64) -> Self {
        Self { recipe, hasher, copy_from, copied_to: copy_from, skip: 0, member: Some(OpenMember { crc, size }) }
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
            member.crc.update(bytes);
            member.size += bytes.len() as u64;
        }
    }

    /// The inflate's member ended: if it is the patched one, its trailer is replaced.
    pub(super) fn end_member(&mut self) {
        if let Some(member) = self.member.take() {
            self.recipe.original(self.copy_from..self.copied_to);
            self.copy_from = self.copied_to;
            let trailer = trailer(member.crc.sum(), member.size);
            self.hasher.update(&trailer);
            self.recipe.inline(trailer.to_vec());
            self.skip = TRAILER_LENGTH as u64;
        }
    }

    /// The layer; there are no more bytes.
    pub(super) fn finish(mut self) -> (Recipe, Hasher) {
        self.recipe.original(self.copy_from..self.copied_to);
        (self.recipe, self.hasher)
    }
}
