//! Decoding tables for Huffman codes.
//!
//! A table is looked up with the next bits of the stream. Codes up to the table's width are found at once, longer
//! ones in a second part the first points to. An entry says how many bits the symbol and its extra bits take and what
//! it adds to the output, which is all a walker wants to know. (Entries that stand for several literals at once were
//! tried: no faster on real layers, and the dearer tables helped hostile ones.)

use super::alphabet::{END_OF_BLOCK, FIXED_DISTANCE_LENGTHS, FIXED_LITERAL_LENGTHS};
use super::entry::{Entry, distance_entry, literal_entry};

/// The longest code there is, in bits.
const MAX_CODE_LENGTH: usize = 15;
/// Symbols of the largest alphabet.
const MAX_SYMBOLS: usize = 288;

/// Entries of the literal/length table: 11 bits wide, it needs 2342 at most (zlib's `enough`: 288 symbols, 15 bits),
/// and a power of two lets the compiler see that a masked index is in bounds.
pub(super) const LITERAL_ENTRIES: usize = 4096;
/// Entries of the distance table: 8 bits wide, it needs 402 at most (32 symbols, 15 bits).
pub(super) const DISTANCE_ENTRIES: usize = 512;
const LITERAL_WIDTH: u32 = 11;
const DISTANCE_WIDTH: u32 = 8;

/// The codes of a Huffman block.
#[derive(Debug, Clone)]
pub(super) struct Codes {
    pub(super) literals: Table<LITERAL_ENTRIES>,
    pub(super) distances: Table<DISTANCE_ENTRIES>,
    end_of_block: (u16, u32),
}

impl Codes {
    /// Codes that decode nothing.
    pub(super) fn empty() -> Self {
        Self { literals: Table::empty(), distances: Table::empty(), end_of_block: (0, 0) }
    }

    /// The codes of static blocks.
    pub(super) fn fixed() -> Self {
        let mut codes = Self::empty();
        let set = codes.set(&FIXED_LITERAL_LENGTHS, &FIXED_DISTANCE_LENGTHS);
        debug_assert!(set.is_ok(), "the fixed codes are complete");
        codes
    }

    /// Replaces the codes by those with these lengths per symbol.
    pub(super) fn set(&mut self, literals: &[u8], distances: &[u8]) -> Result<(), CodesError> {
        if literals.get(usize::from(END_OF_BLOCK)).is_none_or(|length| *length == 0) {
            return Err(CodesError::NoEndOfBlock);
        }
        let end_of_block = self
            .literals
            .set(literals, LITERAL_WIDTH, Incomplete::OneBit, literal_entry, Some(END_OF_BLOCK))
            .map_err(|_| CodesError::Literals)?;
        self.distances
            .set(distances, DISTANCE_WIDTH, Incomplete::OneBit, distance_entry, None)
            .map_err(|_| CodesError::Distances)?;
        self.end_of_block = end_of_block;
        Ok(())
    }

    /// The end-of-block code as it is written, lowest bit first, and its length in bits.
    pub(super) fn end_of_block(&self) -> (u16, u32) {
        self.end_of_block
    }
}

/// Which of the two codes of a block was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CodesError {
    NoEndOfBlock,
    Literals,
    Distances,
}

/// The code lengths do not describe a prefix code that uses every bit string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotComplete;

/// What is taken besides complete codes. These are inflate's rules (zlib `inftrees.c`): what a real decoder refuses
/// must not be spliced, what it takes must.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Incomplete {
    Never,
    /// No code at all, or a single one of one bit. Using what it leaves open is an error.
    OneBit,
}

/// A decoding table of at most `SIZE` entries, a power of two.
#[derive(Debug, Clone)]
pub(super) struct Table<const SIZE: usize> {
    entries: Box<[Entry; SIZE]>,
    width: u32,
}

impl<const SIZE: usize> Table<SIZE> {
    pub(super) fn empty() -> Self {
        Self { entries: Box::new([Entry::invalid(1); SIZE]), width: 1 }
    }

    /// The entry of the code that `bits` start with.
    #[inline(always)]
    pub(super) fn lookup(&self, bits: u64) -> Entry {
        let entry = self.first(bits);
        if entry.is_link() { self.second(entry, bits) } else { entry }
    }

    /// The entry for the table's width of `bits`, which may be a link.
    #[inline(always)]
    pub(super) fn first(&self, bits: u64) -> Entry {
        self.entries[(bits & ((1 << self.width) - 1)) as usize & (SIZE - 1)]
    }

