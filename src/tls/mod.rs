//! TLS for both sides: how upstreams are trusted, and (with the listeners) how clients are served.
//!
//! One provider, aws-lc-rs, named explicitly everywhere: with a process-wide default, a test or a library
//! that installs another one would decide what this program speaks.
//!
//! Left out: verifying clients by certificate, and any way to turn verification of upstreams off. An
//! upstream with a certificate of its own is trusted by naming its CA.

mod client;
mod server;

pub use client::{TlsError, client_config, read_certificates};
pub use server::acceptor;
