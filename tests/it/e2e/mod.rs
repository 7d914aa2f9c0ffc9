//! End to end: the program as it is started, in front of the registry that many run, read by the tools that people use.
//!
//! Each test needs programs from Debian and says which; without them it is skipped, except in CI.

mod activation;
mod certificates;
mod chains;
mod clients;
mod cnab;
mod conformance;
mod container;
mod demo;
mod digests;
mod discovery;
mod edge;
mod export;
mod missing;
mod offline;
mod origins;
mod page;
mod parts;
mod private;
mod promtool;
mod proxied;
mod pull_through;
mod pushes;
mod recipes;
mod replicas;
mod systemd;
mod tokens;
mod upstreams;
mod warm;

use crate::support::layout::Golden;
use crate::support::registry::DockerRegistry;

/// A registry with every golden bundle, colocated, under the names their targets have.
async fn golden_registry() -> DockerRegistry {
    let registry = DockerRegistry::start().await;
    for golden in Golden::all() {
        golden.colocated.push(&registry.url(), &golden.repository).await;
    }
    registry
}
