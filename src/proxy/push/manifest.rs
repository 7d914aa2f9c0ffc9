//! Manifests and tags, put and deleted.

use crate::oci::{Digest, Hasher, Manifest, Reference};
use crate::proxy::by_digest::{AManifest, Part};
use crate::proxy::error::ProxyError;
use crate::proxy::sources::Sources;
use crate::proxy::{Proxy, View};
use crate::upstream::Change;

use super::PushError;

/// A manifest that was put.
#[derive(Clone, Copy, Debug)]
pub struct Put {
    /// What the client sent, and is given under this digest.
    pub digest: Digest,
    /// The manifest that it is listed as a referrer of.
    pub subject: Option<Digest>,
}

impl Proxy {
    /// Puts a manifest under a tag, or its digest.
    ///
    /// A relocated bundle under another tag is its original under another tag, where that is in the repository: what is pulled
    /// by it is what was put.
    ///
    /// # Errors
    /// When it is not what its digest says, or the upstream does not take it.
    pub async fn put_manifest(&self, view: &View, reference: &Reference, sent: Manifest) -> Result<Put, ProxyError> {
        let sent = named(reference, sent)?;
        let contents = self.contents(view).await?;
        let original = self.original_of(&contents, view, &sent.digest).await?;
        let manifest = match (original, reference) {
            (Some(original), Reference::Tag(_)) => original,
            // It is there.
            (Some(_), Reference::Digest(_)) => return Ok(Put { digest: sent.digest, subject: None }),
            (None, _) => {
                self.supply(&contents, view, &sent).await?;
                sent.clone()
            }
        };
        let (media_type, bytes) = (&manifest.media_type, manifest.bytes.clone());
        let changed = self.change(&contents, Change::Manifest { reference, media_type, bytes }).await?;
        self.has_changed(&contents, &manifest, reference, changed.digest).await;
        let subject = self.list_referrer(&contents, &manifest, changed.subject).await?;
        Ok(Put { digest: sent.digest, subject })
    }

    /// Deletes a manifest by its digest, or a tag. By the digest of a relocated bundle, the original: that is what its tag
    /// stands for.
    ///
    /// # Errors
    /// When the upstream does not let it go.
    pub async fn delete_manifest(&self, view: &View, reference: &Reference) -> Result<(), ProxyError> {
        let contents = self.contents(view).await?;
        let reference = match reference {
            Reference::Tag(_) => reference.clone(),
            Reference::Digest(digest) => match self.part::<AManifest>(view, digest).await {
                Some(Part::Relocated(relocation)) => Reference::Digest(relocation.original),
                Some(Part::Made(_)) | None => reference.clone(),
            },
        };
        match &reference {
            Reference::Tag(tag) => {
                self.change(&contents, Change::DeleteManifest { reference: &reference }).await?;
                self.0.tags.changed(&contents.repository, Some(tag)).await;
            }
            Reference::Digest(digest) => {
                // Looked at before it goes: what it refers to is in it.
                let manifest = contents.own.manifest(digest).await;
                self.change(&contents, Change::DeleteManifest { reference: &reference }).await?;
                self.is_gone(&contents, digest).await;
                if let Ok((manifest, _)) = manifest {
                    self.unlist_referrer(&contents, &manifest).await?;
                }
            }
        }
        Ok(())
    }

    /// Deletes a blob.
    ///
    /// # Errors
    /// When the upstream does not let it go.
    pub async fn delete_blob(&self, view: &View, digest: &Digest) -> Result<(), ProxyError> {
        let contents = self.contents(view).await?;
        self.change(&contents, Change::DeleteBlob { digest }).await?;
        self.blob_is_gone(&contents, digest).await;
        Ok(())
    }

    /// Of a relocated bundle, the original, if that is in the repository and this client's to see.
    async fn original_of(
        &self,
        contents: &Sources,
        view: &View,
        digest: &Digest,
    ) -> Result<Option<Manifest>, ProxyError> {
        let Some(Part::Relocated(relocation)) = self.part::<AManifest>(view, digest).await else { return Ok(None) };
        match contents.own.manifest(&relocation.original).await {
            Ok((original, _)) => Ok(Some(original)),
            // It was deleted, or is another repository's: what was sent goes there as what it is.
            Err(ProxyError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The manifest with the digest that it is put by.
fn named(reference: &Reference, sent: Manifest) -> Result<Manifest, PushError> {
    let Reference::Digest(expected) = reference else { return Ok(sent) };
    let mut hasher = Hasher::new(expected.algorithm());
    hasher.update(&sent.bytes);
    let actual = hasher.finish();
    if actual == *expected {
        return Ok(Manifest { digest: actual, ..sent });
    }
    Err(PushError::Digest { expected: Box::new(*expected), actual: Box::new(actual) })
}
