//! `colocate serve`

use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::error::CliError;
use super::notify;
use super::reload::Reloader;
use super::running::{Running, start_from};
use crate::config::Config;
use crate::server::{Drained, Inherited};
use crate::telemetry::BUILD;

/// Serves until SIGTERM or SIGINT, then drains; a second signal cuts that short. Meanwhile it goes along with its
/// configuration.
pub(super) async fn serve(config: Config, mut reloader: Reloader, inherited: Inherited) -> Result<(), CliError> {
    // Before anything is bound, so that no signal finds the default action in place.
    let mut signals = Signals::new()?;
    let mut running = start_from(Arc::new(config), reloader.file(), inherited).await?;
    let admin = running.admin().map(|address| address.to_string());
    let addresses: Vec<String> = running.addresses().iter().map(ToString::to_string).collect();
    let address = addresses.join(" ");
    tracing::info!(address, admin, version = BUILD.version, commit = BUILD.commit, "serving");
    notify::ready(&format!("serving on {address}"));
    notify::keep_watchdog();
    let name = tokio::select! {
        name = signals.next() => name,
        never = reloader.keep(&mut running) => match never {},
    };
    drain(running, name, &mut signals).await;
    Ok(())
}

/// Waits for a signal and ends the proxy.
pub(super) async fn stop(running: Running, signals: &mut Signals) {
    let name = signals.next().await;
    drain(running, name, signals).await;
}

async fn drain(running: Running, signal: &str, signals: &mut Signals) {
    tracing::info!(signal, "stopping");
    notify::stopping();
    tokio::select! {
        drained = running.stop() => match drained {
            Drained::Complete => tracing::info!("stopped"),
            Drained::Cut(connections) => tracing::warn!(connections, "stopped; connections were cut"),
        },
        name = signals.next() => tracing::warn!(signal = name, "stopped at once"),
    }
}

/// The signals that stop the process.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(super) fn new() -> Result<Self, CliError> {
        let receive = |kind| signal(kind).map_err(CliError::Signals);
        Ok(Self { terminate: receive(SignalKind::terminate())?, interrupt: receive(SignalKind::interrupt())? })
    }

    /// The next one's name.
    pub(super) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
