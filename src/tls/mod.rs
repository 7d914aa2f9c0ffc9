//! TLS for both sides: how upstreams are trusted, and (with the listeners) how clients are served.
//!
//! One provider, aws-lc-rs, named explicitly everywhere: with a process-wide default, a test or a library
//! that installs another one would decide what this program speaks.
//!
//! Clients are served from files (`files`) that are looked at while it goes on (`server`), and are told apart by
//! the names in their certificates (`names`) where an operator asks for these. Verification of an upstream can be turned
//! off ([`Verification::Nothing`]); an upstream with a certificate of its own is better trusted by naming its CA.
//!
//! Left out: revocation, which a CA of one's own does by short lives.

mod client;
mod files;
mod names;
mod server;

pub use client::{ClientIdentity, TlsError, Verification, client_config, read_certificates};
pub use files::{ClientFiles, ServerTlsError, TlsFiles};
pub use names::{CertificateName, CertificateNames, ClientCertificateError, client_names};
pub use server::{Reload, ServerTls};
