//! What becomes of a reference by a configuration alone, and by which of its settings.
//!
//! Nothing is decided here: the rooms that serve say what they would do, and by what. Nobody is asked.

use serde::Serialize;

use super::upstream;
use crate::cli::error::CliError;
use crate::cli::reference::{Found, Names, ReferenceError};
use crate::cli::wire;
use crate::config::{AccessMode, AccessRule, Action, Config, OriginRule, Rule, UpstreamPlace, When, Writes};
use crate::oci::{Reference, Repository};
use crate::proxy::View;
use crate::server::{AccessRuling, Identity, Lead, NoSuchName, Way, WithoutRules};
use crate::upstream::manifest_url;

/// Who asks, and as what.
pub(super) struct Asker<'a> {
    /// The registry it takes the proxy for, if it does (`ns`).
    pub(super) ns: Option<&'a str>,
    pub(super) identity: &'a Identity,
}

/// What becomes of one reference.
#[derive(Debug, Serialize)]
pub(super) struct Account {
    pub(super) reference: String,
    #[serde(flatten)]
    pub(super) verdict: Verdict,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    Leads(Box<Leads>),
    Nowhere {
        because: String,
        /// What would make it lead somewhere.
        advice: String,
    },
}

/// Where it leads, and what holds there.
#[derive(Debug, Serialize)]
pub(super) struct Leads {
    pub(super) repository: Repository,
    /// The tag or digest.
    pub(super) asked_for: String,
    pub(super) way: LeadingWay,
    pub(super) upstream: AskedUpstream,
    pub(super) relocation: Relocation,
    /// `None` for a digest, which is always the same.
    pub(super) tag: Option<TagBelief>,
    pub(super) access: Allowance,
}

#[derive(Debug, Serialize)]
#[serde(tag = "by", content = "name", rename_all = "snake_case")]
pub(super) enum LeadingWay {
    Ns(String),
    Host(String),
    Prefix(String),
    Default,
}

#[derive(Debug, Serialize)]
pub(super) struct AskedUpstream {
    /// Its section.
    pub(super) setting: String,
    /// The manifest's URL, or the files that stand for a registry.
    pub(super) at: String,
    /// Who it takes the proxy for.
    pub(super) asked: String,
    /// Whether pushes and deletes go on to it.
    pub(super) takes_writes: bool,
}

