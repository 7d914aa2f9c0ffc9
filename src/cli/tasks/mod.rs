//! The commands that work on a cache: `warm`, `pin`, `unpin` and `cache`.
//!
//! Each is a [`Task`]. If nobody has the cache's directory, the command opens it and runs the task itself; if a
//! colocate serves from it, that one is asked by the control socket. What is told looks the same (`show`).

pub(super) mod arguments;
pub(super) mod error;
mod place;
mod show;

use super::error::CliError;
use super::serve::Signals;
use crate::config::{CacheConfig, CommandLine, Config};
use crate::proxy::{Event, Task};
use crate::telemetry;
use arguments::{CacheCommand, PlaceArguments, UnpinArguments, WarmArguments};
use error::PlaceError;
use place::Place;
use show::Screen;

/// `colocate warm`, and `colocate pin`.
pub(super) async fn warm(arguments: WarmArguments, pin: bool) -> Result<(), CliError> {
    let WarmArguments { place: of, upstream, endpoint, platforms, references } = arguments;
    let place = match (&of.cache, upstream) {
        (Some(_), Some(upstream)) => {
            let cache = of.cache.clone();
            let line = CommandLine { upstream: Some(upstream), cache, endpoint, ..CommandLine::default() };
            Place::configured(Config::from_command_line(line)?)
        }
        _ => place(&of)?,
    };
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
