//! The second stage: from texts to types, all problems at once.

use std::env;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tracing_subscriber::EnvFilter;
use url::Url;

use super::error::Problem;
use super::glob::Glob;
use super::raw::{self, Raw};
use super::values::{self, Secret};
use super::{
    AbsentTag, CacheConfig, Config, Credentials, Endpoint, LogConfig, LogFormat, RelocationConfig, Rule, Rules,
    ServerConfig, TagsConfig, TlsConfig, Undecided, UpstreamConfig, UpstreamPlace, When,
};

/// The largest certificate, key or password file.
const MAX_FILE_BYTES: u64 = 1 << 20;

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
        let listen = self.setting("listen", raw.listen, "127.0.0.1:8080", address);
        let admin = self.setting("admin.listen", raw.admin.unwrap_or_default().listen, "127.0.0.1:8081", |text| {
            if text == "none" { Ok(None) } else { address(text).map(Some) }
        });
        if admin == Some(listen) && listen.port() != 0 {
            self.problem("admin.listen", "is the same address as `listen`; give it a port of its own, or `none`");
        }
        let endpoints = self.list("endpoints", raw.endpoints, endpoint);
        let endpoint = self.optional("endpoint", raw.endpoint, endpoint);
        let upstream = self.upstream(raw.upstream.unwrap_or_default());
        self.access(raw.access.unwrap_or_default(), upstream.credentials.is_some());
        let cache = self.cache(raw.cache.unwrap_or_default());
        let tags = self.tags(raw.tags.unwrap_or_default());
        let raw_relocation = raw.relocation.unwrap_or_default();
        let default = self.setting("relocation.when", raw_relocation.when.clone(), "all", when);
        let relocation = self.relocation(raw_relocation);
        let rules = Rules { rules: self.rules(raw.rules.unwrap_or_default()), default };
        if listen.ip().is_unspecified() && endpoint.is_none() && endpoints.is_empty() && !rules.never_relocate() {
            let reason = "is needed, because nobody can pull from the address listened on; \
                          write the host[:port] that clients pull from";
            self.problem("endpoint", reason);
        }
        let names: Vec<&Endpoint> = endpoint.iter().chain(&endpoints).collect();
        if endpoint.is_some() {
            for (index, rule) in rules.rules.iter().enumerate() {
                if !names.iter().any(|name| rule.endpoint.matches(name.as_str())) {
                    let pattern = &rule.endpoint;
                    self.problem(
                        format!("rules[{index}].endpoint"),
                        format!(
                            "`{pattern}` matches neither `endpoint` nor any of `endpoints`, so the rule would never \
                             hold; add the host clients use to `endpoints`"
                        ),
                    );
                }
            }
        }
        let server = self.server(raw.server.unwrap_or_default());
        let log = self.log(raw.log.unwrap_or_default());
        Config { listen, admin, endpoint, endpoints, upstream, cache, tags, relocation, rules, server, log }
    }

    fn upstream(&mut self, raw: raw::Upstream) -> UpstreamConfig {
        let place = match raw.url {
            None => {
                self.problem("upstream.url", "is needed; write https://HOST[:PORT] or layout:DIRECTORY");
                None
            }
            url => self.optional("upstream.url", url, place),
        };
        let place = place.unwrap_or_else(|| UpstreamPlace::Layout(PathBuf::new()));
        let credentials = raw.credentials.and_then(|raw| self.credentials(raw));
        if credentials.is_some() && matches!(place, UpstreamPlace::Layout(_)) {
            self.problem("upstream.credentials", "means nothing to a layout directory; remove it");
        }
        let extra_ca = self.optional("upstream.ca_file", raw.ca_file, |path| certificates(Path::new(path)));
        let realms = self.list("upstream.auth.realms", raw.auth.unwrap_or_default().realms, endpoint);
        let timeouts = raw.timeouts.unwrap_or_default();
        UpstreamConfig {
            place,
            credentials,
            extra_ca: extra_ca.unwrap_or_default(),
            realms,
            connect_timeout: self.setting("upstream.timeouts.connect", timeouts.connect, "10s", positive),
            response_timeout: self.setting("upstream.timeouts.response", timeouts.response, "30s", positive),
            progress_timeout: self.setting("upstream.timeouts.progress", timeouts.progress, "30s", positive),
            concurrency: self.setting("upstream.concurrency", raw.concurrency, "64", values::count),
        }
    }

    fn credentials(&mut self, raw: raw::Credentials) -> Option<Credentials> {
        let path = "upstream.credentials";
        let sources = [&raw.password, &raw.password_file, &raw.password_env];
        if sources.iter().filter(|source| source.is_some()).count() != 1 {
            self.problem(path, "needs exactly one of `password`, `password_file` and `password_env`");
            return None;
        }
        let Some(username) = raw.username.filter(|name| !name.is_empty() && !name.contains(':')) else {
            self.problem(format!("{path}.username"), "is needed, and has no colon");
            return None;
        };
        let password = if let Some(file) = raw.password_file {
            // Editors and `echo` end a file with a line break, which is no part of the password.
            values::read_file(Path::new(&file), MAX_FILE_BYTES)
                .map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
                .map_err(|message| ("password_file", message))
        } else if let Some(name) = raw.password_env {
            env::var(&name)
                .map_err(|_| ("password_env", format!("the environment variable `{name}` is not set, or not text")))
        } else {
            Ok(raw.password.unwrap_or_default())
        };
        match password {
            Ok(password) => Some(Credentials { username, password: Secret::new(password) }),
            Err((key, message)) => {
                self.problem(format!("{path}.{key}"), message);
                None
            }
        }
    }

    fn access(&mut self, raw: raw::Access, credentials: bool) {
        self.setting("access.mode", raw.mode, "open", |text| match text {
            "open" => Ok(()),
            _ => Err(format!("`{text}` is not a mode; only `open` exists so far")),
        });
        let public = self.setting("access.allow_public", raw.allow_public, "false", values::boolean);
        if credentials && !public {
            let reason = "must be true: `access.mode: open` lets everyone who reaches `listen` read whatever \
                          `upstream.credentials` can read; say so, or remove the credentials";
            self.problem("access.allow_public", reason);
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
            max_targets_per_bundle: self.setting(
                "relocation.max_targets_per_bundle",
                raw.max_targets_per_bundle,
                "16",
                values::count,
            ),
        }
    }

    fn rules(&mut self, raw: Vec<raw::Rule>) -> Vec<Rule> {
        let mut rules = Vec::new();
        for (index, rule) in raw.into_iter().enumerate() {
            let path = format!("rules[{index}]");
            let Some(said) = rule.relocation.and_then(|relocation| relocation.when) else {
                self.problem(path, "says nothing; add `relocation:` with `when: all`, `each` or `never` below it");
                continue;
            };
            rules.push(Rule {
                endpoint: self.setting(&format!("{path}.endpoint"), rule.endpoint, "**", endpoint_glob),
                repository: self.setting(&format!("{path}.repository"), rule.repository, "**", glob),
                when: self.setting(&format!("{path}.relocation.when"), Some(said), "all", when),
            });
        }
        rules
    }

    fn server(&mut self, raw: raw::Server) -> ServerConfig {
        ServerConfig {
            header_read_timeout: self.setting("server.header_read_timeout", raw.header_read_timeout, "30s", positive),
            max_connections: self.setting("server.max_connections", raw.max_connections, "4096", values::count),
            drain_timeout: self.setting("server.drain_timeout", raw.drain_timeout, "30s", values::duration),
            idle_body_timeout: self.setting("server.idle_body_timeout", raw.idle_body_timeout, "60s", positive),
            tls: raw.tls.and_then(|tls| self.tls(tls)),
        }
    }

    fn tls(&mut self, raw: raw::Tls) -> Option<TlsConfig> {
        let (Some(cert), Some(key)) = (raw.cert, raw.key) else {
            self.problem("server.tls", "needs both `cert` and `key`, the paths of PEM files");
            return None;
        };
        let chain = self.optional("server.tls.cert", Some(cert), |path| certificates(Path::new(path)));
        let key = self.optional("server.tls.key", Some(key), |path| {
            let text = values::read_file(Path::new(path), MAX_FILE_BYTES)?;
            PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|err| format!("{path} has no private key: {err}"))
        });
        chain.zip(key).map(|(chain, key)| TlsConfig { chain, key })
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

    fn optional<T>(&mut self, path: &str, raw: Option<String>, read: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let text = raw?;
        read(&text).map_err(|message| self.problem(path, message)).ok()
    }

    fn list<T>(&mut self, path: &str, raw: Option<Vec<String>>, read: impl Fn(&str) -> Result<T, String>) -> Vec<T> {
        let items = raw.unwrap_or_default().into_iter().enumerate();
        items.filter_map(|(index, item)| self.optional(&format!("{path}[{index}]"), Some(item), &read)).collect()
    }

    pub(super) fn problem(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.problems.push(Problem::new(path, message));
    }
}

