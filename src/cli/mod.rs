//! The command line: what each command does with the rooms below.
//!
//! `wire` makes a running proxy of a configuration, and is the only place that knows every room. `serve` runs it
//! until a signal, and tells a service manager how it is doing (`notify`); `demo` pulls through it, `explain` asks it
//! without a listener, and `check` stops before it. `tasks` are the commands that work on a cache, or have the process do
//! it that serves from it. `verify` is the one that trusts no proxy: it asks one as any client does, and needs no
//! configuration.
//! What a command has to say goes to stdout, errors to stderr with all their causes. A mistake in arguments or
//! configuration exits with 2, anything that went wrong later with 1.

mod arguments;
mod check;
mod demo;
mod documents;
mod error;
mod explain;
mod notify;
mod reference;
mod reload;
mod running;
mod serve;
mod tasks;
mod verify;
mod version;
mod wire;

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser as _;

use arguments::{Arguments, Command};
use error::CliError;
use reload::Reloader;
pub use running::{Running, start};
pub use wire::StartError;

use crate::config::{Config, LogConfig, LogFormat};
use crate::server::Inherited;
use crate::telemetry::{self, LogHandle, Traces};

/// Does what the process's arguments say.
pub fn run() -> ExitCode {
    let Arguments { command } = Arguments::parse();
    // Before the runtime and its threads, as it changes the environment.
    let inherited = match command {
        Command::Serve(_) => Inherited::from_environment(),
        _ => Ok(Inherited::default()),
    };
    let inherited = match inherited {
        Ok(inherited) => inherited,
        Err(err) => return CliError::Start(err.into()).report(),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(err) => return CliError::Runtime(err).report(),
    };
    match runtime.block_on(dispatch(command, inherited)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => err.report(),
    }
}

async fn dispatch(command: Command, inherited: Inherited) -> Result<(), CliError> {
    match command {
        Command::Serve(arguments) => {
            let config = arguments.config()?;
            let log = start_log(&config, arguments.has_log_filter())?;
            let traces = Traces::start()?;
            let (file, again) = (arguments.file(), arguments.clone());
            let reloader = Reloader::new(file.as_deref(), Arc::new(move || again.config()), log)?;
            let served = serve::serve(config, reloader, inherited).await;
            traces.finish().await;
            served
        }
        Command::Demo(arguments) => {
            // The demo has its own story to tell; only trouble belongs between its lines.
            telemetry::init(false, "warn")?;
            demo::demo(&arguments).await
        }
        Command::Explain(arguments) => {
            telemetry::init(false, "error")?;
            explain::explain(&arguments).await
        }
        Command::Verify(arguments) => {
            telemetry::init(false, "error")?;
            verify::verify(&arguments).await
        }
        Command::Warm(arguments) => tasks::warm(arguments, false).await,
        Command::Pin(arguments) => tasks::warm(arguments, true).await,
        Command::Export(arguments) => tasks::export(arguments).await,
        Command::Unpin(arguments) => tasks::unpin(arguments).await,
        Command::Cache { command } => tasks::cache(command).await,
        Command::Completions { shell } => documents::completions(shell),
        Command::Man { dir } => documents::man(dir.as_deref()),
        Command::Check(arguments) => check::check(&arguments),
    }
}

/// `exactly` is for a filter that was said on the command line.
fn start_log(config: &Config, exactly: bool) -> Result<LogHandle, CliError> {
    let LogConfig { format, filter } = &config.log;
    let init = if exactly { telemetry::init_exactly } else { telemetry::init };
    Ok(init(*format == LogFormat::Json, filter)?)
}
