//! Who the proxy is to an upstream, and where it knows that from.
//!
//! A [`CredentialSource`] is asked on each request, and says what holds now: a fixed one at once, a file after a look at
//! whether it changed (`file`), Docker's `config.json` (`docker`) perhaps only after a run of the program it names
//! (`helper`). What cannot be had is an error, [`UpstreamError::Credentials`]: never a request without credentials.

mod docker;
pub(super) mod error;
mod file;
mod helper;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::HeaderValue;

use self::docker::Docker;
use self::file::WatchedFile;
use super::error::UpstreamError;
use super::token::secret;
use crate::body::with_causes;

pub use self::docker::DockerConfig;
pub use self::error::{CredentialError, HelperProblem};
pub use self::helper::HelperConfig;

/// A password or token has some KiB at most.
const MAX_SECRET_BYTES: u64 = 64 << 10;

/// A user and a password, or whatever a registry takes for one.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user name.
    pub user: String,
    /// The password or access token.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

impl Credentials {
    /// The header of the Basic scheme (RFC 7617).
    pub(super) fn basic(&self) -> Option<HeaderValue> {
        secret(&format!("Basic {}", BASE64_STANDARD.encode(format!("{}:{}", self.user, self.password))))
    }
}

/// Where the credentials for an upstream come from.
#[derive(Clone, Default)]
pub enum CredentialSource {
    /// There are none; tokens are asked for anonymously.
    #[default]
    Anonymous,
    /// A user and a password, sent to the upstream or its token server when one of them asks.
    Password(Credentials),
    /// A token, sent to the upstream itself with every request (RFC 6750), and never to a token server.
    Token(String),
    /// A file that holds a password or a token, and is read again when it changes.
    File {
        /// Whose password it holds; without a user, it holds a token as [`Token`](Self::Token) has it.
        user: Option<String>,
        /// The file. White space at its end does not count.
        path: PathBuf,
    },
    /// Docker's `config.json`.
    Docker(DockerConfig),
}

impl fmt::Debug for CredentialSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("Anonymous"),
            Self::Password(credentials) => credentials.fmt(f),
            Self::Token(_) => f.write_str("Token(..)"),
            Self::File { user, path } => f.debug_struct("File").field("user", user).field("path", path).finish(),
            Self::Docker(config) => config.fmt(f),
        }
    }
}

/// What a source says.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Credential {
    Anonymous,
    Password(Credentials),
    /// A token that buys tokens from the token server (OAuth2's refresh token).
    Identity(String),
    /// The whole header for the upstream itself.
    Bearer(HeaderValue),
}

impl Credential {
    /// Whether a token server is where it is to be shown.
    pub(super) fn is_for_tokens(&self) -> bool {
        matches!(self, Self::Password(_) | Self::Identity(_))
    }

    /// Nothing if the token holds characters that no header may have.
    fn bearer(token: &str) -> Option<Self> {
        secret(&format!("Bearer {token}")).map(Self::Bearer)
    }
}

/// A source at work.
pub(super) struct Source {
    kind: Kind,
    // So that a file that is gone is told once and not with each request.
    failing: AtomicBool,
    is_client: bool,
}

enum Kind {
    Fixed(Arc<Credential>),
    File(WatchedFile<Credential>),
    Docker(Docker),
}

impl Source {
    /// Nothing if a token is none.
    pub(super) fn new(source: CredentialSource) -> Option<Self> {
        let fixed = |credential| Kind::Fixed(Arc::new(credential));
        let kind = match source {
            CredentialSource::Anonymous => fixed(Credential::Anonymous),
            CredentialSource::Password(credentials) => fixed(Credential::Password(credentials)),
            CredentialSource::Token(token) => fixed(Credential::bearer(&token)?),
            CredentialSource::File { user, path } => {
                Kind::File(WatchedFile::new(path, MAX_SECRET_BYTES, move |bytes| secret_of(user.as_deref(), bytes)))
            }
            CredentialSource::Docker(config) => Kind::Docker(Docker::new(config)),
        };
        Some(Self { kind, failing: AtomicBool::new(false), is_client: false })
    }

    /// A client's.
    pub(super) fn of_client(credentials: Option<Credentials>) -> Self {
        let credential = credentials.map_or(Credential::Anonymous, Credential::Password);
        Self { kind: Kind::Fixed(Arc::new(credential)), failing: AtomicBool::new(false), is_client: true }
    }

    /// Whether what it says is a client's, and not the operator's.
    pub(super) fn is_client(&self) -> bool {
        self.is_client
    }

    /// What holds now.
    ///
    /// # Errors
    /// When the file or program that knows cannot be read or run.
    pub(super) async fn current(&self) -> Result<Arc<Credential>, UpstreamError> {
        let credential = match &self.kind {
            Kind::Fixed(credential) => return Ok(Arc::clone(credential)),
            Kind::File(file) => file.current().await,
            Kind::Docker(docker) => docker.current().await,
        };
        self.told(credential)
    }

    /// What holds now that `rejected` was: perhaps still the same.
    ///
    /// # Errors
    /// As [`current`](Self::current).
    pub(super) async fn renewed(&self, rejected: &Arc<Credential>) -> Result<Arc<Credential>, UpstreamError> {
        let credential = match &self.kind {
            Kind::Fixed(credential) => return Ok(Arc::clone(credential)),
            Kind::File(file) => file.again().await,
            Kind::Docker(docker) => docker.renewed(rejected).await,
        };
        self.told(credential)
    }

    fn told(&self, result: Result<Arc<Credential>, CredentialError>) -> Result<Arc<Credential>, UpstreamError> {
        let was_failing = self.failing.swap(result.is_err(), Ordering::Relaxed);
        result.map_err(|error| {
            if !was_failing {
                let error = with_causes(&error);
                tracing::error!(
                    error,
                    "the credentials for the upstream cannot be had; its requests fail until they can"
                );
            }
            UpstreamError::Credentials { cause: Arc::new(error) }
        })
    }
}

fn secret_of(user: Option<&str>, bytes: &[u8]) -> Result<Credential, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "holds something that is no text".to_owned())?.trim_end();
    match user {
        _ if text.is_empty() => Err("is empty; it should hold a password or token".to_owned()),
        Some(user) => Ok(Credential::Password(Credentials { user: user.to_owned(), password: text.to_owned() })),
        None => Credential::bearer(text).ok_or_else(|| "holds a token with characters that cannot be sent".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_shown() {
        let credentials = Credentials { user: "u".to_owned(), password: "hunter2".to_owned() };
        assert!(credentials.basic().expect("a header").is_sensitive());
        let Some(Credential::Bearer(header)) = Credential::bearer("hunter2") else { panic!("no header") };
        assert!(header.is_sensitive());
        for shown in [
            format!("{credentials:?}"),
            format!("{:?}", CredentialSource::Password(credentials)),
            format!("{:?}", CredentialSource::Token("hunter2".to_owned())),
        ] {
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }

    #[test]
    fn the_end_of_the_line_is_no_part_of_a_password() {
        let read = |user, bytes: &[u8]| secret_of(user, bytes).ok();
        let password = Credentials { user: "u".to_owned(), password: " a b".to_owned() };
        assert!(read(Some("u"), b" a b\r\n") == Some(Credential::Password(password)));
        assert!(read(None, b"token\n") == Credential::bearer("token"));
        assert!(read(None, b"to\nken\n").is_none() && read(None, b" \n").is_none() && read(None, b"\xff").is_none());
    }
}
