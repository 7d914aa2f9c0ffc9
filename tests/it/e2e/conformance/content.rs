//! What the workflows push: small images and artifacts, different for each seed.

use colocate::oci::Digest;
use serde_json::{Value, json};

use crate::support::pusher::{Outcome, Pusher};
use crate::support::tarball::noise;

/// Media types of OCI's.
pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(super) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(super) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub(super) const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// A blob's content.
pub(super) fn blob(seed: u64, size: usize) -> Vec<u8> {
    noise(seed, size)
}

/// A descriptor of these bytes.
pub(super) fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": Digest::of(bytes), "size": bytes.len()})
}

/// Pushes a config and a layer, and gives a manifest over them with `more` fields, which is still to be pushed.
pub(super) async fn image(at: &Pusher, seed: u64, more: &Value) -> Outcome<Vec<u8>> {
    let config =
        json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}, "seed": seed});
    let (config, layer) = (config.to_string(), blob(seed, 2000));
    at.blob(config.as_bytes()).await?;
    at.blob(&layer).await?;
    let mut manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": descriptor(CONFIG, config.as_bytes()), "layers": [descriptor(LAYER, &layer)],
    });
    add(&mut manifest, more);
    Ok(manifest.to_string().into_bytes())
}

/// Pushes the empty blob that artifacts without a config have, and gives a manifest of an artifact, still to be pushed.
pub(super) async fn artifact(at: &Pusher, more: &Value) -> Outcome<Vec<u8>> {
    at.blob(b"{}").await?;
    let empty = descriptor(EMPTY, b"{}");
    let mut manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": empty, "layers": [empty]});
    add(&mut manifest, more);
    Ok(manifest.to_string().into_bytes())
}

/// An image index, still to be pushed.
pub(super) fn index(manifests: &[Value], more: &Value) -> Vec<u8> {
    let mut index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
    add(&mut index, more);
    index.to_string().into_bytes()
}

fn add(document: &mut Value, more: &Value) {
    for (key, value) in more.as_object().into_iter().flatten() {
        document[key] = value.clone();
    }
}
