//! The frozen encoder: deflate blocks whose bits depend on nothing but the data.
//!
//! What it writes ends up in digests that clients keep in their lock files, so **its output is frozen**: every change
//! of it, a better match included, changes the digest of relocated bundles and is a breaking change. Golden tests
//! pin it. It is therefore as plain as can be: static Huffman codes, one hash chain, greedy matches. The data
//! is an ImagesLock and a little around it, for which this comes within a third or so of what zlib makes.

use super::alphabet::{DISTANCE_BASE, DISTANCE_EXTRA, END_OF_BLOCK, FIRST_LENGTH, LENGTH_BASE, LENGTH_EXTRA, WINDOW};
use super::bits::BitWriter;
use super::filler::stored_block_header;

/// Appends blocks that decode to `data` and refer to nothing before it. With `is_final` the last of them is the
/// stream's final one; without, empty data makes no block.
///
/// Never longer than `data` by more than six bytes per 32 KiB begun.
pub fn encode(data: &[u8], out: &mut BitWriter, is_final: bool) {
    if data.is_empty() && is_final {
        write_static(out, &[], true);
    }
    let segments = data.len().div_ceil(SEGMENT);
    for (index, segment) in data.chunks(SEGMENT).enumerate() {
        encode_segment(segment, out, is_final && index + 1 == segments);
    }
}

/// Offsets are kept in 32 bits; data longer than this is cut into pieces that know nothing of each other.
const SEGMENT: usize = 1 << 30;
/// Bytes per block: each is stored or not as is shorter. Below the 65535 a stored block can hold.
const CHUNK: usize = 32 * 1024;

/// Matches of three bytes are not looked for: static codes make them hardly shorter than three literals.
const SHORTEST_MATCH: usize = 4;
const LONGEST_MATCH: usize = 258;
const HASH_BITS: u32 = 15;
/// How many earlier places are tried for a match.
const CHAIN: usize = 32;
/// No earlier place: above every offset.
const NONE: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
enum Token {
    Literal(u8),
    Match { length: u16, distance: u16 },
}

fn encode_segment(data: &[u8], out: &mut BitWriter, is_final: bool) {
    let mut matches = Matches::new(data);
    let mut tokens = Vec::with_capacity(CHUNK);
    let mut start = 0;
    while start < data.len() {
        let end = data.len().min(start + CHUNK);
        tokens.clear();
        let mut position = start;
        while position < end {
            // A match does not cross the chunk's end, since the next chunk may be stored.
            let found = matches.longest(position, end);
            let step = match found {
                Some(Token::Match { length, .. }) => usize::from(length),
                _ => 1,
            };
            tokens.push(found.unwrap_or(Token::Literal(data[position])));
            (position..position + step).for_each(|at| matches.insert(at));
            position += step;
        }
        let is_last = is_final && end == data.len();
        let stored = 3 + (out.bit_len() + 3).wrapping_neg() % 8 + 32 + (end - start) as u64 * 8;
        if static_bits(&tokens) < stored {
            write_static(out, &tokens, is_last);
        } else {
            // A chunk is at most 32 KiB, so it fits.
            stored_block_header(out, (end - start) as u16, is_last);
            out.write_bytes(&data[start..end]);
        }
        start = end;
    }
}

/// Where each four bytes were seen: the last place per hash, and from each place the one before.
struct Matches<'a> {
    data: &'a [u8],
    head: Vec<u32>,
    previous: Vec<u32>,
}

impl<'a> Matches<'a> {
    fn new(data: &'a [u8]) -> Self {
        Self { data, head: vec![NONE; 1 << HASH_BITS], previous: vec![NONE; WINDOW as usize] }
    }

    /// The longest match for the bytes from `position` to `end`; among equally long ones the nearest.
    fn longest(&self, position: usize, end: usize) -> Option<Token> {
        let wanted = &self.data[position..end.min(position + LONGEST_MATCH)];
        let mut candidate = self.head[self.hash(position)?];
        let mut best = None;
        let mut best_length = SHORTEST_MATCH - 1;
        for _ in 0..CHAIN {
            let Some(distance) = position.checked_sub(candidate as usize) else { break };
            if distance > WINDOW as usize {
                break;
            }
            let length = common(&self.data[candidate as usize..], wanted);
            if length > best_length {
                best_length = length;
                best = Some(Token::Match { length: length as u16, distance: distance as u16 });
            }
            if length == wanted.len() {
                break;
            }
            candidate = self.previous[candidate as usize % WINDOW as usize];
        }
        best
    }

    fn insert(&mut self, position: usize) {
        if let Some(hash) = self.hash(position) {
            self.previous[position % WINDOW as usize] = self.head[hash];
            self.head[hash] = position as u32;
        }
    }

    fn hash(&self, position: usize) -> Option<usize> {
        let bytes = self.data.get(position..)?.first_chunk()?;
        Some((u32::from_le_bytes(*bytes).wrapping_mul(0x9e37_79b1) >> (32 - HASH_BITS)) as usize)
    }
}

fn common(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// Bits of a static block with these tokens.
fn static_bits(tokens: &[Token]) -> u64 {
    let symbols: u64 = tokens
        .iter()
        .map(|token| match *token {
            Token::Literal(byte) => u64::from(literal_code(byte.into()).1),
            Token::Match { length, distance } => {
                let length = index(&LENGTH_BASE, length);
                let extra = LENGTH_EXTRA[length] + DISTANCE_EXTRA[index(&DISTANCE_BASE, distance)];
                u64::from(literal_code(FIRST_LENGTH + length as u16).1 + DISTANCE_CODE_BITS + u32::from(extra))
            }
        })
        .sum();
    3 + symbols + u64::from(literal_code(END_OF_BLOCK).1)
}

fn write_static(out: &mut BitWriter, tokens: &[Token], is_final: bool) {
    out.write_bits(0b010 | u64::from(is_final), 3);
    let write_code = |out: &mut BitWriter, symbol| {
        let (code, bits) = literal_code(symbol);
        out.write_bits(code, bits);
    };
    for token in tokens {
        match *token {
            Token::Literal(byte) => write_code(out, byte.into()),
            Token::Match { length, distance } => {
                let symbol = index(&LENGTH_BASE, length);
                write_code(out, FIRST_LENGTH + symbol as u16);
                out.write_bits(u64::from(length - LENGTH_BASE[symbol]), LENGTH_EXTRA[symbol].into());
                let symbol = index(&DISTANCE_BASE, distance);
                out.write_bits(reversed(symbol as u16, DISTANCE_CODE_BITS), DISTANCE_CODE_BITS);
                out.write_bits(u64::from(distance - DISTANCE_BASE[symbol]), DISTANCE_EXTRA[symbol].into());
            }
        }
    }
    write_code(out, END_OF_BLOCK);
}

const DISTANCE_CODE_BITS: u32 = 5;

/// The static code of a literal/length symbol as it is written, and its bits (RFC 1951, 3.2.6).
fn literal_code(symbol: u16) -> (u64, u32) {
    let (code, bits) = match symbol {
        0..=143 => (0x30 + symbol, 8),
        144..=255 => (0x190 + symbol - 144, 9),
        256..=279 => (symbol - 256, 7),
        _ => (0xc0 + symbol - 280, 8),
    };
    (reversed(code, bits), bits)
}

/// Huffman codes are written highest bit first.
fn reversed(code: u16, bits: u32) -> u64 {
    u64::from(code.reverse_bits() >> (16 - bits))
}

/// The last symbol whose base is not above `value`.
fn index(bases: &[u16], value: u16) -> usize {
    bases.partition_point(|base| *base <= value) - 1
}
