//! The artifact that has the relocation map of a CNAB bundle, for whoever pulls it from one target.

use std::io;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{EMPTY, Made, descriptor};
use crate::cache::{Cache, RecordKey};
use crate::cnab::RelocationMap;
use crate::imgpkg::Target;
use crate::oci::{Digest, Manifest, MediaType, Repository};
use crate::proxy::sources::Sources;

/// The type of the artifact.
pub(in crate::proxy) const RELOCATION_MAP_TYPE: &str = "application/vnd.colocate.relocation-map.v1+json";
/// The type of its only layer. CNAB has none for the file, and what clients make it for is to be read as it is.
const LAYER_TYPE: &str = "application/json";
/// The layer's name, by which general clients write it to a file: Porter's own.
const FILE_NAME: &str = "relocation-mapping.json";

/// The artifact.
#[derive(Clone, Debug)]
pub(in crate::proxy) struct RelocationMapArtifact {
    manifest: Bytes,
    /// `relocation-mapping.json`; nothing of one that was kept before.
    layer: Bytes,
}

/// What is written down of it.
#[derive(Serialize, Deserialize)]
struct Kept {
    digest: Digest,
}

impl RelocationMapArtifact {
    /// The artifact of the bundle whose index is `index`.
    pub(in crate::proxy) fn of(index: &Manifest, map: &RelocationMap<'_>) -> Self {
        let layer = Bytes::from(map.to_json());
        // By hand: the order of fields is in the digest, and no library promises one.
        let manifest = format!(
            "{{\"schemaVersion\":2,\"mediaType\":\"{}\",\"artifactType\":\"{RELOCATION_MAP_TYPE}\",\"config\":{},\
             \"layers\":[{{\"mediaType\":\"{LAYER_TYPE}\",\"digest\":\"{}\",\"size\":{},\
             \"annotations\":{{\"org.opencontainers.image.title\":\"{FILE_NAME}\"}}}}],\"subject\":{}}}",
            MediaType::ImageManifest,
            descriptor(EMPTY.0, &Digest::of(EMPTY.1.as_bytes()), EMPTY.1.len()),
            Digest::of(&layer),
            layer.len(),
            descriptor(index.media_type.as_ref(), &index.digest, index.bytes.len()),
        );
        Self { manifest: Bytes::from(manifest), layer }
    }

    /// The artifact of this index for this target, if it was made and is whole.
    pub(in crate::proxy) async fn recorded(contents: &Sources, index: &Digest, target: &Target) -> Option<Self> {
        let kept: Kept = contents.cache.get(&key(contents, index, target)).await.unwrap_or_default()?;
        let manifest = Made::whole(&contents.cache, &contents.repository, &kept.digest).await?;
        Some(Self { manifest: manifest.bytes, layer: Bytes::new() })
    }

    /// For how many other targets there is one.
    pub(in crate::proxy) async fn others(contents: &Sources, index: &Digest, target: &Target) -> io::Result<usize> {
        let (all, own) = (RecordKey::new(siblings(&contents.repository, index)), key(contents, index, target));
        Ok(contents.cache.list(&all).await?.into_iter().filter(|other| *other != own).count())
    }

    /// Keeps it, with all that it names.
    pub(in crate::proxy) async fn keep(&self, contents: &Sources, index: &Digest, target: &Target) -> io::Result<()> {
        let (cache, repository) = (&contents.cache, &contents.repository);
        let made = |media_type: Option<MediaType>, bytes: Bytes| Made::new(*index, media_type, bytes);
        made(None, self.layer.clone()).keep(cache, repository).await?;
        made(None, Bytes::from_static(EMPTY.1.as_bytes())).keep(cache, repository).await?;
        let manifest = made(Some(MediaType::ImageManifest), self.manifest.clone());
        let digest = manifest.keep(cache, repository).await?;
        // In the store at once: they are counted there.
        cache.put_record(&key(contents, index, target), &Kept { digest }).await
    }

    /// The manifest's digest.
    pub(in crate::proxy) fn digest(&self) -> Digest {
        Digest::of(&self.manifest)
    }

    /// How a list of referrers names it.
    pub(in crate::proxy) fn descriptor(&self) -> Map<String, Value> {
        let value = json!({
            "mediaType": MediaType::ImageManifest.as_ref(),
            "digest": self.digest(),
            "size": self.manifest.len(),
            "artifactType": RELOCATION_MAP_TYPE,
        });
        value.as_object().cloned().unwrap_or_default()
    }
}

/// Forgets that there are any of an index that is gone.
pub(super) async fn forget(cache: &Cache, repository: &Repository, index: &Digest) -> io::Result<()> {
    for key in cache.list(&RecordKey::new(siblings(repository, index))).await? {
        cache.delete(&key).await?;
    }
    Ok(())
}

fn siblings(repository: &Repository, index: &Digest) -> [String; 3] {
    ["relocation-maps".to_owned(), repository.to_string(), index.to_string()]
}

fn key(contents: &Sources, index: &Digest, target: &Target) -> RecordKey {
    RecordKey::new(siblings(&contents.repository, index).into_iter().chain([target.to_string()]))
}
