//! Setting up the log.

use std::env;
use std::fmt;
use std::io;

use tracing::Subscriber;
use tracing_log::AsLog as _;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::log_format::LineFormat;

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
    /// What the filter was for is gone.
    #[error("the log filter cannot be changed")]
    Gone(#[from] reload::Error),
}

/// Changes what is logged, while it is.
pub struct LogHandle(Option<Box<SetFilter>>);

type SetFilter = dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync;

/// Which filter counts after [`LogHandle::set_filter`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterInForce {
    /// The one that was set.
    Set,
    /// Still that of `RUST_LOG` or of the command line, which go before.
    Fixed,
}

/// Sends log lines to stderr, as text or as JSON. `RUST_LOG` goes before `filter`, since whoever sets it is
/// looking for something right now.
///
/// # Errors
/// When the filter does not parse, or logging was set up before.
pub fn init(json: bool, filter: &str) -> Result<LogHandle, LogError> {
    match env::var("RUST_LOG").ok().filter(|own| !own.is_empty()) {
        Some(own) => Ok(start(json, parse(&own, "RUST_LOG")?)?.fixed()),
        None => start(json, parse(filter, "log.filter")?),
    }
}

/// As [`init`], whatever `RUST_LOG` says: for a filter from the command line, which is said for this one process.
///
/// # Errors
/// As [`init`].
pub fn init_exactly(json: bool, filter: &str) -> Result<LogHandle, LogError> {
    Ok(start(json, parse(filter, "--log-filter")?)?.fixed())
}

fn start(json: bool, filter: EnvFilter) -> Result<LogHandle, LogError> {
    let format = if json { LineFormat::Json } else { LineFormat::Text };
    // Colours only for a person: escape codes in a log file are noise.
    let person = !json && io::IsTerminal::is_terminal(&io::stderr());
    let (subscriber, handle) = subscriber(format, person, filter, io::stderr);
    subscriber.try_init()?;
    Ok(handle)
}

impl LogHandle {
    /// A handle that changes nothing: what counts was not said in the configuration.
    fn fixed(self) -> Self {
        Self(None)
    }

    /// Lets `filter` say from now on what is logged.
    ///
    /// # Errors
    /// When it does not parse; then nothing changes.
    pub fn set_filter(&self, filter: &str) -> Result<FilterInForce, LogError> {
        let filter = parse(filter, "log.filter")?;
        let Some(set) = &self.0 else { return Ok(FilterInForce::Fixed) };
        set(filter)?;
        // The `log` crate, by which rustls tells of itself, asks this before anything else.
        tracing_log::log::set_max_level(LevelFilter::current().as_log());
        Ok(FilterInForce::Set)
    }
}

impl fmt::Debug for LogHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogHandle")
    }
}

fn parse(filter: &str, origin: &'static str) -> Result<EnvFilter, LogError> {
    EnvFilter::try_new(filter).map_err(|source| LogError::Filter { filter: filter.to_owned(), origin, source })
}

fn subscriber<W>(
    format: LineFormat,
    colours: bool,
    filter: EnvFilter,
    writer: W,
) -> (impl Subscriber + Send + Sync, LogHandle)
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt().with_ansi(colours).event_format(format).with_writer(writer);
    let builder = builder.with_env_filter(filter).with_filter_reloading();
    let reload = builder.reload_handle();
    (builder.finish(), LogHandle(Some(Box::new(move |filter| reload.reload(filter)))))
}

#[cfg(test)]
mod tests;
