//! What is forgotten of a repository when it has changed, so that what was pushed or deleted is seen at once.

use std::collections::HashSet;

use crate::oci::{Digest, Manifest, Reference};
use crate::proxy::Proxy;
use crate::proxy::epoch::Epoch;
use crate::proxy::made;
use crate::proxy::origins::MAX_PARTS;
use crate::proxy::sources::Sources;

impl Proxy {
    /// A tag may stand for something else now.
    pub(super) async fn may_stand_for_another(&self, contents: &Sources, reference: &Reference) {
        let tag = match reference {
            Reference::Tag(tag) => Some(tag),
            Reference::Digest(_) => None,
        };
        self.0.tags.changed(&contents.repository, tag).await;
    }

    /// The upstream has taken a manifest. `before` is when it was asked.
    pub(super) async fn is_there(&self, contents: &Sources, manifest: &Manifest, before: Epoch) {
        let own = &contents.own;
        own.keep_manifest(manifest, before).await;
        self.0.relocator.pushed(&own.repository, &manifest.digest);
        // What the repository itself has needs no grant.
        let parts: HashSet<Digest> = manifest.named().iter().map(|part| part.digest).take(MAX_PARTS).collect();
        for digest in parts.into_iter().chain([manifest.digest]) {
            if let Err(error) = self.0.origins.take_back(&own.repository, &digest).await {
                tracing::warn!(repository = %own.repository, %digest, %error, "a grant could not be taken back");
            }
        }
    }

    /// A manifest was deleted: nothing stands for it any more, and nothing that was made of it, or counts on it, is given.
    pub(super) async fn is_gone(&self, contents: &Sources, digest: &Digest) {
        let repository = &contents.repository;
        self.0.tags.changed(repository, None).await;
        self.is_no_member(contents, digest).await;
        for forgotten in [
            self.0.tags.forget_all(repository, digest).await,
            self.0.relocator.deleted(repository, digest).await,
            made::forget(&self.0.cache, repository, digest).await,
            self.0.cnab.forget(repository, digest).await,
        ] {
            if let Err(error) = forgotten {
                tracing::warn!(%repository, %digest, %error, "what was deleted could not be forgotten");
            }
        }
    }

    /// Something is not in the repository any more, nor was it for those who are asking now.
    pub(in crate::proxy) async fn is_no_member(&self, contents: &Sources, digest: &Digest) {
        let repository = &contents.repository;
        self.0.shared.deletions.next(repository).await;
        if let Err(error) = self.0.cache.remove_member(repository, digest).await {
            tracing::warn!(%repository, %digest, %error, "what was deleted could not be forgotten");
        }
    }
}
