//! What belongs to a bundle and is asked for by other names: the tags that imgpkg makes of digests, and what says what a
//! relocated one was made of.

use std::sync::Arc;

use super::Proxy;
use super::ServedManifest;
use super::by_digest::AManifest;
use super::error::ProxyError;
use super::made::{Kinds, Made, Provenance};
use super::outcome::Outcome;
use super::relocation::{Answer, Colocated, Relocation, RelocationKey};
use super::sources::Sources;
use super::tag::Demand;
use super::undecided::Undecided;
use super::view::View;
use crate::imgpkg::DerivedTag;
use crate::oci::{Digest, Manifest, Tag};

/// A bundle all of whose images can be pulled under its repository's name.
struct Complete {
    original: Manifest,
    colocated: Colocated,
}

impl Proxy {
    /// What a tag gives that imgpkg derives from a digest; `None` if it is a tag like any other.
    pub(super) async fn derived(
        &self,
        contents: &Arc<Sources>,
        view: &View,
        tag: &Tag,
    ) -> Result<Option<ServedManifest>, ProxyError> {
        match DerivedTag::parse(tag) {
            None => Ok(None),
            Some(DerivedTag::Locations(bundle)) => self.locations(contents, view, &bundle).await,
            // It names a digest, and so it gives that, where other tags give what is made of it.
            Some(DerivedTag::Keep(digest)) => match self.original(contents, tag, Demand::Believed).await {
                Ok((manifest, status)) if manifest.digest == digest => {
                    Ok(Some(ServedManifest { manifest, status, original: None }))
                }
                Ok(_) => Ok(None),
                Err(ProxyError::NotFound { .. }) => {
                    self.by_digest::<AManifest>(contents, view, &digest).await.map(Some)
                }
                Err(error) => Err(error),
            },
        }
    }

    /// The locations image of a bundle, original or relocated, if all its images are colocated. Without one, clients ask
    /// for each image, so whatever keeps it from being made is no reason to fail.
    async fn locations(
        &self,
        contents: &Arc<Sources>,
        view: &View,
        bundle: &Digest,
    ) -> Result<Option<ServedManifest>, ProxyError> {
        let made = async {
            let Some(complete) = self.complete(contents, view, bundle).await? else { return Ok(None) };
            self.make_locations(contents, &complete, bundle).await
        };
        let made = tokio::select! {
            made = made => made,
            () = contents.cache.clock().sleep(self.0.relocator.limits().deadline) => Err(Undecided::Deadline.into()),
        };
        match made {
            Ok(made) => Ok(made.map(|manifest| ServedManifest::new(manifest, Outcome::Relocated))),
            Err(cause) => {
                tracing::warn!(repository = %view.repository, %bundle, %cause, "a locations image could not be made");
                Ok(None)
            }
        }
    }

    /// Makes the locations images of a bundle all of whose images are colocated: for the original, and for the relocated one.
    pub(super) async fn make_both_locations(
        &self,
        contents: &Arc<Sources>,
        original: Manifest,
        colocated: &Colocated,
    ) -> Result<(), ProxyError> {
        let (digest, relocated) = (original.digest, colocated.relocation.manifest.digest);
        let complete = Complete { original, colocated: colocated.clone() };
        self.make_locations(contents, &complete, &digest).await?;
        self.make_locations(contents, &complete, &relocated).await.map(|_| ())
    }

    async fn make_locations(
        &self,
        contents: &Arc<Sources>,
        complete: &Complete,
        bundle: &Digest,
    ) -> Result<Option<Manifest>, ProxyError> {
        let (cache, repository, original) = (&contents.cache, &contents.repository, complete.original.digest);
        let relocation = &complete.colocated.relocation;
        let mut kinds = match Kinds::recorded(cache, repository, &original).await {
            Some(kinds) => kinds,
            None => {
                let kinds = Kinds::found(contents, &relocation.images, self.0.relocator.limits().concurrency).await?;
                kinds.record(cache, repository, &original).await?;
                kinds
            }
        };
        if *bundle != original {
            let named = relocation.images.iter().map(|image| (format!("{}@{image}", relocation.target), *image));
            return Ok(Some(kinds.make_for_relocated(cache, repository, original, named).await?));
        }
        if let Some(own) = kinds.own
            && let Ok((manifest, _)) = contents.own.manifest(&own).await
        {
            return Ok(Some(manifest));
        }
        if let Some(made) = kinds.made
            && let Some(manifest) = Made::whole(cache, repository, &made).await
        {
            return Ok(Some(manifest));
        }
        let Ok(lock) = self.0.relocator.lock_of(contents, &complete.original).await? else { return Ok(None) };
        let manifest = kinds.make_for_original(cache, repository, original, &lock).await?;
        kinds.made = Some(manifest.digest);
        kinds.record(cache, repository, &original).await?;
        Ok(Some(manifest))
    }

    /// A bundle by its own digest or by that of what it is relocated to for this view, if all its images are colocated.
    async fn complete(
        &self,
        contents: &Arc<Sources>,
        view: &View,
        bundle: &Digest,
    ) -> Result<Option<Complete>, ProxyError> {
        let (relocator, repository) = (&self.0.relocator, &view.repository);
        let mut relocation = relocator.by_manifest(repository, bundle).await?;
        if relocation.is_none()
            && let Err(ProxyError::NotFound { .. }) = contents.manifest(bundle).await
        {
            // Perhaps another replica made it, or it is named by another bundle's lock.
            self.search(view, bundle).await;
            relocation = relocator.by_manifest(repository, bundle).await?;
            if relocation.is_none()
                && let Err(ProxyError::NotFound { .. }) = contents.manifest(bundle).await
            {
                return Ok(None);
            }
        }
        let original = relocation.map_or(*bundle, |relocation| relocation.original);
        let Some(key) = RelocationKey::new(view, original) else { return Ok(None) };
        let (manifest, _) = contents.manifest(&original).await?;
        match relocator.answer(contents, &key, &manifest).await {
            Ok(Answer::Relocated(colocated)) => {
                let relocation = &colocated.relocation;
                let is_this = *bundle == original || *bundle == relocation.manifest.digest;
                // Records of earlier versions do not say what their locks name.
                let complete = relocation.complete && is_this && !relocation.target.is_empty();
                Ok(complete.then_some(Complete { original: manifest, colocated }))
            }
            Ok(Answer::Original(_)) => Ok(None),
            Err(cause) => Err(cause.into()),
        }
    }

    /// What a relocated bundle was made of; `None` if that cannot be said, or is too long.
    pub(super) async fn provenance(
        &self,
        contents: &Arc<Sources>,
        relocation: &Relocation,
    ) -> Result<Option<Provenance>, ProxyError> {
        let (cache, repository) = (&contents.cache, &contents.repository);
        if let Some(provenance) = Provenance::recorded(cache, repository, &relocation.manifest.digest).await {
            return Ok(Some(provenance));
        }
        if relocation.target.is_empty() {
            return Ok(None);
        }
        let (original, _) = contents.manifest(&relocation.original).await?;
        let Ok(lock) = self.0.relocator.lock_of(contents, &original).await? else { return Ok(None) };
        Ok(Provenance::make(cache, repository, relocation, &lock).await?)
    }
}
