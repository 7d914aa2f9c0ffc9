//! Block headers (RFC 1951, 3.2.3 to 3.2.7).

use super::alphabet::{CODE_LENGTH_ORDER, DISTANCE_SYMBOLS, LITERAL_LENGTH_SYMBOLS};
use super::bits::BitReader;
use super::entry::Entry;
use super::fault::Fault;
use super::huffman::{Codes, CodesError, Incomplete, Table};

/// What a block's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BlockHeader {
    pub(super) is_final: bool,
    pub(super) kind: BlockKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BlockKind {
    /// The reader is on a byte boundary now.
    Stored {
        length: u16,
    },
    Fixed,
    /// The codes are in the `Codes` that were handed in.
    Dynamic,
}

/// Reads a header. `None`: it is not there as a whole; the reader's position and `codes` mean nothing then.
pub(super) fn read(reader: &mut BitReader<'_>, codes: &mut Codes) -> Result<Option<BlockHeader>, Fault> {
    let Some(bits) = reader.read(3) else { return Ok(None) };
    let kind = match bits >> 1 {
        0 => stored(reader)?,
        1 => Some(BlockKind::Fixed),
        2 => dynamic(reader, codes)?,
        _ => return Err(Fault::BlockType),
    };
    Ok(kind.map(|kind| BlockHeader { is_final: bits & 1 == 1, kind }))
}

fn stored(reader: &mut BitReader<'_>) -> Result<Option<BlockKind>, Fault> {
    // The value of the padding is not checked: inflate does not either.
    reader.skip(reader.position().wrapping_neg() % 8);
    let Some(lengths) = reader.read(32) else { return Ok(None) };
    let (length, complement) = ((lengths & 0xffff) as u16, (lengths >> 16) as u16);
    if length != !complement {
        return Err(Fault::StoredLength { length, complement });
    }
    Ok(Some(BlockKind::Stored { length }))
}

fn dynamic(reader: &mut BitReader<'_>, codes: &mut Codes) -> Result<Option<BlockKind>, Fault> {
    let Some(counts) = reader.read(14) else { return Ok(None) };
    let literals = (counts & 0x1f) as usize + 257;
    let distances = ((counts >> 5) & 0x1f) as usize + 1;
    let code_lengths = (counts >> 10) as usize + 4;
    // Both fields can say two more than there are symbols.
    if literals > usize::from(LITERAL_LENGTH_SYMBOLS) || distances > usize::from(DISTANCE_SYMBOLS) {
        return Err(Fault::TooManyCodes);
    }
    let mut lengths = [0; CODE_LENGTH_ORDER.len()];
    for symbol in &CODE_LENGTH_ORDER[..code_lengths] {
        let Some(length) = reader.read(3) else { return Ok(None) };
        lengths[usize::from(*symbol)] = length as u8;
    }
    let mut table = Table::<128>::empty();
    table.set(&lengths, 7, Incomplete::Never, Entry::plain, None).map_err(|_| Fault::CodeLengthCode)?;

    let mut lengths = [0u8; (LITERAL_LENGTH_SYMBOLS + DISTANCE_SYMBOLS) as usize];
    let total = literals + distances;
    let mut filled = 0;
    while filled < total {
        let entry = table.lookup(reader.peek());
        if reader.available() < u64::from(entry.code()) {
            return Ok(None);
        }
        reader.skip(entry.code().into());
        let (extra, base) = match entry.value() {
            length @ 0..=15 => {
                lengths[filled] = length as u8;
                filled += 1;
                continue;
            }
            16 => (2, 3),
            17 => (3, 3),
            _ => (7, 11),
        };
        let repeated = match entry.value() {
            16 => *filled.checked_sub(1).and_then(|last| lengths.get(last)).ok_or(Fault::Repeat)?,
            _ => 0,
        };
        let Some(extra) = reader.read(extra) else { return Ok(None) };
        // A run may go on from one alphabet into the next, but not past both.
        let run = lengths[..total].get_mut(filled..filled + base + extra as usize).ok_or(Fault::Repeat)?;
        run.fill(repeated);
        filled += run.len();
    }
    match codes.set(&lengths[..literals], &lengths[literals..total]) {
        Ok(()) => Ok(Some(BlockKind::Dynamic)),
        Err(CodesError::NoEndOfBlock) => Err(Fault::NoEndOfBlock),
        Err(CodesError::Literals) => Err(Fault::LiteralCode),
        Err(CodesError::Distances) => Err(Fault::DistanceCode),
    }
}
