//! `colocate completions` and `colocate man`: what packages ship beside the program, made from its own arguments.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::Shell;
use clap_mangen::Man;

use super::arguments::Arguments;
use super::error::CliError;
use crate::telemetry::BUILD;

/// Writes the script that completes arguments in a shell.
pub(super) fn completions(shell: Shell) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command(), env!("CARGO_PKG_NAME"), &mut script);
    io::stdout().write_all(&script).map_err(CliError::Output)
}

/// Writes the program's manual page, or those of all its commands into a directory.
pub(super) fn man(directory: Option<&Path>) -> Result<(), CliError> {
    let Some(directory) = directory else {
        return io::stdout().write_all(&page(&command())?).map_err(CliError::Output);
    };
    let failed = |source| CliError::Pages { directory: directory.to_owned(), source };
    fs::create_dir_all(directory).map_err(failed)?;
    pages(directory, &command())
}

/// One for the command and one for each below it.
fn pages(directory: &Path, command: &clap::Command) -> Result<(), CliError> {
    let name = command.get_display_name().unwrap_or(command.get_name());
    let failed = |source| CliError::Pages { directory: directory.to_owned(), source };
    fs::write(directory.join(format!("{name}.1")), page(command)?).map_err(failed)?;
    command.get_subcommands().try_for_each(|below| pages(directory, below))
}

fn page(command: &clap::Command) -> Result<Vec<u8>, CliError> {
    let man = Man::new(command.clone()).manual("Colocate").source(format!("Colocate {}", BUILD.version));
    // Not the day it is made on: the same program makes the same pages.
    let man = if BUILD.commit_date == "unknown" { man } else { man.date(BUILD.commit_date) };
    let mut page = Vec::new();
    man.render(&mut page).map_err(CliError::Output)?;
    Ok(page)
}

/// All there is, with the names that the commands below have.
fn command() -> clap::Command {
    // What `help COMMAND` says is what the pages say.
    let mut command = Arguments::command().disable_help_subcommand(true);
    command.build();
    command
}
