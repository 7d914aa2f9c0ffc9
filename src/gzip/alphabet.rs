//! The alphabets of RFC 1951, 3.2.5 and 3.2.6: what length and distance symbols stand for, and the fixed code.

/// The literal/length symbol that ends a block.
pub(super) const END_OF_BLOCK: u16 = 256;
/// The first literal/length symbol that stands for a match.
pub(super) const FIRST_LENGTH: u16 = 257;
/// Literal/length symbols a stream may use; the fixed code has two more, which are invalid.
pub(super) const LITERAL_LENGTH_SYMBOLS: u16 = 286;
/// Distance symbols a stream may use; the fixed code has two more, which are invalid.
pub(super) const DISTANCE_SYMBOLS: u16 = 30;
/// How far back a match may reach, in bytes of output.
pub(super) const WINDOW: u64 = 32 * 1024;

/// Shortest match of each length symbol, from 257 on.
pub(super) const LENGTH_BASE: [u16; 29] =
    [3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258];
/// Extra bits of each length symbol, from 257 on.
pub(super) const LENGTH_EXTRA: [u8; 29] =
    [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];

/// Shortest distance of each distance symbol.
pub(super) const DISTANCE_BASE: [u16; 30] = [
    1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145,
    8193, 12289, 16385, 24577,
];
/// Extra bits of each distance symbol.
pub(super) const DISTANCE_EXTRA: [u8; 30] =
    [0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13];

/// The order in which a dynamic block states the lengths of the code length code.
pub(super) const CODE_LENGTH_ORDER: [u8; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// Code lengths of the fixed literal/length code.
pub(super) const FIXED_LITERAL_LENGTHS: [u8; 288] = {
    let mut lengths = [8; 288];
    let mut symbol = 144;
    while symbol < 280 {
        lengths[symbol] = if symbol < 256 { 9 } else { 7 };
        symbol += 1;
    }
    lengths
};
/// Code lengths of the fixed distance code.
pub(super) const FIXED_DISTANCE_LENGTHS: [u8; 32] = [5; 32];
