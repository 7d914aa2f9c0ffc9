//! The second stage: from texts to types, all problems at once.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tracing_subscriber::EnvFilter;

use super::error::Problem;
use super::glob::Glob;
use super::raw::{self, Raw};
use super::upstream::{UpstreamConfig, all, registry_glob};
use super::values;
use super::{
    AbsentTag, CacheConfig, Config, Endpoint, ListenAddress, LogConfig, LogFormat, RelocationConfig, Rule, Rules,
    TagsConfig, Undecided, When,
};

/// The largest certificate, key or password file.
pub(super) const MAX_FILE_BYTES: u64 = 1 << 20;

/// Checks every setting and fills in the defaults.
pub(super) fn check(raw: Raw) -> Result<Config, Vec<Problem>> {
    let mut checker = Checker::default();
    let config = checker.config(raw);
    if checker.problems.is_empty() { Ok(config) } else { Err(checker.problems) }
}

/// Checks the section `cache` alone.
pub(super) fn check_cache(raw: raw::Cache) -> Result<CacheConfig, Vec<Problem>> {
    let mut checker = Checker::default();
    let config = checker.cache(raw);
    if checker.problems.is_empty() { Ok(config) } else { Err(checker.problems) }
}

/// Goes on after a problem with whatever default stands in, so that all are found; a configuration made with
/// any problem is thrown away.
#[derive(Default)]
pub(super) struct Checker {
    problems: Vec<Problem>,
}

impl Checker {
    fn config(&mut self, raw: Raw) -> Config {
        let listen = self.listen(raw.listen);
        let admin = self.setting("admin.listen", raw.admin.unwrap_or_default().listen, "127.0.0.1:8081", |text| {
            if text == "none" { Ok(None) } else { address(text).map(Some) }
        });
        if admin.is_some_and(|admin| admin.port() != 0 && listen.contains(&ListenAddress::Tcp(admin))) {
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
        let relocation = self.relocation(raw_relocation);
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

    fn relocation(&mut self, raw: raw::Relocation) -> RelocationConfig {
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

    /// One setting. The default is written as in the file and read by the same function.
    pub(super) fn setting<T>(
        &mut self,
        path: &str,
        raw: Option<String>,
        default: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> T {
        let text = raw.unwrap_or_else(|| default.to_owned());
        read(&text).unwrap_or_else(|message| {
            self.problem(path, message);
            #[expect(clippy::expect_used, reason = "defaults are literals of this file, held by a test")]
            read(default).expect("a default is valid")
        })
    }

    pub(super) fn optional<T>(
        &mut self,
        path: &str,
        raw: Option<String>,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = raw?;
        read(&text).map_err(|message| self.problem(path, message)).ok()
    }

    pub(super) fn list<T>(
        &mut self,
        path: &str,
        raw: Option<Vec<String>>,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        let items = raw.unwrap_or_default().into_iter().enumerate();
        items.filter_map(|(index, item)| self.optional(&format!("{path}[{index}]"), Some(item), &read)).collect()
    }

    pub(super) fn problem(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.problems.push(Problem::new(path, message));
    }
}

pub(super) fn address(text: &str) -> Result<std::net::SocketAddr, String> {
    text.parse().map_err(|_| format!("`{text}` is not an address and port, such as 127.0.0.1:8080 or [::]:8080"))
}

pub(super) fn endpoint(text: &str) -> Result<Endpoint, String> {
    Endpoint::from_str(text).map_err(|err| format!("`{text}` {err}"))
}

fn endpoint_glob(text: &str) -> Result<Glob, String> {
    glob(&text.to_ascii_lowercase())
}

pub(super) fn glob(text: &str) -> Result<Glob, String> {
    Glob::new(text).ok_or_else(|| "an empty pattern matches nothing; write ** for everything".to_owned())
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

pub(super) fn directory(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("is empty; write a directory".to_owned()) } else { Ok(PathBuf::from(text)) }
}

/// A timeout; zero would refuse everything.
pub(super) fn positive(text: &str) -> Result<Duration, String> {
    match values::duration(text)? {
        Duration::ZERO => Err("zero would leave no time at all; write more, such as 30s".to_owned()),
        duration => Ok(duration),
    }
}

pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = values::read_file(path, MAX_FILE_BYTES)?;
    let chain = CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|err| format!("{} is not PEM: {err}", path.display()))?;
    if chain.is_empty() { Err(format!("{} holds no certificate", path.display())) } else { Ok(chain) }
}

pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let text = values::read_file(path, MAX_FILE_BYTES)?;
    let key = PrivateKeyDer::from_pem_slice(text.as_bytes());
    key.map_err(|err| format!("{} has no private key: {err}", path.display()))
}
