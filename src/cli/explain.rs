//! `colocate explain`

use std::io::Write as _;

use super::arguments::ExplainArguments;
use super::error::CliError;
use super::reference::Names;
use super::serve::Signals;
use super::wire;
use crate::proxy::Wanted;
use crate::telemetry::Metrics;

/// Looks at a reference as a proxy that has seen nothing yet would: with a cache of its own, so that a running
/// proxy's is neither needed nor disturbed.
///
/// A signal ends it early, and not by the default action, which would leave that cache behind.
pub(super) async fn explain(arguments: &ExplainArguments) -> Result<(), CliError> {
    let mut signals = Signals::new()?;
    let text = tokio::select! {
        text = answer(arguments) => text?,
        name = signals.next() => return Err(CliError::Stopped(name)),
    };
    std::io::stdout().write_all(text.as_bytes()).map_err(CliError::Output)
}

async fn answer(arguments: &ExplainArguments) -> Result<String, CliError> {
    let mut config = arguments.config()?;
    let scratch = tempfile::tempdir().map_err(CliError::Output)?;
    config.cache.dir = scratch.path().join("cache");
    let names = Names::new(&config, &config.listen);
    let Wanted { view, reference } = names.read(&arguments.reference).map_err(|problem| {
        CliError::Usage(format!("`{}` is not a reference to explain: {problem}", arguments.reference))
    })?;
    let (proxy, _) = wire::proxy(&config, Metrics::new()).await?;
    let explanation = proxy.explain(&view, &reference).await?;
    let mut text = if arguments.json {
        serde_json::to_string_pretty(&explanation).map_err(|err| CliError::Output(err.into()))?
    } else {
        explanation.to_string()
    };
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}