/// An entry of a list in the configuration.
#[derive(Debug, Serialize)]
pub(super) struct Entry {
    pub(super) setting: String,
    /// Its patterns, as they are written.
    pub(super) patterns: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Relocation {
    pub(super) when: &'static str,
    /// `None` where `relocation.when` holds.
    pub(super) rule: Option<Entry>,
    /// What locks will name instead of where their images were.
    pub(super) target: Option<String>,
    /// Why locks stay as they are, where there is no target.
    pub(super) because: Option<&'static str>,
    /// Where images may be besides the bundle's repository; none in an exact view.
    pub(super) origins: Vec<Entry>,
    /// Why there are none, in a view that is not exact.
    pub(super) no_origins: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct TagBelief {
    /// How long what the upstream said is believed; `None` is for good.
    pub(super) ttl: Option<String>,
    /// The pattern by which it is for good.
    pub(super) immutable: Option<Entry>,
}

#[derive(Debug, Serialize)]
pub(super) struct Allowance {
    pub(super) identity: String,
    /// Of pull, push and delete.
    pub(super) allows: Vec<&'static str>,
    /// The rule that decides; `None` where none does.
    pub(super) rule: Option<Entry>,
    /// Why that is so without a rule.
    pub(super) because: Option<String>,
    /// Whether the upstream has its say, too.
    pub(super) as_far_as_upstream: bool,
}

/// Reads a reference and tells what becomes of it.
pub(super) fn account(config: &Config, names: &Names, asker: &Asker<'_>, text: &str) -> Result<Account, CliError> {
    let verdict = match names.lead(text, asker.ns) {
        Ok(found) => Verdict::Leads(Box::new(leads(config, asker, found))),
        Err(ReferenceError::Malformed(problem)) => {
            return Err(CliError::Usage(format!("`{text}` is not a reference: {problem}")));
        }
        Err(error) => Verdict::Nowhere { because: error.because(), advice: advice(config, &error) },
    };
    Ok(Account { reference: text.to_owned(), verdict })
}

fn leads(config: &Config, asker: &Asker<'_>, found: Found<'_>) -> Leads {
    let Found { lead, reference } = found;
    let repository = lead.place.view.repository.clone();
    Leads {
        asked_for: reference.to_string(),
        way: match lead.way {
            Way::Namespace => LeadingWay::Ns(repository.registry.to_string()),
            Way::Host(host) => LeadingWay::Host(host.to_string()),
            Way::Prefix(prefix) => LeadingWay::Prefix(prefix.to_string()),
            Way::Default => LeadingWay::Default,
        },
        upstream: asked_upstream(config, &repository, &reference),
        relocation: relocation(config, &lead, &reference),
        tag: tag(config, &repository, &reference),
        access: allowance(config, asker.identity, &repository),
        repository,
    }
}

fn asked_upstream(config: &Config, repository: &Repository, reference: &Reference) -> AskedUpstream {
    let mut all = config.all_upstreams().enumerate();
    // The directory is made of the same upstreams.
    let Some((index, found)) = all.find(|(_, upstream)| upstream.registry == repository.registry) else {
        unreachable!("a place is always at an upstream");
    };
    let setting = match (&config.upstream, index) {
        (Some(_), 0) => "upstream".to_owned(),
        (default, index) => format!("upstreams[{}]", index - usize::from(default.is_some())),
    };
    let at = match &found.place {
        UpstreamPlace::Registry(url) => manifest_url(url, &repository.name, reference).to_string(),
        UpstreamPlace::Files(_) => upstream::place(found),
    };
    let takes_writes = found.writes == Writes::Forward;
    AskedUpstream { setting, at, asked: upstream::asked(config, found), takes_writes }
}

fn relocation(config: &Config, lead: &Lead<'_>, reference: &Reference) -> Relocation {
    let View { target, from_origin, repository, .. } = &lead.place.view;
    let when = lead.ruling.when;
    let rule = lead.ruling.rule.map(|(index, rule)| Entry {
        setting: format!("rules[{index}]"),
        patterns: {
            let Rule { endpoint, registry, repository, .. } = rule;
            format!("endpoint {endpoint}, registry {registry}, repository {repository}")
        },
    });
    let (target, because) = match (target, reference) {
        (Some(_), Reference::Digest(_)) => (None, Some("a digest gives exactly what it is of")),
        (Some(target), Reference::Tag(_)) => (Some(target.to_string()), None),
        (None, _) if when == When::Never => (None, Some("the view is exact")),
        (None, _) => (None, Some("the proxy has no name that could be written; set `endpoint`")),
    };
    let (mut origins, mut no_origins) = (Vec::new(), None);
    if target.is_some() && *from_origin {
        origins = wire::origin_policy(config).about(repository).map(|(index, rule)| origin(index, rule)).collect();
        if origins.is_empty() {
            no_origins = Some("no pair of relocation.from_origin is about bundles there".to_owned());
        }
    } else if target.is_some() {
        no_origins = Some(format!(
            "{} may be asked directly by who reads such a lock (always_proxied: false)",
            repository.registry
        ));
    }
    let when = match when {
        When::All => "all",
        When::Each => "each",
        When::Never => "never",
    };
    Relocation { when, rule, target, because, origins, no_origins }
}

fn origin(index: usize, rule: &OriginRule) -> Entry {
    let setting = format!("relocation.from_origin[{index}]");
    Entry { setting, patterns: upstream::origins(rule) }
}

fn tag(config: &Config, repository: &Repository, reference: &Reference) -> Option<TagBelief> {
    let Reference::Tag(tag) = reference else { return None };
    let immutable = wire::tag_policy(&config.tags).immutable_by(repository, tag).map(|index| Entry {
        setting: format!("tags.immutable[{index}]"),
        patterns: config.tags.immutable[index].to_string(),
    });
    Some(TagBelief {
        ttl: immutable.is_none().then(|| humantime::format_duration(config.tags.ttl).to_string()),
        immutable,
    })
}

fn allowance(config: &Config, identity: &Identity, repository: &Repository) -> Allowance {
    let rules = wire::access_rules(&config.access);
    let (registry, name) = (repository.registry.as_str(), repository.name.as_str());
    let mode = match config.access.mode {
        AccessMode::Open => "open",
        AccessMode::Htpasswd(_) => "htpasswd",
        AccessMode::Certificate => "certificate",
        AccessMode::Upstream => "upstream",
    };
    let shown = identity.to_string();
    if config.access.mode == AccessMode::Certificate && *identity == Identity::Anonymous {
        let because = "nobody comes in without a certificate (access.mode: certificate)".to_owned();
        let (allows, rule) = (Vec::new(), None);
        return Allowance { identity: shown, allows, rule, because: Some(because), as_far_as_upstream: false };
    }
    let (rule, because) = match rules.ruling(identity, registry, name) {
        AccessRuling::Rule(index, rule) => (Some(access_entry(index, rule)), None),
        AccessRuling::NoRule => (None, Some("no rule of access.rules is about them".to_owned())),
        AccessRuling::Without(WithoutRules::IdentifiedPull) if *identity == Identity::Anonymous => {
            (None, Some(format!("they have to say who they are (access.mode: {mode})")))
        }
        AccessRuling::Without(_) => (None, Some(format!("there are no access.rules (access.mode: {mode})"))),
    };
    let actions = [Action::Pull, Action::Push, Action::Delete].into_iter();
    Allowance {
        identity: shown,
        allows: actions.filter(|action| rules.allows(identity, registry, name, *action)).map(Action::as_str).collect(),
        rule,
        because,
        as_far_as_upstream: config.access.mode == AccessMode::Upstream,
    }
}

fn access_entry(index: usize, rule: &AccessRule) -> Entry {
    let AccessRule { identity, registry, repository, .. } = rule;
    let patterns = format!("identity {identity}, registry {registry}, repository {repository}");
    Entry { setting: format!("access.rules[{index}]"), patterns }
}

fn advice(config: &Config, error: &ReferenceError) -> String {
    let registries: Vec<String> = config.all_upstreams().map(|upstream| upstream.registry.to_string()).collect();
    let registries = registries.join(", ");
    match error {
        ReferenceError::Malformed(_) => String::new(),
        ReferenceError::Host(host) => format!(
            "leave the host out; or list {host} in `endpoints` if clients reach this proxy by it, or in `upstreams` if it is \
             a registry (those behind are {registries})"
        ),
        ReferenceError::Nowhere(NoSuchName::Prefix) => {
            let prefixes = config.all_upstreams().filter_map(|upstream| upstream.prefix.as_ref());
            let prefixes: Vec<String> = prefixes.map(|prefix| format!("{prefix}/")).collect();
            match prefixes.join(", ") {
                list if list.is_empty() => {
                    format!("say which registry is meant (--ns, of {registries}), or set `upstream.url`")
                }
                list => format!("begin it with one of {list}; or set `upstream.url` for names that begin with none"),
            }
        }
        ReferenceError::Nowhere(NoSuchName::Namespace | NoSuchName::Catalog) => {
            format!("name one of {registries}; or list it under `upstreams`")
        }
    }
}
