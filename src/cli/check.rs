//! `colocate check`

use std::fmt::Write as _;

use super::error::CliError;
use super::wire;
use crate::config::{AccessMode, Config, ListenAddress, UpstreamConfig, UpstreamPlace};

/// Tells that a configuration can be served with, and what it comes to.
#[expect(clippy::print_stdout, reason = "what the command has to say")]
pub(super) fn check(config: &Config) -> Result<(), CliError> {
    wire::check(config)?;
    println!("{}", describe(config));
    Ok(())
}

fn describe(config: &Config) -> String {
    let endpoint = match (&config.endpoint, config.endpoints.as_slice()) {
        (Some(endpoint), _) => endpoint.to_string(),
        (None, []) => {
            ListenAddress::endpoint(&config.listen).map_or_else(|| "nothing".to_owned(), |own| own.to_string())
        }
        (None, endpoints) => list(endpoints, " or "),
    };
    let mut text = "The configuration is valid.\n".to_owned();
    // Writing to a String does not fail.
    let _ = writeln!(
        text,
        "clients connect to {}, and are {}",
        list(&config.listen, " and "),
        clients(&config.access.mode)
    );
    if let Some(upstream) = &config.upstream {
        let prefix = upstream.prefix.as_ref().map(|prefix| format!("{prefix}/"));
        let _ =
            writeln!(text, "{}", upstream_behind(upstream, Some(format!("{endpoint}/{}", prefix.unwrap_or_default()))));
    }
    for upstream in &config.upstreams {
        let shared = upstream.prefix.as_ref().map(|prefix| format!("{endpoint}/{prefix}/"));
        let _ = writeln!(text, "{}", upstream_behind(upstream, shared));
    }
    text.truncate(text.trim_end().len());
    text
}

fn clients(mode: &AccessMode) -> &'static str {
    match mode {
        AccessMode::Open => "not asked who they are",
        AccessMode::Htpasswd(_) => "asked for a password",
        AccessMode::Certificate => "asked for a certificate",
        AccessMode::Upstream => "who they are to the registry they pull from",
    }
}

/// Where an upstream is, and by which names clients reach it, which are those that locks get.
fn upstream_behind(upstream: &UpstreamConfig, shared: Option<String>) -> String {
    let place = match &upstream.place {
        UpstreamPlace::Registry(url) => url.to_string(),
        UpstreamPlace::Layout(dir) => format!("the layout in {}", dir.display()),
    };
    let own = upstream.hosts.iter().map(|host| format!("{host}/"));
    let names: Vec<String> = own.chain(shared).collect();
    let names = if names.is_empty() { "nothing else".to_owned() } else { names.join(" and ") };
    format!("{place} is behind {names}, and {}/ where a mirror is asked for it (ns)", upstream.registry)
}

fn list(names: &[impl ToString], separator: &str) -> String {
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(separator)
}
