//! Where a task runs: here, or in the process that serves from the cache directory.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use super::error::PlaceError;
use crate::admin::control::{self, ControlError, RemoteEvents};
use crate::cache::{Cache, LocalStore, OpenError};
use crate::cli::error::CliError;
use crate::cli::reference::{Names, nameless};
use crate::cli::wire::{self, StartError};
use crate::config::{CacheConfig, Config};
use crate::proxy::{Event, Events, Task, Tasks};
use crate::telemetry::Metrics;

/// How often, and with what pauses, a directory that is in use is tried whose user takes no tasks: it may be just
/// starting, or stopping.
const ATTEMPTS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(100);

/// A cache, and what is known of the proxy around it.
pub(super) struct Place {
    cache: CacheConfig,
    config: Option<Config>,
}

/// What a running task tells.
pub(super) enum Told {
    /// From this process.
    Here(Events),
    /// From another.
    Remote(RemoteEvents),
}

impl Told {
    /// The next event.
    pub(super) async fn next(&mut self) -> Result<Option<Event>, ControlError> {
        match self {
            Self::Here(events) => Ok(events.next().await),
            Self::Remote(events) => events.next().await,
        }
    }
}

impl Place {
    /// The cache of a proxy.
    pub(super) fn configured(config: Config) -> Self {
        Self { cache: config.cache.clone(), config: Some(config) }
    }

    /// A cache alone.
    pub(super) fn bare(cache: CacheConfig) -> Self {
        Self { cache, config: None }
    }

    /// Starts a task where it can run.
    pub(super) async fn run(&self, task: Task) -> Result<Told, CliError> {
        let directory = || self.cache.dir.clone();
        let pulls = matches!(task, Task::Warm { .. } | Task::Pin { .. } | Task::Export { .. });
        if !LocalStore::exists(&self.cache.dir) && !pulls {
            return Err(PlaceError::NoCache { directory: directory() }.into());
        }
        let other_user = other_user(&self.cache.dir);
        for _ in 0..ATTEMPTS {
            match control::send(&self.cache.dir, &task).await {
                Ok(events) => return Ok(Told::Remote(events)),
                Err(ControlError::NotServed(_)) => {}
                Err(err) => return Err(err.into()),
            }
            if let Some((owner, own)) = other_user {
                return Err(PlaceError::OtherUser { directory: directory(), owner, own }.into());
            }
            if pulls && self.config.is_none() {
                return Err(PlaceError::NoUpstream { directory: directory() }.into());
            }
            match wire::cache(&self.cache, Metrics::new()).await {
                Ok(cache) => return Ok(Told::Here(self.tasks(cache, pulls).await?.run(task))),
                Err(StartError::Cache(OpenError::InUse { .. })) => tokio::time::sleep(PAUSE).await,
                Err(err) => return Err(err.into()),
            }
        }
        Err(PlaceError::Busy { directory: directory() }.into())
    }

    async fn tasks(&self, cache: Cache, pulls: bool) -> Result<Tasks, CliError> {
        let Some(config) = &self.config else { return Ok(Tasks::new(cache, None, nameless())) };
        let proxy = if pulls {
            let upstreams = wire::upstreams(config, &Metrics::new()).await?;
            Some(wire::proxy_over(config, upstreams, cache.clone(), Metrics::new()))
        } else {
            None
        };
        Ok(Tasks::new(cache, proxy, Names::new(config, &config.listen).reader()))
    }
}

/// The directory's owner and this process's user, if they differ.
fn other_user(directory: &Path) -> Option<(u32, u32)> {
    let owner = fs::metadata(directory).ok()?.uid();
    let own = rustix::process::geteuid().as_raw();
    (owner != own).then_some((owner, own))
}
