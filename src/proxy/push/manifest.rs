//! Manifests and tags, put and deleted.
//!
//! Whatever becomes of the client, a change is followed to its end: what the upstream did without anybody to hear of it would
//! else be remembered as if it had not. And only where the upstream said no is nothing forgotten.

use std::future::Future;
use std::io;

use super::PushError;
use crate::oci::{Digest, Hasher, Manifest, Reference};
use crate::proxy::by_digest::{AManifest, Part};
use crate::proxy::error::ProxyError;
use crate::proxy::sources::Sources;
use crate::proxy::{Proxy, View};
use crate::telemetry::carry;
use crate::upstream::{Change, UpstreamError};

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
    /// A relocated bundle for this client's target is put as its original, where that is in the repository: what is then
    /// pulled is what was put.
    ///
    /// # Errors
    /// When it is not what its digest says, or the upstream does not take it.
    pub async fn put_manifest(&self, view: &View, reference: &Reference, sent: Manifest) -> Result<Put, ProxyError> {
        let sent = named(reference, sent)?;
        let (this, view, reference) = (self.clone(), view.clone(), reference.clone());
        to_its_end(async move { this.put(&view, reference, sent).await }).await
    }

    async fn put(&self, view: &View, reference: Reference, sent: Manifest) -> Result<Put, ProxyError> {
        let contents = self.contents(view).await?;
        let before = contents.deletions.of(&contents.repository).await;
        let digest = sent.digest;
        let (manifest, reference) = match (self.original_of(&contents, view, &digest).await?, reference) {
            (Some(original), tag @ Reference::Tag(_)) => (original, tag),
            (Some(original), Reference::Digest(_)) => {
                let by_digest = Reference::Digest(original.digest);
                (original, by_digest)
            }
            (None, reference) => {
                self.supply(&contents, view, &sent).await?;
                (sent, reference)
            }
        };
        let (media_type, bytes) = (&manifest.media_type, manifest.bytes.clone());
        let changed = self.change(&contents, Change::Manifest { reference: &reference, media_type, bytes }).await;
        if may_have_happened(&changed) {
            self.may_stand_for_another(&contents, &reference).await;
        }
        let changed = changed?;
        if let Some(actual) = changed.digest.filter(|said| is_another(said, &manifest.digest)) {
            let expected = Box::new(manifest.digest);
            return Err(UpstreamError::DigestMismatch { expected, actual: Box::new(actual) }.into());
        }
        self.is_there(&contents, &manifest, before).await;
        if let Some(reader) = &view.reader {
            self.0.readers.forget(reader, &contents.repository).await;
        }
        let subject = self.list_referrer(&contents, &manifest, changed.subject).await?;
        Ok(Put { digest, subject })
    }

    /// Deletes a manifest by its digest, or a tag. By the digest of a relocated bundle, the original: that is what its tag
    /// stands for.
    ///
    /// # Errors
    /// When the upstream does not let it go.
    pub async fn delete_manifest(&self, view: &View, reference: &Reference) -> Result<(), ProxyError> {
        let (this, view, reference) = (self.clone(), view.clone(), reference.clone());
        to_its_end(async move { this.delete(&view, reference).await }).await
    }

    async fn delete(&self, view: &View, reference: Reference) -> Result<(), ProxyError> {
        let contents = self.contents(view).await?;
        let reference = match reference {
            Reference::Tag(_) => reference,
            Reference::Digest(digest) => match self.part::<AManifest>(view, &digest).await {
                Some(Part::Relocated(relocation)) => Reference::Digest(relocation.original),
                Some(Part::Made(_)) | None => reference,
            },
        };
        // Looked at before it goes: what it refers to is in it.
        let manifest = match &reference {
            Reference::Tag(_) => None,
            Reference::Digest(digest) => contents.own.manifest(digest).await.ok(),
        };
        let changed = self.change(&contents, Change::DeleteManifest { reference: &reference }).await;
        if may_have_happened(&changed) {
            match &reference {
                Reference::Tag(_) => self.may_stand_for_another(&contents, &reference).await,
                Reference::Digest(digest) => self.is_gone(&contents, digest).await,
            }
        }
        changed?;
        if let Some((manifest, _)) = manifest {
            self.unlist_referrer(&contents, &manifest).await;
        }
        Ok(())
    }

    /// Deletes a blob.
    ///
    /// # Errors
    /// When the upstream does not let it go.
    pub async fn delete_blob(&self, view: &View, digest: &Digest) -> Result<(), ProxyError> {
        let (this, view, digest) = (self.clone(), view.clone(), *digest);
        to_its_end(async move {
            let contents = this.contents(&view).await?;
            let changed = this.change(&contents, Change::DeleteBlob { digest: &digest }).await;
            if may_have_happened(&changed) {
                this.is_no_member(&contents, &digest).await;
            }
            changed.map(|_| ())
        })
        .await
    }

    /// Of a relocated bundle for this view's target, the original, if that is in the repository.
    async fn original_of(
        &self,
        contents: &Sources,
        view: &View,
        digest: &Digest,
    ) -> Result<Option<Manifest>, ProxyError> {
        let Some(Part::Relocated(relocation)) = self.part::<AManifest>(view, digest).await else { return Ok(None) };
        if view.target.as_ref().is_none_or(|target| target.to_string() != relocation.target) {
            return Ok(None);
        }
        match contents.own.manifest(&relocation.original).await {
            Ok((original, _)) => Ok(Some(original)),
            // It was deleted, or is another repository's: what was sent goes there as what it is.
            Err(ProxyError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Goes on when nobody waits for it any more.
async fn to_its_end<T, F>(work: F) -> Result<T, ProxyError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, ProxyError>> + Send + 'static,
{
    tokio::spawn(carry(work)).await.map_err(io::Error::other)?
}

/// Whether the upstream may have done what it was asked for, or has it so already: unless it said no, or was not asked.
fn may_have_happened<T>(changed: &Result<T, ProxyError>) -> bool {
    let Err(error) = changed else { return true };
    match error.upstream_error() {
        Some(UpstreamError::Refused { status, .. }) => *status == http::StatusCode::NOT_FOUND,
        Some(error) => !error.is_forbidden() && !error.is_held_back(),
        None => false,
    }
}

/// Whether these are digests of different bytes, as far as that can be seen.
fn is_another(said: &Digest, own: &Digest) -> bool {
    said.algorithm() == own.algorithm() && said != own
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
