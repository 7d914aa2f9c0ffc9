//! Every way in which an upstream fails to give what was asked.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::challenges::{Challenges, ForeignRealm};
use super::credential::error::CredentialError;
use super::quota::Quota;
use super::quoted::quoted;
use crate::oci::{Digest, ErrorDocument, MediaType};

/// Why an upstream did not give what was asked.
///
/// Cheap to clone, so that one shared request can tell everyone who waited for it.
#[derive(Clone, Debug)]
pub enum UpstreamError {
    /// It is not there: a 404, or a 5xx whose body says `MANIFEST_UNKNOWN`, `BLOB_UNKNOWN` or `NAME_UNKNOWN`.
    NotFound,
    /// A 401, with the freshest credential there is.
    Unauthorized {
        /// What the upstream would see instead.
        challenges: Challenges,
    },
    /// A 403, with the freshest credential there is.
    Denied,
    /// Too many requests.
    RateLimited {
        /// How long the upstream asks to wait, at most an hour.
        retry_after: Option<Duration>,
        /// What it last said of how many there may be.
        quota: Option<Arc<Quota>>,
        /// Whether it said so to this request; one that was not sent is told what an earlier one was.
        asked: bool,
    },
    /// The upstream, or something in front of it, cannot answer now.
    Unavailable {
        /// What it sent.
        status: StatusCode,
        /// How long it asks to wait, at most an hour.
        retry_after: Option<Duration>,
        /// Whether it sent that to this request; one that was not sent is told what an earlier one was.
        asked: bool,
    },
    /// A status that has no place here, such as 400 or 206 for a manifest.
    UnexpectedStatus {
        /// What it sent.
        status: StatusCode,
    },
    /// Nothing happened for too long.
    Timeout {
        /// What was waited for.
        what: TimeoutStage,
    },
    /// No connection: the name, the network, or the upstream's certificate.
    Connect {
        /// What the connector said.
        cause: Arc<dyn Error + Send + Sync>,
    },
    /// The connection broke before the answer was whole.
    Interrupted {
        /// What the HTTP client said.
        cause: Arc<dyn Error + Send + Sync>,
    },
    /// An answer that means nothing here: an HTML page, a header out of shape, a manifest that is none.
    Malformed {
        /// What is wrong, to be read after "the upstream".
        what: String,
    },
    /// Something else than a manifest, by the type that the upstream gives it.
    NotAManifest {
        /// That type.
        media_type: MediaType,
    },
    /// The bytes are not what they are called.
    DigestMismatch {
        /// The digest asked for, or claimed.
        expected: Box<Digest>,
        /// The digest of the bytes.
        actual: Box<Digest>,
    },
    /// More bytes than are taken in.
    TooLarge {
        /// The limit, in bytes.
        limit: u64,
    },
    /// A redirect that is not followed.
    Redirect {
        /// What is wrong with it.
        why: RedirectProblem,
    },
    /// It does not take a change, and says why.
    Refused {
        /// What it sent, from 400 to 499.
        status: StatusCode,
        /// The error that it told, or stands for its status.
        document: Arc<ErrorDocument>,
    },
    /// It wanted another credential with something that was sent once; there is one now, and it may be sent again.
    Renewed,
    /// It cannot be changed: files, and not a registry.
    ReadOnly,
    /// What was to be sent to it broke off on its way from the client.
    Aborted,
    /// The offset asked for is not inside the blob.
    RangeNotSatisfiable {
        /// That offset.
        offset: u64,
    },
    /// Who the proxy is to the upstream could not be found out: the file or program that knows failed, and nothing was
    /// sent. Neither the upstream's doing nor the client's.
    Credentials {
        /// What failed.
        cause: Arc<CredentialError>,
    },
    /// A file of a layout cannot be read.
    Io {
        /// The file, and what is wrong with it.
        what: String,
        /// What the system said.
        cause: Arc<io::Error>,
    },
}

/// What a timeout was waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeoutStage {
    /// A connection, with its TLS handshake.
    Connect,
    /// The headers of the answer.
    Response,
    /// The next bytes of the body.
    Body,
    /// That it takes in what is sent.
    Taking,
    /// A token, from the upstream's token server.
    Token,
}

