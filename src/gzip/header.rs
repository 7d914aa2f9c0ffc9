//! What surrounds the deflate stream of a gzip member (RFC 1952): the header before it, the trailer behind it.

/// Bytes of the trailer: CRC-32 and size, little endian.
pub const TRAILER_LENGTH: usize = 8;

/// The longest header that is read, in bytes. RFC 1952 sets no bound to the name and the comment, and the header is
/// copied verbatim into the recipe of a spliced layer; real ones have 10 to 300 bytes, BGZF 18.
pub const MAX_HEADER_LENGTH: usize = 64 * 1024;

/// Why a member's header was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The first two bytes are not 1f 8b.
    #[error("not a gzip member: it starts with {0:#04x} {1:#04x}")]
    NotGzip(u8, u8),
    /// The compression method is not deflate.
    #[error("gzip compression method {0} is not deflate")]
    UnknownMethod(u8),
    /// Flag bits are set that RFC 1952 reserves: fields may follow whose shape is unknown.
    #[error("reserved gzip header flags are set: {0:#04x}")]
    ReservedFlags(u8),
    /// The header is longer than [`MAX_HEADER_LENGTH`].
    #[error("the gzip header is longer than {MAX_HEADER_LENGTH} bytes")]
    TooLong,
    /// The header's own checksum differs from its bytes.
    #[error("the gzip header's checksum is {expected:#06x}, its bytes have {actual:#06x}")]
    ChecksumMismatch {
        /// What the header says.
        expected: u16,
        /// What its bytes give.
        actual: u16,
    },
}

/// Reads a member's header, however it is split.
#[derive(Debug, Clone)]
pub struct HeaderParser {
    field: Field,
    flags: u8,
    length: usize,
    /// CRC-32 register over the bytes before the checksum field.
    crc: u32,
}

impl HeaderParser {
    /// A parser before the first byte of a member.
    #[must_use]
    pub fn new() -> Self {
        Self { field: Field::Id1, flags: 0, length: 0, crc: u32::MAX }
    }

    /// Takes the next bytes of the member. `Some(n)`: the header ended `n` bytes into `input`, the deflate stream
    /// starts there. `None`: all of `input` belongs to the header and there is more to it.
    ///
    /// After its end a header takes nothing more, after an error it answers with the same error.
    ///
    /// # Errors
    ///
    /// If this is no gzip header, or none that can be copied without knowing more about it.
    pub fn push(&mut self, input: &[u8]) -> Result<Option<usize>, HeaderError> {
        for (taken, &byte) in input.iter().enumerate() {
            match self.field {
                Field::Done => return Ok(Some(taken)),
                Field::Failed(error) => return Err(error),
                _ if self.length == MAX_HEADER_LENGTH => return Err(self.fail(HeaderError::TooLong)),
                field => match self.byte(field, byte) {
                    Ok(next) => self.field = next,
                    Err(error) => return Err(self.fail(error)),
                },
            }
            self.length += 1;
        }
        match self.field {
            Field::Done => Ok(Some(input.len())),
            Field::Failed(error) => Err(error),
            _ => Ok(None),
        }
    }

    /// Bytes of the header taken so far.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }

    fn fail(&mut self, error: HeaderError) -> HeaderError {
        self.field = Field::Failed(error);
        error
    }

