//! Walks a raw deflate stream: decodes it as far as needed to know, at every symbol, where it is in the compressed
//! bits and how many bytes of output lie behind. There is no window and no output.

use std::sync::LazyLock;

use super::alphabet::WINDOW;
use super::bits::{BitReader, BitString};
use super::block::{self, BlockKind};
use super::entry::distance;
use super::fault::{Fault, WalkError};
use super::huffman::Codes;
use super::joint::{Cut, Resume, ResumeBlock};
use super::sprint::sprint;

/// Walks one deflate stream. Positions are bits from the stream's first byte and bytes of output from its start.
///
/// It takes the stream event by event: a block header, a literal, a match, an end-of-block code, any number of stored
/// bytes. An event is taken as a whole or not at all, and never beyond the limit of the call, so where the walker stops
/// does not depend on how the input was split.
///
/// The walker holds no input. Each call is given the stream from the byte that holds the present position on
/// (byte `position() / 8`), as much of it as there is; afterwards the caller drops what lies before the new position.
#[derive(Debug, Clone)]
pub struct Walker {
    bit: u64,
    output: u64,
    /// Where the present block starts; at the end, where the last one did.
    block: BlockStart,
    state: State,
    /// The codes of the present block if it is a dynamic one.
    codes: Codes,
}

#[derive(Debug, Clone, Copy)]
struct BlockStart {
    bit: u64,
    output: u64,
}

#[derive(Debug, Clone)]
enum State {
    /// Before a block header.
    Boundary,
    /// Before a symbol of a block with this header.
    Huffman { header: BitString, is_fixed: bool, is_final: bool },
    /// Inside a stored block, on a byte boundary, with at least one byte to come.
    Stored { remaining: u16, is_final: bool },
    /// Behind the final block.
    End,
}

/// Why the walker stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The output is at the limit, or the next symbol would take it past that.
    Limit,
    /// The next event is not in the input as a whole.
    NeedInput,
    /// The stream ended before the limit.
    End,
}

impl Walker {
    /// A walker before the first bit of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self {
            bit: 0,
            output: 0,
            block: BlockStart { bit: 0, output: 0 },
            state: State::Boundary,
            codes: Codes::empty(),
        }
    }

    /// The walker's position in the stream, in bits. At [`Stop::End`] the stream ends with the byte before
    /// `position().div_ceil(8)`.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.bit
    }

    /// Bytes of output before the position.
    #[must_use]
    pub fn output(&self) -> u64 {
        self.output
    }

    /// Takes every event that leaves the output at or below `limit`, and stops at once when it is there: an
    /// end-of-block code or a block header that follows is not taken. [`Stop::End`] comes when the stream ends below
    /// the limit, so whoever wants the end asks for `u64::MAX`.
    ///
    /// # Errors
    ///
    /// If what follows is not deflate as inflate takes it. The walker stays before it.
    pub fn advance(&mut self, input: &[u8], limit: u64) -> Result<Stop, WalkError> {
        self.walk(input, limit, Crossing::Never)
    }

    /// Like [`Walker::advance`], but takes a match that crosses `target` too: stops with [`Stop::Limit`] at the first
    /// place at or behind it where the stream can be resumed, up to 257 bytes further.
    ///
    /// # Errors
    ///
    /// As [`Walker::advance`].
    pub fn advance_to(&mut self, input: &[u8], target: u64) -> Result<Stop, WalkError> {
        self.walk(input, target, Crossing::OneSymbol)
    }

    /// How the stream can be ended here. That is at the position, except in two cases where it is at the start of the
    /// block: inside a stored block, whose header says how long it is, and before a block's first symbol.
    #[must_use]
    pub fn cut(&self) -> Cut {
        let at_block = Cut { bit: self.block.bit, output: self.block.output, end_of_block: None, final_flag: None };
        let here = Cut { bit: self.bit, output: self.output, ..at_block };
        match &self.state {
            State::Huffman { is_fixed, is_final, .. } if self.output > self.block.output => Cut {
                end_of_block: Some(codes(*is_fixed, &self.codes).end_of_block()),
                final_flag: is_final.then_some(self.block.bit),
                ..here
            },
            State::Huffman { .. } | State::Stored { .. } => at_block,
            State::Boundary => here,
            State::End => Cut { final_flag: Some(self.block.bit), ..here },
        }
    }

    /// How the stream can be taken up again here. Before the first symbol or byte of a block that is at the start of
    /// the block, with the header that is there already.
    #[must_use]
    pub fn resume(&self) -> Resume {
        let block = match &self.state {
            State::Huffman { .. } | State::Stored { .. } if self.output == self.block.output => {
                return Resume { bit: self.block.bit, output: self.output, block: ResumeBlock::Boundary };
            }
            State::Boundary => ResumeBlock::Boundary,
            State::Huffman { header, .. } => ResumeBlock::Huffman { header: header.clone() },
            State::Stored { remaining, is_final } => ResumeBlock::Stored { remaining: *remaining, is_final: *is_final },
            State::End => ResumeBlock::End,
        };
        Resume { bit: self.bit, output: self.output, block }
    }

    fn walk(&mut self, input: &[u8], limit: u64, crossing: Crossing) -> Result<Stop, WalkError> {
        let view = View { input, first_bit: self.bit & !7 };
        while self.output < limit {
            let stop = match self.state {
                State::End => Ok(Some(Stop::End)),
                State::Boundary => self.enter_block(&view),
                State::Stored { remaining, is_final } => Ok(self.stored(&view, limit, remaining, is_final)),
                State::Huffman { is_fixed, is_final, .. } => self.symbols(&view, limit, crossing, is_fixed, is_final),
            };
            match stop {
                Ok(None) => {}
                Ok(Some(stop)) => return Ok(stop),
                Err(fault) => return Err(WalkError { bit: self.bit, output: self.output, fault }),
            }
        }
        Ok(Stop::Limit)
    }

    fn enter_block(&mut self, view: &View<'_>) -> Result<Option<Stop>, Fault> {
        let mut reader = view.reader(self.bit);
        let start = reader.position();
        let Some(header) = block::read(&mut reader, &mut self.codes)? else { return Ok(Some(Stop::NeedInput)) };
        self.block = BlockStart { bit: self.bit, output: self.output };
        self.bit = view.first_bit + reader.position();
        let is_final = header.is_final;
        self.state = match header.kind {
            BlockKind::Stored { length: 0 } => after_block(is_final),
            BlockKind::Stored { length } => State::Stored { remaining: length, is_final },
            kind => State::Huffman { header: reader.since(start), is_fixed: kind == BlockKind::Fixed, is_final },
        };
        Ok(None)
    }

    fn stored(&mut self, view: &View<'_>, limit: u64, remaining: u16, is_final: bool) -> Option<Stop> {
        let available = view.reader(self.bit).available() / 8;
        let taken = available.min(limit - self.output).min(remaining.into());
        if taken == 0 {
            return Some(Stop::NeedInput);
        }
        self.bit += taken * 8;
        self.output += taken;
        // At most `remaining`, so it fits.
        let remaining = remaining - taken as u16;
        self.state = if remaining == 0 { after_block(is_final) } else { State::Stored { remaining, is_final } };
        None
    }

    fn symbols(
        &mut self,
        view: &View<'_>,
        limit: u64,
        crossing: Crossing,
        is_fixed: bool,
        is_final: bool,
    ) -> Result<Option<Stop>, Fault> {
        let codes = codes(is_fixed, &self.codes);
        while self.output < limit {
            // Every distance is good from here on, so the sprint needs not look at them.
            if self.output >= WINDOW {
                let (position, output) = sprint(codes, view.input, self.bit - view.first_bit, self.output, limit);
                (self.bit, self.output) = (view.first_bit + position, output);
            }
            let mut reader = view.reader(self.bit);
            match symbol(codes, &mut reader, self.output)? {
                Symbol::NeedInput => return Ok(Some(Stop::NeedInput)),
                Symbol::EndOfBlock => {
                    self.bit = view.first_bit + reader.position();
                    self.state = after_block(is_final);
                    return Ok(None);
                }
                Symbol::Bytes(n) if self.output + n > limit && crossing == Crossing::Never => {
                    return Ok(Some(Stop::Limit));
                }
                Symbol::Bytes(n) => {
                    self.bit = view.first_bit + reader.position();
                    self.output += n;
                }
            }
        }
        Ok(None)
    }
}

