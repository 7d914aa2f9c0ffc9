//! Changing what an upstream has: what is asked of it, and what it answers (distribution spec, "Push" and "Content
//! Management").

use std::fmt;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};

use crate::body::Body;
use crate::oci::{Digest, MediaType, Reference, RepositoryName};

/// A change of one repository.
///
/// A body that is a stream is sent once: where the upstream wanted another credential for it, the client has to send
/// it again ([`UpstreamError::Renewed`](super::UpstreamError::Renewed)).
pub enum Change<'a> {
    /// Begins an upload (`POST`); or ends it at once, with a blob that another repository has.
    Begin {
        /// The blob to take from elsewhere instead, and from where, if the client says so.
        mount: Option<(&'a Digest, Option<&'a RepositoryName>)>,
    },
    /// Sends a part (`PATCH`).
    Chunk {
        /// To this upload.
        upload: &'a Upload,
        /// Which bytes of the blob they are, first and last, if the client says so.
        range: Option<(u64, u64)>,
        /// The bytes.
        body: Sent,
    },
    /// Ends an upload (`PUT`).
    Finish {
        /// This one.
        upload: &'a Upload,
        /// What it is said to be.
        digest: &'a Digest,
        /// Which bytes the last part is, if the client says so.
        range: Option<(u64, u64)>,
        /// The last part, or nothing.
        body: Sent,
    },
    /// Asks how far an upload is (`GET`).
    Status {
        /// This one.
        upload: &'a Upload,
    },
    /// Gives an upload up (`DELETE`).
    Cancel {
        /// This one.
        upload: &'a Upload,
    },
    /// Puts a manifest (`PUT`).
    Manifest {
        /// Under this tag, or its digest.
        reference: &'a Reference,
        /// Of this type.
        media_type: &'a MediaType,
        /// The whole manifest.
        bytes: Bytes,
    },
    /// Deletes a manifest, or a tag (`DELETE`).
    DeleteManifest {
        /// By this digest, or this tag.
        reference: &'a Reference,
    },
    /// Deletes a blob (`DELETE`).
    DeleteBlob {
        /// By this digest.
        digest: &'a Digest,
    },
}

/// What goes along with a change.
pub enum Sent {
    /// Nothing.
    Nothing,
    /// A body on its way.
    Stream(Body),
}

/// Where an upload goes on at its upstream: the path and query of a URL there, and never a host.
///
/// What it says is the upstream's; it may be as good as a password for this upload.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload(pub(super) String);

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Upload(…)")
    }
}

/// What came of a change that the upstream took.
#[derive(Clone, Debug)]
pub struct Changed {
    /// From 200 to 299.
    pub status: StatusCode,
    /// Where an upload goes on, if it does.
    pub upload: Option<Upload>,
    /// The last byte of an upload that the upstream has, as it says it: 0 may also mean that it has none.
    pub last_byte: Option<u64>,
    /// How long each part of an upload but the last has to be (`OCI-Chunk-Min-Length`), in the upstream's words.
    pub min_chunk: Option<HeaderValue>,
    /// What it calls an upload (`Docker-Upload-UUID`).
    pub id: Option<HeaderValue>,
    /// The digest of what it has now, if it says so.
    pub digest: Option<Digest>,
    /// The manifest that it lists this one as a referrer of (`OCI-Subject`).
    pub subject: Option<Digest>,
}

impl Change<'_> {
    /// A word for metrics, from a closed set.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Begin { .. } => "upload_begin",
            Self::Chunk { .. } => "upload_chunk",
            Self::Finish { .. } => "upload_finish",
            Self::Status { .. } => "upload_status",
            Self::Cancel { .. } => "upload_cancel",
            Self::Manifest { .. } => "manifest_put",
            Self::DeleteManifest { .. } => "manifest_delete",
            Self::DeleteBlob { .. } => "blob_delete",
        }
    }
}
