//! What the head of an upstream's answer means.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::challenges::Challenges;
use super::error::{TimeoutStage, UpstreamError};
use super::quoted::quoted;
use super::retry_after::retry_after;
use super::transport::Answer;
use crate::body::{BoxError, CollectError, collect};
use crate::oci::{Digest, ErrorCode, ErrorDocument, MediaType};

/// How much of an error's body is read; an error document has some hundred bytes.
const MAX_ERROR_BYTES: usize = 64 << 10;
/// How long an error's body may take, which says little.
const ERROR_DEADLINE: Duration = Duration::from_secs(10);

/// How much of what an upstream says went wrong is told to a client, in characters.
const MAX_TOLD_CODE: usize = 64;
const MAX_TOLD_MESSAGE: usize = 1024;

const DOCKER_CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

impl Answer {
    pub(super) fn status(&self) -> StatusCode {
        self.head.status
    }

    /// Keeps the place among the concurrent requests until the body's end.
    pub(super) fn hold(&mut self, permit: OwnedSemaphorePermit) {
        self.body.hold(permit);
    }

    /// A header that is there once and is text.
    pub(super) fn text(&self, name: &HeaderName) -> Option<&str> {
        self.head.headers.get(name)?.to_str().ok().map(str::trim)
    }

    pub(super) fn content_length(&self) -> Option<u64> {
        self.text(&CONTENT_LENGTH)?.parse().ok()
    }

    /// The digest the upstream claims, if it is of a kind that can be verified.
    pub(super) fn content_digest(&self) -> Option<Digest> {
        self.text(&DOCKER_CONTENT_DIGEST)?.parse().ok()
    }

    /// The media type without its parameters.
    pub(super) fn media_type(&self) -> Option<MediaType> {
        let essence = self.text(&CONTENT_TYPE)?.split(';').next().unwrap_or_default().trim();
        (!essence.is_empty()).then(|| MediaType::from(essence.to_ascii_lowercase().as_str()))
    }

    /// Refuses a body in a coding that was not asked for: its bytes are not those the digest is of.
    pub(super) fn require_identity(self) -> Result<Self, UpstreamError> {
        match self.text(&CONTENT_ENCODING) {
            // What some S3 services remember of the upload; the bytes are as they should be.
            None | Some("" | "identity" | "aws-chunked") => Ok(self),
            Some(other) => Err(UpstreamError::malformed(format!("sent a body encoded as {}", quoted(other)))),
        }
    }

    /// What a 401 wants to see.
    pub(super) fn challenges(&self) -> Challenges {
        Challenges::of(&self.head.headers, &self.realms)
    }

    /// The whole body, for small ones: within `patience`, as it may drip for as long as it likes.
    pub(super) async fn collect(self, cap: usize, patience: Duration) -> Result<Bytes, UpstreamError> {
        let body = timeout(patience, collect(self.body, cap)).await;
        body.map_err(|_| UpstreamError::Timeout { what: TimeoutStage::Body })?.map_err(|error| match error {
            CollectError::TooLarge { cap } => UpstreamError::TooLarge { limit: cap as u64 },
            CollectError::Body(cause) => from_box(cause),
        })
    }

    /// What it says went wrong; where it does not, what its status means.
    pub(super) async fn explanation(self) -> ErrorDocument {
        let status = self.status();
        let body = self.collect(MAX_ERROR_BYTES, ERROR_DEADLINE).await.unwrap_or_default();
        let short = |text: &str, most: usize| text.chars().filter(|c| !c.is_control()).take(most).collect::<String>();
        let document = ErrorDocument::parse(&body).filter(|document| !document.code.is_empty());
        let document = document.map(|document| ErrorDocument {
            code: short(&document.code, MAX_TOLD_CODE),
            message: short(&document.message, MAX_TOLD_MESSAGE),
        });
        document.unwrap_or_else(|| ErrorDocument::unknown(status.canonical_reason().unwrap_or("no reason was given")))
    }

    /// The error that an answer other than the wanted one is.
    pub(super) async fn into_error(self) -> UpstreamError {
        let (status, retry_after) = (self.head.status, retry_after(&self.head.headers, SystemTime::now()));
        // Some statuses need no reading, but a body read to its end leaves a connection to use again.
        let (foreign, sent) = (self.foreign, self.sent.clone());
        let challenges = if status == StatusCode::UNAUTHORIZED { self.challenges() } else { Challenges::default() };
        let body = self.collect(MAX_ERROR_BYTES, ERROR_DEADLINE).await.unwrap_or_default();
        if let Some(document) = ErrorDocument::parse(&body) {
            let (code, said) = (quoted(&document.code), quoted(&document.message));
            tracing::debug!(status = status.as_u16(), code, said, "upstream explained an error");
        }
        let says = |codes: &[ErrorCode]| ErrorDocument::body_says(&body, codes);
        let limited = || {
            let (held, quota) = sent.held();
            // No time at all is no answer to how long.
            let retry_after = retry_after.filter(|wait| !wait.is_zero()).or(held);
            UpstreamError::RateLimited { retry_after, quota, asked: true }
        };
        let unavailable = UpstreamError::Unavailable { status, retry_after, asked: true };
        match status {
            StatusCode::NOT_FOUND => UpstreamError::NotFound,
            StatusCode::TOO_MANY_REQUESTS => limited(),
            // Denied by the storage, not by the registry: a signed URL went wrong, and says nothing of access.
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if foreign => unavailable,
            StatusCode::FORBIDDEN if says(&[ErrorCode::TooManyRequests]) => {
                sent.too_many(retry_after);
                limited()
            }
            StatusCode::UNAUTHORIZED => UpstreamError::Unauthorized { challenges },
            StatusCode::FORBIDDEN => UpstreamError::Denied,
            _ if status.is_server_error() => {
                if says(&[ErrorCode::ManifestUnknown, ErrorCode::BlobUnknown, ErrorCode::NameUnknown]) {
                    UpstreamError::NotFound
                } else {
                    unavailable
                }
            }
            _ => UpstreamError::UnexpectedStatus { status },
        }
    }

    /// Whether a HEAD answered so may be answered otherwise, or with a reason, when it is asked as a GET.
    ///
    /// The answer to a HEAD has no body, so docker-registry's way of saying "not there" with a 500 cannot be
    /// read from it; its media type still says that there is a document to read. A storage behind a redirect
    /// may have signed for GET only.
    pub(super) fn wants_get(&self) -> bool {
        let status = self.status();
        let json = || self.media_type().is_some_and(|own| own.as_ref().ends_with("json"));
        status == StatusCode::METHOD_NOT_ALLOWED
            || status == StatusCode::NOT_IMPLEMENTED
            || (status.is_server_error() && json())
            || (self.foreign && !status.is_success())
    }
}

/// A body's error back from its box.
fn from_box(cause: BoxError) -> UpstreamError {
    match cause.downcast::<UpstreamError>() {
        Ok(error) => *error,
        Err(cause) => UpstreamError::Interrupted { cause: cause.into() },
    }
}
