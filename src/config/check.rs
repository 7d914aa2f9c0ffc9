//! The second stage: from texts to types, all problems at once.

use tracing_subscriber::EnvFilter;

use super::checker::{Checker, endpoint, glob, positive};
use super::error::Problem;
use super::glob::Glob;
use super::raw::{self, Raw};
use super::upstream::{UpstreamConfig, all, registry_glob};
use super::values;
use super::{
    AbsentTag, AccessMode, CacheConfig, Config, Endpoint, ListenAddress, LogConfig, LogFormat, RelocationConfig, Rule,
    Rules, TagsConfig, Undecided, When,
};

/// Checks every setting and fills in the defaults.
pub(super) fn check(raw: Raw) -> Result<Config, Vec<Problem>> {
    let mut checker = Checker::default();
    let config = checker.config(raw);
    checker.done(config)
}

/// Checks the section `cache` alone.
pub(super) fn check_cache(raw: raw::Cache) -> Result<CacheConfig, Vec<Problem>> {
    let mut checker = Checker::default();
    let config = checker.cache(raw);
    checker.done(config)
}

impl Checker {
    fn config(&mut self, raw: Raw) -> Config {
        let listen = self.listen(raw.listen);
        let admin = self.admin(raw.admin.unwrap_or_default());
        if admin.listen.is_some_and(|admin| admin.port() != 0 && listen.contains(&ListenAddress::Tcp(admin))) {
            self.problem("admin.listen", "is the same address as `listen`; give it a port of its own, or `none`");
        }
        let endpoints = self.list("endpoints", raw.endpoints, endpoint);
        let endpoint = self.optional("endpoint", raw.endpoint, endpoint);
        let names: Vec<&Endpoint> = endpoint.iter().chain(&endpoints).collect();
        let (upstream, upstreams) = self.upstreams(raw.upstream, raw.upstreams.unwrap_or_default(), &names);
        let access = self.access(raw.access.unwrap_or_default(), &all(upstream.as_ref(), &upstreams));
        let cache = self.cache(raw.cache.unwrap_or_default());
        let tags = self.tags(raw.tags.unwrap_or_default());
        let raw_relocation = raw.relocation.unwrap_or_default();
        let default = self.setting("relocation.when", raw_relocation.when.clone(), "all", when);
        let relocation = self.relocation(raw_relocation, &all(upstream.as_ref(), &upstreams));
        let rules =
            Rules { rules: self.rules(raw.rules.unwrap_or_default(), &all(upstream.as_ref(), &upstreams)), default };
        let hosts: Vec<&Endpoint> = upstream.iter().chain(&upstreams).flat_map(|upstream| &upstream.hosts).collect();
        if ListenAddress::endpoint(&listen).is_none() && names.is_empty() && hosts.is_empty() && !rules.never_relocate()
        {
            let reason = "is needed, because nobody can pull by what is listened on; \
                          write the host[:port] that clients pull from";
            self.problem("endpoint", reason);
        }
        if endpoint.is_some() {
            for (index, rule) in rules.rules.iter().enumerate() {
                if !names.iter().chain(&hosts).any(|name| rule.endpoint.matches(name.as_str())) {
                    let pattern = &rule.endpoint;
                    self.problem(
                        format!("rules[{index}].endpoint"),
                        format!(
                            "`{pattern}` matches neither `endpoint` nor any of `endpoints` or an upstream's `hosts`, so the \
                             rule would never hold; add the host clients use to `endpoints`"
                        ),
                    );
                }
            }
        }
        let server = self.server(raw.server.unwrap_or_default(), &access.mode);
        if access.mode == AccessMode::Certificate && listen.iter().all(|listen| listen.tcp().is_none()) {
            let reason = "has sockets alone, by which nobody shows a certificate; add an address and port";
            self.problem("listen", reason);
        }
        let log = self.log(raw.log.unwrap_or_default());
        Config {
            listen,
            admin,
            endpoint,
            endpoints,
            upstream,
            upstreams,
            access,
            cache,
            tags,
            relocation,
            rules,
            server,
            log,
        }
    }

