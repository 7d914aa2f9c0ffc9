//! Blocks without content: they move a stream to the bit position at which copied bits go on.

use super::bits::BitWriter;

/// Appends the header of a stored block that `length` bytes are to follow; the writer is on a byte boundary then.
pub fn stored_block_header(out: &mut BitWriter, length: u16, is_final: bool) {
    out.write_bits(u64::from(is_final), 3);
    out.align();
    out.write_bits(u64::from(length), 16);
    out.write_bits(u64::from(!length), 16);
}

/// Brings `out.bit_len() % 8` to `phase` (0 to 7): up to three empty static blocks, after an empty dynamic
/// block if the distance is odd. At most 129 bits; nothing if the phase is right already.
pub fn fill_to_phase(out: &mut BitWriter, phase: u32) {
    assert!(phase < 8, "a phase is a bit position in a byte");
    let missing = |out: &BitWriter| (u64::from(phase) + 8 - out.bit_len() % 8) % 8;
    if missing(out) % 2 == 1 {
        empty_dynamic_block(out);
    }
    // Ten bits each: every one moves the phase by two.
    while missing(out) > 0 {
        out.write_bits(EMPTY_STATIC_BLOCK, EMPTY_STATIC_BLOCK_BITS);
    }
}

/// Not final (0), static (01), and the end-of-block code, seven zeros.
const EMPTY_STATIC_BLOCK: u64 = 0b010;
const EMPTY_STATIC_BLOCK_BITS: u32 = 10;

/// Bits of [`empty_dynamic_block`]. Odd, or it would serve no purpose.
#[cfg(test)]
const EMPTY_DYNAMIC_BLOCK_BITS: u64 = 99;

/// Appends a dynamic block of 99 bits with nothing in it.
///
/// Decoders differ in which incomplete codes they take (zlib wants two literal/length codes unless there is only one
/// in the block, old ones want a distance code), so all three codes here are complete and have two members at least:
/// literal/length 0 and 256, and distance 0 and 1, one bit each. Their lengths are written as 1, 245 zeros in two runs
/// of symbol 18, ten more with symbol 17, and 1, 1, 1: the run of symbol 17 is what makes the total odd.
fn empty_dynamic_block(out: &mut BitWriter) {
    out.write_bits(0b100, 3); // not final, dynamic
    out.write_bits(0, 5); // 257 literal/length codes
    out.write_bits(1, 5); // 2 distance codes
    out.write_bits(18 - 4, 4); // 18 lengths of the code length code
    // In the order 16 17 18 0 8 7 9 6 10 5 11 4 12 3 13 2 14 1: symbol 1 has one bit, 17 and 18 two.
    out.write_bits(0b010_010 << 3, 9);
    out.write_bits(1 << 42, 45);
    // Codes by length, then symbol: 1 is 0, 17 is 10, 18 is 11; first bit first, so 10 is written as 0b01.
    out.write_bits(0, 1);
    out.write_bits(0b11, 2);
    out.write_bits(138 - 11, 7);
    out.write_bits(0b11, 2);
    out.write_bits(107 - 11, 7);
    out.write_bits(0b01, 2);
    out.write_bits(10 - 3, 3);
    out.write_bits(0, 3);
    out.write_bits(1, 1); // end of block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dynamic_block_moves_to_an_odd_phase() {
        let mut out = BitWriter::new();
        empty_dynamic_block(&mut out);
        assert_eq!(out.bit_len(), EMPTY_DYNAMIC_BLOCK_BITS);
    }
}
