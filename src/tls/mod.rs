//! TLS for both sides: how upstreams are trusted, and (with the listeners) how clients are served.
//!
//! One provider, aws-lc-rs, named explicitly everywhere: with a process-wide default, a test or a library
//! that installs another one would decide what this program speaks.
//!
//! Verification of an upstream can be turned off ([`Verification::Nothing`]); an upstream with a certificate of its own
//! is better trusted by naming its CA.
//!
//! Left out: verifying clients by certificate.

mod client;
mod server;

pub use client::{ClientIdentity, TlsError, Verification, client_config, read_certificates};
pub use server::acceptor;
