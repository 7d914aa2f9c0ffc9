//! The clients' side: listeners, routes, HTTP.
//!
//! The way of a request: a connection to one of the sockets (`bind`, `inherited`) is accepted while there is room (`listener`),
//! perhaps speaks TLS, and is served as HTTP/1.1 or HTTP/2 by hyper (`connection`) · who is at its other end is a
//! [`Peer`]; who a request is from, a [`Client`], may be what a trusted proxy there says (`forwarded`) · the path
//! becomes a `Route` of checked names, or an error · `access` makes a visitor of the client: an identity of its
//! password or certificate · the [`Directory`] knows the [`Place`] that its names lead to: which repository of which
//! upstream, and how its locks name it · `admission` lets the visitor do there what it wants, or not: by the access
//! rules alone where the proxy knows its clients, by what the upstream says to their own credentials where it does not
//! · the proxy answers in its own words, and `manifest`, `blob`, `names` and `referrers` put that into HTTP, with the conditional
//! and range requests of RFC 9110. `service` is where all of this stands in order.
//!
//! `error` is the one place where errors become responses. `entry` sees every request end: its line and its metrics are
//! written when the *body* has ended, however it ended; `cache_status` tells the client what the same line tells the
//! operator. `activity` knows what runs on a connection, so that one without requests, or with a response that nobody
//! takes (`stall`, `timed_io`), is closed.
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
mod inherited;
mod listener;
mod manifest;
mod names;
mod patience;
mod peer;
mod push;
mod push_request;
mod range;
mod received;
mod referrers;
mod route;
mod service;
mod stall;
mod timed_io;

pub use access::{AccessRules, AccessRuling, Gate, Htpasswd, HtpasswdError, Identity, IdentityError, WithoutRules};
pub use admission::{Access, Mode};
pub use bind::ListenError;
pub use client::{Client, ClientAddress};
pub use connection::ServerLimits;
pub use directory::{Directory, Lead, NoSuchName, Passage, Place, Way};
pub use inherited::{Inherited, InheritedError};
pub use listener::{Drained, Server, ServerParts, Switch};
pub use peer::{Peer, PeerAddress};
