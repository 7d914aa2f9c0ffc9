//! Reading the configuration again, when its file changes or SIGHUP asks for it.
//!
//! The whole configuration is read and checked at each look, with the files that are part of it, such as an upstream's
//! CA, and compared with the one that runs: a few KiB, and no file system's times have to be trusted. What a look finds
//! counts when the next one finds the same: of a file that is being written, the first half may be a valid
//! configuration, too, only without the rules that were to follow. SIGHUP says that it is whole.
//!
//! Passwords, certificates for clients and credentials for registries are in files that are read again by whoever uses
//! them; here only the certificates are looked at, at once, when SIGHUP asks.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep};

use super::error::CliError;
use super::notify;
use super::running::Running;
use crate::body::with_causes;
use crate::config::{Config, ConfigError};
use crate::telemetry::LogHandle;

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long a configuration that is well-formed and could not be run is left alone, unless it changes.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Reads a configuration, from its file and the command line together.
pub(super) type Load = Arc<dyn Fn() -> Result<Config, ConfigError> + Send + Sync>;

/// Keeps a proxy at what its configuration says.
pub(super) struct Reloader {
    hangup: Signal,
    load: Load,
    file: Option<PathBuf>,
    /// Whether it can be read again; a pipe cannot, nor what was never in a file.
    again: bool,
    log: LogHandle,
    /// What the last look found, as long as it is not what runs.
    seen: Option<Found>,
    /// When the configuration that was seen last could not be switched to.
    failed: Option<Instant>,
    /// What was complained of.
    told: Option<String>,
}

/// What a look found.
type Found = Result<Arc<Config>, String>;

/// Who wants to know.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    BySignal,
    ByTime,
}

impl Reloader {
    /// Looks at `file`, if there is one that can be read more than once. From here on SIGHUP no longer ends the process.
    pub(super) fn new(file: Option<&Path>, load: Load, log: LogHandle) -> Result<Self, CliError> {
        let hangup = signal(SignalKind::hangup()).map_err(CliError::Signals)?;
        let again = file.is_some_and(Path::is_file);
        let file = file.map(Path::to_owned);
        Ok(Self { hangup, load, file, again, log, seen: None, failed: None, told: None })
    }

    /// Where the configuration is from, if it is from a file.
    pub(super) fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Does so for ever. May be dropped at any time.
    pub(super) async fn keep(&mut self, running: &mut Running) -> Infallible {
        loop {
            let asked = tokio::select! {
                Some(()) = self.hangup.recv() => Asked::BySignal,
                () = sleep(LOOK_EVERY), if self.again => Asked::ByTime,
            };
            if asked == Asked::ByTime {
                self.look(running, asked).await;
                continue;
            }
            notify::reloading();
            self.look_at_certificates(running).await;
            if self.again {
                self.look(running, asked).await;
            } else {
                tracing::info!("SIGHUP: the configuration is in no file that can be read again");
            }
            notify::ready(self.told.as_deref().unwrap_or("serving"));
        }
    }

    async fn look(&mut self, running: &mut Running, asked: Asked) {
        let (load, file) = (Arc::clone(&self.load), self.file.clone());
        let read = move || {
            // Opening a pipe waits for whoever writes into it, and no later look would ever come.
            if let Some(file) = file.filter(|file| file.exists() && !file.is_file()) {
                return Err(format!("{} is no regular file any more", file.display()));
            }
            load().map(Arc::new).map_err(|err| err.to_string())
        };
        match tokio::task::spawn_blocking(read).await {
            Ok(found) => self.take(running, found, asked).await,
            Err(err) => tracing::error!(error = %err, "the configuration could not be read again"),
        }
    }

    /// Does what `found` says, if it is certain and news.
    async fn take(&mut self, running: &mut Running, found: Found, asked: Asked) {
        if found.as_ref().is_ok_and(|config| **config == *running.config()) {
            self.seen = None;
            match self.told.take() {
                Some(_) => {
                    running.settled();
                    tracing::info!("the configuration is the one that runs, again");
                }
                None if asked == Asked::BySignal => tracing::info!("SIGHUP: the configuration has not changed"),
                None => {}
            }
            return;
        }
        let certain = asked == Asked::BySignal || self.seen.as_ref() == Some(&found);
        if self.seen.as_ref() != Some(&found) {
            self.failed = None;
        }
        self.seen = Some(found.clone());
        if !certain {
            return;
        }
        let problems = match found {
            Err(problems) => problems,
            // What it needs may come to be there; to look for that all the time would cost more than it is worth.
            Ok(_) if asked == Asked::ByTime && self.failed.is_some_and(|at| at.elapsed() < TRY_AGAIN_AFTER) => return,
            Ok(config) => match running.switch_to(config).await {
                Ok(()) => {
                    (self.seen, self.told) = (None, None);
                    self.set_log_filter(&running.config().log.filter);
                    tracing::info!("the configuration has changed; requests from now on are answered by it");
                    return;
                }
                Err(error) => {
                    self.failed = Some(Instant::now());
                    with_causes(&error)
                }
            },
        };
        if self.told.as_ref() != Some(&problems) || asked == Asked::BySignal {
            tracing::error!(%problems, "the configuration has changed and is refused; the old one goes on");
            running.refused(problems.clone());
            self.told = Some(problems);
        }
    }

    /// It was checked with all the rest.
    fn set_log_filter(&self, filter: &str) {
        if let Err(err) = self.log.set_filter(filter) {
            tracing::error!(error = %err, "the log filter stays as it was");
        }
    }

    async fn look_at_certificates(&self, running: &Running) {
        if let Some(tls) = running.certificates() {
            // What comes of it is in the log.
            let _ = tokio::task::spawn_blocking(move || tls.reload()).await;
        }
    }
}
