//! `colocate export`: a task whose bytes become a file.

use super::arguments::{ExportArguments, Format, PlaceArguments, WarmArguments};
use super::error::{ExportError, PlaceError};
use super::output::Output;
use super::place::Place;
use super::place_to_pull;
use super::show::Screen;
use crate::cli::error::CliError;
use crate::cli::serve::Signals;
use crate::proxy::{Event, Task};
use crate::telemetry;

/// `colocate export`
pub(in crate::cli) async fn export(arguments: ExportArguments) -> Result<(), CliError> {
    let ExportArguments { what, output: file, format } = arguments;
    if format == Format::Imgpkg && !what.platforms.is_empty() {
        let problem =
            "an imgpkg archive has the images of an index for all platforms; use --format oci with --platform";
        return Err(CliError::Usage(problem.to_owned()));
    }
    let place = place_to_pull(&what)?;
    telemetry::init(false, "error")?;
    let mut signals = Signals::new()?;
    let mut output = Output::open(&file)?;
    let done = tokio::select! {
        done = write(&mut output, &place, what, format) => done,
        name = signals.next() => Err(CliError::Stopped(name)),
    };
    done.map_err(|error| output.unfinished(error))
}

async fn write(output: &mut Output, place: &Place, what: WarmArguments, format: Format) -> Result<(), CliError> {
    let WarmArguments { place: PlaceArguments { json, .. }, platforms, references, .. } = what;
    let kept = output.kept().await?;
    let mut told = place.run(Task::Export { references, platforms, format: format.into(), kept }).await?;
    let (mut screen, mut exported) = (Screen::new(json), None);
    let mut show = |event: &Event| screen.show(event).map_err(CliError::Output);
    while let Some(event) = told.next().await? {
        match &event {
            Event::Planned { bytes, kept, kept_bytes, .. } => output.begin(*bytes, *kept, *kept_bytes)?,
            Event::Piece { bytes } => output.write(bytes)?,
            // Not before it has its name.
            Event::Exported(_) => {
                exported = Some(event);
                continue;
            }
            Event::End { problems: 0 } => {
                let exported = exported.ok_or(ExportError::Confused)?;
                output.finish()?;
                show(&exported)?;
                return show(&event);
            }
            Event::End { problems } => {
                show(&event)?;
                return Err(CliError::Problems(*problems));
            }
            _ => {}
        }
        show(&event)?;
    }
    Err(PlaceError::Stopped.into())
}