    fn tags(&mut self, raw: raw::Tags) -> TagsConfig {
        let tags = TagsConfig {
            ttl: self.setting("tags.ttl", raw.ttl, "60s", values::duration),
            immutable: self.list("tags.immutable", raw.immutable, tag_glob),
            stale_for: self.setting("tags.stale_for", raw.stale_for, "24h", values::duration),
            patience: self.setting("tags.patience", raw.patience, "5s", values::duration),
            absent: self.setting("tags.absent", raw.absent, "gone", |text| match text {
                "gone" => Ok(AbsentTag::Gone),
                "stale" => Ok(AbsentTag::Stale),
                _ => Err(format!("`{text}` is neither gone nor stale")),
            }),
        };
        if !tags.stale_for.is_zero() && tags.stale_for <= tags.ttl {
            let reason = "must be longer than `tags.ttl`, within which nothing is stale; or 0s, for never";
            self.problem("tags.stale_for", reason);
        }
        tags
    }

    fn relocation(&mut self, raw: raw::Relocation, upstreams: &[(String, &UpstreamConfig)]) -> RelocationConfig {
        RelocationConfig {
            deadline: self.setting("relocation.deadline", raw.deadline, "20s", positive),
            undecided: self.setting("relocation.undecided", raw.undecided, "fail", |text| match text {
                "fail" => Ok(Undecided::Fail),
                "original" => Ok(Undecided::Original),
                _ => Err(format!("`{text}` is neither fail nor original")),
            }),
            negative_ttl: self.setting("relocation.negative_ttl", raw.negative_ttl, "60s", values::duration),
            max_layer_bytes: self.setting("relocation.max_layer_bytes", raw.max_layer_bytes, "16GiB", values::size),
            concurrency: self.setting("relocation.concurrency", raw.concurrency, "16", values::count),
            max_passes: self.setting("relocation.max_passes", raw.max_passes, "8", values::count),
            max_passes_per_client: self.setting(
                "relocation.max_passes_per_client",
                raw.max_passes_per_client,
                "4",
                values::count,
            ),
            max_targets_per_bundle: self.setting(
                "relocation.max_targets_per_bundle",
                raw.max_targets_per_bundle,
                "16",
                values::count,
            ),
            max_images: self.setting("relocation.max_images", raw.max_images, "4096", values::count),
            from_origin: self.origin_rules(raw.from_origin, upstreams),
        }
    }

    fn rules(&mut self, raw: Vec<raw::Rule>, upstreams: &[(String, &UpstreamConfig)]) -> Vec<Rule> {
        let mut rules = Vec::new();
        for (index, rule) in raw.into_iter().enumerate() {
            let path = format!("rules[{index}]");
            let Some(said) = rule.relocation.and_then(|relocation| relocation.when) else {
                self.problem(path, "says nothing; add `relocation:` with `when: all`, `each` or `never` below it");
                continue;
            };
            rules.push(Rule {
                endpoint: self.setting(&format!("{path}.endpoint"), rule.endpoint, "**", endpoint_glob),
                registry: self
                    .setting(&format!("{path}.registry"), rule.registry, "**", |text| registry_glob(text, upstreams)),
                repository: self.setting(&format!("{path}.repository"), rule.repository, "**", glob),
                when: self.setting(&format!("{path}.relocation.when"), Some(said), "all", when),
            });
        }
        rules
    }

    fn log(&mut self, raw: raw::Log) -> LogConfig {
        LogConfig {
            format: self.setting("log.format", raw.format, "text", |text| match text {
                "text" => Ok(LogFormat::Text),
                "json" => Ok(LogFormat::Json),
                _ => Err(format!("`{text}` is neither text nor json")),
            }),
            filter: self.setting("log.filter", raw.filter, "info", |text| match EnvFilter::try_new(text) {
                Ok(_) => Ok(text.to_owned()),
                Err(err) => Err(format!("`{text}` is not a filter such as info or colocate=debug,info: {err}")),
            }),
        }
    }
}

fn endpoint_glob(text: &str) -> Result<Glob, String> {
    glob(&text.to_ascii_lowercase())
}

/// A pattern without a colon would either match no tag or, by its stars, more than it says.
fn tag_glob(text: &str) -> Result<Glob, String> {
    match text.contains(':') {
        true => glob(text),
        false => Err(format!("`{text}` names no tag; write REPOSITORY:TAG, such as acme/**:v*")),
    }
}

fn when(text: &str) -> Result<When, String> {
    match text {
        "all" => Ok(When::All),
        "each" => Ok(When::Each),
        "never" => Ok(When::Never),
        _ => Err(format!("`{text}` is none of all, each and never")),
    }
}
