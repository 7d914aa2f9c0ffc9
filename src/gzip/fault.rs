//! Why a deflate stream is refused: for what inflate refuses too, and for nothing else.

/// The stream is not valid deflate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the deflate stream is invalid at bit {bit}, output byte {output}")]
pub struct WalkError {
    /// The first bit of the block header or symbol that is wrong.
    pub bit: u64,
    /// Bytes of output before it.
    pub output: u64,
    /// What is wrong.
    #[source]
    pub fault: Fault,
}

/// What is wrong with a block header or symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Block type 3.
    #[error("reserved block type")]
    BlockType,
    /// A stored block's length does not match its complement.
    #[error("stored block of length {length:#06x} with complement {complement:#06x}")]
    StoredLength {
        /// LEN.
        length: u16,
        /// NLEN.
        complement: u16,
    },
    /// More literal/length or distance codes than there are symbols.
    #[error("too many literal/length or distance codes")]
    TooManyCodes,
    /// The code length code is over-subscribed or incomplete.
    #[error("unusable code length code")]
    CodeLengthCode,
    /// A repeat without a length before it, or past the last code.
    #[error("repeated code length out of place")]
    Repeat,
    /// The block could not end.
    #[error("no end-of-block code")]
    NoEndOfBlock,
    /// The literal/length code is over-subscribed or incomplete.
    #[error("unusable literal/length code")]
    LiteralCode,
    /// The distance code is over-subscribed or incomplete.
    #[error("unusable distance code")]
    DistanceCode,
    /// Bits that are no literal/length code, or a reserved one.
    #[error("invalid literal/length code")]
    LiteralSymbol,
    /// Bits that are no distance code, or a reserved one.
    #[error("invalid distance code")]
    DistanceSymbol,
    /// A match that starts before the output does.
    #[error("match {distance} bytes back, before the start of the output")]
    DistanceTooFar {
        /// In bytes.
        distance: u64,
    },
}
