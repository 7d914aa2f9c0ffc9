//! Bundles that were only pushed, whose images are where they always were: relocated, and pulled through one repository,
//! by the whole server on real sockets in front of registries that follow a script.

#![expect(clippy::unwrap_used, reason = "a test that fails panics")]

mod access;
mod bad;
mod beside;
mod counts;
pub(crate) mod parts;
mod pulls;
mod reach;
mod warm;
