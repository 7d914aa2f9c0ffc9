//! What can go wrong with a verification, and whose doing it is.

use std::error::Error;
use std::fmt;
use std::io;

use crate::tls::TlsError;
use crate::upstream::{EgressError, RegistryConfigError, UpstreamError};

/// Why a bundle is not verified.
#[derive(Debug)]
pub(in crate::cli) enum VerifyError {
    /// The file with CAs cannot be used.
    Ca(TlsError),
    /// The proxy that the environment names cannot be used.
    Egress(EgressError),
    /// A host cannot be spoken to.
    Registry { host: String, source: RegistryConfigError },
    /// A host did not give what it was asked for.
    Fetch { what: String, host: String, source: UpstreamError },
    /// Temporary files are not to be had.
    Scratch(io::Error),
    /// What this is all about.
    NotProven,
}

impl VerifyError {
    /// Whether it is a mistake in the arguments.
    pub(in crate::cli) fn is_usage(&self) -> bool {
        matches!(self, Self::Ca(_) | Self::Egress(_) | Self::Registry { .. })
    }
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ca(_) => f.write_str("--ca-file cannot be used"),
            Self::Egress(_) => f.write_str("the environment's proxy cannot be used"),
            Self::Registry { host, .. } => write!(f, "{host} cannot be spoken to"),
            Self::Fetch { what, host, source } => {
                write!(f, "{host} did not give {what}: {}", reason(source))?;
                advice(source).map_or(Ok(()), |advice| write!(f, "; {advice}"))
            }
            Self::Scratch(_) => f.write_str(
                "the layers cannot be kept in a temporary file; set TMPDIR to a directory that has room for both",
            ),
            Self::NotProven => f.write_str("it is not proven that the bundle is its original with images relocated"),
        }
    }
}

impl Error for VerifyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Ca(source) => Some(source),
            Self::Egress(source) => Some(source),
            Self::Registry { source, .. } => Some(source),
            // What it says itself is said already.
            Self::Fetch { source, .. } => source.source(),
            Self::Scratch(source) => Some(source),
            Self::NotProven => None,
        }
    }
}

/// What a host did, told of either of the two that are asked: both are an upstream to the client.
fn reason(error: &UpstreamError) -> String {
    match error {
        UpstreamError::Credentials { .. } => "the credentials for it cannot be had".to_owned(),
        error => error.to_string().replace("the upstream's", "its").replace("the upstream", "it"),
    }
}

fn advice(error: &UpstreamError) -> Option<&'static str> {
    match error {
        UpstreamError::NotFound => Some("check the name, and whether credentials are needed to see it"),
        UpstreamError::Unauthorized { .. } | UpstreamError::Denied => {
            Some("log in with `docker login`, or give --docker-config")
        }
        UpstreamError::Connect { .. } | UpstreamError::Timeout { .. } => {
            Some("check the host and port, whether it wants http:// or https://, and --ca-file")
        }
        UpstreamError::Credentials { .. } => Some("check --docker-config"),
        UpstreamError::DigestMismatch { .. } => Some("nothing that it serves can be relied on while it does that"),
        error if error.is_transient() => Some("try again later"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_called_by_their_names() {
        let fetch = |source| VerifyError::Fetch { what: "acme/app:v1".into(), host: "a.b".into(), source };
        assert_eq!(
            fetch(UpstreamError::NotFound).to_string(),
            "a.b did not give acme/app:v1: it does not have it; check the name, and whether credentials are needed to see it"
        );
        let slow = UpstreamError::Timeout { what: crate::upstream::TimeoutStage::Token };
        assert!(fetch(slow).to_string().contains("its token server took too long"));
    }
}
