//! From a configuration to a running proxy.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use url::Url;

use super::reference::Names;
use crate::admin::control::Control;
use crate::admin::{Admin, Readiness};
use crate::body::{Clock, SystemClock};
use crate::cache::{Bounds, Cache, CacheLimits, FinishAbandoned, LocalStore, OpenError};
use crate::config::{
    self, AccessMode, CacheBounds, CacheConfig, Config, ListenAddress, RelocationConfig, ServerConfig, TagsConfig,
    TlsConfig, Undecided, UpstreamConfig, UpstreamPlace,
};
use crate::oci::RegistryName;
use crate::proxy::{OriginPolicy, Proxy, ProxyParts, RelocationLimits, TagPolicy, Tasks};
use crate::server::{
    Access, AccessRules, Directory, Drained, Gate, Htpasswd, HtpasswdError, ListenError, Mode, Server, ServerLimits,
    ServerParts, WithoutRules,
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
type Upstreams = HashMap<RegistryName, Arc<dyn Upstream>>;

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

/// A proxy that serves until it is stopped.
pub struct Running {
    addresses: Vec<ListenAddress>,
    admin: Option<SocketAddr>,
    readiness: Readiness,
    stop: watch::Sender<Stage>,
    server: JoinHandle<Drained>,
    admin_task: Option<JoinHandle<()>>,
    cache: Cache,
}

/// How far stopping has come. The admin listener outlives the other, to tell of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Serving,
    Draining,
    Stopped,
}

/// Starts what `config` says. Both listeners are bound when this returns.
///
/// # Errors
/// When a part of it cannot be had. The registry behind is not asked yet, and may be down.
pub async fn start(config: Config) -> Result<Running, StartError> {
    let metrics = Metrics::new();
    let (proxy, cache) = proxy(&config, metrics.clone()).await?;
    let control = control(&config.cache.dir);
    let tls = server_tls(&config.server)?;
    if let Some(tls) = tls.clone() {
        metrics.certificate_expires(move || tls.expires());
    }
    let parts = ServerParts {
        proxy: proxy.clone(),
        metrics: metrics.clone(),
        directory: Directory::new(&config),
        access: access(&config).await?,
        limits: ServerLimits {
            header_read_timeout: config.server.header_read_timeout,
            max_connections: config.server.max_connections,
            drain_timeout: config.server.drain_timeout,
            idle_body_timeout: config.server.idle_body_timeout,
        },
        tls,
        trusted_proxies: config.server.trusted_proxies.clone(),
    };
    let bind = |key, address| move |source| StartError::Bind { key, address, source };
    let server = Server::bind(&config.listen, parts).await?;
    let readiness = Readiness::default();
    let admin = match config.admin {
        None => None,
        Some(address) => {
            let admin = Admin::bind(address, metrics, readiness.clone()).await;
            Some(admin.map_err(bind("admin.listen", address))?)
        }
    };

    let (stop, stage) = watch::channel(Stage::Serving);
    let reached = |wanted: Stage| {
        let mut stage = stage.clone();
        // An error means that `Running` was dropped, which stops everything.
        async move { drop(stage.wait_for(|stage| *stage >= wanted).await) }
    };
    let (addresses, admin_address) = (server.addresses().to_vec(), admin.as_ref().map(Admin::address));
    let tasks = Tasks::new(cache.clone(), Some(proxy), Names::new(&config, &addresses).reader());
    tokio::spawn(look_after(cache.clone(), control, tasks, reached(Stage::Draining)));
    let server = tokio::spawn(server.run(reached(Stage::Draining)));
    let admin_task = admin.map(|admin| tokio::spawn(admin.run(reached(Stage::Stopped))));
    readiness.set(true);
    Ok(Running { addresses, admin: admin_address, readiness, stop, server, admin_task, cache })
}

