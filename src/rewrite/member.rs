//! Gzip members, inflated: the framing around flate2's raw inflate.

use flate2::{Crc, Decompress, FlushDecompress, Status};

use super::unchanged::Unchanged;
use crate::gzip::{HeaderParser, TRAILER_LENGTH, Trailer};

/// How much output is inflated at a time. Two windows: larger buffers leave the processor's cache.
const OUTPUT_BYTES: usize = 64 << 10;

/// Reads the members of a gzip file, one after another, and verifies each against its trailer.
pub(super) struct MemberReader {
    state: State,
    inflate: Decompress,
    crc: Crc,
    output: Box<[u8]>,
}

enum State {
    /// Before a member: at the start, or after a trailer.
    Between {
        first: bool,
    },
    Header(Box<HeaderParser>),
    Deflate,
    Trailer {
        bytes: [u8; TRAILER_LENGTH],
        filled: usize,
    },
}

/// What some compressed bytes were.
pub(super) enum Part<'a> {
    /// Part of a header; it ended with these bytes if `whole`.
    Header { whole: bool },
    /// Deflate data, and what it inflates to. `full`: there may be more output for the same input. `crc`: over the
    /// member's output so far.
    Deflate { output: &'a [u8], full: bool, ended: bool, crc: u32 },
    /// Part of a trailer, which holds as far as it goes.
    Trailer,
}

impl MemberReader {
    pub(super) fn new() -> Self {
        Self {
            state: State::Between { first: true },
            inflate: Decompress::new(false),
            crc: Crc::new(),
            output: vec![0; OUTPUT_BYTES].into(),
        }
    }

    /// Takes in some of `input` and says how much and what it was. After a full output buffer `input` may be
    /// empty, and never otherwise.
    pub(super) fn push(&mut self, input: &[u8]) -> Result<(usize, Part<'_>), Unchanged> {
        if let State::Between { first } = self.state {
            // Go refuses padding after the last member, GNU gzip warns about it.
            if !first && input.first() != Some(&0x1f) {
                return Err(Unchanged::TrailingBytes);
            }
            self.state = State::Header(Box::default());
        }
        match &mut self.state {
            State::Between { .. } => Err(Unchanged::Inflate),
            State::Header(parser) => {
                let ended = parser.push(input)?;
                if ended.is_some() {
                    self.inflate.reset(false);
                    self.crc = Crc::new();
                    self.state = State::Deflate;
                }
                Ok((ended.unwrap_or(input.len()), Part::Header { whole: ended.is_some() }))
            }
            State::Deflate => self.push_deflate(input),
            State::Trailer { bytes, filled } => {
                let taken = input.len().min(TRAILER_LENGTH - *filled);
                bytes[*filled..*filled + taken].copy_from_slice(&input[..taken]);
                *filled += taken;
                if *filled == TRAILER_LENGTH {
                    if !Trailer::parse(*bytes).fits(self.crc.sum(), self.inflate.total_out()) {
                        return Err(Unchanged::Checksum);
                    }
                    self.state = State::Between { first: false };
                }
                Ok((taken, Part::Trailer))
            }
        }
    }

    /// Says that there are no more bytes, which is right only after a trailer.
    pub(super) fn finish(&self) -> Result<(), Unchanged> {
        match self.state {
            State::Between { first: false } => Ok(()),
            _ => Err(Unchanged::Inflate),
        }
    }

    fn push_deflate(&mut self, input: &[u8]) -> Result<(usize, Part<'_>), Unchanged> {
        let (read, written) = (self.inflate.total_in(), self.inflate.total_out());
        let status = self.inflate.decompress(input, &mut self.output, FlushDecompress::None);
        let ended = status.map_err(|_| Unchanged::Inflate)? == Status::StreamEnd;
        // The casts hold: neither count is beyond its buffer.
        let consumed = (self.inflate.total_in() - read) as usize;
        let output = &self.output[..(self.inflate.total_out() - written) as usize];
        if ended {
            self.state = State::Trailer { bytes: [0; TRAILER_LENGTH], filled: 0 };
        } else if consumed == 0 && output.is_empty() && !input.is_empty() {
            return Err(Unchanged::Inflate);
        }
        self.crc.update(output);
        Ok((
            consumed,
            Part::Deflate { output, full: output.len() == OUTPUT_BYTES && !ended, ended, crc: self.crc.sum() },
        ))
    }
}
