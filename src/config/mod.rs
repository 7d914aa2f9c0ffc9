//! The configuration: a YAML file in, a checked [`Config`] out.
//!
//! Two stages. `raw` is the file's shape as serde sees it, every setting an optional text; `check` turns
//! that into types the rest of the program takes without looking again. Everything that can be wrong is found
//! here, before the first socket is bound: passwords and certificates are read, patterns compiled, addresses
//! parsed. All problems are reported at once, each with the path of its key and what to do about it.
//!
//! Unknown keys are refused, because a misspelt limit that is silently ignored is a limit that does not hold;
//! the nearest known key is offered. `config/default.yaml` documents every key, and a test holds it to the
//! defaults in `check`.
//!
//! `file` reads small files that operators change while the program runs, for rooms above too.
//!
//! What is left out: opening anything else. Rooms above take the parts they need; none of them sees YAML.

mod access;
mod cache;
mod check;
mod checker;
mod endpoint;
mod error;
mod file;
mod files;
mod glob;
mod identity;
mod keys;
mod listen;
mod origins;
mod raw;
mod rules;
mod server;
mod upstream;
mod values;
mod yaml;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

pub use access::{AccessConfig, AccessMode, AccessRule};
pub use cache::{CacheBounds, CacheConfig, FinishAbandoned};
pub use endpoint::{Endpoint, EndpointError};
pub use error::{ConfigError, Problem};
pub use file::{FileError, SmallFile, Stamp};
pub use files::{Called, Files, FilesPlace};
pub use glob::Glob;
pub use identity::{
    ANONYMOUS, Action, CERTIFICATE, COMMON_NAME, DNS, EMAIL, IdentityPattern, IdentityPatternError, URI, USER,
};
pub use listen::{ListenAddress, ListenAddressError, MAX_SOCKET_PATH_BYTES, TrustedProxy, TrustedProxyError};
pub use origins::{OriginRule, RepositoryPattern};
pub use rules::{Rule, Rules, Ruling, When};
pub use server::{ServerConfig, TlsConfig};
pub use upstream::{Credentials, DOCKER_HUB_REALM, DOCKER_HUB_URL, UpstreamConfig, UpstreamPlace, Writes};
pub use values::Secret;

/// Everything `colocate serve` needs to know, checked.
#[derive(Debug, PartialEq)]
pub struct Config {
    /// Where clients connect.
    pub listen: Vec<ListenAddress>,
    /// The operator's side.
    pub admin: AdminConfig,
    /// What is written into locks; `None` means the address that is listened on.
    pub endpoint: Option<Endpoint>,
    /// Other names clients use: a request whose Host is among them gets it written into its locks.
    pub endpoints: Vec<Endpoint>,
    /// The registry behind all names that lead to no other; `None` if there is none.
    pub upstream: Option<UpstreamConfig>,
    /// Further registries.
    pub upstreams: Vec<UpstreamConfig>,
    /// Who may do what.
    pub access: AccessConfig,
    /// Where content is kept.
    pub cache: CacheConfig,
    /// How tags are believed.
    pub tags: TagsConfig,
    /// How bundles are relocated.
    pub relocation: RelocationConfig,
    /// Which view of a repository an endpoint gives.
    pub rules: Rules,
    /// How connections are served.
    pub server: ServerConfig,
    /// How the program logs.
    pub log: LogConfig,
}

/// The operator's side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminConfig {
    /// Where health, metrics and the status page are served; `None` turns the listener off.
    pub listen: Option<SocketAddr>,
    /// Host names by which the status page may be opened, in lower case; addresses and `localhost` always may.
    pub names: Vec<String>,
}

/// How tags are believed.
#[derive(Clone, Debug, PartialEq)]
pub struct TagsConfig {
    /// How long a tag's answer is believed before upstream is asked again.
    pub ttl: Duration,
    /// Tags, as `[registry/]repository:tag`, whose answer is believed for good.
    pub immutable: Vec<Glob>,
    /// How long after upstream last said so a tag's answer may stand in while it cannot be asked.
    pub stale_for: Duration,
    /// How long a client waits for upstream while an older answer could stand in.
    pub patience: Duration,
    /// What it means that upstream no longer has a tag.
    pub absent: AbsentTag,
}