    fn byte(&mut self, field: Field, byte: u8) -> Result<Field, HeaderError> {
        if !matches!(field, Field::Crc1 | Field::Crc2 { .. }) {
            self.crc = crc32_step(self.crc, byte);
        }
        Ok(match field {
            Field::Id1 => Field::Id2 { id1: byte },
            Field::Id2 { id1 } if (id1, byte) != (0x1f, 0x8b) => return Err(HeaderError::NotGzip(id1, byte)),
            Field::Id2 { .. } => Field::Method,
            Field::Method if byte != DEFLATE => return Err(HeaderError::UnknownMethod(byte)),
            Field::Method => Field::Flags,
            Field::Flags if byte & RESERVED != 0 => return Err(HeaderError::ReservedFlags(byte & RESERVED)),
            Field::Flags => {
                self.flags = byte;
                Field::Fixed { left: TIME_AND_SYSTEM_LENGTH }
            }
            Field::Fixed { left: 1 } => self.optional_after(0),
            Field::Fixed { left } => Field::Fixed { left: left - 1 },
            Field::ExtraLength1 => Field::ExtraLength2 { low: byte },
            Field::ExtraLength2 { low } => match u16::from_le_bytes([low, byte]) {
                0 => self.optional_after(FEXTRA),
                left => Field::Extra { left },
            },
            Field::Extra { left: 1 } => self.optional_after(FEXTRA),
            Field::Extra { left } => Field::Extra { left: left - 1 },
            Field::Name if byte == 0 => self.optional_after(FNAME),
            Field::Comment if byte == 0 => self.optional_after(FCOMMENT),
            Field::Crc1 => Field::Crc2 { low: byte },
            Field::Crc2 { low } => {
                let expected = u16::from_le_bytes([low, byte]);
                let actual = (!self.crc & 0xffff) as u16;
                if expected != actual {
                    return Err(HeaderError::ChecksumMismatch { expected, actual });
                }
                Field::Done
            }
            Field::Name | Field::Comment | Field::Done | Field::Failed(_) => field,
        })
    }

    /// The first field behind `flag`'s, in the order of RFC 1952, 2.3; `0` stands for the fixed part.
    fn optional_after(&self, flag: u8) -> Field {
        OPTIONAL
            .iter()
            .skip_while(|(candidate, _)| flag != 0 && *candidate != flag)
            .skip(usize::from(flag != 0))
            .find(|(candidate, _)| self.flags & candidate != 0)
            .map_or(Field::Done, |(_, field)| *field)
    }
}

impl Default for HeaderParser {
    fn default() -> Self {
        Self::new()
    }
}

/// A member's trailer, parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trailer {
    /// CRC-32 of the decompressed bytes.
    pub crc32: u32,
    /// Their number modulo 2^32.
    pub size: u32,
}

impl Trailer {
    /// Reads the bytes behind the deflate stream.
    #[must_use]
    pub fn parse(bytes: [u8; TRAILER_LENGTH]) -> Self {
        let [a, b, c, d, e, f, g, h] = bytes;
        Self { crc32: u32::from_le_bytes([a, b, c, d]), size: u32::from_le_bytes([e, f, g, h]) }
    }

    /// Whether this is the trailer of `size` bytes with that CRC-32.
    #[must_use]
    pub fn fits(self, crc32: u32, size: u64) -> bool {
        self == Self::parse(trailer(crc32, size))
    }
}

/// The trailer of a member that decompresses to `size` bytes with that CRC-32.
#[must_use]
pub fn trailer(crc32: u32, size: u64) -> [u8; TRAILER_LENGTH] {
    let mut bytes = [0; TRAILER_LENGTH];
    bytes[..4].copy_from_slice(&crc32.to_le_bytes());
    // The field counts modulo 2^32 (RFC 1952, ISIZE).
    bytes[4..].copy_from_slice(&size.to_le_bytes()[..4]);
    bytes
}

/// The field the next byte belongs to.
#[derive(Debug, Clone, Copy)]
enum Field {
    Id1,
    Id2 { id1: u8 },
    Method,
    Flags,
    Fixed { left: u8 },
    ExtraLength1,
    ExtraLength2 { low: u8 },
    Extra { left: u16 },
    Name,
    Comment,
    Crc1,
    Crc2 { low: u8 },
    Done,
    Failed(HeaderError),
}

const DEFLATE: u8 = 8;
/// Modification time, extra flags, operating system.
const TIME_AND_SYSTEM_LENGTH: u8 = 6;

const FHCRC: u8 = 1 << 1;
const FEXTRA: u8 = 1 << 2;
const FNAME: u8 = 1 << 3;
const FCOMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0b1110_0000;

/// The optional fields in the order they have in the header.
const OPTIONAL: [(u8, Field); 4] =
    [(FEXTRA, Field::ExtraLength1), (FNAME, Field::Name), (FCOMMENT, Field::Comment), (FHCRC, Field::Crc1)];

/// One byte into a CRC-32 register. Bit by bit: it sees a few hundred bytes of a layer at most.
fn crc32_step(register: u32, byte: u8) -> u32 {
    (0..8).fold(register ^ u32::from(byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 })
}
