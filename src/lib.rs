//! Colocate: a reverse proxy in front of OCI registries that serves imgpkg bundles with rewritten image
//! locations. See the README for the life of a request and the order of the rooms.

pub mod admin;
pub mod body;
pub mod cache;
pub mod cli;
pub mod cnab;
pub mod config;
pub mod gzip;
pub mod imgpkg;
pub mod oci;
pub mod proxy;
pub mod rewrite;
pub mod server;
pub mod tar;
pub mod telemetry;
pub mod tls;
pub mod upstream;
