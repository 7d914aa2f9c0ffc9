//! Where a fill's bytes come from.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::body::{Body, BoxError, BoxFuture};
use crate::oci::Digest;

/// Content somewhere else, which a fill brings in. The cache knows no upstream: whoever starts a fill adapts one.
pub trait Source: Send + Sync + 'static {
    /// Starts to read at `offset`.
    fn open(&self, offset: u64) -> BoxFuture<'_, Result<SourceBody, SourceError>>;

    /// Tells sources apart. Who joined a fill that failed at another origin tries its own; the same origin is not
    /// asked again.
    fn origin(&self) -> &str {
        ""
    }
}

/// Why a [`Source`] cannot be read.
#[derive(Debug)]
pub enum SourceError {
    /// Asking again gives the same.
    Final(BoxError),
    /// It may be there again in a moment.
    Transient {
        /// What is wrong.
        cause: BoxError,
        /// How long it asks to be left alone.
        retry_after: Option<Duration>,
    },
}

/// What a [`Source`] answers.
pub struct SourceBody {
    /// Where `body` begins: the offset asked for, or 0 when the source cannot do better.
    pub offset: u64,
    /// The length of the whole content, if the source says.
    pub size: Option<u64>,
    /// The bytes.
    pub body: Body,
}

/// Why a fill did not bring its content in. Cheap to clone, since every follower gets it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FillError {
    /// The source could not be read, or broke off.
    #[error("the content could not be fetched")]
    Source(#[source] Arc<dyn Error + Send + Sync>),
    /// The source began elsewhere than asked.
    #[error("the source began at byte {actual} where {expected} was asked for")]
    WrongOffset {
        /// What was asked.
        expected: u64,
        /// What came.
        actual: u64,
    },
    /// The bytes are not those of the digest.
    #[error("the content has digest {actual} where {expected} was asked for")]
    DigestMismatch {
        /// What was asked.
        expected: Digest,
        /// What came; boxed, since two digests make every `Result` with this error a large one.
        actual: Box<Digest>,
    },
    /// Asked again after it broke off, the source sent other bytes than before.
    #[error("the source broke off after {at} bytes and then began with other bytes than before")]
    Changed {
        /// How many bytes had come.
        at: u64,
    },
    /// There are more or fewer bytes than were announced.
    #[error("the content has {actual} bytes where {expected} were announced")]
    SizeMismatch {
        /// What the descriptor or the source announced.
        expected: u64,
        /// What came, when it was noticed.
        actual: u64,
    },
    /// The store could not take it in.
    #[error("the cache could not store the content")]
    Store(#[source] Arc<io::Error>),
    /// The fill was stopped: the process is going down, or it ran into a bug.
    #[error("the download was stopped")]
    Stopped,
}

impl FillError {
    /// A word for metrics; the set is closed.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Source(_) => "source",
            Self::WrongOffset { .. } => "wrong_offset",
            Self::DigestMismatch { .. } => "digest_mismatch",
            Self::Changed { .. } => "changed",
            Self::SizeMismatch { .. } => "size_mismatch",
            Self::Store(_) => "store",
            Self::Stopped => "stopped",
        }
    }

    pub(super) fn source(err: BoxError) -> Self {
        Self::Source(err.into())
    }

    pub(super) fn store(err: io::Error) -> Self {
        Self::Store(Arc::new(err))
    }

    /// Whether the bytes that came are wrong, or may be, rather than too few.
    pub(super) fn taints(&self) -> bool {
        match self {
            Self::DigestMismatch { .. } | Self::SizeMismatch { .. } | Self::WrongOffset { .. } => true,
            Self::Changed { .. } => true,
            Self::Source(_) | Self::Store(_) | Self::Stopped => false,
        }
    }
}

/// Why content could not be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// The fill that brings it failed.
    #[error("the content did not arrive")]
    Fill(#[from] FillError),
    /// The store could not read it.
    #[error("the cache could not read the content")]
    Store(#[source] Arc<io::Error>),
    /// What is read where it lies cannot be read there, or is something else than it is called.
    #[error("the content cannot be read where it lies")]
    InPlace(#[source] Arc<io::Error>),
    /// It has other bytes there than its digest says.
    #[error("the content has other bytes than its digest says")]
    WrongInPlace,
}
