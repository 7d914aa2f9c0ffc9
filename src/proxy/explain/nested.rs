//! Bundles within a bundle, followed to the end.

use std::collections::HashSet;
use std::sync::Arc;

use super::account::{ExplainedImage, Nested};
use crate::body::BoxFuture;
use crate::imgpkg::{ImagesLock, LockedImage};
use crate::oci::Digest;
use crate::proxy::relocation::{
    BundleLock, Extent, Found, MAX_NESTING, RelocationKey, RelocationLimits, Sought, Verdict, glance, inspect,
    read_lock, verdict,
};
use crate::proxy::sources::Sources;
use crate::rewrite::Unchanged;

/// How many images are looked into, all in all.
const MAX_LOOKED_INTO: usize = 2000;

/// Follows locks.
pub(super) struct Follower<'a> {
    contents: &'a Arc<Sources>,
    key: &'a RelocationKey,
    limits: &'a RelocationLimits,
    /// What was looked into.
    seen: HashSet<Digest>,
}

impl<'a> Follower<'a> {
    pub(super) fn new(
        contents: &'a Arc<Sources>,
        key: &'a RelocationKey,
        limits: &'a RelocationLimits,
        root: Digest,
    ) -> Self {
        Self { contents, key, limits, seen: HashSet::from([root]) }
    }

    /// The images of a lock, which belongs to a bundle that `holder` has. Each is looked into, which would be the next
    /// `depth`.
    pub(super) fn images<'f>(
        &'f mut self,
        holder: &'f Arc<Sources>,
        lock: &'f ImagesLock,
        verdict: &'f Verdict,
        depth: u32,
    ) -> BoxFuture<'f, Vec<ExplainedImage>> {
        Box::pin(async move {
            let mut images = Vec::new();
            for image in lock.images() {
                let mut explained = explained_image(self.key, image, Some(verdict));
                let holder = match verdict.found(&image.reference.digest) {
                    Some(Found::Repository | Found::Locations) => Some(Arc::clone(holder)),
                    Some(Found::Origin(origin)) => match &self.contents.origins {
                        Some(origins) => origins.open(origin).await.map(|own| Arc::new(Sources::alone(own))),
                        None => None,
                    },
                    _ => None,
                };
                if let Some(holder) = holder {
                    explained.nested = self.nested(&holder, &image.reference.digest, depth).await;
                }
                images.push(explained);
            }
            images
        })
    }

    /// What is inside an image, if it is a bundle.
    async fn nested(&mut self, holder: &Arc<Sources>, digest: &Digest, depth: u32) -> Option<Nested> {
        let not_told = |reason: String| Some(Nested { images: Vec::new(), reason: Some(reason) });
        if self.seen.len() >= MAX_LOOKED_INTO || !self.seen.insert(*digest) {
            return None;
        }
        let (manifest, _) = holder.manifest(digest).await.ok()?;
        glance(&manifest).ok()?;
        let bundle = match inspect(holder, &manifest, self.limits.max_layer_bytes).await {
            Ok(Ok(bundle)) => bundle,
            Ok(Err(reason)) if reason.is_not_a_bundle() => return None,
            Ok(Err(reason)) => return not_told(reason.to_string()),
            Err(cause) => return not_told(cause.to_string()),
        };
        if depth > MAX_NESTING {
            return not_told(format!("bundles are followed {MAX_NESTING} deep"));
        }
        let lock: Result<BundleLock, Unchanged> = match read_lock(holder, &bundle).await {
            Ok(lock) => lock,
            Err(cause) => return not_told(cause.to_string()),
        };
        let lock = match lock {
            Ok(lock) => lock.images,
            Err(reason) => return not_told(reason.to_string()),
        };
        let sought = Sought::of(&lock, self.contents, self.key.from_origin).await;
        let verdict = verdict(self.contents, *digest, sought, self.limits.effort(), Extent::Whole).await;
        if let Some(count) = verdict.too_many() {
            return not_told(format!("{count} are more than relocation.max_images allows"));
        }
        let contents = self.contents;
        Some(Nested { images: self.images(contents, &lock, &verdict, depth + 1).await, reason: None })
    }
}

/// What is known of one image of a lock; nothing, where nobody has looked.
pub(in crate::proxy) fn explained_image(
    key: &RelocationKey,
    image: &LockedImage,
    verdict: Option<&Verdict>,
) -> ExplainedImage {
    let digest = image.reference.digest;
    let (mut origin, mut error, mut elsewhere) = (None, None, Vec::new());
    let found = match verdict.and_then(|verdict| verdict.found(&digest)) {
        Some(Found::Locations) => "locations image",
        Some(Found::Repository) => "repository",
        Some(Found::Origin(repository)) => {
            origin = Some(repository.to_string());
            "origin"
        }
        Some(Found::Missing(places)) => {
            elsewhere = places.iter().map(ToString::to_string).collect();
            "missing"
        }
        Some(Found::Undecided { origin: at, error: cause }) => {
            origin = at.as_ref().map(ToString::to_string);
            error = Some(cause.to_string());
            "undecided"
        }
        None => "undecided",
    };
    let relocated = format!("{}@{digest}", key.target);
    ExplainedImage { image: image.written.clone(), found, origin, error, elsewhere, relocated, nested: None }
}
