//! Gzip at the level of bits: what it takes to replace a stretch of a compressed stream and keep the rest as it is.
//!
//! A layer is spliced, not compressed again (DESIGN, section 2). This room has the pieces; the rewriter puts them
//! together:
//!
//! 1. [`HeaderParser`] finds where the deflate stream of a member starts.
//! 2. A [`Walker`] goes through the stream next to a real inflate. It only counts, and so knows at every symbol which
//!    compressed bit belongs to which output byte. Its [`Cut`] says how to end the stream before the stretch, its
//!    [`Resume`] how to go on at least a window (32 KiB) behind it, where no match can reach back into it.
//! 3. Between the two a [`BitWriter`] takes what [`encode`] makes of the new bytes, and [`fill_to_phase`] brings it to
//!    the bit position at which the copied bits go on.
//! 4. [`trailer`] closes the member with the new CRC-32 and size.
//!
//! Everything is sans-IO and takes its input in pieces. Left out: inflating and CRC-32, for which the rewriter has
//! flate2; tar; what to keep and where, which is the recipe's business. Nothing that is written here may ever come from
//! a compression library: its bits enter digests.

mod alphabet;
mod bits;
mod block;
mod encoder;
mod entry;
mod fault;
mod filler;
mod header;
mod huffman;
mod joint;
mod sprint;
#[cfg(test)]
mod tests;
mod walker;

pub use bits::{BitString, BitWriter};
pub use encoder::encode;
pub use fault::{Fault, WalkError};
pub use filler::{fill_to_phase, stored_block_header};
pub use header::{HeaderError, HeaderParser, MAX_HEADER_LENGTH, TRAILER_LENGTH, Trailer, trailer};
pub use joint::{Cut, Resume, ResumeBlock};
pub use walker::{Stop, Walker};
