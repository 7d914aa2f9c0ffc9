//! imgpkg's locations image: a list of the images that were copied beside a bundle.

use std::io::Read;

use flate2::read::MultiGzDecoder;

use crate::imgpkg::{ImageLocations, LOCATIONS_FILE, locations_tag};
use crate::oci::{Digest, ManifestView, Reference};
use crate::proxy::sources::Sources;
use crate::tar::{Scanner, Step};

/// The largest locations layer that is taken in, compressed and not: what a lock of the largest size comes to.
const MAX_LOCATIONS_BYTES: usize = 16 << 20;

/// imgpkg's locations image of a bundle.
#[derive(Debug)]
pub(in crate::proxy) struct Listed {
    /// The image's digest.
    pub(in crate::proxy) manifest: Digest,
    /// What it says.
    pub(in crate::proxy) locations: ImageLocations,
}

impl Listed {
    /// The images that it says are beside the bundle.
    pub(super) fn digests(&self) -> impl Iterator<Item = Digest> {
        self.locations.images().filter_map(|location| location.image.rsplit_once('@')?.1.parse().ok())
    }
}

/// The locations image of the bundle `original`; none if there is no such image, or none that can be read. Then each
/// image is asked for by itself, which is always right.
pub(super) async fn listed(contents: &Sources, original: &Digest) -> Option<Listed> {
    read(contents, original).await.unwrap_or_else(|reason| {
        tracing::debug!(repository = %contents.repository, %original, reason, "no use of a locations image");
        None
    })
}

async fn read(contents: &Sources, original: &Digest) -> Result<Option<Listed>, &'static str> {
    let tag = locations_tag(original).parse().map_err(|_| "the digest makes no tag")?;
    let before = contents.deletions.of(&contents.repository).await;
    let manifest = match contents.upstream.manifest(&contents.repository.name, &Reference::Tag(tag)).await {
        Ok(manifest) => manifest,
        // What imgpkg takes for "none"; its other failures cost it the pull, here they cost some HEADs.
        Err(error) if error.is_absent() || error.is_forbidden() => return Ok(None),
        Err(_) => return Err("the upstream failed to answer for its tag"),
    };
    let Ok(ManifestView::Image { layers, .. }) = manifest.view() else { return Err("it is not an image") };
    let [layer] = layers.as_slice() else { return Err("it has not exactly one layer") };
    let layer =
        contents.small_blob(&layer.digest, MAX_LOCATIONS_BYTES).await.map_err(|_| "its layer could not be read")?;
    let file = tokio::task::spawn_blocking(move || locations_file(&layer)).await.map_err(|_| "reading it failed")?;
    let locations = ImageLocations::parse(&file.ok_or("its layer does not hold the list")?);
    let locations = locations.map_err(|_| "its list does not parse")?;
    // It is what clients of imgpkg's kind ask for next.
    contents.keep_manifest(&manifest, before).await;
    Ok(Some(Listed { manifest: manifest.digest, locations }))
}

/// The list inside a locations layer.
fn locations_file(layer: &[u8]) -> Option<Vec<u8>> {
    let mut tar = Vec::new();
    MultiGzDecoder::new(layer).take(MAX_LOCATIONS_BYTES as u64 + 1).read_to_end(&mut tar).ok()?;
    if tar.len() > MAX_LOCATIONS_BYTES {
        return None;
    }
    let mut scanner = Scanner::new();
    let mut rest = tar.as_slice();
    while !rest.is_empty() {
        let step = scanner.push(rest).ok()?;
        let (Step::Partial(taken) | Step::Block(taken, _) | Step::Data(taken)) = step;
        rest = &rest[taken..];
        if let Step::Block(_, Some(entry)) = step
            && entry.name == LOCATIONS_FILE.as_bytes()
        {
            return rest.get(..usize::try_from(entry.size).ok()?).map(<[u8]>::to_vec);
        }
    }
    None
}
