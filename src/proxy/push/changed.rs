//! What is forgotten of a repository when it has changed, so that what was pushed or deleted is seen at once.

use crate::oci::{Digest, Manifest, ManifestView, Reference};
use crate::proxy::Proxy;
use crate::proxy::contents::Contents;
use crate::proxy::sources::Sources;

impl Proxy {
    /// A manifest was put, and the upstream says that it has it under `said`.
    pub(super) async fn has_changed(
        &self,
        contents: &Sources,
        manifest: &Manifest,
        reference: &Reference,
        said: Option<Digest>,
    ) {
        let own: &Contents = &contents.own;
        let tag = match reference {
            Reference::Tag(tag) => Some(tag),
            Reference::Digest(_) => None,
        };
        self.0.tags.changed(&own.repository, tag).await;
        self.0.relocator.pushed(&own.repository, &manifest.digest);
        // One that it has under another digest is not what was sent.
        if said.is_none_or(|said| said.algorithm() != manifest.digest.algorithm() || said == manifest.digest) {
            own.keep_manifest(manifest).await;
            self.take_back(own, manifest).await;
        }
    }

    /// What the repository itself has needs no grant.
    async fn take_back(&self, own: &Contents, manifest: &Manifest) {
        let parts = match manifest.view() {
            Ok(ManifestView::Image { config, layers }) => [config].into_iter().chain(layers).collect(),
            Ok(ManifestView::Index { manifests }) => manifests,
            Ok(ManifestView::Other) | Err(_) => Vec::new(),
        };
        let parts = parts.iter().map(|part| part.digest);
        for digest in [manifest.digest].into_iter().chain(parts) {
            if let Err(error) = self.0.origins.take_back(&own.repository, &digest).await {
                tracing::warn!(repository = %own.repository, %digest, %error, "a grant could not be taken back");
            }
        }
    }

    /// A manifest was deleted: nothing stands for it any more, and nothing that was made of it, or counts on it, is given.
    pub(super) async fn is_gone(&self, contents: &Sources, digest: &Digest) {
        let repository = &contents.repository;
        self.0.tags.changed(repository, None).await;
        let forgotten = async {
            self.0.cache.remove_member(repository, digest).await?;
            self.0.tags.forget_all(repository, digest).await?;
            self.0.relocator.deleted(repository, digest).await
        };
        if let Err(error) = forgotten.await {
            tracing::warn!(%repository, %digest, %error, "what was deleted could not be forgotten");
        }
    }

    /// A blob was deleted.
    pub(super) async fn blob_is_gone(&self, contents: &Sources, digest: &Digest) {
        let repository = &contents.repository;
        if let Err(error) = self.0.cache.remove_member(repository, digest).await {
            tracing::warn!(%repository, %digest, %error, "what was deleted could not be forgotten");
        }
    }
}
