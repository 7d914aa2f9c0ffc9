//! What the proxy makes beside bundles: the locations images that clients of imgpkg's kind ask for, an artifact that says what
//! a relocated bundle was made of, and one with the relocation map of a CNAB bundle.
//!
//! All of it follows from the original bundle, the target and which of its images are bundles, down to the byte: two
//! replicas make the same, and what is lost is made again. Small, it is kept in records under its digest, with the
//! original that it belongs to: who may read that one in its repository may read this.

mod locations;
mod provenance;
mod relocation_map;

pub(super) use locations::Kinds;
pub(super) use provenance::{PROVENANCE_TYPE, Provenance};
pub(super) use relocation_map::{RELOCATION_MAP_TYPE, RelocationMapArtifact};

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cache::{Cache, RecordKey};
use crate::oci::{Digest, Manifest, ManifestView, MediaType, Repository};

/// What stands in for a config where there is none (image-spec, "Guidance for an Empty Descriptor").
const EMPTY: (&str, &str) = ("application/vnd.oci.empty.v1+json", "{}");

/// Of how many bundles it is known that they have the same made for them; for others it is made again when it is asked for.
const MAX_ORIGINALS: usize = 256;

/// Something that was made.
#[derive(Clone, Debug)]
pub(super) struct Made {
    /// The bundles it is about, as they stand upstream, the latest last: two may have the same made for them.
    pub(super) originals: Vec<Digest>,
    /// Of a manifest, its media type.
    pub(super) media_type: Option<MediaType>,
    /// The bytes.
    pub(super) bytes: Bytes,
}

#[derive(Serialize, Deserialize)]
struct MadeRecord {
    originals: Vec<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    media_type: Option<String>,
    content: String,
}

impl Made {
    /// Something about a bundle.
    fn new(original: Digest, media_type: Option<MediaType>, bytes: impl Into<Bytes>) -> Self {
        Self { originals: vec![original], media_type, bytes: bytes.into() }
    }

    /// Whether it says nothing of any bundle.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes == EMPTY.1.as_bytes()
    }

    /// What was made under this digest. A disk that cannot say has nothing.
    pub(super) async fn find(cache: &Cache, repository: &Repository, digest: &Digest) -> Option<Self> {
        let record: MadeRecord = cache.get(&key(repository, digest)).await.unwrap_or_default()?;
        let bytes = Bytes::from(STANDARD.decode(record.content).ok()?);
        // Small enough to be checked each time; damage makes it absent, to be made again.
        (Digest::of(&bytes) == *digest).then(|| Self {
            originals: record.originals,
            media_type: record.media_type.as_deref().map(MediaType::from),
            bytes,
        })
    }

    /// The manifest made under this digest, if all that it names is there, too, for all who have it.
    pub(super) async fn whole(cache: &Cache, repository: &Repository, digest: &Digest) -> Option<Manifest> {
        let made = Self::find(cache, repository, digest).await?;
        let originals = made.originals.clone();
        let manifest = made.manifest()?;
        let ManifestView::Image { config, layers } = manifest.view().ok()? else { return None };
        for part in [config].iter().chain(&layers) {
            let part = Self::find(cache, repository, &part.digest).await?;
            if !part.is_empty() && !originals.iter().all(|original| part.originals.contains(original)) {
                return None;
            }
        }
        Some(manifest)
    }

    /// Keeps it. It is read from now on, and made again if a crash loses it.
    pub(super) async fn keep(&self, cache: &Cache, repository: &Repository) -> std::io::Result<Digest> {
        let digest = Digest::of(&self.bytes);
        let known = Self::find(cache, repository, &digest).await;
        let mut originals = known.map(|known| known.originals).unwrap_or_default();
        originals.retain(|known| !self.originals.contains(known));
        originals.extend(&self.originals);
        originals.drain(..originals.len().saturating_sub(MAX_ORIGINALS));
        let record = MadeRecord {
            originals,
            media_type: self.media_type.as_ref().map(ToString::to_string),
            content: STANDARD.encode(&self.bytes),
        };
        cache.put_record_behind(&key(repository, &digest), &record).await?;
        Ok(digest)
    }

    /// It as a manifest, if it is one.
    pub(super) fn manifest(self) -> Option<Manifest> {
        Some(Manifest { digest: Digest::of(&self.bytes), media_type: self.media_type?, bytes: self.bytes })
    }
}

/// Forgets what was made for a bundle that is gone.
pub(super) async fn forget(cache: &Cache, repository: &Repository, bundle: &Digest) -> io::Result<()> {
    for key in cache.list(&RecordKey::new(["made", &repository.to_string()])).await? {
        let Some(mut made) = cache.get::<MadeRecord>(&key).await? else { continue };
        if !made.originals.contains(bundle) {
            continue;
        }
        made.originals.retain(|original| original != bundle);
        if made.originals.is_empty() {
            cache.delete(&key).await?;
        } else {
            cache.put_record(&key, &made).await?;
        }
    }
    relocation_map::forget(cache, repository, bundle).await
}

/// A descriptor, its fields in this order for good.
fn descriptor(media_type: &str, digest: &Digest, size: usize) -> String {
    format!("{{\"mediaType\":{},\"digest\":\"{digest}\",\"size\":{size}}}", Value::from(media_type))
}

fn key(repository: &Repository, digest: &Digest) -> RecordKey {
    RecordKey::new(["made", &repository.to_string(), &digest.to_string()])
}
