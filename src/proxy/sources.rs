//! What can be pulled under one repository's name: its own content, and what is granted from elsewhere.
//!
//! Its own goes first where that needs no asking. What is granted (`origins`) is then asked for at the origin, of which it is
//! the content, by the same rule as everywhere; and last the repository itself.

use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;

use super::contents::{Contents, read_all};
use super::error::ProxyError;
use super::origins::{Granted, Origins};
use super::outcome::Outcome;
use super::readers::Probe;
use crate::cache::Reader;
use crate::oci::{Digest, Manifest, Reference, Repository};

/// The sources of one repository, as one client may read them. It stands for the repository's own [`Contents`], except that
/// manifests and blobs are found elsewhere, too.
pub(super) struct Sources {
    /// The repository's own.
    pub(super) own: Arc<Contents>,
    /// Where else its bundles' images may be; nowhere in the exact view.
    pub(super) origins: Option<Origins>,
}

impl Sources {
    /// A repository alone.
    pub(super) fn alone(own: Arc<Contents>) -> Self {
        Self { own, origins: None }
    }

    /// The manifest of `digest`, of this repository or granted.
    pub(super) async fn manifest(&self, digest: &Digest) -> Result<(Manifest, Outcome), ProxyError> {
        if let Some(manifest) = self.cached_manifest(digest).await {
            return Ok((manifest, Outcome::Hit));
        }
        let elsewhere = self.granted_manifest(digest).await;
        if let Ok(Some(granted)) = elsewhere {
            return Ok(granted);
        }
        self.own.manifest(digest).await.map_err(|error| not_elsewhere(error, elsewhere.err()))
    }

    /// The manifest of `digest`, if it is granted from elsewhere.
    pub(super) async fn granted_manifest(&self, digest: &Digest) -> Result<Option<(Manifest, Outcome)>, ProxyError> {
        let probe = Probe::Manifest(Reference::Digest(*digest));
        let ask = |origin: Arc<Contents>, digest| async move { origin.manifest(&digest).await };
        let Some(Found { what, origin, bundle }) = self.ask_origins(digest, probe, ask).await? else { return Ok(None) };
        if let Some(origins) = &self.origins {
            origins.grant_parts(&what.0, &bundle, &origin.repository).await;
        }
        Ok(Some(what))
    }

    /// The blob of `digest`, which may still be arriving, of this repository or granted.
    pub(super) async fn blob(&self, digest: &Digest) -> Result<(Reader, Outcome), ProxyError> {
        self.held_blob(digest).await.map(|(reader, outcome, _)| (reader, outcome))
    }

    /// The same, and which repository has it.
    pub(super) async fn held_blob(&self, digest: &Digest) -> Result<(Reader, Outcome, Repository), ProxyError> {
        let own = || self.repository.clone();
        if let Some(reader) = self.cached_blob(digest).await {
            return Ok((reader, Outcome::Hit, own()));
        }
        let elsewhere = self.granted_blob(digest).await;
        if let Ok(Some(granted)) = elsewhere {
            return Ok(granted);
        }
        let found = self.own.blob(digest).await.map_err(|error| not_elsewhere(error, elsewhere.err()));
        found.map(|(reader, outcome)| (reader, outcome, own()))
    }

    /// The blob of `digest`, if it is granted from elsewhere, and which repository has it.
    pub(super) async fn granted_blob(
        &self,
        digest: &Digest,
    ) -> Result<Option<(Reader, Outcome, Repository)>, ProxyError> {
        let ask = |origin: Arc<Contents>, digest| async move { origin.blob(&digest).await };
        let found = self.ask_origins(digest, Probe::Blob(*digest), ask).await?;
        Ok(found.map(|Found { what: (reader, outcome), origin, .. }| (reader, outcome, origin.repository.clone())))
    }

    /// A blob's length, without fetching it.
    pub(super) async fn blob_head(&self, digest: &Digest) -> Result<(u64, Outcome), ProxyError> {
        if let Some(reader) = self.cached_blob(digest).await {
            return Ok((reader.size(), Outcome::Hit));
        }
        let elsewhere = self.granted_blob_head(digest).await;
        if let Ok(Some(granted)) = elsewhere {
            return Ok(granted);
        }
        self.own.blob_head(digest).await.map_err(|error| not_elsewhere(error, elsewhere.err()))
    }

    /// A blob's length, if it is granted from elsewhere.
    pub(super) async fn granted_blob_head(&self, digest: &Digest) -> Result<Option<(u64, Outcome)>, ProxyError> {
        let ask = |origin: Arc<Contents>, digest| async move { origin.blob_head(&digest).await };
        Ok(self.ask_origins(digest, Probe::Blob(*digest), ask).await?.map(|found| found.what))
    }

    /// What an origin gives that `digest` is granted from; `None` if there is none, or none that has it.
    async fn ask_origins<T, F: Future<Output = Result<T, ProxyError>>>(
        &self,
        digest: &Digest,
        probe: Probe,
        ask: impl Fn(Arc<Contents>, Digest) -> F,
    ) -> Result<Option<Found<T>>, ProxyError> {
        let Some(origins) = &self.origins else { return Ok(None) };
        let Some(Granted { bundle, holders }) = origins.granted(digest, probe).await? else { return Ok(None) };
        let mut trouble = None;
        for origin in holders {
            match ask(Arc::clone(&origin), *digest).await {
                Ok(what) => return Ok(Some(Found { what, origin, bundle })),
                Err(ProxyError::NotFound { .. }) => {}
                Err(error) => {
                    tracing::debug!(repository = %self.repository, origin = %origin.repository, %digest, %error, "an origin fails");
                    trouble = trouble.or(Some(error));
                }
            }
        }
        trouble.map_or(Ok(None), Err)
    }

    /// A whole blob of at most `cap` bytes, verified.
    pub(super) async fn small_blob(&self, digest: &Digest, cap: usize) -> Result<Bytes, ProxyError> {
        let (reader, _) = self.blob(digest).await?;
        read_all(&reader, cap).await
    }
}

impl Deref for Sources {
    type Target = Contents;

    fn deref(&self) -> &Contents {
        &self.own
    }
}

/// Something that an origin gave.
struct Found<T> {
    what: T,
    origin: Arc<Contents>,
    /// By whose lock.
    bundle: Digest,
}

/// That the repository itself does not have it says little while an origin that may have it is in trouble. That one
/// refuses it is told as "not there": whatever is there is none of this repository's readers' business.
pub(super) fn not_elsewhere(error: ProxyError, elsewhere: Option<ProxyError>) -> ProxyError {
    match (error, elsewhere) {
        (ProxyError::NotFound { .. }, Some(trouble))
            if trouble.upstream_error().is_none_or(|error| !error.is_refusal()) =>
        {
            trouble
        }
        (error, _) => error,
    }
}
