//! Why a bundle is served as it stands.

use crate::gzip::{HeaderError, WalkError};
use crate::imgpkg::LockError;
use crate::tar::TarError;

/// Why an image is served with the bytes it has upstream. None of these breaks a pull.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unchanged {
    /// An index or some other document.
    #[error("it is not an image manifest")]
    NotAnImage,
    /// Not exactly one layer.
    #[error("it has {0} layers; a bundle has one")]
    Layers(usize),
    /// The config does not carry imgpkg's label.
    #[error("its config does not carry the label dev.carvel.imgpkg.bundle")]
    NotABundle,
    /// The manifest or the config is not JSON of the expected shape.
    #[error("its {document} {problem}")]
    Document {
        /// Which of the two.
        document: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A layer of a type that is not a tar or a gzipped tar.
    #[error("its layer has the media type {0}, which cannot be spliced")]
    LayerType(String),
    /// Zstandard, by its magic number.
    #[error("its layer is compressed with zstd, which cannot be spliced")]
    Zstd,
    /// An eStargz or zstd:chunked layer: its table of contents would no longer fit.
    #[error("its layer is annotated with a table of contents ({0})")]
    TableOfContents(String),
    /// The upstream has the manifest and not what it names.
    #[error("its {0} is not in the repository")]
    PartMissing(&'static str),
    /// Over `relocation.max_layer_bytes`.
    #[error("its layer has {size} bytes, more than relocation.max_layer_bytes allows ({limit})")]
    LayerTooLarge {
        /// What the manifest says.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// The layer has not the length or the digest that its descriptor says.
    #[error("its layer is not what the manifest says")]
    LayerMismatch,
    /// A gzip header that does not parse.
    #[error("its layer's gzip header is damaged: {0}")]
    GzipHeader(#[from] HeaderError),
    /// Compressed data that does not parse.
    #[error("its layer's compressed data is damaged: {0}")]
    Deflate(#[from] WalkError),
    /// Compressed data that does not inflate.
    #[error("its layer does not inflate: damaged or cut short")]
    Inflate,
    /// A gzip trailer that does not fit the data before it.
    #[error("its layer's gzip checksum does not hold")]
    Checksum,
    /// Bytes after the last gzip member, which some readers refuse.
    #[error("its layer has bytes after its last gzip member")]
    TrailingBytes,
    /// More output than any layer of that size should have.
    #[error("its layer inflates to more than {0} bytes")]
    Bomb(u64),
    /// Too much compressed data stands around the lock for a bounded buffer.
    #[error("its layer has more compressed bytes around the lock than fit in memory")]
    TooScattered,
    /// A tar that does not parse, or that readers read differently.
    #[error("its layer is not a plain tar: {0}")]
    Tar(#[from] TarError),
    /// No `.imgpkg/images.yml`.
    #[error("it has no .imgpkg/images.yml")]
    NoLock,
    /// The lock is a link or anything else that is not a file.
    #[error("its .imgpkg/images.yml is not a regular file")]
    LockNotAFile,
    /// The layer deletes the lock.
    #[error("its .imgpkg/images.yml is whited out")]
    LockWhitedOut,
    /// A second entry for the path.
    #[error("it has more than one .imgpkg/images.yml")]
    SecondLock,
    /// Over the cap of a lock.
    #[error("its .imgpkg/images.yml is larger than {0} bytes")]
    LockTooLarge(usize),
    /// A PAX record gives the lock's size.
    #[error("a PAX header gives the size of its .imgpkg/images.yml")]
    LockSizedByPax,
    /// imgpkg refuses the lock.
    #[error("its .imgpkg/images.yml is refused: {0}")]
    Lock(#[from] LockError),
    /// Every reference already is what it would become, or there is none.
    #[error("no reference in its .imgpkg/images.yml changes")]
    NothingChanges,
}

impl Unchanged {
    /// A word for metrics and JSON; the set is closed.
    pub fn label(&self) -> &'static str {
        match self {
            Self::NotAnImage => "not_an_image",
            Self::Layers(_) => "layers",
            Self::NotABundle => "not_a_bundle",
            Self::Document { .. } => "document",
            Self::LayerType(_) => "layer_type",
            Self::Zstd => "zstd",
            Self::TableOfContents(_) => "table_of_contents",
            Self::PartMissing(_) => "part_missing",
            Self::LayerTooLarge { .. } => "layer_too_large",
            Self::LayerMismatch => "layer_mismatch",
            Self::GzipHeader(_) => "gzip_header",
            Self::Deflate(_) => "deflate",
            Self::Inflate => "inflate",
            Self::Checksum => "checksum",
            Self::TrailingBytes => "trailing_bytes",
            Self::Bomb(_) => "bomb",
            Self::TooScattered => "too_scattered",
            Self::Tar(_) => "tar",
            Self::NoLock => "no_lock",
            Self::LockNotAFile => "lock_not_a_file",
            Self::LockWhitedOut => "lock_whited_out",
            Self::SecondLock => "second_lock",
            Self::LockTooLarge(_) => "lock_too_large",
            Self::LockSizedByPax => "lock_sized_by_pax",
            Self::Lock(_) => "lock_refused",
            Self::NothingChanges => "nothing_changes",
        }
    }

    /// Whether it lies in the image's bytes alone, and so will hold for ever: not in a limit of this program's, nor
    /// in what an upstream has at present.
    pub fn is_lasting(&self) -> bool {
        !matches!(
            self,
            Self::PartMissing(_) | Self::LayerTooLarge { .. } | Self::Bomb(_) | Self::TooScattered | Self::Zstd
        )
    }

    /// Whether the image was never a bundle, so that passing it on is no event.
    pub fn is_not_a_bundle(&self) -> bool {
        matches!(self, Self::NotAnImage | Self::Layers(_) | Self::NotABundle)
    }
}
