//! Locations images, and which images of a lock are bundles.

use std::io;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::Made;
use crate::cache::{Cache, RecordKey};
use crate::imgpkg::{ImageLocation, ImageLocations, ImagesLock, LocationsImage};
use crate::oci::{Digest, Manifest, MediaType, Repository};
use crate::proxy::error::ProxyError;
use crate::proxy::relocation::{Listed, inspect};
use crate::proxy::sources::Sources;
use crate::proxy::undecided::Undecided;
use crate::telemetry::carry;

/// What is known of a bundle's images, apart from where they are.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::proxy) struct Kinds {
    /// Those that are bundles.
    bundles: Vec<Digest>,
    /// The upstream's own locations image, if that says the same as one that would be made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::proxy) own: Option<Digest>,
    /// The one that was made for the original.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::proxy) made: Option<Digest>,
}

impl Kinds {
    /// What the upstream's own list says, if it names exactly the images of the lock, as the lock does.
    pub(in crate::proxy) fn listed(listed: &Listed, lock: &ImagesLock) -> Option<Self> {
        let expected = list(lock, |_| false);
        let found = ImageLocations::new(listed.locations.images().cloned());
        let images = |list: &ImageLocations| list.images().map(|location| location.image.clone()).collect::<Vec<_>>();
        if images(&expected) != images(&found) {
            return None;
        }
        let bundles = found.images().filter(|location| location.is_bundle);
        let bundles = bundles.filter_map(|location| location.image.rsplit_once('@')?.1.parse().ok()).collect();
        Some(Self { bundles, own: Some(listed.manifest), made: None })
    }

    /// What the images themselves say.
    pub(in crate::proxy) async fn found(
        contents: &Arc<Sources>,
        images: &[Digest],
        concurrency: usize,
    ) -> Result<Self, ProxyError> {
        let (mut waiting, mut looking) = (images.iter().copied(), JoinSet::new());
        let mut bundles = Vec::new();
        loop {
            while looking.len() < concurrency.max(1)
                && let Some(image) = waiting.next()
            {
                let contents = Arc::clone(contents);
                looking.spawn(carry(async move { is_bundle(&contents, &image).await.map(|is| is.then_some(image)) }));
            }
            let Some(looked) = looking.join_next().await else { break };
            let looked = looked.map_err(|_| Undecided::Internal("looking into an image crashed".to_owned()))?;
            bundles.extend(looked?);
        }
        bundles.sort_unstable();
        Ok(Self { bundles, own: None, made: None })
    }

    /// Whether an image is a bundle.
    pub(in crate::proxy) fn is_bundle(&self, image: &Digest) -> bool {
        self.bundles.contains(image)
    }

    /// What was written down of the bundle `original`.
    pub(in crate::proxy) async fn recorded(cache: &Cache, repository: &Repository, original: &Digest) -> Option<Self> {
        cache.get(&key(repository, original)).await.unwrap_or_default()
    }

    /// Writes it down.
    pub(in crate::proxy) async fn record(
        &self,
        cache: &Cache,
        repository: &Repository,
        original: &Digest,
    ) -> io::Result<()> {
        cache.put_record_behind(&key(repository, original), self).await
    }

    /// The locations image for the original, whose lock this is.
    pub(in crate::proxy) async fn make_for_original(
        &self,
        cache: &Cache,
        repository: &Repository,
        original: Digest,
        lock: &ImagesLock,
    ) -> io::Result<Manifest> {
        make(cache, repository, original, &list(lock, |digest| self.is_bundle(digest))).await
    }

    /// The locations image for a relocated one, in whose lock every image has one of these names.
    pub(in crate::proxy) async fn make_for_relocated(
        &self,
        cache: &Cache,
        repository: &Repository,
        original: Digest,
        images: impl Iterator<Item = (String, Digest)>,
    ) -> io::Result<Manifest> {
        let located = images.map(|(image, digest)| ImageLocation { image, is_bundle: self.is_bundle(&digest) });
        make(cache, repository, original, &ImageLocations::new(located)).await
    }
}

/// A lock's images, as imgpkg names them in a list.
fn list(lock: &ImagesLock, is_bundle: impl Fn(&Digest) -> bool) -> ImageLocations {
    ImageLocations::new(lock.images().map(|image| ImageLocation {
        image: image.reference.to_string(),
        is_bundle: is_bundle(&image.reference.digest),
    }))
}

async fn make(
    cache: &Cache,
    repository: &Repository,
    original: Digest,
    locations: &ImageLocations,
) -> io::Result<Manifest> {
    let LocationsImage { manifest, config, layer } = LocationsImage::of(locations);
    for part in [config, layer] {
        Made::new(original, None, part).keep(cache, repository).await?;
    }
    let media_type = MediaType::from(LocationsImage::MEDIA_TYPE);
    let made = Made::new(original, Some(media_type.clone()), manifest);
    let digest = made.keep(cache, repository).await?;
    Ok(Manifest { bytes: made.bytes, digest, media_type })
}

/// Whether an image is a bundle. One whose parts are not there is none that anybody could pull.
async fn is_bundle(contents: &Sources, image: &Digest) -> Result<bool, ProxyError> {
    let (manifest, _) = contents.manifest(image).await?;
    Ok(match inspect(contents, &manifest, u64::MAX).await? {
        Ok(_) => true,
        Err(reason) => !reason.is_not_a_bundle(),
    })
}

fn key(repository: &Repository, original: &Digest) -> RecordKey {
    RecordKey::new(["kinds", &repository.to_string(), &original.to_string()])
}