    /// Follows a link.
    #[inline(always)]
    pub(super) fn second(&self, link: Entry, bits: u64) -> Entry {
        let index = (bits >> self.width) & ((1 << link.code()) - 1);
        self.entries[(usize::from(link.value()) + index as usize) & (SIZE - 1)]
    }

    /// Replaces the table by the one for these code lengths, at most `width` bits wide. Returns the code of `wanted` as
    /// it is written, lowest bit first, and its length.
    pub(super) fn set(
        &mut self,
        lengths: &[u8],
        width: u32,
        incomplete: Incomplete,
        entry: impl Fn(u16, u32) -> Entry,
        wanted: Option<u16>,
    ) -> Result<(u16, u32), NotComplete> {
        let mut count = [0u16; MAX_CODE_LENGTH + 1];
        for &length in lengths {
            count[usize::from(length)] += 1;
        }
        count[0] = 0;
        let longest = count.iter().rposition(|n| *n > 0).unwrap_or(0);
        check(&count, longest, incomplete)?;

        // The symbols by code length, then by value: the order of their codes.
        let mut start = [0u16; MAX_CODE_LENGTH + 2];
        for length in 1..=MAX_CODE_LENGTH {
            start[length + 1] = start[length] + count[length];
        }
        let used = usize::from(start[MAX_CODE_LENGTH + 1]);
        let mut sorted = [0u16; MAX_SYMBOLS];
        for (symbol, &length) in (0u16..).zip(lengths) {
            if length > 0 {
                let slot = &mut start[usize::from(length)];
                sorted[usize::from(*slot)] = symbol;
                *slot += 1;
            }
        }

        self.width = width.min(longest as u32).max(1);
        let primary = 1usize << self.width;
        // The part for codes of up to `done` bits is ready; it is doubled for each further bit.
        let mut done = 0;
        self.entries[0] = Entry::invalid(1);
        let mut found = (0, 0);
        let mut code = 0u32;
        let mut previous = 0;
        // The present second part: the first bits it is for, where it begins, where it ends.
        let (mut part, mut part_start, mut end) = (None, 0, primary);
        for &symbol in &sorted[..used] {
            let length = u32::from(lengths[usize::from(symbol)]);
            code <<= length - previous;
            previous = length;
            let reversed = (code.reverse_bits() >> (32 - length)) as usize;
            if wanted == Some(symbol) {
                found = (reversed as u16, length);
            }
            let value = entry(symbol, length);
            self.widen(&mut done, length.min(self.width));
            if length <= self.width {
                self.entries[reversed] = value;
            } else {
                let prefix = reversed & (primary - 1);
                if part != Some(prefix) {
                    part = Some(prefix);
                    part_start = end;
                    let part_width = needed_width(&count, length, self.width, longest as u32);
                    end += 1 << part_width;
                    self.entries[prefix] = Entry::link(part_start, part_width);
                }
                fill(&mut self.entries[part_start..end], reversed >> self.width, length - self.width, value);
            }
            // What is left of each length, for the width of parts to come.
            count[length as usize] -= 1;
            code += 1;
        }
        self.widen(&mut done, self.width);
        Ok(found)
    }

    /// Repeats the table, `done` bits wide, until it is `width` bits wide.
    fn widen(&mut self, done: &mut u32, width: u32) {
        while *done < width {
            let size = 1 << *done;
            self.entries.copy_within(..size, size);
            *done += 1;
        }
    }
}

/// Whether that many codes of each length use up every bit string, no more and no less.
fn check(count: &[u16; MAX_CODE_LENGTH + 1], longest: usize, incomplete: Incomplete) -> Result<(), NotComplete> {
    let mut left = 1i32;
    for &n in &count[1..] {
        left = (left << 1) - i32::from(n);
        if left < 0 {
            return Err(NotComplete);
        }
    }
    let allowed = left == 0 || (incomplete == Incomplete::OneBit && longest <= 1);
    allowed.then_some(()).ok_or(NotComplete)
}

/// How wide a part must be that begins with a code of `length` bits, given how many codes of each length are left.
fn needed_width(left: &[u16; MAX_CODE_LENGTH + 1], length: u32, width: u32, longest: u32) -> u32 {
    let mut needed = length - width;
    let mut room = 1i32 << needed;
    while needed + width < longest {
        room -= i32::from(left[(needed + width) as usize]);
        if room <= 0 {
            break;
        }
        needed += 1;
        room <<= 1;
    }
    needed
}

/// Writes `value` at every index that starts (lowest bits first) with the `length` bits of `code`.
fn fill(entries: &mut [Entry], code: usize, length: u32, value: Entry) {
    for slot in entries[code..].iter_mut().step_by(1 << length) {
        *slot = value;
    }
}
