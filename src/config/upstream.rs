//! The sections `upstream` and `upstreams`: the registries behind.

use std::env;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use url::Url;

use super::checker::{Checker, MAX_FILE_BYTES, certificates, endpoint, glob, positive, private_key};
use super::files::{self, Files};
use super::values::{self, Secret};
use super::{Endpoint, Glob, raw};
use crate::oci::{RegistryName, RepositoryName};

/// Where Docker Hub has its tokens, on a host of another name than its own.
pub const DOCKER_HUB_REALM: &str = "auth.docker.io";
/// Where Docker Hub answers.
pub const DOCKER_HUB_URL: &str = "https://registry-1.docker.io";

/// A registry behind.
#[derive(Debug, PartialEq)]
pub struct UpstreamConfig {
    /// Its own name, as references begin with it.
    pub registry: RegistryName,
    /// Which kind it is, and where.
    pub place: UpstreamPlace,
    /// Endpoints that lead to it alone, under the names its repositories have there.
    pub hosts: Vec<Endpoint>,
    /// What stands before its repositories' names at all other endpoints; `None` if it is the default there, or
    /// only to be had by its own name.
    pub prefix: Option<RepositoryName>,
    /// Who the proxy is to that registry; anonymous when `None`.
    pub credentials: Option<Credentials>,
    /// Whether it gets the credentials of clients, where those are what counts.
    pub client_credentials: bool,
    /// Whether all who pull by its own name do so through this proxy.
    pub always_proxied: bool,
    /// What becomes of pushes and deletes.
    pub writes: Writes,
    /// Certificate authorities trusted besides the system's.
    pub extra_ca: Vec<CertificateDer<'static>>,
    /// The certificate chain and key that the proxy shows to it.
    pub identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    /// Whether its certificate is not checked, and credentials may go to it in the clear.
    pub insecure: bool,
    /// Hosts of token servers besides the registry's own that may see the credentials.
    pub realms: Vec<Endpoint>,
    /// How long a connection attempt may take.
    pub connect_timeout: Duration,
    /// How long response headers may take.
    pub response_timeout: Duration,
    /// How long a body may stand still.
    pub progress_timeout: Duration,
    /// Requests to the registry at one time.
    pub concurrency: usize,
}

impl UpstreamConfig {
    /// Whether it lets the proxy read what it might not let everyone.
    pub fn has_credentials(&self) -> bool {
        self.credentials.is_some() || self.identity.is_some()
    }

    /// Whether it is the same registry, asked in the same way, by whatever names clients reach it.
    pub fn is_asked_like(&self, other: &Self) -> bool {
        let who = |one: &'_ Self| (one.registry.clone(), one.place.clone(), one.insecure, one.concurrency);
        let timeouts = |one: &Self| (one.connect_timeout, one.response_timeout, one.progress_timeout);
        who(self) == who(other)
            && timeouts(self) == timeouts(other)
            && self.credentials == other.credentials
            && self.extra_ca == other.extra_ca
            && self.identity == other.identity
            && self.realms == other.realms
    }

    /// Whether what is sent there can be read on the way, and nobody said that it may.
    pub(super) fn is_in_the_clear(&self) -> bool {
        !self.insecure && is_in_the_clear(&self.place)
    }
}

/// What becomes of pushes and deletes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Writes {
    /// They are refused: clients push to the registry itself.
    #[default]
    Refuse,
    /// They go to the registry, for those who may.
    Forward,
}

/// Where images come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamPlace {
    /// A registry, by its scheme, host and port.
    Registry(Url),
    /// Image layouts and archives on this machine.
    Files(Files),
}

/// Who the proxy is to a registry.
#[derive(Clone, Debug, PartialEq)]
pub enum Credentials {
    /// A user name and password.
    Password {
        /// The user name.
        username: String,
        /// The password.
        password: Secret,
    },
    /// The same, with the password in a file that may change.
    PasswordFile {
        /// The user name.
        username: String,
        /// The file.
        file: PathBuf,
    },
    /// A token that is sent as it is.
    Token(Secret),
    /// The same, in a file that may change.
    TokenFile(PathBuf),
    /// Whatever Docker's configuration file says for this registry.
    DockerConfig(PathBuf),
}

