//! Colocate: a reverse proxy in front of OCI registries that serves imgpkg bundles with rewritten image
//! locations. See the README for the life of a request and the order of the rooms.

pub mod oci;
