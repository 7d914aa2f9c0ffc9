//! One header block: POSIX 1003.1 `pax` interchange format, with GNU tar's and star's variations.

use super::error::TarError;

/// Everything in a tar is a multiple of this many bytes.
pub const BLOCK: usize = 512;

pub(super) const NAME: std::ops::Range<usize> = 0..100;
const SIZE: std::ops::Range<usize> = 124..136;
const CHECKSUM: std::ops::Range<usize> = 148..156;
const TYPE: usize = 156;
const MAGIC: std::ops::Range<usize> = 257..265;
const PREFIX: std::ops::Range<usize> = 345..500;
/// star keeps two times at the end of the prefix, and says so in the block's last four bytes.
const STAR_PREFIX: std::ops::Range<usize> = 345..476;
/// GNU tar's access and change times, where others have the prefix.
const GNU_TIMES: std::ops::Range<usize> = 345..369;
const STAR_TRAILER: std::ops::Range<usize> = 508..512;

/// `size` rounded up to whole blocks.
pub fn padded(size: u64) -> u64 {
    size.next_multiple_of(BLOCK as u64)
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A hard link to an earlier entry.
    HardLink,
    /// A symbolic link.
    SymbolicLink,
    /// A directory.
    Directory,
    /// A device, a pipe, or a type of some vendor's.
    Other,
}

/// The type flag, as far as it decides how to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flag {
    Entry(Kind),
    Pax,
    GlobalPax,
    GnuLongName,
    GnuLongLink,
    GnuSparse,
}

/// A header block whose checksum holds.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) flag: Flag,
    pub(super) size: u64,
    pub(super) name: Vec<u8>,
    /// The old type flag NUL, for which a trailing slash makes a directory.
    pub(super) old_style: bool,
    /// A type that has no data, whatever any size says.
    pub(super) header_only: bool,
}

impl Header {
    pub(super) fn parse(block: &[u8; BLOCK]) -> Result<Self, TarError> {
        let stored = octal(&block[CHECKSUM]).ok_or(TarError::Checksum)?;
        let (unsigned, signed) = checksums(block);
        // Some old writers summed signed bytes; Go takes both.
        if stored != unsigned && i64::try_from(stored) != Ok(signed) {
            return Err(TarError::Checksum);
        }
        let flag = match block[TYPE] {
            0 | b'0' => Flag::Entry(Kind::File),
            b'1' => Flag::Entry(Kind::HardLink),
            b'2' => Flag::Entry(Kind::SymbolicLink),
            b'5' => Flag::Entry(Kind::Directory),
            b'x' => Flag::Pax,
            b'g' => Flag::GlobalPax,
            b'L' => Flag::GnuLongName,
            b'K' => Flag::GnuLongLink,
            b'S' => Flag::GnuSparse,
            // '7' is a contiguous file, which everybody reads as a file.
            b'7' => Flag::Entry(Kind::File),
            _ => Flag::Entry(Kind::Other),
        };
        let size = number(&block[SIZE]).ok_or(TarError::Number)?;
        let header_only = matches!(block[TYPE], b'1'..=b'6');
        let mut name = text(&block[NAME]).to_vec();
        let prefix = match &block[MAGIC] {
            [b'u', b's', b't', b'a', b'r', 0, ..] if &block[STAR_TRAILER] == b"tar\0" => text(&block[STAR_PREFIX]),
            [b'u', b's', b't', b'a', b'r', 0, ..] => text(&block[PREFIX]),
            // GNU keeps times there; Go takes for a prefix what is no time, since old writers put one there.
            b"ustar  \0" if !block[GNU_TIMES].iter().all(|byte| matches!(byte, b'0'..=b'7' | b' ' | 0)) => {
                return Err(TarError::Ambiguous);
            }
            _ => b"",
        };
        if !prefix.is_empty() {
            name = [prefix, b"/", &name].concat();
        }
        let size = if header_only { 0 } else { size };
        Ok(Self { flag, size, name, old_style: block[TYPE] == 0, header_only })
    }
}