/// Why a redirect is not followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedirectProblem {
    /// More than five in a row.
    TooMany,
    /// Without a `Location` that is a URL.
    NoLocation,
    /// To something other than `http` and `https`, or with a user name in it.
    Unsupported,
    /// From `https` to `http`.
    Downgrade,
    /// With something that was sent, and would have to be sent elsewhere.
    Sending,
    /// To another host, where an upload is to go on.
    UploadElsewhere,
}

impl From<ForeignRealm> for UpstreamError {
    fn from(foreign: ForeignRealm) -> Self {
        Self::malformed(foreign.to_string())
    }
}

impl UpstreamError {
    /// Whether the upstream says that it does not have this.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::NotFound)
    }

    /// Whether the upstream does not let this proxy have it, whether or not it is there.
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Self::Unauthorized { .. } | Self::Denied)
    }

    /// Whether the request was not even sent, because the upstream asks to be left alone.
    pub fn is_held_back(&self) -> bool {
        matches!(self, Self::RateLimited { asked: false, .. } | Self::Unavailable { asked: false, .. })
    }

    /// What the upstream last said of how often it may be asked, if that is the trouble.
    pub fn quota(&self) -> Option<&Quota> {
        match self {
            Self::RateLimited { quota, .. } => quota.as_deref(),
            _ => None,
        }
    }

    /// The status that the upstream sent, if that is what it did.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            _ if self.is_held_back() => None,
            Self::NotFound => Some(StatusCode::NOT_FOUND),
            Self::Unauthorized { .. } => Some(StatusCode::UNAUTHORIZED),
            Self::Denied => Some(StatusCode::FORBIDDEN),
            Self::RateLimited { .. } => Some(StatusCode::TOO_MANY_REQUESTS),
            Self::Unavailable { status, .. } | Self::UnexpectedStatus { status } | Self::Refused { status, .. } => {
                Some(*status)
            }
            _ => None,
        }
    }

    /// A word for headers and metrics, from a closed set.
    pub fn label(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Unauthorized { .. } => "unauthorized",
            Self::Denied => "denied",
            Self::RateLimited { .. } => "rate_limited",
            Self::Unavailable { .. } => "unavailable",
            Self::UnexpectedStatus { .. } => "unexpected_status",
            Self::Timeout { what: TimeoutStage::Connect } | Self::Connect { .. } => "unreachable",
            Self::Timeout { .. } => "timeout",
            Self::Interrupted { .. } => "interrupted",
            Self::Malformed { .. } | Self::NotAManifest { .. } => "malformed",
            Self::DigestMismatch { .. } => "digest_mismatch",
            Self::TooLarge { .. } => "too_large",
            Self::Redirect { .. } => "redirect",
            Self::Refused { .. } => "refused",
            Self::Renewed => "renewed",
            Self::ReadOnly => "read_only",
            Self::Aborted => "aborted",
            Self::RangeNotSatisfiable { .. } => "range_not_satisfiable",
            Self::Credentials { .. } => "credentials",
            Self::Io { .. } => "unreadable",
        }
    }

    /// Whether it was refused, if not by the registry itself then by where that led.
    pub fn is_refusal(&self) -> bool {
        let refusals = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN];
        self.is_forbidden() || matches!(self, Self::Unavailable { status, .. } if refusals.contains(status))
    }

    /// How long the upstream asks to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. } | Self::Unavailable { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether the same request may well succeed later, with nothing changed by anyone.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::RateLimited { .. }
            | Self::Unavailable { .. }
            | Self::Timeout { .. }
            | Self::Connect { .. }
            | Self::Interrupted { .. }
            | Self::Renewed
            | Self::Io { .. } => true,
            Self::NotFound
            | Self::Unauthorized { .. }
            | Self::Denied
            | Self::UnexpectedStatus { .. }
            | Self::Malformed { .. }
            | Self::NotAManifest { .. }
            | Self::DigestMismatch { .. }
            | Self::TooLarge { .. }
            | Self::Redirect { .. }
            | Self::Refused { .. }
            | Self::ReadOnly
            | Self::Aborted
            | Self::RangeNotSatisfiable { .. }
            | Self::Credentials { .. } => false,
        }
    }

    /// A 401 of which nothing more is known.
    pub(super) fn unauthorized() -> Self {
        Self::Unauthorized { challenges: Challenges::default() }
    }

    pub(super) fn malformed(what: impl Into<String>) -> Self {
        Self::Malformed { what: what.into() }
    }

    // Boxed, as two digests would make every result of this room 136 bytes.
    pub(super) fn mismatch(expected: Digest, actual: Digest) -> Self {
        Self::DigestMismatch { expected: Box::new(expected), actual: Box::new(actual) }
    }

    pub(super) fn io(what: impl Into<String>, cause: io::Error) -> Self {
        Self::Io { what: what.into(), cause: Arc::new(cause) }
    }
}

