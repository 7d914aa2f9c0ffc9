//! A proxy that runs, from its configuration to its end, and with another configuration in between.

use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::check::place;
use super::reference::Names;
use super::wire::{self, StartError, Upstreams};
use crate::admin::control::Control;
use crate::admin::{Admin, Board, Readiness, Refused, Site};
use crate::cache::Cache;
use crate::config::{Config, Endpoint, ListenAddress};
use crate::proxy::{Proxy, Tasks};
use crate::server::{Access, Directory, Drained, Inherited, Server, ServerLimits, ServerParts, Switch};
use crate::telemetry::Metrics;
use crate::tls::ServerTls;

/// A proxy that serves until it is stopped.
pub struct Running {
    addresses: Vec<ListenAddress>,
    admin: Option<SocketAddr>,
    readiness: Readiness,
    stop: watch::Sender<Stage>,
    server: JoinHandle<Drained>,
    admin_task: Option<JoinHandle<()>>,
    cache: Cache,
    metrics: Metrics,
    board: Board,
    switch: Switch,
    tasks: Tasks,
    /// The configuration that runs, and what was made of it.
    current: Current,
}

/// What a configuration comes to, and the next one may go on with.
struct Current {
    config: Arc<Config>,
    file: Option<String>,
    upstreams: Upstreams,
    proxy: Proxy,
    access: Access,
    tls: Option<ServerTls>,
}

/// How far stopping has come. The admin listener outlives the other, to tell of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Serving,
    Draining,
    Stopped,
}

