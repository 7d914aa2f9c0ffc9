//! CNAB bundles: every byte passes, and what is done on top, by the whole server on real sockets in front of registries that
//! follow a script.

#![expect(clippy::unwrap_used, reason = "a test that fails panics")]

mod access;
mod explained;
mod grants;
mod map;
mod odd;
mod parts;
mod passage;
