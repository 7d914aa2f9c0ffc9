//! An OCI image layout in a tar (image-spec, `image-layout.md`).
//!
//! The two files that make it one stand first, so that it can be read in one go. There are no entries for directories: the
//! readers there are make those that a file needs.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use serde::Serialize;

use super::plan::{Content, Entry, Refused, Root};
use crate::oci::{Digest, Manifest, ManifestView};
use crate::proxy::tasks::findings::{Findings, Found};

const MARKER: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;
const REFERENCE_NAME: &str = "org.opencontainers.image.ref.name";

/// The files, in order: of one set of findings there is one archive.
pub(super) fn plan(roots: &[Root], findings: &Findings) -> Result<Vec<Entry>, Refused> {
    let index = index(roots, findings)?;
    let mut entries = vec![Entry::document("oci-layout", MARKER), Entry::document("index.json", index)];
    entries.extend(blobs(findings)?.into_values());
    Ok(entries)
}

/// Everything that has a digest, by its name.
fn blobs(findings: &Findings) -> Result<BTreeMap<String, Entry>, Refused> {
    let mut blobs: BTreeMap<String, Entry> = BTreeMap::new();
    // In one order, so that what is wrong is told alike each time.
    let manifests: BTreeMap<_, _> = findings.manifests.iter().collect();
    for Found { manifest, view, puller } in manifests.into_values() {
        let Manifest { bytes, digest, .. } = manifest;
        let content = Content::Bytes(bytes.clone());
        let entry = Entry { name: name(digest), size: bytes.len() as u64, digest: *digest, content };
        // Also where somebody has it for a layer: here it needs no fetching.
        blobs.insert(entry.name.clone(), entry);
        let ManifestView::Image { config, layers } = view else { continue };
        for part in [config].into_iter().chain(layers).filter(|part| !part.is_non_distributable()) {
            let known = blobs.entry(name(&part.digest)).or_insert_with_key(|name| Entry {
                name: name.clone(),
                size: part.size,
                digest: part.digest,
                content: Content::Blob(Arc::clone(puller)),
            });
            if known.size != part.size {
                let (one, other) = (known.size, part.size);
                let problem = format!("has {one} bytes by one manifest, and {other} by {}", manifest.digest);
                return Err(Refused::new(part.digest, problem));
            }
        }
    }
    Ok(blobs)
}

fn name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Index<'a> {
    schema_version: u32,
    media_type: &'static str,
    manifests: Vec<Listed<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed<'a> {
    media_type: &'a str,
    digest: Digest,
    size: u64,
    annotations: BTreeMap<&'static str, String>,
}

/// What was asked for, and what locks name: under each name, each once.
fn index(roots: &[Root], findings: &Findings) -> Result<Vec<u8>, Refused> {
    let asked = roots.iter().map(|Root { name, tag, digest }| match tag {
        Some(tag) => (format!("{name}:{tag}"), *digest),
        None => (format!("{name}@{digest}"), *digest),
    });
    let named = findings.names.iter().flat_map(|(digest, names)| names.iter().map(|name| (name.to_string(), *digest)));
    let (mut seen, mut manifests) = (HashSet::new(), Vec::new());
    for (name, digest) in asked.chain(named) {
        if !seen.insert(name.clone()) {
            continue;
        }
        let Some(Found { manifest, .. }) = findings.manifests.get(&digest) else {
            return Err(Refused::new(digest, "was not found"));
        };
        manifests.push(Listed {
            media_type: manifest.media_type.as_ref(),
            digest,
            size: manifest.bytes.len() as u64,
            annotations: BTreeMap::from([(REFERENCE_NAME, name)]),
        });
    }
    let index = Index { schema_version: 2, media_type: "application/vnd.oci.image.index.v1+json", manifests };
    // Text and numbers always have a JSON form.
    Ok(serde_json::to_vec(&index).unwrap_or_default())
}