/// Why a configuration does not take the place of the one that runs.
#[derive(Debug, thiserror::Error)]
pub(super) enum SwitchError {
    #[error("{} cannot change while colocate runs; restart it for that", settings.join(", "))]
    Restart { settings: Vec<&'static str> },
    #[error(transparent)]
    Start(#[from] StartError),
}

/// Starts what `config` says. Both listeners are bound when this returns.
///
/// # Errors
/// When a part of it cannot be had. The registry behind is not asked yet, and may be down.
pub async fn start(config: Config) -> Result<Running, StartError> {
    start_from(Arc::new(config), None, Inherited::default()).await
}

/// The same with a configuration from a file, and with the sockets that the process was started with in place of those
/// that it would bind.
pub(super) async fn start_from(
    config: Arc<Config>,
    file: Option<&Path>,
    mut inherited: Inherited,
) -> Result<Running, StartError> {
    let wanted: Vec<ListenAddress> =
        config.listen.iter().cloned().chain(config.admin.listen.map(ListenAddress::Tcp)).collect();
    inherited.only(&wanted)?;
    let metrics = Metrics::new();
    let cache = wire::cache(&config.cache, metrics.clone()).await?;
    let upstreams = wire::upstreams(&config, &metrics).await?;
    let proxy = wire::proxy_over(&config, upstreams.clone(), cache.clone(), metrics.clone());
    let control = control(&config.cache.dir);
    let file = file.map(|file| file.display().to_string());
    let (access, tls) = (wire::access(&config).await?, wire::server_tls(&config.server)?);
    let current = Current { config, file, upstreams, proxy, access, tls };
    current.tell_expiry(&metrics);
    let config = Arc::clone(&current.config);
    let server = Server::bind_or_inherit(&config.listen, &mut inherited, current.parts(&metrics)).await?;
    let (readiness, addresses) = (Readiness::default(), server.addresses().to_vec());
    let board = Board::new(current.site(&addresses), cache.clone());
    let admin = match config.admin.listen {
        None => None,
        Some(address) => {
            let (metrics, readiness, board) = (metrics.clone(), readiness.clone(), board.clone());
            let admin = match inherited.tcp(&ListenAddress::Tcp(address)) {
                Some(listener) => Admin::inherit(listener, metrics, readiness, board),
                None => Admin::bind(address, metrics, readiness, board).await,
            };
            Some(admin.map_err(|source| StartError::Bind { key: "admin.listen", address, source })?)
        }
    };

    let (stop, stage) = watch::channel(Stage::Serving);
    let reached = |wanted: Stage| {
        let mut stage = stage.clone();
        // An error means that `Running` was dropped, which stops everything.
        async move { drop(stage.wait_for(|stage| *stage >= wanted).await) }
    };
    let (switch, admin_address) = (server.switch(), admin.as_ref().map(Admin::address));
    let tasks = Tasks::new(cache.clone(), Some(current.proxy.clone()), Names::new(&config, &addresses).reader());
    tokio::spawn(look_after(cache.clone(), control, tasks.clone(), reached(Stage::Draining)));
    let server = tokio::spawn(server.run(reached(Stage::Draining)));
    let admin_task = admin.map(|admin| tokio::spawn(admin.run(reached(Stage::Stopped))));
    readiness.begin();
    let admin = admin_address;
    Ok(Running { addresses, admin, readiness, stop, server, admin_task, cache, metrics, board, switch, tasks, current })
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

impl Current {
    fn parts(&self, metrics: &Metrics) -> ServerParts {
        let server = &self.config.server;
        ServerParts {
            proxy: self.proxy.clone(),
            metrics: metrics.clone(),
            directory: Directory::new(&self.config),
            access: self.access.clone(),
            limits: ServerLimits {
                header_read_timeout: server.header_read_timeout,
                max_connections: server.max_connections,
                drain_timeout: server.drain_timeout,
                idle_body_timeout: server.idle_body_timeout,
            },
            tls: self.tls.clone(),
            trusted_proxies: server.trusted_proxies.clone(),
        }
    }

    fn site(&self, addresses: &[ListenAddress]) -> Site {
        let Self { config, file, proxy, .. } = self;
        let endpoint = config.endpoint.clone().or_else(|| ListenAddress::endpoint(addresses));
        Site {
            proxy: proxy.clone(),
            read: Names::new(config, addresses).reader(),
            upstreams: config.all_upstreams().map(|upstream| (upstream.registry.clone(), place(upstream))).collect(),
            endpoint: endpoint.as_ref().map(Endpoint::to_string),
            listen: addresses.iter().map(ToString::to_string).collect(),
            names: config.admin.names.clone(),
            file: file.clone(),
            loaded: SystemTime::now(),
        }
    }

    /// When the certificate ends is asked each time, as its files change.
    fn tell_expiry(&self, metrics: &Metrics) {
        let tls = self.tls.clone();
        metrics.certificate_expires(move || tls.as_ref().and_then(ServerTls::expires));
    }

    /// What differs and is not made anew while the process runs.
    fn fixed(&self, next: &Config) -> Vec<&'static str> {
        let now = &self.config;
        let differences = [
            ("listen", now.listen != next.listen),
            ("admin.listen", now.admin.listen != next.admin.listen),
            ("cache", now.cache != next.cache),
            ("server.max_connections", now.server.max_connections != next.server.max_connections),
            ("log.format", now.log.format != next.log.format),
        ];
        differences.into_iter().filter(|(_, differs)| *differs).map(|(setting, _)| setting).collect()
    }

    /// The same for another configuration; what that does not touch stays as it is.
    async fn next(&self, next: Arc<Config>, cache: Cache, metrics: &Metrics) -> Result<Self, SwitchError> {
        let settings = self.fixed(&next);
        if !settings.is_empty() {
            return Err(SwitchError::Restart { settings });
        }
        let now = &self.config;
        let mut at_hand = HashMap::new();
        for upstream in next.all_upstreams().filter(|one| now.all_upstreams().any(|other| one.is_asked_like(other))) {
            let same = self.upstreams.get(&upstream.registry).map(|same| (upstream.registry.clone(), Arc::clone(same)));
            at_hand.extend(same);
        }
        let access = match now.access.mode == next.access.mode {
            // With the passwords that are known to be right.
            true => wire::access_in(&next, self.access.mode.clone()),
            false => wire::access(&next).await?,
        };
        let tls = match now.server.tls == next.server.tls {
            true => self.tls.clone(),
            false => wire::server_tls(&next.server).map_err(StartError::from)?,
        };
        // Last: archives take their time to be looked through.
        let upstreams = wire::upstreams_beside(&next, metrics, &at_hand).await?;
        let proxy = self.proxy.reconfigured(wire::parts(&next, upstreams.clone(), cache, metrics.clone()));
        Ok(Self { config: next, file: self.file.clone(), upstreams, proxy, access, tls })
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

    /// The configuration that runs.
    pub(super) fn config(&self) -> &Config {
        &self.current.config
    }

    /// Goes on with another configuration: requests from now on are answered by it, and those that run end as they began.
    ///
    /// # Errors
    /// When it cannot be; then nothing has changed.
    pub(super) async fn switch_to(&mut self, next: Arc<Config>) -> Result<(), SwitchError> {
        let next = self.current.next(next, self.cache.clone(), &self.metrics).await?;
        self.switch.switch(next.parts(&self.metrics));
        self.tasks.switch(next.proxy.clone(), Names::new(&next.config, &self.addresses).reader());
        self.board.put(next.site(&self.addresses));
        next.tell_expiry(&self.metrics);
        self.metrics.config_reloaded(true);
        self.current = next;
        Ok(())
    }

    /// A configuration was read that cannot be run; the old one goes on.
    pub(super) fn refused(&self, problems: String) {
        self.metrics.config_reloaded(false);
        self.board.refuse(Some(Refused { at: SystemTime::now(), problems }));
    }

    /// The configuration that runs is the one that is written down, again.
    pub(super) fn settled(&self) {
        self.metrics.config_settled();
        self.board.refuse(None);
    }

    /// The certificates that clients are shown.
    pub(super) fn certificates(&self) -> Option<ServerTls> {
        self.current.tls.clone()
    }

    /// Lets running requests end, as long as the configuration allows, and stops. Dropping this future instead
    /// cuts them.
    ///
    /// Readiness goes first: whoever sends clients here has `server.drain_delay` to learn of it.
    pub async fn stop(self) -> Drained {
        let Self { readiness, stop, server, admin_task, cache, current, .. } = self;
        readiness.end();
        let delay = current.config.server.drain_delay;
        if delay > Duration::ZERO {
            tracing::info!(?delay, "no longer ready; clients are still accepted for a while");
            tokio::time::sleep(delay).await;
        }
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
