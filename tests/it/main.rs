//! The integration tests: one binary, so that it links once.

mod access;
mod archives;
mod cache;
mod cnab;
mod config;
mod discovery;
mod e2e;
mod export;
mod fuzz;
mod gzip;
mod hostile;
mod locks;
mod origins;
mod push;
mod relocation;
mod rewrite;
mod rooms;
mod server;
mod simulation;
mod support;
mod survival;
mod tags;
mod tasks;
mod tracing;
mod upstream;
mod verify;
