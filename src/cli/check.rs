//! `colocate check`: what a configuration comes to, for whoever wrote it to compare with what was meant.

use std::fmt::Write as _;

use super::error::CliError;
use super::wire;
use crate::config::{
    ANONYMOUS, AccessConfig, AccessMode, AccessRule, Action, Called, Config, Credentials, Endpoint, Files, FilesPlace,
    ListenAddress, OriginRule, UpstreamConfig, UpstreamPlace, Writes,
};

/// Tells that a configuration can be served with, and what it comes to.
#[expect(clippy::print_stdout, reason = "what the command has to say")]
pub(super) fn check(config: &Config) -> Result<(), CliError> {
    wire::check(config)?;
    println!("{}", describe(config));
    Ok(())
}

fn describe(config: &Config) -> String {
    let tls = if config.server.tls.is_some() { "TLS" } else { "plain HTTP" };
    // Writing to a String does not fail.
    let mut text = format!(
        "The configuration is valid.\nclients connect to {} ({tls})\nwho may read: {}\n",
        list(&config.listen, " and "),
        readers(&config.access)
    );
    for line in origins(&config.relocation.from_origin) {
        let _ = writeln!(text, "{line}");
    }
    for upstream in config.all_upstreams() {
        let pushes = if upstream.writes == Writes::Forward { "; pushes and deletes go on to it" } else { "" };
        let asked = asked(config, upstream);
        let _ = writeln!(text, "\n{}, {}, asked {asked}{pushes}", upstream.registry, place(upstream));
        let ways = ways(config, upstream);
        let width = ways.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
        for (name, named) in ways {
            let _ = writeln!(text, "  {name:width$}  {named}");
        }
    }
    let warnings = warnings(config);
    if !warnings.is_empty() {
        text.push('\n');
    }
    for warning in warnings {
        let _ = writeln!(text, "WARNING: {warning}");
    }
    text.truncate(text.trim_end().len());
    text
}

fn readers(access: &AccessConfig) -> String {
    let who = match &access.mode {
        AccessMode::Open => "everyone who reaches that, without being asked",
        AccessMode::Htpasswd(file) => return limited(access, format!("the users in {}, by password", file.display())),
        AccessMode::Certificate => "who has a certificate of server.tls.client_ca",
        AccessMode::Upstream => "who may read upstream, which is asked with the client's own credentials",
    };
    limited(access, who.to_owned())
}

fn limited(access: &AccessConfig, who: String) -> String {
    match access.rules.len() {
        0 => who,
        1 => format!("{who}; as far as the one rule of access.rules allows"),
        count => format!("{who}; as far as the {count} rules of access.rules allow"),
    }
}

/// Which images count as colocated though they are not in their bundle's repository.
fn origins(rules: &[OriginRule]) -> Vec<String> {
    let told = |rule: &OriginRule| {
        let whose = if rule.credentials { "with the credentials there are" } else { "if everyone may read them" };
        format!("bundles in {} may have images at {}, {whose}", rule.bundles, rule.origins)
    };
    match rules {
        [] => vec!["images count only in their bundle's repository".to_owned()],
        rules => rules.iter().map(told).collect(),
    }
}

pub(super) fn place(upstream: &UpstreamConfig) -> String {
    match &upstream.place {
        UpstreamPlace::Registry(url) => format!("at {url}"),
        UpstreamPlace::Files(Files { places, called }) => {
            let told = |place: &FilesPlace| match place {
                FilesPlace::Layout(path) => format!("the layout in {}", path.display()),
                FilesPlace::Archive(path) => path.display().to_string(),
            };
            let called = called.as_ref().map(|Called { repository, tag }| match tag {
                Some(tag) => format!(", as {repository}:{tag}"),
                None => format!(", as {repository}"),
            });
            let places = places.iter().map(told).collect::<Vec<_>>().join(", ");
            format!("from {places}{}", called.unwrap_or_default())
        }
    }
}

