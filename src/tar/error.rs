//! Why a tar is left alone.

/// Why bytes are not a tar that every reader reads alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TarError {
    /// A header whose checksum does not hold: damage, or no tar at all.
    #[error("a tar header's checksum does not hold")]
    Checksum,
    /// A size that is no number.
    #[error("a tar header's size is not a number")]
    Number,
    /// An extended header that does not parse.
    #[error("a PAX header does not parse")]
    Pax,
    /// A sparse file.
    #[error("the tar holds a sparse file")]
    Sparse,
    /// A global header that names or sizes the entries after it, which readers do not agree about.
    #[error("a global PAX header changes names or sizes")]
    GlobalOverride,
    /// A header that readers take for different things: with a prefix in a format that has none, a directory with
    /// data, an extended header whose entry does not follow.
    #[error("a tar header means different things to different readers")]
    Ambiguous,
    /// Over one of the scanner's limits.
    #[error("the tar's headers are too many or too large")]
    TooLarge,
    /// The bytes end inside a header or an entry.
    #[error("the tar ends inside an entry")]
    Truncated,
}
