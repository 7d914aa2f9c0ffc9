//! The walker's inner loop.

use super::huffman::Codes;

/// Takes literals and matches while there is plenty of input and room below `limit`. Returns the new position in
/// `input`, in bits, and the new output offset.
///
/// It stops before whatever needs a closer look: an end-of-block code, an invalid code, the last bytes of the input,
/// the last of the room. Distances are passed over, so the caller sees to it that a whole window of output lies behind.
pub(super) fn sprint(codes: &Codes, input: &[u8], position: u64, mut output: u64, limit: u64) -> (u64, u64) {
    let last = input.len().saturating_sub(INPUT_MARGIN);
    let limit = limit.saturating_sub(OUTPUT_MARGIN);
    let start = usize::try_from(position / 8).unwrap_or(usize::MAX);
    if start >= last || output >= limit {
        return (position, output);
    }
    let mut window = Window { input, next: start, bits: 0, held: 0 };
    window.top_up();
    window.take((position % 8) as u32);

    while window.next < last && output < limit {
        window.top_up();
        // Three literals of up to 11 bits are as much as can be taken before the next top-up.
        let mut entry = codes.literals.first(window.bits);
        if entry.is_literal() {
            window.take(entry.total());
            output += 1;
            entry = codes.literals.first(window.bits);
            if entry.is_literal() {
                window.take(entry.total());
                output += 1;
                entry = codes.literals.first(window.bits);
                if entry.is_literal() {
                    window.take(entry.total());
                    output += 1;
                    continue;
                }
            }
            // A match takes up to 48.
            window.top_up();
        }
        if entry.is_link() {
            entry = codes.literals.second(entry, window.bits);
            if entry.is_literal() {
                window.take(entry.total());
                output += 1;
                continue;
            }
        }
        if entry.is_special() {
            break;
        }
        let distance = codes.distances.lookup(window.bits >> entry.total());
        if distance.is_special() {
            break;
        }
        output += u64::from(entry.value()) + entry.extra(window.bits);
        window.take(entry.total() + distance.total());
    }
    (window.next as u64 * 8 - u64::from(window.held), output)
}

/// Bytes that must be left for another round: it reads eight at the start, and eight more at most seven further on.
const INPUT_MARGIN: usize = 24;
/// Bytes a round can add to the output, rounded up: two literals and a match of 258.
const OUTPUT_MARGIN: u64 = 512;

/// The next bits of the input: 56 at least after a top-up.
struct Window<'a> {
    input: &'a [u8],
    /// The byte the next top-up starts with.
    next: usize,
    /// The bits above those held are what the next byte begins with, or zeros: a top-up sets them to what they are.
    bits: u64,
    held: u32,
}

impl Window<'_> {
    #[inline(always)]
    fn top_up(&mut self) {
        let word = self.input.get(self.next..).and_then(<[u8]>::first_chunk).copied().unwrap_or_default();
        self.bits |= u64::from_le_bytes(word) << self.held;
        // Up to 63 bits are held then; counting whole bytes only, there is no need to mask what is above them.
        self.next += ((63 - self.held) >> 3) as usize;
        self.held |= 56;
    }

    #[inline(always)]
    fn take(&mut self, n: u32) {
        self.bits >>= n;
        self.held -= n;
    }
}
