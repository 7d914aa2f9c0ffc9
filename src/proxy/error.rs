//! Every way in which a request fails, with whose fault it is and what the client is told.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::outcome::{CacheStatus, Outcome};
use super::push::PushError;
use super::undecided::Undecided;
use crate::oci::{ErrorCode, ErrorDocument, RepositoryName};
use crate::upstream::UpstreamError;

/// Whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The registry behind, or the way to it.
    Upstream,
    /// The client asked for something that is not there, or not allowed.
    Downstream,
    /// This program, its disk or its limits.
    Internal,
}

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A manifest.
    Manifest,
    /// A blob.
    Blob,
    /// A repository, by its tags.
    Repository,
}

/// Why a request cannot be answered.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ProxyError {
    /// The upstream has no such thing.
    #[error("{repository} has no such {}", match subject {
        Subject::Manifest => "manifest",
        Subject::Blob => "blob",
        Subject::Repository => "repository",
    })]
    NotFound {
        /// What was asked for.
        subject: Subject,
        /// Where.
        repository: RepositoryName,
    },
    /// There is no such registry behind, or none that could tell who may read.
    #[error("no such registry is behind this proxy")]
    NoRegistry,
    /// The upstream does not say which repositories it has.
    #[error("the registry behind this proxy does not list its repositories")]
    NoCatalog,
    /// The upstream failed.
    #[error("the registry behind this proxy failed")]
    Upstream(#[from] UpstreamError),
    /// A bundle whose images could not all be looked for.
    #[error("this bundle's images could not all be looked for; pull again in a moment")]
    Undecided(#[from] Undecided),
    /// A push is not as it should be.
    #[error(transparent)]
    Push(#[from] PushError),
    /// The cache's disk failed in a way that cannot be worked around.
    #[error("the proxy's cache failed")]
    Cache(#[source] Arc<io::Error>),
}

impl ProxyError {
    /// An upstream's error, with "not there" told apart.
    pub(super) fn upstream(error: UpstreamError, subject: Subject, repository: &RepositoryName) -> Self {
        if error.is_absent() { Self::NotFound { subject, repository: repository.clone() } } else { error.into() }
    }

    /// Status and document for the client. What upstream said is told apart from what the proxy could not do.
    pub fn answer(&self) -> (StatusCode, ErrorDocument) {
        use UpstreamError as U;
        let upstream = match self {
            Self::NotFound { subject, .. } => {
                let code = match subject {
                    Subject::Manifest => ErrorCode::ManifestUnknown,
                    Subject::Blob => ErrorCode::BlobUnknown,
                    Subject::Repository => ErrorCode::NameUnknown,
                };
                return (StatusCode::NOT_FOUND, ErrorDocument::new(&code, self.to_string()));
            }
            Self::NoRegistry => {
                return (StatusCode::NOT_FOUND, ErrorDocument::new(&ErrorCode::NameUnknown, self.to_string()));
            }
            Self::NoCatalog => {
                return (StatusCode::NOT_FOUND, ErrorDocument::new(&ErrorCode::Unsupported, self.to_string()));
            }
            Self::Undecided(cause) => {
                return (StatusCode::SERVICE_UNAVAILABLE, ErrorDocument::unknown(format!("{self} ({cause})")));
            }
            Self::Push(error) => return error.answer(),
            Self::Cache(_) => return (StatusCode::INTERNAL_SERVER_ERROR, ErrorDocument::unknown(self.to_string())),
            // In its own words: they are for who pushes.
            Self::Upstream(U::Refused { status, document }) => return (*status, (**document).clone()),
            Self::Upstream(error) => error,
        };
        let message = match upstream {
            // What it says names a file of this machine's.
            U::Io { .. } => self.to_string(),
            // No doing of the registry's.
            U::Credentials { .. } => upstream.to_string(),
            upstream => format!("{self}: {upstream}"),
        };
        match upstream {
            // A 401 would have clients ask for passwords that are of no use here.
            U::Unauthorized { .. } | U::Denied => {
                (StatusCode::FORBIDDEN, ErrorDocument::new(&ErrorCode::Denied, message))
            }
            U::RateLimited { .. } => {
                (StatusCode::TOO_MANY_REQUESTS, ErrorDocument::new(&ErrorCode::TooManyRequests, message))
            }
            U::ReadOnly => (StatusCode::METHOD_NOT_ALLOWED, ErrorDocument::new(&ErrorCode::Unsupported, message)),
            U::Aborted => (StatusCode::BAD_REQUEST, ErrorDocument::new(&ErrorCode::SizeInvalid, message)),
            U::Unavailable { .. } | U::Renewed => (StatusCode::SERVICE_UNAVAILABLE, ErrorDocument::unknown(message)),
            U::Timeout { .. } => (StatusCode::GATEWAY_TIMEOUT, ErrorDocument::unknown(message)),
            U::Credentials { .. } => (StatusCode::INTERNAL_SERVER_ERROR, ErrorDocument::unknown(message)),
            _ => (StatusCode::BAD_GATEWAY, ErrorDocument::unknown(message)),
        }
    }

    /// How long the client should wait before it asks again.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Undecided(cause) => Some(cause.retry_after()),
            Self::Upstream(error @ UpstreamError::Unavailable { .. }) => {
                Some(error.retry_after().unwrap_or(Duration::from_secs(5)))
            }
            Self::Upstream(UpstreamError::Renewed) => Some(Duration::from_secs(1)),
            Self::Upstream(error) => error.retry_after(),
            Self::NotFound { .. } | Self::NoRegistry | Self::NoCatalog | Self::Push(_) | Self::Cache(_) => None,
        }
    }

    /// The upstream's failure behind it, if that is what it is.
    pub fn upstream_error(&self) -> Option<&UpstreamError> {
        match self {
            Self::Upstream(error) | Self::Undecided(Undecided::Upstream { error, .. }) => Some(error),
            Self::NotFound { .. }
            | Self::NoRegistry
            | Self::NoCatalog
            | Self::Push(_)
            | Self::Undecided(_)
            | Self::Cache(_) => None,
        }
    }

    /// Whether the upstream was not even asked, since it asks to be left alone.
    pub(super) fn is_held_back(&self) -> bool {
        self.upstream_error().is_some_and(UpstreamError::is_held_back)
    }

    /// What the upstream answered, if it did.
    pub(super) fn upstream_status(&self) -> Option<StatusCode> {
        match self {
            Self::NotFound { .. } => Some(StatusCode::NOT_FOUND),
            error => error.upstream_error().and_then(UpstreamError::status),
        }
    }

    /// A word for it, from a closed set.
    pub fn label(&self) -> &'static str {
        match self {
            Self::NotFound { .. } | Self::NoRegistry | Self::NoCatalog => "not_found",
            Self::Upstream(error) => error.label(),
            Self::Undecided(_) => "undecided",
            Self::Push(_) => "push",
            Self::Cache(_) => "cache",
        }
    }

    /// What the cache had to do with it.
    pub fn cache_status(&self) -> CacheStatus {
        let outcome = match self.side() {
            Side::Upstream => Outcome::UpstreamError,
            Side::Downstream if matches!(self, Self::Push(_)) => Outcome::Refused,
            Side::Downstream => Outcome::NotFound,
            Side::Internal => Outcome::InternalError,
        };
        let status = CacheStatus { upstream: self.upstream_status(), ..CacheStatus::from(outcome) };
        match self {
            Self::NotFound { .. } => status,
            error if error.is_held_back() => CacheStatus { forward: None, detail: Some(error.label()), ..status },
            error => CacheStatus { detail: Some(error.label()), ..status },
        }
    }

    /// Whose fault it is.
    pub fn side(&self) -> Side {
        match self {
            Self::NotFound { .. } | Self::NoRegistry | Self::NoCatalog | Self::Push(_) => Side::Downstream,
            Self::Upstream(UpstreamError::Refused { .. } | UpstreamError::ReadOnly | UpstreamError::Aborted) => {
                Side::Downstream
            }
            Self::Upstream(UpstreamError::Credentials { .. }) => Side::Internal,
            Self::Upstream(_) | Self::Undecided(_) => Side::Upstream,
            Self::Cache(_) => Side::Internal,
        }
    }
}

impl From<io::Error> for ProxyError {
    fn from(error: io::Error) -> Self {
        Self::Cache(Arc::new(error))
    }
}