impl Default for Walker {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether a match that crosses the limit is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Crossing {
    Never,
    OneSymbol,
}

/// The input of one call, and where in the stream it starts.
struct View<'a> {
    input: &'a [u8],
    first_bit: u64,
}

impl<'a> View<'a> {
    fn reader(&self, bit: u64) -> BitReader<'a> {
        BitReader::new(self.input, bit - self.first_bit)
    }
}

enum Symbol {
    NeedInput,
    EndOfBlock,
    Bytes(u64),
}

/// Reads one symbol with `output` bytes before it.
fn symbol(codes: &Codes, reader: &mut BitReader<'_>, output: u64) -> Result<Symbol, Fault> {
    let bits = reader.peek();
    let available = reader.available();
    // Behind the input the bits read as zeros. An entry found with them is right if its code is within the input: no
    // other code starts with the same bits.
    let entry = codes.literals.lookup(bits);
    if u64::from(entry.code()) > available {
        return Ok(Symbol::NeedInput);
    }
    if entry.is_literal() || entry.is_end_of_block() {
        reader.skip(entry.code().into());
        return Ok(if entry.is_literal() { Symbol::Bytes(1) } else { Symbol::EndOfBlock });
    }
    if entry.is_special() {
        return Err(Fault::LiteralSymbol);
    }
    let behind = bits >> entry.total();
    let back = codes.distances.lookup(behind);
    if u64::from(entry.total() + back.code()) > available {
        return Ok(Symbol::NeedInput);
    }
    if back.is_special() {
        return Err(Fault::DistanceSymbol);
    }
    if u64::from(entry.total() + back.total()) > available {
        return Ok(Symbol::NeedInput);
    }
    let distance = distance(back, behind);
    if distance > output {
        return Err(Fault::DistanceTooFar { distance });
    }
    reader.skip(u64::from(entry.total() + back.total()));
    Ok(Symbol::Bytes(u64::from(entry.value()) + entry.extra(bits)))
}

fn codes(is_fixed: bool, dynamic: &Codes) -> &Codes {
    static FIXED: LazyLock<Codes> = LazyLock::new(Codes::fixed);
    if is_fixed { &FIXED } else { dynamic }
}

/// The state behind a block.
fn after_block(is_final: bool) -> State {
    if is_final { State::End } else { State::Boundary }
}