/// Every upstream with the path of its section.
pub(super) fn all<'a>(
    default: Option<&'a UpstreamConfig>,
    further: &'a [UpstreamConfig],
) -> Vec<(String, &'a UpstreamConfig)> {
    let further = further.iter().enumerate().map(|(index, upstream)| (format!("upstreams[{index}]"), upstream));
    default.map(|upstream| ("upstream".to_owned(), upstream)).into_iter().chain(further).collect()
}

/// Which of the two sections.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `upstream`, which has all names that lead to no other.
    Default,
    /// One of `upstreams`.
    Further,
}

impl Checker {
    /// Checks both sections. `names` are the endpoints that lead to several upstreams.
    pub(super) fn upstreams(
        &mut self,
        default: Option<raw::Upstream>,
        further: Vec<raw::Upstream>,
        names: &[&Endpoint],
    ) -> (Option<UpstreamConfig>, Vec<UpstreamConfig>) {
        // Without any there is something missing, of which the default tells.
        let default = if further.is_empty() { Some(default.unwrap_or_default()) } else { default };
        let default = default.map(|raw| self.upstream("upstream", raw, Kind::Default));
        let further: Vec<UpstreamConfig> = further
            .into_iter()
            .enumerate()
            .map(|(index, raw)| self.upstream(&format!("upstreams[{index}]"), raw, Kind::Further))
            .collect();
        let all = all(default.as_ref(), &further);
        for (index, (path, upstream)) in all.iter().enumerate() {
            for (earlier_path, earlier) in &all[..index] {
                if upstream.registry == earlier.registry {
                    let message =
                        format!("is `{}`, as for `{earlier_path}`; each needs a name of its own", upstream.registry);
                    self.problem(format!("{path}.registry"), message);
                }
                if upstream.prefix.is_some() && upstream.prefix == earlier.prefix {
                    let message =
                        format!("is also that of `{earlier_path}`; names would lead to one of both, so change one");
                    self.problem(format!("{path}.prefix"), message);
                }
            }
            for host in &upstream.hosts {
                let elsewhere = all[..index].iter().find(|(_, earlier)| earlier.hosts.contains(host));
                if let Some((earlier, _)) = elsewhere {
                    self.problem(format!("{path}.hosts"), format!("has `{host}`, which leads to `{earlier}` already"));
                }
                if names.contains(&host) {
                    let message = format!(
                        "has `{host}`, which is one of `endpoint` and `endpoints`; it can lead to one \
                         upstream or to all, not both"
                    );
                    self.problem(format!("{path}.hosts"), message);
                }
            }
        }
        (default, further)
    }

