//! Upstreams and clients that mean harm, through the whole server on real sockets: whom credentials reach, what a
//! client gets to see that it may not, where requests can be led, and how long anyone can be kept waiting.
//!
//! All that the proxy logs here, at its most talkative, is searched for every password and token that a test made up.

#![expect(clippy::unwrap_used, reason = "a test that fails panics")]

mod credentials;
mod helpers;
mod locks;
mod membership;
mod names;
mod namespaces;
pub(crate) mod parts;
mod passes;
mod realms;
mod redirects;
mod tokens;
