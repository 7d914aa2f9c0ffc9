//! `colocate check`: what a configuration comes to, for whoever wrote it to compare with what was meant; as a whole, or
//! for references (`account`).

mod account;
pub(super) mod arguments;
#[cfg(test)]
mod tests;
mod text;
mod upstream;

use std::fmt::Write as _;
use std::io::{self, Write as _};

use account::{Account, Asker, Verdict, account};
use arguments::CheckArguments;
pub(super) use upstream::place;

use super::error::CliError;
use super::reference::Names;
use super::wire;
use crate::config::{
    ANONYMOUS, AccessConfig, AccessMode, AccessRule, Action, Config, Endpoint, ListenAddress, OriginRule,
    UpstreamConfig, Writes,
};
use crate::server::Identity;

/// Tells that a configuration can be served with, and what it comes to.
pub(super) fn check(arguments: &CheckArguments) -> Result<(), CliError> {
    let config = Config::load(&arguments.config)?;
    wire::check(&config)?;
    if arguments.references.is_empty() {
        return say(&describe(&config));
    }
    let accounts = accounts(&config, arguments)?;
    if arguments.json {
        say(&serde_json::to_string_pretty(&accounts).map_err(|err| CliError::Output(err.into()))?)?;
    } else {
        say(&accounts.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n\n"))?;
    }
    match accounts.iter().filter(|account| matches!(account.verdict, Verdict::Nowhere { .. })).count() {
        0 => Ok(()),
        count => Err(CliError::Nowhere(count)),
    }
}

fn say(text: &str) -> Result<(), CliError> {
    writeln!(io::stdout(), "{text}").map_err(CliError::Output)
}

fn accounts(config: &Config, arguments: &CheckArguments) -> Result<Vec<Account>, CliError> {
    let identity = &arguments.identity;
    if !is_seen(&config.access.mode, identity) {
        let mode = match config.access.mode {
            AccessMode::Open => "open, where clients are not told apart",
            AccessMode::Htpasswd(_) => "htpasswd, where clients are users or anonymous",
            AccessMode::Certificate => "certificate, where clients have names of certificates",
            AccessMode::Upstream => "upstream, where only the registries behind know who clients are",
        };
        return Err(CliError::Usage(format!("--identity {identity} is nobody with `access.mode` {mode}")));
    }
    let names = Names::new(config, &config.listen);
    let asker = Asker { ns: arguments.ns.as_deref(), identity };
    arguments.references.iter().map(|text| account(config, &names, &asker, text)).collect()
}

/// Whether clients can be this by that mode. That a certificate is needed is an answer, not a mistake.
fn is_seen(mode: &AccessMode, identity: &Identity) -> bool {
    match (mode, identity) {
        (_, Identity::Anonymous) => true,
        (AccessMode::Htpasswd(_), Identity::User(_)) | (AccessMode::Certificate, Identity::Certificate(_)) => true,
        (_, Identity::User(_) | Identity::Certificate(_)) => false,
    }
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
        let asked = upstream::asked(config, upstream);
        let _ = writeln!(text, "\n{}, {}, asked {asked}{pushes}", upstream.registry, upstream::place(upstream));
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
    let told =
        |rule: &OriginRule| format!("bundles in {} may have images at {}", rule.bundles, upstream::origins(rule));
    match rules {
        [] => vec!["images count only in their bundle's repository".to_owned()],
        rules => rules.iter().map(told).collect(),
    }
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