/// What it means that upstream no longer has a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AbsentTag {
    /// It is gone.
    Gone,
    /// What it stood for is served for `stale_for`, as with other trouble.
    Stale,
}

/// How bundles are relocated.
#[derive(Clone, Debug, PartialEq)]
pub struct RelocationConfig {
    /// How long a client waits for a relocated bundle.
    pub deadline: Duration,
    /// What a client gets when that was too short, or upstream could not say.
    pub undecided: Undecided,
    /// How long "an image is not there" is believed.
    pub negative_ttl: Duration,
    /// The largest layer that is rewritten, compressed, in bytes.
    pub max_layer_bytes: u64,
    /// Images of one bundle looked for at one time.
    pub concurrency: usize,
    /// Rewriting passes at one time.
    pub max_passes: usize,
    /// Of these, for one client.
    pub max_passes_per_client: usize,
    /// Endpoints one bundle is kept relocated for.
    pub max_targets_per_bundle: usize,
    /// Images of one bundle that are asked for one by one.
    pub max_images: usize,
    /// Where images may come from besides the bundle's repository; the first pair that matches holds.
    pub from_origin: Vec<OriginRule>,
}

/// What a client gets while it is not known whether all images are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undecided {
    /// 503 with Retry-After, so that nobody gets a lock that points outside.
    Fail,
    /// The bundle as it stands upstream.
    Original,
}

/// How the program logs.
#[derive(Clone, Debug, PartialEq)]
pub struct LogConfig {
    /// For people or for machines.
    pub format: LogFormat,
    /// What is logged, as `tracing_subscriber::EnvFilter` reads it.
    pub filter: String,
}

/// The shape of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One readable line.
    Text,
    /// One JSON object.
    Json,
}

/// What the command line says instead of a file; everything else keeps its default.
#[derive(Clone, Debug, Default)]
pub struct CommandLine {
    /// `upstream.url`
    pub upstream: Option<String>,
    /// `upstream.archives`
    pub archives: Vec<String>,
    /// `upstream.as`
    pub called: Option<String>,
    /// `listen`
    pub listen: Option<String>,
    /// `cache.dir`
    pub cache: Option<String>,
    /// `endpoint`
    pub endpoint: Option<String>,
    /// `admin.listen`
    pub admin: Option<String>,
}

impl Config {
    /// All registries behind, the default one first.
    pub fn all_upstreams(&self) -> impl Iterator<Item = &UpstreamConfig> {
        self.upstream.iter().chain(&self.upstreams)
    }

    /// Reads and checks a file.
    ///
    /// # Errors
    /// All that is wrong with it, or why it cannot be read.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let origin = path.display().to_string();
        match values::read_piped(path, yaml::MAX_BYTES) {
            Ok(text) => Self::parse(&origin, &text),
            Err(message) => Err(ConfigError::new(origin, vec![Problem::new("", message)])),
        }
    }

    /// Checks the text of a file; `origin` names it in errors.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn parse(origin: &str, text: &str) -> Result<Self, ConfigError> {
        yaml::parse(text).and_then(check::check).map_err(|problems| ConfigError::new(origin.to_owned(), problems))
    }

    /// Checks what the command line said.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn from_command_line(arguments: CommandLine) -> Result<Self, ConfigError> {
        check::check(raw::Raw::from(arguments))
            .map_err(|problems| ConfigError::new("the command line".to_owned(), problems))
    }
}

impl CacheConfig {
    /// A cache in `directory`, all else by default.
    ///
    /// # Errors
    /// When that is no directory's name.
    pub fn in_directory(directory: String) -> Result<Self, ConfigError> {
        let raw = raw::Cache { dir: Some(directory), ..raw::Cache::default() };
        check::check_cache(raw).map_err(|problems| ConfigError::new("the command line".to_owned(), problems))
    }
}
