//! What the proxy answers for and the upstream does not have, brought there before a manifest that names it.
//!
//! A client asks by HEAD which blobs are there and uploads only the others. Of what was made here, or is granted from an
//! origin, it hears that it is there. A manifest of such parts would then be refused, or worse, taken: so they are uploaded
//! in its stead, as far as this client may have them.

use std::collections::HashSet;

use crate::body::BoxFuture;
use crate::oci::{Digest, Manifest, ManifestView, Reference};
use crate::proxy::by_digest::{ABlob, AManifest, Want};
use crate::proxy::error::ProxyError;
use crate::proxy::origins::MAX_PARTS;
use crate::proxy::sources::Sources;
use crate::proxy::{Proxy, View};
use crate::upstream::{Change, UpstreamError};

/// Indexes in indexes are followed so deep.
const MAX_DEPTH: u32 = 4;

impl Proxy {
    /// Brings the upstream what a manifest names, and only this proxy has.
    pub(super) async fn supply(&self, contents: &Sources, view: &View, manifest: &Manifest) -> Result<(), ProxyError> {
        self.supply_parts(contents, view, manifest, 0).await
    }

    async fn supply_parts(
        &self,
        contents: &Sources,
        view: &View,
        manifest: &Manifest,
        depth: u32,
    ) -> Result<(), ProxyError> {
        // What cannot be read is the upstream's to refuse.
        match manifest.view() {
            Ok(ManifestView::Image { config, layers }) => {
                let mut seen = HashSet::new();
                for part in [config].iter().chain(&layers).filter(|part| seen.insert(part.digest)).take(MAX_PARTS) {
                    if self.is_only_here::<ABlob>(view, &part.digest).await {
                        self.supply_blob(contents, view, &part.digest).await?;
                    }
                }
            }
            Ok(ManifestView::Index { manifests }) if depth < MAX_DEPTH => {
                let mut seen = HashSet::new();
                for child in manifests.iter().filter(|child| seen.insert(child.digest)).take(MAX_PARTS) {
                    if self.is_only_here::<AManifest>(view, &child.digest).await {
                        self.supply_manifest(contents, view, child.digest, depth + 1).await?;
                    }
                }
            }
            Ok(ManifestView::Index { .. } | ManifestView::Other) | Err(_) => {}
        }
        Ok(())
    }

    /// Whether clients hear that it is there without the upstream having said so.
    async fn is_only_here<W: Want>(&self, view: &View, digest: &Digest) -> bool {
        self.part::<W>(view, digest).await.is_some()
            || self.0.origins.bundle_of(&view.repository, digest).await.is_some()
    }

    async fn supply_blob(&self, contents: &Sources, view: &View, digest: &Digest) -> Result<(), ProxyError> {
        let (upstream, name) = (&contents.upstream, &contents.repository.name);
        match upstream.blob_head(name, digest).await {
            Ok(_) => return Ok(()),
            Err(UpstreamError::NotFound) => {}
            Err(error) => return Err(error.into()),
        }
        let blob = match self.by_digest::<ABlob>(contents, view, digest).await {
            Ok(blob) => blob,
            // Not for this client.
            Err(ProxyError::NotFound { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        self.upload(view, digest, blob.body(0..blob.size)).await.map_err(|error| match error {
            // It was not the client's bytes that broke off.
            ProxyError::Upstream(UpstreamError::Aborted) => {
                UpstreamError::Malformed { what: format!("stopped sending {digest}, which a push needs") }.into()
            }
            error => error,
        })?;
        tracing::info!(repository = %contents.repository, %digest, size = blob.size, "brought to the upstream for a push");
        Ok(())
    }

    fn supply_manifest<'a>(
        &'a self,
        contents: &'a Sources,
        view: &'a View,
        digest: Digest,
        depth: u32,
    ) -> BoxFuture<'a, Result<(), ProxyError>> {
        Box::pin(async move {
            let reference = Reference::Digest(digest);
            match contents.upstream.manifest_head(&contents.repository.name, &reference).await {
                Ok(_) => return Ok(()),
                Err(UpstreamError::NotFound) => {}
                Err(error) => return Err(error.into()),
            }
            let manifest = match self.by_digest::<AManifest>(contents, view, &digest).await {
                Ok(served) => served.manifest,
                Err(ProxyError::NotFound { .. }) => return Ok(()),
                Err(error) => return Err(error),
            };
            // Its parts are granted when it is given out, and so only known now.
            self.supply_parts(contents, view, &manifest, depth).await?;
            let (media_type, bytes) = (&manifest.media_type, manifest.bytes.clone());
            self.change(contents, Change::Manifest { reference: &reference, media_type, bytes }).await.map(|_| ())
        })
    }
}