/// Looks after the cache, and has done with it what commands ask for. Behind the listener: a large cache takes its time
/// to look through, and serves meanwhile.
async fn look_after(cache: Cache, control: Option<Control>, tasks: Tasks, stopping: impl Future<Output = ()>) {
    let upkeep = cache.upkeep();
    drop(cache);
    let controlled = async {
        match control {
            Some(control) => control.run(tasks, stopping).await,
            None => drop(tasks),
        }
    };
    tokio::join!(upkeep, controlled);
}

/// What others can ask for is a convenience: without it, the proxy serves.
fn control(directory: &Path) -> Option<Control> {
    let bound = Control::bind(directory);
    let directory = directory.display();
    bound.inspect_err(|err| tracing::warn!(%directory, %err, "no commands can be taken for the cache")).ok()
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
    let (clock, relocation, tags) = (Arc::clone(cache.clock()), limits(&config.relocation), tag_policy(&config.tags));
    let (verdict_ttl, origins) = (config.access.verdict_ttl, origin_policy(config));
    Proxy::new(ProxyParts { upstreams, cache, clock, verdict_ttl, relocation, origins, tags, metrics })
}

/// The registries behind. They are not asked yet.
pub(super) async fn upstreams(config: &Config, metrics: &Metrics) -> Result<Upstreams, StartError> {
    let (mut upstreams, egress) = (Upstreams::new(), Egress::from_environment()?);
    for one in config.all_upstreams() {
        let kept = config.cache.dir.join(KEPT_DIRECTORY);
        upstreams.insert(one.registry.clone(), upstream(one, kept, &egress, metrics.clone()).await?);
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

fn server_tls(config: &ServerConfig) -> Result<Option<ServerTls>, ServerTlsError> {
    let files = |tls: &TlsConfig| TlsFiles {
        certificate: tls.cert.clone(),
        key: tls.key.clone(),
        clients: tls.client_ca.clone().map(|ca| ClientFiles { ca, required: tls.client_certificate_required }),
    };
    config.tls.as_ref().map(|tls| ServerTls::load(files(tls))).transpose()
}

/// Who may do what.
async fn access(config: &Config) -> Result<Access, StartError> {
    let mode = match &config.access.mode {
        AccessMode::Open => Mode::Own(Gate::Open),
        AccessMode::Certificate => Mode::Own(Gate::Certificate),
        AccessMode::Upstream => Mode::Upstream,
        AccessMode::Htpasswd(file) => {
            let file = file.clone();
            Mode::Own(Gate::Htpasswd(tokio::task::spawn_blocking(move || Htpasswd::load(file)).await??))
        }
    };
    let without = match &mode {
        Mode::Own(gate) => gate.without_rules(),
        Mode::Upstream => WithoutRules::Everything,
    };
    Ok(Access { rules: Arc::new(AccessRules::new(config.access.rules.clone(), without)), mode })
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

fn tag_policy(config: &TagsConfig) -> TagPolicy {
    TagPolicy {
        ttl: config.ttl,
        stale_for: config.stale_for,
        patience: config.patience,
        absent: config.absent,
        immutable: config.immutable.clone(),
    }
}

fn origin_policy(config: &Config) -> OriginPolicy {
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

impl Running {
    /// Where clients connect.
    pub fn addresses(&self) -> &[ListenAddress] {
        &self.addresses
    }

    /// The first of them on a network.
    pub fn address(&self) -> Option<SocketAddr> {
        self.addresses.iter().find_map(ListenAddress::tcp)
    }

    /// Where health and metrics are, if anywhere.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// Lets running requests end, as long as the configuration allows, and stops. Dropping this future instead
    /// cuts them.
    pub async fn stop(self) -> Drained {
        let Self { readiness, stop, server, admin_task, cache, .. } = self;
        readiness.set(false);
        stop.send_replace(Stage::Draining);
        // The only error is a panic, of which the process's hook has told.
        let drained = server.await.unwrap_or(Drained::Cut(0));
        // What clients were given without waiting for the disk.
        cache.settled().await;
        stop.send_replace(Stage::Stopped);
        if let Some(task) = admin_task {
            let _ = task.await;
        }
        drained
    }
}
