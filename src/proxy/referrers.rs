//! What refers to a manifest (distribution spec, "Listing Referrers"): what the upstream says, by its list or, where it has
//! none, by the tag that stands in for it; and what was made here.

use std::collections::HashSet;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::Proxy;
use super::by_digest::AManifest;
use super::contents::Contents;
use super::error::{ProxyError, Subject};
use super::made::{PROVENANCE_TYPE, RELOCATION_MAP_TYPE};
use super::sources::Sources;
use super::view::View;
use crate::oci::{Digest, Manifest, MediaType, Reference, Tag};
use crate::upstream::{Referrer, UpstreamError};

impl Proxy {
    /// What refers to a manifest, which need not be there; of one artifact type only, if that is said. Nothing is there
    /// twice, and descriptors are as they were written.
    ///
    /// # Errors
    /// When the upstream fails, or a part of it is being made and not done.
    pub async fn referrers(
        &self,
        view: &View,
        digest: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Referrer>, ProxyError> {
        let (contents, reference) = (self.contents(view).await?, Reference::Digest(*digest));
        match self.admit(&contents, view, self.probe_manifest(view, &reference)).await {
            Ok(()) => {}
            // Nothing that this client could read is there, and so nothing that refers to it.
            Err(ProxyError::NotFound { .. }) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        }
        let mut own = match artifact_type {
            None | Some(PROVENANCE_TYPE) => self.own_referrer(&contents, view, digest).await?,
            Some(_) => None,
        };
        if own.is_none() && artifact_type.is_none_or(|wanted| wanted == RELOCATION_MAP_TYPE) {
            own = self.own_map(&contents, view, digest).await;
        }
        let mut all = match contents.upstream.referrers(&view.repository.name, digest, artifact_type).await {
            Ok(Some(listed)) => listed,
            Ok(None) => tagged(&contents, digest).await?,
            Err(error) if error.is_absent() => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        all.extend(own);
        let mut known = HashSet::new();
        // The upstream need not have filtered, and says nothing else of a type than what its descriptors say.
        all.retain(|referrer| {
            artifact_type.is_none_or(|wanted| referrer.artifact_type() == Some(wanted))
                && referrer.digest().is_some_and(|digest| known.insert(digest.to_owned()))
        });
        Ok(all)
    }

    /// What says what a relocated bundle was made of, if that is what this digest is.
    async fn own_referrer(
        &self,
        contents: &Arc<Sources>,
        view: &View,
        digest: &Digest,
    ) -> Result<Option<Referrer>, ProxyError> {
        if view.target.is_none() {
            return Ok(None);
        }
        let mut relocation = self.0.relocator.by_manifest(&view.repository, digest).await?;
        if relocation.is_none() && contents.cached_manifest(digest).await.is_none() {
            // Perhaps another replica made it. If it is nowhere, there is still the upstream to say so.
            drop(self.by_digest::<AManifest>(contents, view, digest).await);
            relocation = self.0.relocator.by_manifest(&view.repository, digest).await?;
        }
        let Some(relocation) = relocation else { return Ok(None) };
        if !self.may_show(contents, view, &relocation.original).await? {
            return Ok(None);
        }
        match self.provenance(contents, &relocation).await {
            Ok(provenance) => Ok(provenance.map(|provenance| Referrer(provenance.descriptor()))),
            Err(error) => {
                tracing::warn!(repository = %view.repository, %digest, %error, "what a bundle was made of cannot be told");
                Ok(None)
            }
        }
    }

    /// What has the relocation map of a CNAB bundle, if that is what this digest is. A list without it is better than none.
    async fn own_map(&self, contents: &Sources, view: &View, digest: &Digest) -> Option<Referrer> {
        let target = view.target.as_ref()?;
        let made = match contents.manifest(digest).await {
            Ok((manifest, _)) => self.relocation_map(contents, target, &manifest).await,
            Err(error) => Err(error),
        };
        match made {
            Ok(map) => map.map(|map| Referrer(map.descriptor())),
            Err(ProxyError::NotFound { .. }) => None,
            Err(error) => {
                tracing::warn!(repository = %view.repository, %digest, %error, "a relocation map cannot be told");
                None
            }
        }
    }
}

/// What the tag lists that stands in for a list of referrers. It is asked for each time: who has just pushed something that
/// refers to a manifest has moved it.
async fn tagged(contents: &Contents, subject: &Digest) -> Result<Vec<Referrer>, ProxyError> {
    let (tag, repository) = (Reference::Tag(Tag::of_referrers(subject)), &contents.repository.name);
    match contents.upstream.manifest(repository, &tag).await {
        Ok(manifest) => Ok(read(&manifest)),
        Err(UpstreamError::NotFound | UpstreamError::NotAManifest { .. }) => Ok(Vec::new()),
        Err(error) => Err(ProxyError::upstream(error, Subject::Manifest, repository)),
    }
}

#[derive(Deserialize)]
struct Index {
    manifests: Option<Vec<Map<String, Value>>>,
}

/// The descriptors of an index; none of what is something else, which may have that tag for reasons of its own.
fn read(manifest: &Manifest) -> Vec<Referrer> {
    if manifest.media_type != MediaType::ImageIndex {
        return Vec::new();
    }
    let index = serde_json::from_slice::<Index>(&manifest.bytes).ok();
    index.and_then(|index| index.manifests).unwrap_or_default().into_iter().map(Referrer).collect()
}
