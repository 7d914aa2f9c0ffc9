//! From a configuration to the parts of a proxy.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use url::Url;

use crate::body::{Clock, SystemClock};
use crate::cache::{Bounds, Cache, CacheLimits, FinishAbandoned, LocalStore, OpenError};
use crate::config::{
    self, AccessConfig, AccessMode, CacheBounds, CacheConfig, Config, RelocationConfig, ServerConfig, TagsConfig,
    TlsConfig, Undecided, UpstreamConfig, UpstreamPlace,
};
use crate::oci::RegistryName;
use crate::proxy::{OriginPolicy, Proxy, ProxyParts, RelocationLimits, TagPolicy};
use crate::server::{
    Access, AccessRules, Gate, Htpasswd, HtpasswdError, InheritedError, ListenError, Mode, WithoutRules,
};
use crate::telemetry::Metrics;
use crate::tls::{ClientFiles, ClientIdentity, ServerTls, ServerTlsError, TlsFiles};
use crate::upstream::{
    CredentialSource, Credentials, DockerConfig, Egress, EgressError, FilesUpstream, RegistryConfig,
    RegistryConfigError, RegistryUpstream, Timeouts, Upstream, UpstreamError,
};

/// Where in the cache's directory it is written down what archives hold.
const KEPT_DIRECTORY: &str = "archives";

/// The registries behind, by their names.
pub(super) type Upstreams = HashMap<RegistryName, Arc<dyn Upstream>>;

