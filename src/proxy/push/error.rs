//! What is wrong with a push, as far as the proxy can say it itself.

use http::StatusCode;

use super::Uploading;
use crate::oci::{Digest, ErrorCode, ErrorDocument, MAX_MANIFEST_BYTES};

/// Why a push is not passed on.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PushError {
    /// The upload is none that this client began in this repository.
    #[error("there is no such upload in this repository for this client; begin one by POST to blobs/uploads/")]
    UnknownUpload,
    /// An upload is to end, and does not say as what.
    #[error("an upload is ended with ?digest=, the digest of the whole blob")]
    NoDigest,
    /// The chunk is not the one that comes next.
    #[error("this chunk does not begin where the last one ended; the header Range says what is there")]
    OutOfOrder(Box<Uploading>),
    /// The body is not as long as its `Content-Range` says.
    #[error("Content-Range says {said} bytes, and the body has {actual}")]
    Length {
        /// What it says.
        said: u64,
        /// What it is.
        actual: u64,
    },
    /// A manifest is not what its digest says.
    #[error("the manifest's digest is {actual}, not {expected}")]
    Digest {
        /// The one in the path.
        expected: Box<Digest>,
        /// The one of the bytes.
        actual: Box<Digest>,
    },
    /// A manifest is larger than any that is taken in.
    #[error("a manifest has at most {MAX_MANIFEST_BYTES} bytes here")]
    TooLarge,
}

impl PushError {
    /// Status and document for the client.
    pub fn answer(&self) -> (StatusCode, ErrorDocument) {
        let (status, code) = match self {
            Self::UnknownUpload => (StatusCode::NOT_FOUND, ErrorCode::BlobUploadUnknown),
            Self::OutOfOrder(_) => (StatusCode::RANGE_NOT_SATISFIABLE, ErrorCode::BlobUploadInvalid),
            Self::Length { .. } => (StatusCode::BAD_REQUEST, ErrorCode::SizeInvalid),
            Self::NoDigest | Self::Digest { .. } => (StatusCode::BAD_REQUEST, ErrorCode::DigestInvalid),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::SizeInvalid),
        };
        (status, ErrorDocument::new(&code, self.to_string()))
    }
}
