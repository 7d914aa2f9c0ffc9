//! Accepting connections, and draining them.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::admission::Access;
use super::bind::{ListenError, Listeners, Stream};
use super::connection::{Connections, Now, ServerLimits};
use super::directory::Directory;
use super::inherited::Inherited;
use super::peer::PeerAddress;
use super::service::Service;
use crate::config::{Endpoint, ListenAddress, TrustedProxy};
use crate::proxy::Proxy;
use crate::telemetry::Metrics;
use crate::tls::ServerTls;

/// Manifests of clients that are taken in at one time.
const MAX_MANIFESTS: usize = 16;
/// How long to wait after accept failed for want of file descriptors or memory.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// What a server is made of.
pub struct ServerParts {
    /// Answers the requests.
    pub proxy: Proxy,
    /// Counts them.
    pub metrics: Metrics,
    /// What clients mean by names.
    pub directory: Directory,
    /// Who may do what.
    pub access: Access,
    /// Limits on connections.
    pub limits: ServerLimits,
    /// Speaks TLS with clients from a network; plain HTTP when `None`. By a Unix socket it is always plain HTTP: who
    /// may connect there is a matter of the file's permissions.
    pub tls: Option<ServerTls>,
    /// Whose forwarded headers are believed.
    pub trusted_proxies: Vec<TrustedProxy>,
}

/// How draining ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Every request ran to its end.
    Complete,
    /// Time ran out; so many connections were cut.
    Cut(usize),
}

/// Bound listeners.
pub struct Server {
    listeners: Listeners,
    addresses: Vec<ListenAddress>,
    switch: Switch,
}

/// Has a server go on with other parts; clones do the same.
#[derive(Clone)]
pub struct Switch {
    connections: watch::Sender<Arc<Connections>>,
    /// What clients can call the server by where it listens.
    called: Option<Endpoint>,
}

impl Switch {
    /// Requests that come from now on are answered with these parts, and those that run end as they began. Connections keep
    /// their time limits, and are closed after what runs on them where these parts have other certificates; how many there may
    /// be stays what it was.
    pub fn switch(&self, parts: ServerParts) {
        self.connections.send_replace(Arc::new(connections(parts, self.called.clone())));
    }
}

fn connections(parts: ServerParts, called: Option<Endpoint>) -> Connections {
    let ServerParts { proxy, metrics, directory, access, limits, tls, trusted_proxies } = parts;
    let service = Service {
        proxy,
        metrics: metrics.clone(),
        access,
        directory: directory.or_called(called),
        idle_body_timeout: limits.idle_body_timeout,
        trusted_proxies,
        manifests: Semaphore::new(MAX_MANIFESTS),
    };
    Connections::new(service, metrics, limits, tls)
}

impl Server {
    /// Binds all of `addresses`. Clients can connect from here on, and are served once [`run`](Self::run) is.
    ///
    /// # Errors
    /// When one of the addresses cannot be had; then none is listened on.
    pub async fn bind(addresses: &[ListenAddress], parts: ServerParts) -> Result<Self, ListenError> {
        Self::bind_or_inherit(addresses, &mut Inherited::default(), parts).await
    }

    /// As [`bind`](Self::bind), with the sockets of `inherited` where they listen on one of `addresses` already.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    pub async fn bind_or_inherit(
        addresses: &[ListenAddress],
        inherited: &mut Inherited,
        parts: ServerParts,
    ) -> Result<Self, ListenError> {
        let (listeners, addresses) = Listeners::bind(addresses, inherited).await?;
        let called = ListenAddress::endpoint(&addresses);
        let connections = watch::Sender::new(Arc::new(connections(parts, called.clone())));
        Ok(Self { listeners, addresses, switch: Switch { connections, called } })
    }

    /// What changes the parts while it runs.
    pub fn switch(&self) -> Switch {
        self.switch.clone()
    }

    /// The addresses bound, in the order asked for, with the ports the system chose.
    pub fn addresses(&self) -> &[ListenAddress] {
        &self.addresses
    }

    /// The first network address bound, if there is one.
    pub fn address(&self) -> Option<SocketAddr> {
        self.addresses.iter().find_map(ListenAddress::tcp)
    }

    /// Serves until `shutdown`, then lets running requests end: no new connection is accepted, idle ones are
    /// closed, and after the drain timeout the rest is cut.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Drained {
        let Self { mut listeners, switch, .. } = self;
        let now = switch.connections.subscribe();
        // One for all listeners together: what a connection costs does not depend on where it came in.
        let room = Arc::new(Semaphore::new(now.borrow().front.limits().max_connections));
        // Ends with this function.
        let mut helpers = JoinSet::new();
        helpers.spawn(keep_fresh(now.clone()));
        let (draining, drain) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut shutdown => break,
                accepted = accept(&mut listeners, &room) => accepted,
                // Keeps the set from growing with connections that are over.
                Some(_) = tasks.join_next() => continue,
            };
            let Some((stream, peer, permit)) = accepted else { continue };
            let front = Arc::clone(&now.borrow().front);
            let counted = front.count();
            let serving = front.serve(stream, peer, now.clone(), drain.clone());
            tasks.spawn(async move {
                let _held = (permit, counted);
                serving.await;
            });
        }
        drop(listeners);
        tracing::info!(connections = tasks.len(), "draining");
        draining.send_replace(true);
        // The tasks rather than what they serve: one whose connection is closed may still be on its way out, and
        // would be taken for one that was cut.
        let drained = async { while tasks.join_next().await.is_some() {} };
        let drain_timeout = now.borrow().front.limits().drain_timeout;
        let _ = timeout(drain_timeout, drained).await;
        match tasks.len() {
            0 => Drained::Complete,
            cut => {
                tasks.shutdown().await;
                Drained::Cut(cut)
            }
        }
    }
}

/// Looks after the certificate of whatever is configured, for ever.
async fn keep_fresh(mut now: Now) {
    loop {
        let tls = now.borrow_and_update().front.tls().cloned();
        let looking = async {
            match tls {
                Some(tls) => tls.keep_fresh().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = looking => {}
            changed = now.changed() => if changed.is_err() { return },
        }
    }
}

/// The next connection, once there is room: until then it waits in the kernel's queue.
async fn accept(
    listeners: &mut Listeners,
    room: &Arc<Semaphore>,
) -> Option<(Stream, PeerAddress, OwnedSemaphorePermit)> {
    // The semaphore is never closed.
    let permit = Arc::clone(room).acquire_owned().await.ok()?;
    match listeners.accept().await {
        Ok((stream, peer)) => Some((stream, peer, permit)),
        Err(err) => {
            // A connection that was reset in the queue is gone; anything else is a shortage, which a tight loop
            // would only make worse.
            if !matches!(err.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
                tracing::error!(error = %err, "cannot accept connections");
                sleep(ACCEPT_RETRY).await;
            }
            None
        }
    }
}
