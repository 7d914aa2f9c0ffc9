//! The artifact that says what a relocated bundle was made of.

use std::io;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{EMPTY, Made, descriptor};
use crate::cache::{Cache, RecordKey};
use crate::imgpkg::ImagesLock;
use crate::oci::{Digest, MediaType, Repository};
use crate::proxy::relocation::Relocation;

/// The type of the artifact, and of its only layer.
pub(in crate::proxy) const PROVENANCE_TYPE: &str = "application/vnd.colocate.provenance.v1+json";
/// The largest statement that is made: some thousand images. It is kept in a record.
const MAX_STATEMENT_BYTES: usize = 1 << 20;

/// What a relocated bundle was made of.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Statement<'a> {
    original: Digest,
    relocated: Digest,
    target: &'a str,
    images: Vec<Image<'a>>,
}

/// One image of the lock.
#[derive(Debug, Serialize)]
struct Image<'a> {
    digest: Digest,
    before: &'a str,
    after: String,
}

/// The artifact, kept.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::proxy) struct Provenance {
    digest: Digest,
    size: usize,
}

impl Provenance {
    /// The artifact of the relocated bundle `relocated`, if it was made and is whole.
    pub(in crate::proxy) async fn recorded(cache: &Cache, repository: &Repository, relocated: &Digest) -> Option<Self> {
        let provenance: Self = cache.get(&key(repository, relocated)).await.unwrap_or_default()?;
        Made::whole(cache, repository, &provenance.digest).await.map(|_| provenance)
    }

    /// Makes the artifact of a relocated bundle, whose original has this lock.
    pub(in crate::proxy) async fn make(
        cache: &Cache,
        repository: &Repository,
        relocation: &Relocation,
        lock: &ImagesLock,
    ) -> io::Result<Option<Self>> {
        let images = lock.images().map(|image| {
            let digest = image.reference.digest;
            let moved = relocation.images.binary_search(&digest).is_ok();
            let after = if moved { format!("{}@{digest}", relocation.target) } else { image.reference.to_string() };
            Image { digest, before: &image.written, after }
        });
        let statement = Statement {
            original: relocation.original,
            relocated: relocation.manifest.digest,
            target: &relocation.target,
            images: images.collect(),
        };
        let made = |media_type: Option<&str>, bytes: Vec<u8>| {
            Made::new(relocation.original, media_type.map(MediaType::from), bytes)
        };
        let statement = made(None, serde_json::to_vec(&statement)?);
        if statement.bytes.len() > MAX_STATEMENT_BYTES {
            return Ok(None);
        }
        let empty = made(None, EMPTY.1.into());
        let subject = descriptor(&relocation.media_type, &relocation.manifest.digest, relocation.manifest.text.len());
        // By hand: the order of fields is in the digest, and no library promises one.
        let manifest = format!(
            "{{\"schemaVersion\":2,\"mediaType\":\"{}\",\"artifactType\":\"{PROVENANCE_TYPE}\",\"config\":{},\
             \"layers\":[{}],\"subject\":{subject}}}",
            MediaType::ImageManifest,
            descriptor(EMPTY.0, &Digest::of(&empty.bytes), empty.bytes.len()),
            descriptor(PROVENANCE_TYPE, &Digest::of(&statement.bytes), statement.bytes.len()),
        );
        let manifest = made(Some(MediaType::ImageManifest.as_ref()), manifest.into_bytes());
        statement.keep(cache, repository).await?;
        empty.keep(cache, repository).await?;
        let size = manifest.bytes.len();
        let provenance = Self { digest: manifest.keep(cache, repository).await?, size };
        cache.put_record_behind(&key(repository, &relocation.manifest.digest), &provenance).await?;
        Ok(Some(provenance))
    }

    /// How a list of referrers names it.
    pub(in crate::proxy) fn descriptor(&self) -> Map<String, Value> {
        let value = json!({
            "mediaType": MediaType::ImageManifest.as_ref(),
            "digest": self.digest,
            "size": self.size,
            "artifactType": PROVENANCE_TYPE,
        });
        value.as_object().cloned().unwrap_or_default()
    }
}

fn key(repository: &Repository, relocated: &Digest) -> RecordKey {
    RecordKey::new(["provenance", &repository.to_string(), &relocated.to_string()])
}
