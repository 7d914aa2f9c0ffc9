//! The command line: what each command does with the rooms below.
//!
//! `wire` makes a running proxy of a configuration, and is the only place that knows every room. `serve` runs it
//! until a signal, `demo` pulls through it, `explain` asks it without a listener, and `check` stops before it. `tasks`
//! are the commands that work on a cache, or have the process do it that serves from it. `verify` is the one that trusts
//! no proxy: it asks one as any client does, and needs no configuration.
//! What a command has to say goes to stdout, errors to stderr with all their causes. A mistake in arguments or
//! configuration exits with 2, anything that went wrong later with 1.

mod arguments;
mod check;
mod demo;
mod error;
mod explain;
mod reference;
mod serve;
mod tasks;
mod verify;
mod wire;

use std::process::ExitCode;

use clap::Parser as _;

use arguments::{Arguments, Command};
use error::CliError;
pub use wire::{Running, StartError, start};

use crate::config::{Config, LogFormat};
use crate::telemetry::{self, Traces};

/// Does what the process's arguments say.
pub fn run() -> ExitCode {
    let Arguments { command } = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(err) => return CliError::Runtime(err).report(),
    };
    match runtime.block_on(dispatch(command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => err.report(),
    }
}

async fn dispatch(command: Command) -> Result<(), CliError> {
    match command {
        Command::Serve(arguments) => {
            let config = arguments.config()?;
            start_log(&config)?;
            let traces = Traces::start()?;
            let served = serve::serve(config).await;
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
        Command::Check { config } => check::check(&Config::load(&config)?),
    }
}

fn start_log(config: &Config) -> Result<(), CliError> {
    telemetry::init(config.log.format == LogFormat::Json, &config.log.filter)?;
    Ok(())
}
