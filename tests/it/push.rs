//! Pushes and deletes through the proxy, against a registry that can be told how to misbehave.

#![expect(clippy::unwrap_used, reason = "a test that fails panics")]

mod elsewhere;
mod manifests;
mod parts;
mod rights;
mod seen;
