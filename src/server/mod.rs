//! The clients' side: listeners, routes, HTTP.
//!
//! A connection to one of the sockets (`bind`) is accepted while there is room (`listener`), perhaps speaks TLS, and
//! is served as HTTP/1.1 or HTTP/2 by hyper (`connection`). Who is at its other end is a [`Peer`]; who a request is
//! from, a [`Client`], may be what a trusted proxy there says (`forwarded`). A request's path becomes a `Route` of checked names or an error; its host and
//! the rules choose the [`View`](crate::proxy::View) ([`Views`]); the proxy answers in its own words; and
//! `manifest`, `blob` and `tags` put that into HTTP with the conditional and range requests of RFC 9110.
//! `error` is the one place where errors become responses, `access` the one that sees every request end:
//! its line and its metrics are written when the *body* has ended, however it ended. `cache_status` tells the client
//! what the same line tells the operator. `activity` knows what runs on a
//! connection, so that one without requests, or with a response that nobody takes (`stall`), is closed.
//!
//! What is left out: anything about registries behind, the cache or bundles. Nothing here buffers a body.

mod access;
mod activity;
mod admission;
mod bind;
mod blob;
mod cache_status;
mod client;
mod conditional;
mod connection;
mod directory;
mod entry;
mod error;
mod forwarded;
mod host;
mod listener;
mod manifest;
mod peer;
mod range;
mod route;
mod service;
mod stall;
mod tags;
mod timed_io;

pub use access::{
    AccessRules, Basic, Credential, Fingerprint, Gate, Htpasswd, HtpasswdError, Identity, LineFault, LineProblem,
    MalformedCredential, Password, Refusal, Verified, WithoutRules,
};
pub use admission::{Access, Mode};
pub use bind::ListenError;
pub use client::{Client, ClientAddress};
pub use directory::{Directory, NoSuchName, Passage, Place};
pub use listener::{Drained, Server, ServerLimits, ServerParts};
pub use peer::{Peer, PeerAddress};