fn address(text: &str) -> Result<std::net::SocketAddr, String> {
    text.parse().map_err(|_| format!("`{text}` is not an address and port, such as 127.0.0.1:8080 or [::]:8080"))
}

fn endpoint(text: &str) -> Result<Endpoint, String> {
    Endpoint::from_str(text).map_err(|err| format!("`{text}` {err}"))
}

fn endpoint_glob(text: &str) -> Result<Glob, String> {
    glob(&text.to_ascii_lowercase())
}

fn glob(text: &str) -> Result<Glob, String> {
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

fn place(text: &str) -> Result<UpstreamPlace, String> {
    if let Some(dir) = text.strip_prefix("layout:") {
        return directory(dir).map(UpstreamPlace::Layout);
    }
    // Before an `@` there may be a password, however malformed the rest is.
    let shown = if text.contains('@') { "this (not shown, it may hold a password)" } else { &format!("`{text}`") };
    let bad = || format!("{shown} is neither https://HOST[:PORT] nor layout:DIRECTORY");
    let url = Url::parse(text).map_err(|_| bad())?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(bad());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds a user name or password; write them under `upstream.credentials`".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("{shown} has a query or fragment; write https://HOST[:PORT] only"));
    }
    if url.path().trim_end_matches('/').ends_with("/v2") {
        return Err(format!("{shown} ends in /v2; leave that out, every request adds it"));
    }
    Ok(UpstreamPlace::Registry(url))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = values::read_file(path, MAX_FILE_BYTES)?;
    let chain = CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|err| format!("{} is not PEM: {err}", path.display()))?;
    if chain.is_empty() { Err(format!("{} holds no certificate", path.display())) } else { Ok(chain) }
}
