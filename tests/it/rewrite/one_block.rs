//! Layers of one deflate block, however large: no encoder makes them, and every decoder reads them.

use colocate::gzip::{BitWriter, trailer};

use crate::support::tarball::{Tarball, lock_text};

/// A tar of zeros around a lock, compressed by hand as one block.
pub(super) struct Sparse {
    pieces: Vec<(Vec<u8>, usize)>,
    pub(super) lock: String,
}

impl Sparse {
    pub(super) fn new(size: usize, place: usize) -> Self {
        let lock = lock_text(5);
        let before = [0, (size / 2) & !511, size & !511][place];
        let mut head = Tarball::new();
        head.file_header("before", before as u64);
        let mut middle = Tarball::new();
        middle.lock(&lock).file_header("after", ((size & !511) - before) as u64);
        Self { pieces: vec![(head.bytes, before), (middle.bytes, (size & !511) - before + 1024)], lock }
    }

    /// One final block: literals for the pieces, matches of 258 at distance 1 for the zeros.
    pub(super) fn compress_as_one_block(&self, dynamic: bool) -> Vec<u8> {
        let mut out = BitWriter::new();
        let mut crc = flate2::Crc::new();
        let mut size = 0;
        let header = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
        out.write_bytes(&header);
        let code = if dynamic { Code::dynamic(&mut out) } else { Code::fixed(&mut out) };
        let zeros = vec![0; 258];
        for (piece, run) in &self.pieces {
            for &byte in piece {
                code.literal(&mut out, byte);
            }
            crc.update(piece);
            size += (piece.len() + run) as u64;
            let mut left = *run;
            if left > 0 {
                // A first zero for the matches to refer to: a piece never ends in one that is known to be there.
                code.literal(&mut out, 0);
                crc.update(&[0]);
                left -= 1;
            }
            while left >= 258 {
                code.match_258(&mut out);
                crc.update(&zeros);
                left -= 258;
            }
            for _ in 0..left {
                code.literal(&mut out, 0);
                crc.update(&[0]);
            }
        }
        code.end(&mut out);
        out.align();
        out.write_bytes(&trailer(crc.sum(), size));
        out.finish().0
    }
}

/// Just enough of a deflate encoder: literals, the match of 258 bytes one back, and the end.
enum Code {
    Fixed,
    /// All 286 literal and length codes: the first 226 have eight bits, the others nine; one distance of one bit.
    Dynamic,
}

impl Code {
    fn fixed(out: &mut BitWriter) -> Self {
        out.write_bits(0b011, 3);
        Self::Fixed
    }

    fn dynamic(out: &mut BitWriter) -> Self {
        out.write_bits(0b101, 3);
        out.write_bits(286 - 257, 5);
        out.write_bits(1, 5);
        out.write_bits(18 - 4, 4);
        // Code lengths 1, 8 and 9, with 2, 1 and 2 bits: in the order 16 17 18 0 8 7 9 6 10 5 11 4 12 3 13 2 14 1.
        for length in [0, 0, 0, 0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2] {
            out.write_bits(length, 3);
        }
        // Codes: 8 is 0, 1 is 10, 9 is 11, first bit first.
        for _ in 0..226 {
            out.write_bits(0, 1);
        }
        for _ in 226..286 {
            out.write_bits(0b11, 2);
        }
        out.write_bits(0b01, 2);
        out.write_bits(0b01, 2);
        Self::Dynamic
    }

    fn symbol(&self, out: &mut BitWriter, symbol: u64) {
        let (code, bits) = match self {
            Self::Fixed => match symbol {
                0..=143 => (0x30 + symbol, 8),
                144..=255 => (0x190 + symbol - 144, 9),
                256..=279 => (symbol - 256, 7),
                _ => (0xc0 + symbol - 280, 8),
            },
            Self::Dynamic if symbol < 226 => (symbol, 8),
            Self::Dynamic => (452 + symbol - 226, 9),
        };
        out.write_bits(code.reverse_bits() >> (64 - bits), bits);
    }

    fn literal(&self, out: &mut BitWriter, byte: u8) {
        self.symbol(out, u64::from(byte));
    }

    fn match_258(&self, out: &mut BitWriter) {
        self.symbol(out, 285);
        // Distance 1 is the first distance code: five zeros, or the one bit of the dynamic block.
        out.write_bits(0, if matches!(self, Self::Fixed) { 5 } else { 1 });
    }

    fn end(&self, out: &mut BitWriter) {
        self.symbol(out, 256);
    }
}
