//! What the description in imgpkg's archives says, as an index and the contents that it holds.

use std::collections::HashMap;

use bytes::Bytes;

use super::index::{Listed, read_name};
use crate::imgpkg::{Described, DescribedImage, DescribedIndex, ROOT_BUNDLE_LABEL};
use crate::oci::Digest;
use crate::upstream::UpstreamError;

/// A description, taken apart.
#[derive(Debug, Default)]
pub(super) struct Description {
    /// The images that were asked for, and those that their locks name.
    pub(super) listed: Vec<Listed>,
    /// Manifests and configs, by what they are said to be.
    pub(super) contents: HashMap<Digest, Bytes>,
}

impl Description {
    /// Reads `manifest.json`.
    ///
    /// # Errors
    /// When it is not imgpkg's.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, UpstreamError> {
        let all: Vec<Described> = serde_json::from_slice(bytes)
            .map_err(|error| UpstreamError::malformed(format!("has a manifest.json that is not valid: {error}")))?;
        if all.iter().all(|described| described.image.is_none() && described.image_index.is_none()) {
            return Err(UpstreamError::malformed(
                "has a manifest.json that is not imgpkg's; of what `docker save` wrote, skopeo makes an archive that can be \
                 served: skopeo copy docker-archive:FILE oci-archive:FILE",
            ));
        }
        let mut description = Self::default();
        for described in all {
            if let Some(index) = described.image_index {
                let labelled = index.labels.as_ref().is_some_and(|labels| labels.contains_key(ROOT_BUNDLE_LABEL));
                description.list(&index.digest, &index.media_type, &index.refs, &index.tag, labelled);
                description.take_index(index);
            }
            if let Some(image) = described.image {
                let labelled = image.labels.as_ref().is_some_and(|labels| labels.contains_key(ROOT_BUNDLE_LABEL));
                let manifest = &image.manifest;
                description.list(&manifest.digest, &manifest.media_type, &image.refs, &image.tag, labelled);
                description.take_image(image);
            }
        }
        Ok(description)
    }

    /// Lists an image under each of its names.
    fn list(&mut self, digest: &str, media_type: &str, refs: &[String], tag: &str, labelled: bool) {
        let Ok(digest) = digest.parse::<Digest>() else { return };
        let listed = |name| Listed {
            digest,
            media_type: Some(media_type.into()),
            name,
            tag: tag.parse().ok(),
            is_asked_for: labelled || !tag.is_empty(),
        };
        let names: Vec<_> = refs.iter().filter_map(|text| read_name(text)?.name).collect();
        if names.is_empty() {
            self.listed.push(listed(None));
        }
        self.listed.extend(names.into_iter().map(|name| listed(Some(name))));
    }

    fn take_index(&mut self, index: DescribedIndex) {
        self.take(&index.digest, index.raw);
        for nested in index.indexes.unwrap_or_default() {
            self.take_index(nested);
        }
        for image in index.images.unwrap_or_default() {
            self.take_image(image);
        }
    }

    fn take_image(&mut self, image: DescribedImage) {
        self.take(&image.manifest.digest, image.manifest.raw);
        self.take(&image.config.digest, image.config.raw);
    }

    fn take(&mut self, digest: &str, raw: String) {
        match digest.parse() {
            Ok(digest) => drop(self.contents.insert(digest, raw.into())),
            Err(_) => tracing::warn!("an archive has an image under a digest that cannot be verified; it is left out"),
        }
    }
}
