//! Setting up the log.

use std::env;
use std::io;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Not a filter.
    #[error("`{filter}` in {origin} is not a log filter such as info or colocate=debug,info")]
    Filter {
        /// The text.
        filter: String,
        /// Where it came from.
        origin: &'static str,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// It was set up before.
    #[error("logging is set up already")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

/// Sends log lines to stderr, as text or as JSON. `RUST_LOG` goes before `filter`, since whoever sets it is
/// looking for something right now.
///
/// # Errors
/// When the filter does not parse, or logging was set up before.
pub fn init(json: bool, filter: &str) -> Result<(), LogError> {
    let (filter, origin) = match env::var("RUST_LOG") {
        Ok(own) if !own.is_empty() => (own, "RUST_LOG"),
        _ => (filter.to_owned(), "log.filter"),
    };
    start(json, filter, origin)
}

/// As [`init`], whatever `RUST_LOG` says: for a filter from the command line, which is said for this one process.
///
/// # Errors
/// As [`init`].
pub fn init_exactly(json: bool, filter: &str) -> Result<(), LogError> {
    start(json, filter.to_owned(), "--log-filter")
}

fn start(json: bool, filter: String, origin: &'static str) -> Result<(), LogError> {
    let parsed = EnvFilter::try_new(&filter).map_err(|source| LogError::Filter { filter, origin, source })?;
    let builder = tracing_subscriber::fmt().with_env_filter(parsed).with_writer(io::stderr);
    if json {
        builder.json().flatten_event(true).with_current_span(false).with_span_list(false).finish().try_init()?;
    } else {
        // Colours only for a person: escape codes in a log file are noise.
        let person = io::IsTerminal::is_terminal(&io::stderr());
        builder.with_ansi(person).finish().try_init()?;
    }
    Ok(())
}
