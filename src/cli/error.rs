//! What can go wrong with a command, and how that is told.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use super::demo::error::DemoError;
use super::tasks::error::{ExportError, PlaceError};
use super::verify::error::VerifyError;
use super::wire::StartError;
use crate::admin::control::ControlError;
use crate::config::ConfigError;
use crate::proxy::ProxyError;
use crate::telemetry::{LogError, TracesError};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Traces(#[from] TracesError),
    #[error("{0}")]
    Usage(String),
    #[error("the runtime cannot start")]
    Runtime(#[source] io::Error),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("signals cannot be received")]
    Signals(#[source] io::Error),
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    #[error(transparent)]
    Demo(#[from] DemoError),
    #[error(transparent)]
    Place(#[from] PlaceError),
    #[error(transparent)]
    Export(#[from] ExportError),
    #[error(transparent)]
    Verify(#[from] VerifyError),
    #[error(transparent)]
    Control(#[from] ControlError),
    #[error("{}", match .0 { 1 => "there was a problem".to_owned(), count => format!("there were {count} problems") })]
    Problems(u64),
    #[error("{}", match .0 { 1 => "a reference leads nowhere".to_owned(), count => format!("{count} references lead nowhere") })]
    Nowhere(usize),
    #[error("stopped by {0}")]
    Stopped(&'static str),
    #[error("manual pages cannot be written to {}", directory.display())]
    Pages { directory: PathBuf, source: io::Error },
    #[error("the answer cannot be written")]
    Output(#[source] io::Error),
}

impl CliError {
    /// Tells it on stderr, with all causes, and says how to exit.
    #[expect(clippy::print_stderr, reason = "the command's own voice; a log may go elsewhere, or be filtered")]
    pub(super) fn report(&self) -> ExitCode {
        eprintln!("colocate: {self}");
        let mut next = self.source();
        while let Some(cause) = next {
            eprintln!("  because: {cause}");
            next = cause.source();
        }
        match self {
            Self::Config(_) | Self::Log(_) | Self::Traces(_) | Self::Usage(_) => ExitCode::from(2),
            // Settings that are well-formed but cannot be used, as a key that is not the certificate's.
            Self::Start(
                StartError::Registry { .. } | StartError::Tls(_) | StartError::Htpasswd(_) | StartError::Inherited(_),
            ) => ExitCode::from(2),
            Self::Place(PlaceError::NoCache { .. } | PlaceError::NoUpstream { .. }) => ExitCode::from(2),
            Self::Export(ExportError::NotAFile { .. }) => ExitCode::from(2),
            Self::Verify(error) if error.is_usage() => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        }
    }
}
