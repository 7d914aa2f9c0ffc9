//! `colocate explain`

use std::io::Write as _;

use super::arguments::ExplainArguments;
use super::error::CliError;
use super::serve::Signals;
use super::wire;
use crate::config::{Config, Endpoint, UpstreamPlace};
use crate::oci::{Reference, RepositoryName};
use crate::server::Views;
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
    let own = (!config.listen.ip().is_unspecified()).then(|| Endpoint::of(config.listen));
    let endpoint = config.endpoint.clone().or(own).or_else(|| config.endpoints.first().cloned());
    let views = Views::new(endpoint, config.endpoints.clone(), config.rules.clone());
    let Asked { host, repository, reference } = read(&arguments.reference, &views, &config)?;
    let view = views.select(host.as_deref(), &repository);
    let (proxy, _) = wire::proxy(&config, Metrics::new()).await?;
    let explanation = proxy.explain(&view, &repository, &reference).await?;
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

#[derive(Debug, PartialEq, Eq)]
struct Asked {
    /// An endpoint of the proxy's, if the reference names one.
    host: Option<String>,
    repository: RepositoryName,
    reference: Reference,
}

/// Reads `[host/]repository[:tag|@digest]`. The host is how clients reach the proxy, or the registry behind; any
/// other is a mistake that would otherwise be answered about the wrong registry.
fn read(text: &str, views: &Views, config: &Config) -> Result<Asked, CliError> {
    let usage = |reason: String| CliError::Usage(format!("`{text}` is not a reference to explain: {reason}"));
    // Docker's rule for telling a host from the first part of a name.
    let is_host = |first: &str| first == "localhost" || first.contains(['.', ':']);
    let (host, rest) = match text.split_once('/').filter(|(first, _)| is_host(first)) {
        Some((host, rest)) => (Some(host), rest),
        None => (None, text),
    };
    let (name, reference) = match rest.split_once('@') {
        // A tag before a digest means nothing beside it.
        Some((name, digest)) => (name.split_once(':').map_or(name, |(name, _)| name), digest),
        None => rest.split_once(':').unwrap_or((rest, "latest")),
    };
    let repository = name.parse().map_err(|err| usage(format!("{err}")))?;
    let reference = reference.parse().map_err(|err| usage(format!("{err}")))?;
    let host = match host {
        Some(host) if views.knows(host) => Some(host.to_owned()),
        Some(host) if !is_upstream(host, &config.upstream.place) => {
            let reason = format!(
                "clients reach the proxy by none of that name ({host}); leave the host out, or list it in `endpoints`"
            );
            return Err(usage(reason));
        }
        _ => None,
    };
    Ok(Asked { host, repository, reference })
}

fn is_upstream(host: &str, place: &UpstreamPlace) -> bool {
    match place {
        UpstreamPlace::Layout(_) => false,
        UpstreamPlace::Registry(url) => {
            let own = url.host_str().unwrap_or_default();
            host == own || url.port_or_known_default().is_some_and(|port| host == format!("{own}:{port}"))
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests {
    use super::*;

    #[test]
    fn references() {
        let text = "endpoint: proxy.example\nendpoints: [exact.example]\nupstream: {url: 'https://registry.example'}";
        let config = Config::parse("test", text).unwrap();
        let views = Views::new(config.endpoint.clone(), config.endpoints.clone(), config.rules.clone());
        let digest = format!("sha256:{}", "0".repeat(64));
        for (text, host, name, reference) in [
            ("acme/app", None, "acme/app", "latest"),
            ("app:v1", None, "app", "v1"),
            ("proxy.example/acme/app:v1", Some("proxy.example"), "acme/app", "v1"),
            ("exact.example/acme/app:v1", Some("exact.example"), "acme/app", "v1"),
            ("registry.example/acme/app:v1", None, "acme/app", "v1"),
            ("registry.example:443/acme/app:v1", None, "acme/app", "v1"),
            (&format!("acme/app:v1@{digest}"), None, "acme/app", &digest),
        ] {
            let asked = read(text, &views, &config).unwrap();
            assert_eq!((asked.host.as_deref(), asked.repository.as_str()), (host, name), "{text}");
            assert_eq!(asked.reference.to_string(), reference, "{text}");
        }
        for bad in ["", "Acme", "acme/app:", "acme/app@sha256:00", "other.example/acme/app", "acme/../app"] {
            assert!(matches!(read(bad, &views, &config), Err(CliError::Usage(_))), "{bad}");
        }
    }
}
