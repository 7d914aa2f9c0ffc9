//! A registry that takes pushes, and a proxy that forwards them.

use colocate::oci::Digest;

use crate::hostile::parts::{Answer, World};
use crate::support::scripted::ScriptedUpstream;

/// Where is pushed.
pub(super) const REPOSITORY: &str = "acme/app";

/// Anybody may do anything.
pub(super) const ANYBODY: &str = "access: {rules: [{identity: '**', allow: [pull, push, delete]}]}";

/// The configuration of a proxy that forwards to `registry`; `rest` is more of it.
pub(super) fn forwarding(registry: &ScriptedUpstream, rest: &str) -> String {
    format!("upstream: {{registry: registry.example, url: '{}', writes: forward}}\n{rest}\n", registry.url())
}

/// A proxy through which anybody may push to `registry`.
pub(super) async fn open(registry: &ScriptedUpstream) -> World {
    World::new(&forwarding(registry, ANYBODY)).await
}

pub(super) fn under(rest: &str) -> String {
    format!("/v2/{REPOSITORY}/{rest}")
}

pub(super) fn blob(digest: &Digest) -> String {
    under(&format!("blobs/{digest}"))
}

pub(super) fn manifest(reference: impl std::fmt::Display) -> String {
    under(&format!("manifests/{reference}"))
}

/// Begins an upload; gives where it goes on.
pub(super) async fn begin(world: &World, headers: &[(&str, &str)]) -> String {
    let answer = world.ask("POST", &under("blobs/uploads/"), headers).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    answer.header("location").unwrap().to_owned()
}

/// Ends an upload with these bytes.
pub(super) async fn finish(world: &World, at: &str, bytes: &[u8], headers: &[(&str, &str)]) -> Answer {
    world.send("PUT", &format!("{at}?digest={}", Digest::of(bytes)), headers, bytes).await
}

/// Pushes a blob.
pub(super) async fn push_blob(world: &World, bytes: &[u8]) -> Digest {
    let at = begin(world, &[]).await;
    let answer = finish(world, &at, bytes, &[]).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    Digest::of(bytes)
}

/// Pushes a manifest of the image kind.
pub(super) async fn put_manifest(world: &World, reference: impl std::fmt::Display, bytes: &[u8]) -> Answer {
    let headers = [("content-type", "application/vnd.oci.image.manifest.v1+json")];
    world.send("PUT", &manifest(reference), &headers, bytes).await
}