impl fmt::Display for UpstreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("the upstream does not have it"),
            Self::Unauthorized { .. } => f.write_str("the upstream wants other credentials"),
            Self::Denied => f.write_str("the upstream denies access"),
            Self::RateLimited { .. } => f.write_str("the upstream limits how often it may be asked"),
            Self::Unavailable { status, .. } => write!(f, "the upstream is not available (it answered {status})"),
            Self::UnexpectedStatus { status } => write!(f, "the upstream answered {status}, which was not expected"),
            Self::Timeout { what } => match what {
                TimeoutStage::Connect => f.write_str("connecting to the upstream took too long"),
                TimeoutStage::Response => f.write_str("the upstream took too long to answer"),
                TimeoutStage::Body => f.write_str("the upstream stopped sending"),
                TimeoutStage::Taking => f.write_str("the upstream stopped taking what is sent to it"),
                TimeoutStage::Token => f.write_str("the upstream's token server took too long"),
            },
            Self::Connect { .. } => f.write_str("the upstream cannot be reached"),
            Self::Interrupted { .. } => f.write_str("the connection to the upstream broke"),
            Self::Malformed { what } => write!(f, "the upstream {what}"),
            Self::NotAManifest { media_type } => {
                write!(f, "the upstream answered {} where a manifest was asked for", quoted(media_type.as_ref()))
            }
            Self::DigestMismatch { expected, actual } => {
                write!(f, "the upstream sent {actual} in place of {expected}")
            }
            Self::TooLarge { limit } => write!(f, "the upstream sent more than the {limit} bytes that are taken in"),
            Self::Redirect { why } => match why {
                RedirectProblem::TooMany => f.write_str("the upstream redirects too many times"),
                RedirectProblem::NoLocation => f.write_str("the upstream redirects without a usable Location"),
                RedirectProblem::Unsupported => {
                    f.write_str("the upstream redirects to something other than a plain http or https URL")
                }
                RedirectProblem::Downgrade => f.write_str("the upstream redirects from https to http"),
                RedirectProblem::Sending => {
                    f.write_str("the upstream redirects what is sent to it, which is not followed")
                }
                RedirectProblem::UploadElsewhere => {
                    f.write_str("the upstream wants an upload to go on at another host, where nothing is sent")
                }
            },
            Self::Refused { status, document } => {
                write!(f, "the upstream answered {status}, {}: {}", quoted(&document.code), quoted(&document.message))
            }
            Self::Renewed => {
                f.write_str("the upstream wanted another credential with this; there is one now, send it again")
            }
            Self::ReadOnly => f.write_str("the upstream is files, which cannot be pushed to"),
            Self::Aborted => f.write_str("what was to be sent to the upstream broke off"),
            Self::RangeNotSatisfiable { offset } => write!(f, "the upstream has nothing from byte {offset} on"),
            Self::Credentials { .. } => f.write_str("this proxy could not obtain its own credentials for the upstream"),
            Self::Io { what, .. } => f.write_str(what),
        }
    }
}

impl Error for UpstreamError {
    // By hand: derived, the source would be the `Arc`, and a walker that downcasts would miss what is inside.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Connect { cause } | Self::Interrupted { cause } => Some(&**cause),
            Self::Credentials { cause } => Some(&**cause),
            Self::Io { cause, .. } => Some(&**cause),
            _ => None,
        }
    }
}