    fn upstream(&mut self, path: &str, raw: raw::Upstream, kind: Kind) -> UpstreamConfig {
        let at = |key: &str| format!("{path}.{key}");
        let registry = self.optional(&at("registry"), raw.registry, registry_name);
        let has_archives = raw.archives.as_ref().is_some_and(|archives| !archives.is_empty());
        let place = match (raw.url, &registry) {
            (None, _) if has_archives => None,
            (None, Some(registry)) => {
                let own = if registry.is_docker_hub() { DOCKER_HUB_URL } else { &format!("https://{registry}") };
                self.optional(&at("registry"), Some(own.to_owned()), place)
            }
            (None, None) => {
                let needed = match kind {
                    Kind::Default => "is needed; write https://HOST[:PORT], archive:FILE or layout:DIRECTORY",
                    Kind::Further => "or `registry` is needed; write https://HOST[:PORT], or the registry's own name",
                };
                self.problem(at("url"), needed);
                None
            }
            (url, _) => self.optional(&at("url"), url, place),
        };
        let place = match place {
            Some(UpstreamPlace::Registry(url)) => {
                self.no_files(path, raw.archives.as_ref(), raw.called.as_ref());
                UpstreamPlace::Registry(url)
            }
            Some(UpstreamPlace::Files(files)) => {
                UpstreamPlace::Files(self.files(path, files, raw.archives, raw.called))
            }
            None => UpstreamPlace::Files(self.files(path, Files::default(), raw.archives, raw.called)),
        };
        let registry = registry.unwrap_or_else(|| self.own_name(&at("registry"), &place));
        let prefix = match (raw.prefix.as_deref(), kind) {
            (Some("none"), _) | (None, Kind::Default) => None,
            // Most registries' names can be parts of a path; with a port, they cannot.
            (None, Kind::Further) => registry.as_str().parse().ok(),
            (Some(_), _) => self.optional(&at("prefix"), raw.prefix, repository_prefix),
        };
        let credentials = raw.credentials.and_then(|raw| self.credentials(&at("credentials"), raw));
        if matches!(place, UpstreamPlace::Files(_)) {
            for (key, is_there) in [("credentials", credentials.is_some()), ("tls", raw.tls.is_some())] {
                if is_there {
                    self.problem(at(key), "means nothing to files; remove it");
                }
            }
        }
        let writes = self.setting(&at("writes"), raw.writes, "refuse", |text| match text {
            "refuse" => Ok(Writes::Refuse),
            "forward" => Ok(Writes::Forward),
            _ => Err(format!("`{text}` is none of refuse and forward")),
        });
        if writes == Writes::Forward && matches!(place, UpstreamPlace::Files(_)) {
            self.problem(at("writes"), "cannot be `forward` for files, which are only read; remove it");
        }
        let insecure = self.setting(&at("insecure"), raw.insecure, "false", values::boolean);
        if credentials.is_some() && !insecure && is_in_the_clear(&place) {
            let reason = "would go over http for everyone on the way to read; use https, or say `insecure: true`";
            self.problem(at("credentials"), reason);
        }
        let extra_ca = self.optional(&at("ca_file"), raw.ca_file, |path| certificates(Path::new(path)));
        let mut realms = self.list(&at("auth.realms"), raw.auth.unwrap_or_default().realms, endpoint);
        if registry.is_docker_hub() {
            realms.extend(endpoint(DOCKER_HUB_REALM));
        }
        let timeouts = raw.timeouts.unwrap_or_default();
        UpstreamConfig {
            hosts: self.list(&at("hosts"), raw.hosts, endpoint),
            client_credentials: self.setting(
                &at("client_credentials"),
                raw.client_credentials,
                "true",
                values::boolean,
            ),
            always_proxied: self.setting(&at("always_proxied"), raw.always_proxied, "false", values::boolean),
            identity: raw.tls.and_then(|raw| self.upstream_identity(&at("tls"), raw)),
            extra_ca: extra_ca.unwrap_or_default(),
            connect_timeout: self.setting(&at("timeouts.connect"), timeouts.connect, "10s", positive),
            response_timeout: self.setting(&at("timeouts.response"), timeouts.response, "30s", positive),
            progress_timeout: self.setting(&at("timeouts.progress"), timeouts.progress, "30s", positive),
            concurrency: self.setting(&at("concurrency"), raw.concurrency, "64", values::count),
            registry,
            place,
            prefix,
            credentials,
            writes,
            insecure,
            realms,
        }
    }

    /// The name of a registry that was given none: its host, and the port if the URL has one.
    fn own_name(&mut self, path: &str, place: &UpstreamPlace) -> RegistryName {
        let name = match place {
            UpstreamPlace::Files(files) if files.is_layout() => "layout".to_owned(),
            UpstreamPlace::Files(_) => "archive".to_owned(),
            UpstreamPlace::Registry(url) => authority(url),
        };
        #[expect(clippy::expect_used, reason = "a literal")]
        name.parse().unwrap_or_else(|err| {
            self.problem(path, format!("is needed, as `{name}` is none: {err}"));
            "registry".parse().expect("a name")
        })
    }