/// Why a proxy cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A registry behind cannot be spoken to as configured.
    #[error("the upstream {registry} cannot be used")]
    Registry {
        /// Which.
        registry: RegistryName,
        /// What is wrong.
        source: RegistryConfigError,
    },
    /// The file with users cannot be used.
    #[error("access.htpasswd cannot be used")]
    Htpasswd(#[from] HtpasswdError),
    /// The proxy that the environment names cannot be used.
    #[error("the environment's proxy cannot be used")]
    Egress(#[from] EgressError),
    /// A layout or an archive cannot be read.
    #[error("what is to be served from files cannot be opened")]
    Files(#[from] UpstreamError),
    /// The cache directory cannot be used.
    #[error("cache.dir cannot be used")]
    Cache(#[from] OpenError),
    /// The certificate cannot be served with.
    #[error("server.tls cannot be used")]
    Tls(#[from] ServerTlsError),
    /// Clients cannot connect where they should.
    #[error("`listen` cannot be used")]
    Listen(#[from] ListenError),
    /// What the process was started with is not what the configuration says.
    #[error("the sockets that this process was started with cannot be used")]
    Inherited(#[from] InheritedError),
    /// The operator's address cannot be listened on.
    #[error("cannot listen on {address} (`{key}`); another program may have it, or it is not this machine's")]
    Bind {
        /// The setting.
        key: &'static str,
        /// Its value.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A thread that reads the disk was stopped.
    #[error("starting was stopped")]
    Stopped(#[from] tokio::task::JoinError),
}

/// A proxy without listeners, and its cache.
pub(super) async fn proxy(config: &Config, metrics: Metrics) -> Result<(Proxy, Cache), StartError> {
    // The cache first: it makes its directory, in which it is written down what archives hold.
    let cache = cache(&config.cache, metrics.clone()).await?;
    let upstreams = upstreams(config, &metrics).await?;
    Ok((proxy_over(config, upstreams, cache.clone(), metrics), cache))
}

/// A proxy over a cache that is open.
pub(super) fn proxy_over(config: &Config, upstreams: Upstreams, cache: Cache, metrics: Metrics) -> Proxy {
    Proxy::new(parts(config, upstreams, cache, metrics))
}

/// What a proxy over an open cache is made of.
pub(super) fn parts(config: &Config, upstreams: Upstreams, cache: Cache, metrics: Metrics) -> ProxyParts {
    let (clock, relocation, tags) = (Arc::clone(cache.clock()), limits(&config.relocation), tag_policy(&config.tags));
    let (verdict_ttl, origins) = (config.access.verdict_ttl, origin_policy(config));
    ProxyParts { upstreams, cache, clock, verdict_ttl, relocation, origins, tags, metrics }
}

/// The registries behind. They are not asked yet.
pub(super) async fn upstreams(config: &Config, metrics: &Metrics) -> Result<Upstreams, StartError> {
    upstreams_beside(config, metrics, &HashMap::new()).await
}

/// The same, with those that are at hand already: their connections, their tokens, and what they asked for stay.
pub(super) async fn upstreams_beside(
    config: &Config,
    metrics: &Metrics,
    at_hand: &HashMap<RegistryName, Arc<dyn Upstream>>,
) -> Result<Upstreams, StartError> {
    let (mut upstreams, egress) = (Upstreams::new(), Egress::from_environment()?);
    for one in config.all_upstreams() {
        let kept = config.cache.dir.join(KEPT_DIRECTORY);
        let upstream = match at_hand.get(&one.registry) {
            Some(upstream) => Arc::clone(upstream),
            None => upstream(one, kept, &egress, metrics.clone()).await?,
        };
        upstreams.insert(one.registry.clone(), upstream);
    }
    Ok(upstreams)
}

async fn upstream(
    config: &UpstreamConfig,
    kept: PathBuf,
    egress: &Egress,
    metrics: Metrics,
) -> Result<Arc<dyn Upstream>, StartError> {
    match &config.place {
        UpstreamPlace::Files(files) => {
            let files = files.clone();
            Ok(Arc::new(tokio::task::spawn_blocking(move || FilesUpstream::open(files, Some(kept))).await??))
        }
        UpstreamPlace::Registry(url) => Ok(Arc::new(registry(url, config, egress, metrics)?)),
    }
}

fn registry(
    url: &Url,
    config: &UpstreamConfig,
    egress: &Egress,
    metrics: Metrics,
) -> Result<RegistryUpstream, StartError> {
    let made = RegistryUpstream::new(RegistryConfig {
        credentials: config
            .credentials
            .as_ref()
            .map_or(CredentialSource::Anonymous, |said| source(said, &config.registry, url)),
        identity: config
            .identity
            .as_ref()
            .map(|(chain, key)| ClientIdentity { chain: chain.clone(), key: key.clone_key() }),
        verify: !config.insecure,
        egress: egress.clone(),
        realm_hosts: config.realms.iter().map(ToString::to_string).collect(),
        extra_ca: config.extra_ca.clone(),
        timeouts: Timeouts {
            connect: config.connect_timeout,
            response: config.response_timeout,
            progress: config.progress_timeout,
        },
        concurrency: config.concurrency,
        metrics: metrics.upstream(config.registry.as_str()),
        ..RegistryConfig::new(url.clone())
    });
    made.map_err(|source| StartError::Registry { registry: config.registry.clone(), source })
}

fn source(credentials: &config::Credentials, registry: &RegistryName, url: &Url) -> CredentialSource {
    use config::Credentials as Said;
    match credentials {
        Said::Password { username, password } => {
            CredentialSource::Password(Credentials { user: username.clone(), password: password.expose().to_owned() })
        }
        Said::PasswordFile { username, file } => {
            CredentialSource::File { user: Some(username.clone()), path: file.clone() }
        }
        Said::Token(token) => CredentialSource::Token(token.expose().to_owned()),
        Said::TokenFile(path) => CredentialSource::File { user: None, path: path.clone() },
        Said::DockerConfig(path) => {
            // People log in to the host that they see.
            let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
            let host = format!("{}{port}", url.host_str().unwrap_or_default());
            CredentialSource::Docker(DockerConfig::new(path, [registry.to_string(), host]))
        }
    }
}

pub(super) fn server_tls(config: &ServerConfig) -> Result<Option<ServerTls>, ServerTlsError> {
    let files = |tls: &TlsConfig| TlsFiles {
        certificate: tls.cert.clone(),
        key: tls.key.clone(),
        clients: tls.client_ca.clone().map(|ca| ClientFiles { ca, required: tls.client_certificate_required }),
    };
    config.tls.as_ref().map(|tls| ServerTls::load(files(tls))).transpose()
}

/// Who may do what.
pub(super) async fn access(config: &Config) -> Result<Access, StartError> {
    let mode = match &config.access.mode {
        AccessMode::Open => Mode::Own(Gate::Open),
        AccessMode::Certificate => Mode::Own(Gate::Certificate),
        AccessMode::Upstream => Mode::Upstream,
        AccessMode::Htpasswd(file) => {
            let file = file.clone();
            Mode::Own(Gate::Htpasswd(tokio::task::spawn_blocking(move || Htpasswd::load(file)).await??))
        }
    };
    Ok(access_in(config, mode))
}

/// The same where clients are told apart already.
pub(super) fn access_in(config: &Config, mode: Mode) -> Access {
    Access { rules: Arc::new(access_rules(&config.access)), mode }
}

/// What clients may do, once it is known who they are.
pub(super) fn access_rules(config: &AccessConfig) -> AccessRules {
    AccessRules::new(config.rules.clone(), WithoutRules::of(&config.mode))
}

/// Refuses what [`start`] would for the configuration and the files it names: it looks at no layout, cache or address.
pub(super) fn check(config: &Config) -> Result<(), StartError> {
    server_tls(&config.server)?;
    let egress = Egress::from_environment()?;
    for upstream in config.all_upstreams() {
        if let UpstreamPlace::Registry(url) = &upstream.place {
            registry(url, upstream, &egress, Metrics::new())?;
        }
    }
    if let AccessMode::Htpasswd(file) = &config.access.mode {
        Htpasswd::load(file.clone())?;
    }
    Ok(())
}

/// The cache, opened.
pub(super) async fn cache(config: &CacheConfig, metrics: Metrics) -> Result<Cache, StartError> {
    let dir = config.dir.clone();
    let store = tokio::task::spawn_blocking(move || LocalStore::open(dir)).await??;
    let limits = CacheLimits {
        memory_bytes: config.memory,
        concurrent_fills: config.max_fills,
        bounds: config.bounds.map(|CacheBounds { max, high, low }| Bounds { max, high, low }),
        finish_abandoned: match config.finish_abandoned {
            config::FinishAbandoned::Always => FinishAbandoned::Always,
            config::FinishAbandoned::IfStartedOver(percent) => FinishAbandoned::IfStartedOver(percent),
            config::FinishAbandoned::Never => FinishAbandoned::Never,
        },
        scrub: config.scrub,
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    Ok(Cache::new(Arc::new(store), clock, limits, metrics))
}

pub(super) fn tag_policy(config: &TagsConfig) -> TagPolicy {
    TagPolicy {
        ttl: config.ttl,
        stale_for: config.stale_for,
        patience: config.patience,
        absent: config.absent,
        immutable: config.immutable.clone(),
    }
}

pub(super) fn origin_policy(config: &Config) -> OriginPolicy {
    let with_certificate = config.all_upstreams().filter(|upstream| upstream.identity.is_some());
    OriginPolicy {
        rules: config.relocation.from_origin.clone(),
        with_certificate: with_certificate.map(|upstream| upstream.registry.clone()).collect(),
    }
}

fn limits(config: &RelocationConfig) -> RelocationLimits {
    RelocationLimits {
        deadline: config.deadline,
        undecided_original: config.undecided == Undecided::Original,
        negative_ttl: config.negative_ttl,
        max_layer_bytes: config.max_layer_bytes,
        concurrency: config.concurrency,
        max_passes: config.max_passes,
        max_passes_per_client: config.max_passes_per_client,
        max_targets: config.max_targets_per_bundle,
        max_images: config.max_images,
    }
}
