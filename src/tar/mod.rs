//! Tar headers, scanned as they stream past.
//!
//! [`Scanner`] takes bytes and says what they are: header blocks, which it holds until they are whole, and
//! data, which it never touches. It follows Go's `archive/tar` in what it accepts, because Go reads bundles in
//! every client there is; where readers differ about an archive (sparse files, global headers that rename),
//! it refuses, and the caller leaves such an archive alone. [`resize`] edits the one header that changes.
//! [`file_header`] is for archives that are written here.
//!
//! Pure and sans-IO. It unpacks nothing and has no opinion about paths.

mod error;
mod file_header;
mod header;
mod pax;
mod scanner;

pub use error::TarError;
pub use file_header::{END_BYTES, file_header};
pub use header::{BLOCK, Kind, header, padded, resize};
pub use scanner::{Entry, Scanner, Step};
