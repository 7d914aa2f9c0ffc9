//! A CNAB bundle pulled with the requests of Porter's puller, which believes what the headers say and verifies nothing.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::Value;

/// What it says it takes when it asks what a reference is.
const RESOLVED: &str = "application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, */*";
const ENCODINGS: &str = "zstd, gzip, deflate";
/// What a bundle's manifest may be.
const INDEXES: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];
const MANIFESTS: [&str; 2] =
    ["application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"];

/// What a registry answers.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) length: Option<u64>,
    pub(crate) digest: Option<String>,
    pub(crate) body: Bytes,
}

/// What was pulled.
#[derive(Debug)]
pub(crate) struct Pulled {
    /// Of the index, by the header.
    pub(crate) digest: String,
    pub(crate) index: Bytes,
    pub(crate) config: Bytes,
    /// `bundle.json`.
    pub(crate) file: Bytes,
    /// `relocation-mapping.json`.
    pub(crate) map: String,
}

/// Pulls `host/repository` by a tag or digest. `ask` sends a request: method, path, headers.
///
/// # Errors
/// What the puller would say.
pub(crate) async fn pull(
    ask: impl AsyncFn(&str, &str, &[(&str, &str)]) -> Reply,
    host: &str,
    repository: &str,
    reference: &str,
) -> Result<Pulled, String> {
    let manifest = |reference: &str| format!("/v2/{repository}/manifests/{reference}");
    let resolved = wanted(ask("HEAD", &manifest(reference), &[("accept", RESOLVED)]).await)?;
    if !INDEXES.contains(&resolved.content_type.as_str()) {
        return Err(format!("invalid media type {}", resolved.content_type));
    }
    let digest = resolved.digest.ok_or("no digest")?;
    let size = resolved.length.ok_or("no length")?;
    let index = fetch(&ask, &manifest(&digest), &resolved.content_type, size).await?;
    let document = json(&index)?;
    let children = document["manifests"].as_array().cloned().unwrap_or_default();
    let kind = |child: &Value| child["annotations"]["io.cnab.manifest.type"].as_str().map(str::to_owned);
    let config =
        children.iter().find(|child| kind(child).as_deref() == Some("config")).ok_or("bundle config not found")?;
    let config = fetch_descriptor(&ask, repository, config).await?;
    let file = fetch_descriptor(&ask, repository, &json(&config)?["config"]).await?;
    let bundle = json(&file)?;
    let mut map = BTreeMap::new();
    for child in &children {
        let media_type = child["mediaType"].as_str().unwrap_or_default();
        if !INDEXES.contains(&media_type) && !MANIFESTS.contains(&media_type) {
            return Err(format!("unsupported manifest descriptor with mediatype {media_type}"));
        }
        let image = match kind(child).as_deref() {
            None => return Err("no CNAB descriptor type annotation".to_owned()),
            Some("config") => continue,
            Some("invocation") => bundle.pointer("/invocationImages/0"),
            Some("component") => {
                let name = child["annotations"]["io.cnab.component.name"].as_str().ok_or("component name missing")?;
                bundle["images"].get(name)
            }
            Some(other) => return Err(format!("invalid CNAB descriptor type {other}")),
        };
        let image = image.ok_or("not found in bundle")?["image"].as_str().unwrap_or_default().to_owned();
        map.insert(image, format!("{host}/{repository}@{}", child["digest"].as_str().unwrap_or_default()));
    }
    let map = serde_json::to_string(&map).expect("JSON");
    Ok(Pulled { digest, index, config, file, map })
}

/// What a descriptor is of, from where its media type says.
async fn fetch_descriptor(
    ask: &impl AsyncFn(&str, &str, &[(&str, &str)]) -> Reply,
    repository: &str,
    descriptor: &Value,
) -> Result<Bytes, String> {
    let media_type = descriptor["mediaType"].as_str().ok_or("no media type")?;
    let digest = descriptor["digest"].as_str().ok_or("no digest")?;
    let is_manifest = INDEXES.contains(&media_type) || MANIFESTS.contains(&media_type);
    let place = if is_manifest { "manifests" } else { "blobs" };
    let size = descriptor["size"].as_u64().ok_or("no size")?;
    fetch(ask, &format!("/v2/{repository}/{place}/{digest}"), media_type, size).await
}

async fn fetch(
    ask: &impl AsyncFn(&str, &str, &[(&str, &str)]) -> Reply,
    path: &str,
    media_type: &str,
    size: u64,
) -> Result<Bytes, String> {
    let accept = format!("{media_type}, */*");
    let reply = wanted(ask("GET", path, &[("accept", &accept), ("accept-encoding", ENCODINGS)]).await)?;
    // A size of nothing is believed, whatever comes.
    Ok(if size == 0 { Bytes::new() } else { reply.body })
}

fn wanted(reply: Reply) -> Result<Reply, String> {
    if reply.status == 200 { Ok(reply) } else { Err(format!("unexpected status {}", reply.status)) }
}

fn json(bytes: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}
