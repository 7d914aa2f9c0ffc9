//! The commands that work on a cache: `warm`, `pin`, `export`, `unpin` and `cache`.
//!
//! Each is a [`Task`]. If nobody has the cache's directory, the command opens it and runs the task itself; if a
//! colocate serves from it, that one is asked by the control socket. What is told looks the same (`show`).
//! What is exported goes into a file (`output`), and of one that was broken off `kept` says what can stay.

pub(super) mod arguments;
pub(super) mod error;
mod export;
mod kept;
mod output;
mod place;
mod show;

use super::error::CliError;
use super::serve::Signals;
use crate::config::{CacheConfig, CommandLine, Config};
use crate::proxy::{Event, Task};
use crate::telemetry;
use arguments::{CacheCommand, PlaceArguments, UnpinArguments, WarmArguments};
use error::PlaceError;
pub(super) use export::export;
use place::Place;
use show::Screen;

/// `colocate warm`, and `colocate pin`.
pub(super) async fn warm(arguments: WarmArguments, pin: bool) -> Result<(), CliError> {
    let place = place_to_pull(&arguments)?;
    let WarmArguments { place: of, platforms, references, .. } = arguments;
    let task = if pin { Task::Pin { references, platforms } } else { Task::Warm { references, platforms } };
    run(&of, place, task).await
}

/// `colocate unpin`
pub(super) async fn unpin(arguments: UnpinArguments) -> Result<(), CliError> {
    let UnpinArguments { place: of, references } = arguments;
    run(&of, place(&of)?, Task::Unpin { references }).await
}

/// `colocate cache`
pub(super) async fn cache(command: CacheCommand) -> Result<(), CliError> {
    let (of, task) = match command {
        CacheCommand::Ls(of) => (of, Task::List),
        CacheCommand::Rm { place: of, force, what } => (of, Task::Remove { what, force }),
        CacheCommand::Verify(of) => (of, Task::Verify),
        CacheCommand::Stats(of) => (of, Task::Stats),
    };
    run(&of, place(&of)?, task).await
}

/// Where a task runs that may have to ask a registry.
fn place_to_pull(arguments: &WarmArguments) -> Result<Place, CliError> {
    let WarmArguments { place: of, upstream, endpoint, .. } = arguments;
    match (&of.cache, upstream) {
        (Some(_), Some(_)) => {
            let (upstream, cache, endpoint) = (upstream.clone(), of.cache.clone(), endpoint.clone());
            let line = CommandLine { upstream, cache, endpoint, ..CommandLine::default() };
            Ok(Place::configured(Config::from_command_line(line)?))
        }
        _ => place(of),
    }
}

fn place(arguments: &PlaceArguments) -> Result<Place, CliError> {
    match (&arguments.config, &arguments.cache) {
        (Some(file), _) => Ok(Place::configured(Config::load(file)?)),
        (None, Some(directory)) => Ok(Place::bare(CacheConfig::in_directory(directory.clone())?)),
        (None, None) => Err(CliError::Usage("give --config or --cache".to_owned())),
    }
}

/// Runs a task to its end, or to a signal: that ends a task that runs in another process, too.
async fn run(arguments: &PlaceArguments, place: Place, task: Task) -> Result<(), CliError> {
    // What goes wrong with the task is told as such.
    telemetry::init(false, "error")?;
    let mut signals = Signals::new()?;
    let mut screen = Screen::new(arguments.json);
    let work = async {
        let mut told = place.run(task).await?;
        while let Some(event) = told.next().await? {
            screen.show(&event).map_err(CliError::Output)?;
            match event {
                Event::End { problems: 0 } => return Ok(()),
                Event::End { problems } => return Err(CliError::Problems(problems)),
                _ => {}
            }
        }
        Err(PlaceError::Stopped.into())
    };
    tokio::select! {
        done = work => done,
        name = signals.next() => Err(CliError::Stopped(name)),
    }
}
