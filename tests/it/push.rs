//! Pushes and deletes through the proxy, against a registry that can be told how to misbehave.

mod elsewhere;
mod manifests;
mod parts;
mod rights;
mod seen;
