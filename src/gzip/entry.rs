//! Entries of decoding tables: what a code stands for, packed into a word.

use super::alphabet::{
    DISTANCE_BASE, DISTANCE_EXTRA, DISTANCE_SYMBOLS, END_OF_BLOCK, FIRST_LENGTH, LENGTH_BASE, LENGTH_EXTRA,
};

/// What a code stands for.
///
/// Bits 0-5: bits to consume, extra bits included. 8-11: bits of the code, or the width of the part a link points to.
/// 16-27: bytes of output without the extra bits, or the distance symbol, or where a link points.
/// 31: literal. 30: not a literal or match, then 29: a link, 28: end of block, neither: invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry(u32);

impl Entry {
    const LITERAL: u32 = 1 << 31;
    const SPECIAL: u32 = 1 << 30;
    const LINK: u32 = 1 << 29;
    const END: u32 = 1 << 28;

    fn new(flags: u32, code: u32, extra: u8, value: u16) -> Self {
        Self(flags | u32::from(value) << 16 | code << 8 | (code + u32::from(extra)))
    }

    /// Bits that mean nothing.
    pub(super) fn invalid(code: u32) -> Self {
        Self::new(Self::SPECIAL, code, 0, 0)
    }

    /// The entry of a symbol that is its own value.
    pub(super) fn plain(symbol: u16, code: u32) -> Self {
        Self::new(0, code, 0, symbol)
    }

    /// Stands for codes longer than the table's width: they go on in a part of `1 << width` entries from `start`.
    pub(super) fn link(start: usize, width: u32) -> Self {
        Self(Self::SPECIAL | Self::LINK | (start as u32) << 16 | width << 8)
    }

    /// Bits to consume.
    #[inline(always)]
    pub(super) fn total(self) -> u32 {
        self.0 & 0x3f
    }

    /// Bits of the code alone; for a link, the width of what it leads to.
    #[inline(always)]
    pub(super) fn code(self) -> u32 {
        (self.0 >> 8) & 0xf
    }

    /// Bytes of output, short of what the extra bits add; or the symbol.
    #[inline(always)]
    pub(super) fn value(self) -> u16 {
        ((self.0 >> 16) & 0xfff) as u16
    }

    /// The value of the extra bits behind the code.
    #[inline(always)]
    pub(super) fn extra(self, bits: u64) -> u64 {
        (bits & ((1 << self.total()) - 1)) >> self.code()
    }

    #[inline(always)]
    pub(super) fn is_literal(self) -> bool {
        self.0 & Self::LITERAL != 0
    }

    /// Neither a literal nor a match.
    #[inline(always)]
    pub(super) fn is_special(self) -> bool {
        self.0 & Self::SPECIAL != 0
    }

    /// Leads to another entry.
    #[inline(always)]
    pub(super) fn is_link(self) -> bool {
        self.0 & Self::LINK != 0
    }

    pub(super) fn is_end_of_block(self) -> bool {
        self.0 & Self::END != 0
    }
}

/// The entry of a literal/length symbol.
pub(super) fn literal_entry(symbol: u16, code: u32) -> Entry {
    if symbol < END_OF_BLOCK {
        return Entry::new(Entry::LITERAL, code, 0, 1);
    }
    if symbol == END_OF_BLOCK {
        return Entry::new(Entry::SPECIAL | Entry::END, code, 0, 0);
    }
    let index = usize::from(symbol - FIRST_LENGTH);
    match (LENGTH_BASE.get(index), LENGTH_EXTRA.get(index)) {
        (Some(base), Some(extra)) => Entry::new(0, code, *extra, *base),
        _ => Entry::invalid(code),
    }
}

/// The entry of a distance symbol.
pub(super) fn distance_entry(symbol: u16, code: u32) -> Entry {
    match DISTANCE_EXTRA.get(usize::from(symbol)) {
        Some(extra) => Entry::new(0, code, *extra, symbol),
        None => Entry::invalid(code),
    }
}

/// The distance a distance entry stands for, `bits` beginning with its code.
pub(super) fn distance(entry: Entry, bits: u64) -> u64 {
    debug_assert!(entry.value() < DISTANCE_SYMBOLS, "invalid symbols have no distance");
    u64::from(DISTANCE_BASE[usize::from(entry.value())]) + entry.extra(bits)
}
