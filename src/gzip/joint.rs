//! Where a stream can be ended, and where it can be taken up again.

use super::bits::BitString;

/// How the stream up to the walker's position can be ended so that blocks of another maker can follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// The bits before this one are kept.
    pub bit: u64,
    /// What they decode to, in bytes.
    pub output: u64,
    /// The end-of-block code to write behind them: its bits as they are written, lowest first, and their number.
    pub end_of_block: Option<(u16, u32)>,
    /// The bit among those kept that says "final block" and has to be cleared, since blocks follow now.
    pub final_flag: Option<u64>,
}

/// How the stream can be taken up again at the walker's position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resume {
    /// The bits from this one on are kept.
    pub bit: u64,
    /// The offset in the output of what they decode to.
    pub output: u64,
    /// What has to stand before them.
    pub block: ResumeBlock,
}

/// What the bits at a [`Resume`] belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResumeBlock {
    /// They start with a block header: nothing is needed but the same bit position modulo 8 (a stored block's padding
    /// depends on it).
    Boundary,
    /// They are symbols of a block with this header, which has to be repeated, from its BFINAL bit on.
    Huffman {
        /// The header's bits.
        header: BitString,
    },
    /// They are the last bytes of a stored block; they need a stored block's header and are on a byte boundary.
    Stored {
        /// How many bytes there are, at least one.
        remaining: u16,
        /// Whether the block is the final one.
        is_final: bool,
    },
    /// There are none: the final block is over.
    End,
}