/// Who the upstream takes the proxy for.
fn asked(config: &Config, upstream: &UpstreamConfig) -> String {
    let mut who = match &upstream.credentials {
        _ if matches!(upstream.place, UpstreamPlace::Files(_)) => return "as the files are".to_owned(),
        _ if config.access.mode == AccessMode::Upstream => match upstream.client_credentials {
            true => "as each client says who it is".to_owned(),
            false => "anonymously".to_owned(),
        },
        None => "anonymously".to_owned(),
        Some(Credentials::Password { username, .. } | Credentials::PasswordFile { username, .. }) => {
            format!("as {username}")
        }
        Some(Credentials::Token(_) | Credentials::TokenFile(_)) => "with a token".to_owned(),
        Some(Credentials::DockerConfig(file)) => format!("with what {} says", file.display()),
    };
    if upstream.identity.is_some() {
        who.push_str(", with a certificate");
    }
    who
}

/// By which names clients reach an upstream, and what their locks will name then.
fn ways(config: &Config, upstream: &UpstreamConfig) -> Vec<(String, String)> {
    let relocates = !config.rules.never_relocate();
    let named = |name: &str| match relocates {
        true => format!("locks name {name}"),
        false => "locks stay as they are".to_owned(),
    };
    let mut ways: Vec<(String, String)> = Vec::new();
    for host in &upstream.hosts {
        let name = format!("{host}/NAME");
        ways.push((name.clone(), named(&name)));
    }
    let is_default = config.upstream.as_ref().is_some_and(|default| default.registry == upstream.registry);
    if is_default || upstream.prefix.is_some() {
        let prefix = upstream.prefix.as_ref().map(|prefix| format!("{prefix}/")).unwrap_or_default();
        for host in shared(config) {
            let name = format!("{host}/{prefix}NAME");
            ways.push((name.clone(), named(&name)));
        }
        if is_default && upstream.prefix.is_some() {
            let host = shared(config).into_iter().next().unwrap_or_default();
            ways.push((format!("{host}/NAME"), "if it begins with no other upstream's prefix".to_owned()));
        }
    }
    // As references to it are written in full.
    let registry = if upstream.registry.is_docker_hub() { "index.docker.io" } else { upstream.registry.as_str() };
    let ns = format!("{registry}/NAME");
    ways.push((format!("?ns={}", upstream.registry), format!("mirrors' clients; {}", named(&ns))));
    ways
}

/// The hosts that lead to several upstreams.
fn shared(config: &Config) -> Vec<String> {
    let mut hosts: Vec<String> = config.endpoint.iter().chain(&config.endpoints).map(Endpoint::to_string).collect();
    if config.endpoint.is_none()
        && let Some(own) = ListenAddress::endpoint(&config.listen)
    {
        hosts.insert(0, own.to_string());
    }
    hosts
}

/// What is allowed, and better known.
fn warnings(config: &Config) -> Vec<String> {
    let mut warnings: Vec<String> = config
        .all_upstreams()
        .filter(|upstream| upstream.insecure)
        .map(|upstream| {
            format!(
                "{} is insecure: its certificate is not checked, and whoever is on the way can read its credentials and \
                 change what it sends; name its authority in ca_file instead",
                upstream.registry
            )
        })
        .collect();
    let reached = |address: &ListenAddress| address.tcp().is_some_and(|address| !address.ip().is_loopback());
    let passwords = matches!(config.access.mode, AccessMode::Htpasswd(_) | AccessMode::Upstream);
    if passwords && config.server.tls.is_none() && config.listen.iter().any(reached) {
        warnings.push(
            "clients' passwords go over plain HTTP to an address that others reach; set server.tls, or let only a proxy \
             with TLS connect"
                .to_owned(),
        );
    }
    if config.access.mode == AccessMode::Open && config.all_upstreams().any(UpstreamConfig::has_credentials) {
        warnings.push(
            "nobody is asked who they are (access.allow_public), so everyone reads what the upstreams' credentials can read"
                .to_owned(),
        );
    }
    let anybody =
        |rule: &AccessRule| rule.identity.matches(ANONYMOUS) && rule.allow.iter().any(|action| *action != Action::Pull);
    if config.access.mode != AccessMode::Upstream
        && config.access.rules.iter().any(anybody)
        && config.all_upstreams().any(|upstream| upstream.writes == Writes::Forward)
    {
        warnings.push(
            "who gives no name may push or delete by a rule of access.rules; everybody who reaches this then can"
                .to_owned(),
        );
    }
    warnings
}

fn list(names: &[impl ToString], separator: &str) -> String {
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(separator)
}