/// The header of a directory or a plain file with a name of at most 100 bytes, as Go's `archive/tar` writes it for files of
/// root's that nobody else may read, without a time.
pub fn header(name: &str, is_directory: bool, size: u64) -> [u8; BLOCK] {
    let (mode, flag) = if is_directory { (0o700, "5") } else { (0o600, "0") };
    let mut block = plain(name, mode, flag);
    put(&mut block, 329, "0000000");
    put(&mut block, 337, "0000000");
    resize(&block, size)
}

/// A header without a size, an owner, a device or a time, as Go writes one; the name is at most 100 bytes.
pub(super) fn plain(name: &str, mode: u32, flag: &str) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    put(&mut block, NAME.start, name);
    put(&mut block, 100, &format!("{mode:07o}"));
    put(&mut block, 108, "0000000");
    put(&mut block, 116, "0000000");
    put(&mut block, 136, "00000000000");
    put(&mut block, TYPE, flag);
    put(&mut block, MAGIC.start, "ustar\x0000");
    block
}

fn put(block: &mut [u8; BLOCK], at: usize, text: &str) {
    block[at..at + text.len()].copy_from_slice(text.as_bytes());
}

/// The same header for `size` bytes of data: size field and checksum in the form all writers use.
pub fn resize(block: &[u8; BLOCK], size: u64) -> [u8; BLOCK] {
    let mut resized = *block;
    // Eleven octal digits reach 8 GiB; a lock is capped far below.
    resized[SIZE].copy_from_slice(format!("{size:011o}\0").as_bytes());
    let (checksum, _) = checksums(&resized);
    resized[CHECKSUM].copy_from_slice(format!("{checksum:06o}\0 ").as_bytes());
    resized
}

/// The sum over the block with the checksum field read as spaces, over unsigned and over signed bytes.
fn checksums(block: &[u8; BLOCK]) -> (u64, i64) {
    let mut unsigned = 0;
    let mut signed = 0;
    for (index, &byte) in block.iter().enumerate() {
        let byte = if CHECKSUM.contains(&index) { b' ' } else { byte };
        unsigned += u64::from(byte);
        signed += i64::from(byte.cast_signed());
    }
    (unsigned, signed)
}

/// A field up to its first NUL.
fn text(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// A size: octal, or base 256 where the first bit is set.
fn number(field: &[u8]) -> Option<u64> {
    match field {
        [first, rest @ ..] if first & 0x80 != 0 => {
            // The second bit is the sign, and no size is negative.
            if first & 0x40 != 0 {
                return None;
            }
            rest.iter().try_fold(u64::from(first & 0x3f), |value, &byte| {
                // Entries beyond 2^56 bytes are no tar anybody has.
                (value >> 48 == 0).then_some(value << 8 | u64::from(byte))
            })
        }
        _ => octal(field),
    }
}

/// Octal between optional spaces and NULs; an empty field is zero.
fn octal(field: &[u8]) -> Option<u64> {
    let field = field.trim_ascii();
    let start = field.iter().position(|byte| !matches!(byte, b' ' | 0)).unwrap_or(field.len());
    let digits = text(&field[start..]).trim_ascii_end();
    digits.iter().try_fold(0_u64, |value, &digit| match digit {
        b'0'..=b'7' if value >> 60 == 0 => Some(value << 3 | u64::from(digit - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(number(b"00000000017\0"), Some(15));
        assert_eq!(number(b"        17 \0"), Some(15));
        assert_eq!(number(b"\0\0\0\0\0\0\0\0\0\0\0\0"), Some(0));
        assert_eq!(number(b"0000000008\0\0"), None);
        assert_eq!(number(b"\x80\0\0\0\0\0\0\0\0\0\x01\0"), Some(256));
        assert_eq!(number(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), None);
        assert_eq!(number(b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), None);
    }
}
