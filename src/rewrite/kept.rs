//! The hash over the compressed bytes that are kept before the cut.
//!
//! If the cut comes to lie inside the last block of a gzip member, that block's "final" flag has to be cleared,
//! and the flag may be hundreds of megabytes back. So from such a block's header on there are two hashes: of the
//! bytes as they are, and of the bytes with the flag cleared. A member that ends without the cut drops the second.

use super::recipe::Recipe;
use crate::oci::{Algorithm, Hasher};

pub(super) struct Kept {
    hashed: u64,
    as_is: Hasher,
    cleared: Option<Cleared>,
}

struct Cleared {
    hasher: Hasher,
    /// Where the byte with the flag is.
    offset: u64,
    /// That byte with the flag cleared.
    byte: u8,
}

impl Kept {
    pub(super) fn new(algorithm: Algorithm) -> Self {
        Self { hashed: 0, as_is: Hasher::new(algorithm), cleared: None }
    }

    /// Takes in `bytes`, which end before the present cut. `final_flag` is the bit, counted from the layer's
    /// first byte, that the cut wants cleared.
    pub(super) fn push(&mut self, bytes: &[u8], final_flag: Option<u64>) {
        let flag = final_flag.filter(|_| self.cleared.is_none()).map(|bit| (bit / 8, bit % 8));
        match flag
            .and_then(|(offset, bit)| Some((offset, bit, usize::try_from(offset.checked_sub(self.hashed)?).ok()?)))
        {
            Some((offset, bit, index)) if index < bytes.len() => {
                self.update(&bytes[..index]);
                let byte = bytes[index] & !(1 << bit);
                let mut hasher = self.as_is.clone();
                hasher.update(&[byte]);
                self.as_is.update(&bytes[index..=index]);
                self.hashed += 1;
                self.cleared = Some(Cleared { hasher, offset, byte });
                self.update(&bytes[index + 1..]);
            }
            _ => self.update(bytes),
        }
    }

    /// The cut is beyond the member that was read: its last block keeps its flag.
    pub(super) fn member_ended(&mut self) {
        self.cleared = None;
    }

    /// The hash up to the cut, and the recipe for as much.
    pub(super) fn finish(self, final_flag: Option<u64>) -> (Hasher, Recipe) {
        let mut recipe = Recipe::new();
        match self.cleared.filter(|_| final_flag.is_some()) {
            Some(cleared) => {
                recipe.original(0..cleared.offset);
                recipe.inline(vec![cleared.byte]);
                recipe.original(cleared.offset + 1..self.hashed);
                (cleared.hasher, recipe)
            }
            None => {
                recipe.original(0..self.hashed);
                (self.as_is, recipe)
            }
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        self.hashed += bytes.len() as u64;
        self.as_is.update(bytes);
        if let Some(cleared) = &mut self.cleared {
            cleared.hasher.update(bytes);
        }
    }
}