    fn upstream_identity(
        &mut self,
        path: &str,
        raw: raw::UpstreamTls,
    ) -> Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
        let (Some(cert), Some(key)) = (raw.cert, raw.key) else {
            self.problem(path, "needs both `cert` and `key`, the paths of PEM files");
            return None;
        };
        let chain = self.optional(&format!("{path}.cert"), Some(cert), |path| certificates(Path::new(path)));
        let key = self.optional(&format!("{path}.key"), Some(key), |path| private_key(Path::new(path)));
        chain.zip(key)
    }

    fn credentials(&mut self, path: &str, raw: raw::Credentials) -> Option<Credentials> {
        let said: Vec<&str> = [
            ("password", &raw.password),
            ("password_file", &raw.password_file),
            ("password_env", &raw.password_env),
            ("token", &raw.token),
            ("token_file", &raw.token_file),
            ("token_env", &raw.token_env),
            ("docker_config", &raw.docker_config),
        ]
        .into_iter()
        .filter_map(|(key, value)| value.is_some().then_some(key))
        .collect();
        let [only] = said.as_slice() else {
            let message = "needs exactly one of `password`, `password_file`, `password_env`, `token`, `token_file`, \
                 `token_env` and `docker_config`";
            self.problem(path, message);
            return None;
        };
        let wants_name = only.starts_with("password");
        let username = raw.username.filter(|name| !name.is_empty() && !name.contains(':'));
        if wants_name && username.is_none() {
            self.problem(format!("{path}.username"), "is needed, and has no colon");
            return None;
        }
        if !wants_name && username.is_some() {
            self.problem(format!("{path}.username"), format!("means nothing beside `{only}`; remove it"));
            return None;
        }
        let username = username.unwrap_or_default();
        let key = format!("{path}.{only}");
        // Read once now, so that what cannot be read is known before anybody waits for it.
        let read = |file: &str| values::read_file(Path::new(file), MAX_FILE_BYTES).map(|_| PathBuf::from(file));
        if let Some(password) = raw.password {
            return Some(Credentials::Password { username, password: Secret::new(password) });
        }
        if let Some(token) = raw.token {
            return Some(Credentials::Token(Secret::new(token)));
        }
        if let Some(file) = self.optional(&key, raw.password_file, read) {
            return Some(Credentials::PasswordFile { username, file });
        }
        if let Some(password) = self.optional(&key, raw.password_env, environment) {
            return Some(Credentials::Password { username, password });
        }
        if let Some(token) = self.optional(&key, raw.token_env, environment) {
            return Some(Credentials::Token(token));
        }
        let token = self.optional(&key, raw.token_file, read).map(Credentials::TokenFile);
        token.or_else(|| self.optional(&key, raw.docker_config, read).map(Credentials::DockerConfig))
    }
}

/// Host and port as a URL has them.
fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Whether what is sent there can be read on the way.
fn is_in_the_clear(place: &UpstreamPlace) -> bool {
    let UpstreamPlace::Registry(url) = place else { return false };
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    url.scheme() == "http" && !loopback
}

/// A pattern over registries' names, of which it has to match one: a rule that forbids would otherwise not hold, and
/// nobody would know. Names are as they are known here, whatever Docker Hub is called.
pub(super) fn registry_glob(text: &str, upstreams: &[(String, &UpstreamConfig)]) -> Result<Glob, String> {
    let name = text.parse::<RegistryName>().map_or_else(|_| text.to_ascii_lowercase(), |name| name.to_string());
    let pattern = glob(&name)?;
    if upstreams.iter().any(|(_, upstream)| pattern.matches(upstream.registry.as_str())) {
        return Ok(pattern);
    }
    let known: Vec<&str> = upstreams.iter().map(|(_, upstream)| upstream.registry.as_str()).collect();
    Err(format!("`{text}` matches none of the registries behind, which are {}", known.join(", ")))
}

fn environment(name: &str) -> Result<Secret, String> {
    let value = env::var(name).map_err(|_| format!("the environment variable `{name}` is not set, or not text"));
    value.map(Secret::new)
}

fn registry_name(text: &str) -> Result<RegistryName, String> {
    text.parse().map_err(|err| format!("`{text}` is no registry's name: {err}"))
}

fn repository_prefix(text: &str) -> Result<RepositoryName, String> {
    text.parse().map_err(|err| format!("`{text}` cannot begin a repository's name: {err}; or write `none`"))
}

fn place(text: &str) -> Result<UpstreamPlace, String> {
    if let Some(files) = files::place(text) {
        return files.map(|place| UpstreamPlace::Files(Files { places: vec![place], called: None }));
    }
    // Before an `@` there may be a password, however malformed the rest is.
    let shown = if text.contains('@') { "this (not shown, it may hold a password)" } else { &format!("`{text}`") };
    let bad = || format!("{shown} is none of https://HOST[:PORT], archive:FILE and layout:DIRECTORY");
    let url = Url::parse(text).map_err(|_| bad())?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(bad());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds a user name or password; write them under `credentials`".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("{shown} has a query or fragment; write https://HOST[:PORT] only"));
    }
    if url.path().trim_end_matches('/').ends_with("/v2") {
        return Err(format!("{shown} ends in /v2; leave that out, every request adds it"));
    }
    Ok(UpstreamPlace::Registry(url))
}
