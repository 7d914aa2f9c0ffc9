//! Bits in the order deflate stores them: the first bit is the lowest of the first byte (RFC 1951, 3.1.1).

/// A run of bits that need not fill its last byte; the unused high bits of that byte are zero.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BitString {
    /// The bits, lowest first.
    pub bytes: Vec<u8>,
    /// How many bits of `bytes` count.
    pub bits: u64,
}

/// Writes bits into a growing byte vector, lowest bit first.
#[derive(Debug, Clone, Default)]
pub struct BitWriter {
    bytes: Vec<u8>,
    /// Bits not yet in `bytes`: fewer than eight between calls.
    pending: u64,
    pending_bits: u32,
}

impl BitWriter {
    /// A writer with nothing in it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A writer that goes on inside a byte whose low `n` bits (at most 7) are given; they count in
    /// [`BitWriter::bit_len`] and come out again in the first byte. Higher bits of `bits` are ignored.
    ///
    /// # Panics
    ///
    /// If `n` is a whole byte or more.
    #[must_use]
    pub fn with_prefix(bits: u8, n: u32) -> Self {
        assert!(n < 8, "a prefix is part of one byte");
        let mut writer = Self::new();
        writer.write_bits(u64::from(bits), n);
        writer
    }

    /// How many bits were written, a prefix included.
    #[must_use]
    pub fn bit_len(&self) -> u64 {
        self.bytes.len() as u64 * 8 + u64::from(self.pending_bits)
    }

    /// Appends the low `n` bits of `value`, lowest first; higher bits of `value` are ignored.
    ///
    /// # Panics
    ///
    /// If `n` is more than 56.
    pub fn write_bits(&mut self, value: u64, n: u32) {
        // Up to seven bits wait already, and the accumulator holds 64.
        assert!(n <= 56, "at most 56 bits at once");
        self.pending |= (value & ((1 << n) - 1)) << self.pending_bits;
        self.pending_bits += n;
        while self.pending_bits >= 8 {
            self.bytes.push(self.pending.to_le_bytes()[0]);
            self.pending >>= 8;
            self.pending_bits -= 8;
        }
    }

    /// Appends the first `n` bits of `source`.
    ///
    /// # Panics
    ///
    /// If `source` is shorter than that.
    pub fn write_bits_from(&mut self, source: &[u8], n: u64) {
        let mut left = n;
        for &byte in source {
            let take = left.min(8);
            self.write_bits(u64::from(byte), take as u32);
            left -= take;
        }
        assert!(left == 0, "the source is shorter than {n} bits");
    }

    /// Appends whole bytes.
    ///
    /// # Panics
    ///
    /// If the writer is inside a byte: bytes of a stored block are always aligned.
    pub fn write_bytes(&mut self, bytes: &[u8]) {
        assert!(self.pending_bits == 0, "bytes go to a byte boundary");
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends zero bits up to the next byte boundary.
    pub fn align(&mut self) {
        self.write_bits(0, self.pending_bits.wrapping_neg() % 8);
    }

    /// The bytes, and how many bits of the last one were written: 1 to 8, or 0 if there is no byte.
    /// The unwritten high bits are zero.
    #[must_use]
    pub fn finish(mut self) -> (Vec<u8>, u32) {
        let last = match self.pending_bits {
            0 if self.bytes.is_empty() => 0,
            0 => 8,
            partial => partial,
        };
        self.align();
        (self.bytes, last)
    }
}

/// Reads bits of a slice. What lies behind its end reads as zero in [`BitReader::peek`], so whoever peeks compares
/// what he used with [`BitReader::available`].
#[derive(Debug, Clone)]
pub(super) struct BitReader<'a> {
    input: &'a [u8],
    position: u64,
}

impl<'a> BitReader<'a> {
    /// Starts `position` bits into `input`.
    pub(super) fn new(input: &'a [u8], position: u64) -> Self {
        Self { input, position }
    }

    /// Bits from the start of the slice.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Bits that are really there.
    pub(super) fn available(&self) -> u64 {
        (self.input.len() as u64 * 8).saturating_sub(self.position)
    }

    /// The next 57 bits at least.
    pub(super) fn peek(&self) -> u64 {
        let rest =
            usize::try_from(self.position / 8).ok().and_then(|start| self.input.get(start..)).unwrap_or_default();
        let word = rest.first_chunk().copied().unwrap_or_else(|| {
            let mut word = [0; 8];
            word[..rest.len()].copy_from_slice(rest);
            word
        });
        u64::from_le_bytes(word) >> (self.position % 8)
    }

    /// Passes over `n` bits.
    pub(super) fn skip(&mut self, n: u64) {
        self.position += n;
    }

    /// Takes `n` bits, at most 57; `None` if they are not there.
    pub(super) fn read(&mut self, n: u32) -> Option<u64> {
        let value = self.peek() & ((1 << n) - 1);
        (self.available() >= u64::from(n)).then(|| {
            self.skip(u64::from(n));
            value
        })
    }

    /// Copies what lies between `start` and the present position; it must be there.
    pub(super) fn since(&self, start: u64) -> BitString {
        let mut reader = Self::new(self.input, start);
        let bits = self.position - start;
        let mut bytes = Vec::with_capacity(bits.div_ceil(8) as usize);
        let mut left = bits;
        while left > 0 {
            let n = left.min(8);
            bytes.push((reader.peek() & ((1 << n) - 1)) as u8);
            reader.skip(n);
            left -= n;
        }
        BitString { bytes, bits }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_come_out_lowest_first() {
        let mut writer = BitWriter::with_prefix(0b101, 3);
        writer.write_bits(0xffff_ffff_ffff_fff0, 8);
        assert_eq!(writer.bit_len(), 11);
        writer.write_bits_from(&[0xff, 0x01], 9);
        assert_eq!(writer.finish(), (vec![0b1000_0101, 0xff, 0b0000_1111], 4));
        assert_eq!(BitWriter::new().finish(), (vec![], 0));
        let mut writer = BitWriter::with_prefix(1, 1);
        writer.align();
        writer.align();
        writer.write_bytes(b"x");
        assert_eq!(writer.finish(), (vec![1, b'x'], 8));
    }

    #[test]
    fn reads_stop_at_the_end_and_peeks_see_zeros() {
        let mut reader = BitReader::new(&[0xab, 0xcd], 4);
        assert_eq!(reader.peek(), 0xcda);
        assert_eq!(reader.read(13), None);
        assert_eq!(reader.read(9), Some(0xda));
        assert_eq!((reader.available(), reader.position()), (3, 13));
        assert_eq!(reader.since(4), BitString { bytes: vec![0xda, 0], bits: 9 });
        let mut reader = BitReader::new(&[], 3);
        assert_eq!((reader.available(), reader.peek(), reader.read(1)), (0, 0, None));
    }
}
