//! What is asked for by its digest, whatever has it.
//!
//! In order of cost: what is in the cache as the repository's own; what was made here; the upstream, or the origin that it is
//! granted from; and last a search, for what another replica made or this one forgot, and then the same again.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::blob::ServedBlob;
use super::error::ProxyError;
use super::made::Made;
use super::outcome::Outcome;
use super::relocation::{Relocation, Relocator};
use super::sources::{Sources, not_elsewhere};
use super::view::View;
use super::{Proxy, ServedManifest};
use crate::oci::{Digest, Reference, Repository};
use crate::upstream::UpstreamError;

/// Something that was made here.
pub(super) enum Part {
    /// Of a relocated bundle, one of three.
    Relocated(Arc<Relocation>),
    /// What lies beside one.
    Made(Made),
}

impl Part {
    /// The bundles that it was made of, at least one, the latest last.
    pub(super) fn originals(&self) -> &[Digest] {
        match self {
            Self::Relocated(relocation) => std::slice::from_ref(&relocation.original),
            Self::Made(made) => &made.originals,
        }
    }
}

/// What is wanted of a digest; of a blob's, where an implementation does not say otherwise.
pub(super) trait Want {
    type Served;
    /// How long a client that is about to push waits for a search.
    const PATIENCE: Duration;

    /// The relocated bundle that has it.
    async fn relocation(
        relocator: &Relocator,
        repository: &Repository,
        digest: &Digest,
    ) -> io::Result<Option<Arc<Relocation>>> {
        relocator.by_part(repository, digest).await
    }
    /// Whether the repository has it, by the upstream's own word.
    async fn confirmed(contents: &Sources, digest: &Digest) -> Result<(), UpstreamError> {
        contents.upstream.blob_head(&contents.repository.name, digest).await.map(|_| ())
    }
    /// It, if that needs no asking.
    async fn cached(contents: &Sources, digest: &Digest) -> Option<Self::Served>;
    /// It as something made here; `None` if that is not of this kind.
    async fn made(contents: &Sources, digest: &Digest, part: Part) -> Result<Option<Self::Served>, ProxyError>;
    /// It from whoever has it.
    async fn original(contents: &Sources, digest: &Digest) -> Result<Self::Served, ProxyError>;
    /// It from an origin.
    async fn granted(contents: &Sources, digest: &Digest) -> Result<Option<Self::Served>, ProxyError>;
}

impl Proxy {
    /// What has this digest.
    pub(super) async fn by_digest<W: Want>(
        &self,
        contents: &Sources,
        view: &View,
        digest: &Digest,
    ) -> Result<W::Served, ProxyError> {
        if view.is_pushing
            && contents.member(digest).await.is_some()
            && let Err(UpstreamError::NotFound) = W::confirmed(contents, digest).await
        {
            // What the registry has lost has to be uploaded again, and it would not be if it were said to be there.
            self.is_no_member(contents, digest).await;
        }
        // Nearly all that is asked for is an original, and which digests were made here is on the disk.
        if let Some(served) = W::cached(contents, digest).await {
            return Ok(served);
        }
        if let Some(served) = self.shown::<W>(contents, view, digest).await? {
            return Ok(served);
        }
        let absent = match W::original(contents, digest).await {
            Err(error @ ProxyError::NotFound { .. }) => error,
            served => return served,
        };
        let undecided = if view.is_pushing {
            // Most probably it is new. Should it be found later, it was uploaded for nothing.
            if !W::PATIENCE.is_zero() {
                let search = self.search(view, digest);
                tokio::select! { _ = search => {}, () = contents.cache.clock().sleep(W::PATIENCE) => {} }
            }
            None
        } else {
            self.search(view, digest).await
        };
        if let Some(served) = self.shown::<W>(contents, view, digest).await? {
            return Ok(served);
        }
        // What was searched for may have been granted.
        match W::granted(contents, digest).await {
            Ok(Some(served)) => Ok(served),
            Ok(None) => Err(undecided.unwrap_or(absent)),
            Err(error) => Err(not_elsewhere(absent, Some(error))),
        }
    }

    /// What was made here under this digest, if this client may be shown it.
    async fn shown<W: Want>(
        &self,
        contents: &Sources,
        view: &View,
        digest: &Digest,
    ) -> Result<Option<W::Served>, ProxyError> {
        let Some(part) = self.part::<W>(view, digest).await else { return Ok(None) };
        let is_public = matches!(&part, Part::Made(made) if made.is_empty());
        if is_public || self.may_show_any(contents, view, part.originals()).await? {
            return W::made(contents, digest, part).await;
        }
        Ok(None)
    }

    /// What was made here under this digest, whoever wants to know. A disk that cannot say has nothing: it is made again.
    pub(super) async fn part<W: Want>(&self, view: &View, digest: &Digest) -> Option<Part> {
        let (relocation, made) =
            tokio::join!(W::relocation(&self.0.relocator, &view.repository, digest), self.made_beside(view, digest));
        relocation.ok().flatten().map(Part::Relocated).or(made.map(Part::Made))
    }

    /// What was made here beside a bundle; nothing in the exact view.
    async fn made_beside(&self, view: &View, digest: &Digest) -> Option<Made> {
        view.target.as_ref()?;
        Made::find(&self.0.cache, &view.repository, digest).await
    }

    /// Whether one of these bundles is for this client, so that what was made of all of them is.
    async fn may_show_any(&self, contents: &Sources, view: &View, originals: &[Digest]) -> Result<bool, ProxyError> {
        let mut trouble = None;
        for original in originals.iter().rev() {
            match self.may_show(contents, view, original).await {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(error) => trouble = Some(error),
            }
        }
        trouble.map_or(Ok(false), Err)
    }

    /// Whether what was made of a bundle is for this client: of the repository's own, for all its readers; of one that is there
    /// by a grant, for those who may read it at its origin, or have it here after all.
    pub(super) async fn may_show(
        &self,
        contents: &Sources,
        view: &View,
        original: &Digest,
    ) -> Result<bool, ProxyError> {
        // Of files that are gone, nothing that was made of them is left.
        if !contents.upstream.is_in_place() && self.0.origins.bundle_of(&view.repository, original).await.is_none() {
            return Ok(true);
        }
        match contents.manifest(original).await {
            Ok(_) => Ok(true),
            Err(ProxyError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// A manifest.
pub(super) struct AManifest;

impl Want for AManifest {
    type Served = ServedManifest;
    // By its digest a relocated bundle is pulled, too, by clients that ask by HEAD first.
    const PATIENCE: Duration = Duration::from_secs(5);

    async fn relocation(
        relocator: &Relocator,
        repository: &Repository,
        digest: &Digest,
    ) -> io::Result<Option<Arc<Relocation>>> {
        relocator.by_manifest(repository, digest).await
    }

    async fn confirmed(contents: &Sources, digest: &Digest) -> Result<(), UpstreamError> {
        contents.upstream.manifest_head(&contents.repository.name, &Reference::Digest(*digest)).await.map(|_| ())
    }

    async fn cached(contents: &Sources, digest: &Digest) -> Option<ServedManifest> {
        contents.cached_manifest(digest).await.map(|manifest| ServedManifest::new(manifest, Outcome::Hit))
    }

    async fn made(_: &Sources, _: &Digest, part: Part) -> Result<Option<ServedManifest>, ProxyError> {
        Ok(match part {
            Part::Relocated(relocation) => Some(ServedManifest::relocated(&relocation, Outcome::Relocated.into())),
            Part::Made(made) => made.manifest().map(|manifest| ServedManifest::new(manifest, Outcome::Relocated)),
        })
    }

    async fn original(contents: &Sources, digest: &Digest) -> Result<ServedManifest, ProxyError> {
        contents.manifest(digest).await.map(|(manifest, outcome)| ServedManifest::new(manifest, outcome))
    }

    async fn granted(contents: &Sources, digest: &Digest) -> Result<Option<ServedManifest>, ProxyError> {
        let granted = contents.granted_manifest(digest).await?;
        Ok(granted.map(|(manifest, outcome)| ServedManifest::new(manifest, outcome)))
    }
}

/// A blob, open.
pub(super) struct ABlob;

impl Want for ABlob {
    type Served = ServedBlob;
    const PATIENCE: Duration = Duration::ZERO;

    async fn cached(contents: &Sources, digest: &Digest) -> Option<ServedBlob> {
        contents.cached_blob(digest).await.map(|reader| ServedBlob::stored(*digest, reader, Outcome::Hit))
    }

    async fn made(contents: &Sources, digest: &Digest, part: Part) -> Result<Option<ServedBlob>, ProxyError> {
        let relocation = match part {
            Part::Made(made) => return Ok(Some(ServedBlob::inline(*digest, made.bytes))),
            Part::Relocated(relocation) => relocation,
        };
        if *digest == relocation.config.digest {
            let bytes = Bytes::copy_from_slice(relocation.config.text.as_bytes());
            return Ok(Some(ServedBlob::inline(*digest, bytes)));
        }
        let (original, fetched) = contents.blob(&relocation.original_layer).await?;
        Ok(Some(ServedBlob::spliced(*digest, original, relocation.recipe.clone(), fetched)))
    }

    async fn original(contents: &Sources, digest: &Digest) -> Result<ServedBlob, ProxyError> {
        contents.blob(digest).await.map(|(reader, outcome)| ServedBlob::stored(*digest, reader, outcome))
    }

    async fn granted(contents: &Sources, digest: &Digest) -> Result<Option<ServedBlob>, ProxyError> {
        let granted = contents.granted_blob(digest).await?;
        Ok(granted.map(|(reader, outcome, _)| ServedBlob::stored(*digest, reader, outcome)))
    }
}

/// A blob's length: what a HEAD asks, and a client that has it already.
pub(super) struct ALength;

impl Want for ALength {
    type Served = ServedBlob;
    const PATIENCE: Duration = Duration::ZERO;

    async fn cached(contents: &Sources, digest: &Digest) -> Option<ServedBlob> {
        let reader = contents.cached_blob(digest).await?;
        Some(ServedBlob::unopened(*digest, reader.size(), Outcome::Hit))
    }

    async fn made(_: &Sources, digest: &Digest, part: Part) -> Result<Option<ServedBlob>, ProxyError> {
        let relocation = match part {
            Part::Made(made) => return Ok(Some(ServedBlob::inline(*digest, made.bytes))),
            Part::Relocated(relocation) => relocation,
        };
        let is_config = *digest == relocation.config.digest;
        let size = if is_config { relocation.config.text.len() as u64 } else { relocation.recipe.size() };
        Ok(Some(ServedBlob::unopened(*digest, size, Outcome::Relocated)))
    }

    async fn original(contents: &Sources, digest: &Digest) -> Result<ServedBlob, ProxyError> {
        contents.blob_head(digest).await.map(|(size, outcome)| ServedBlob::unopened(*digest, size, outcome))
    }

    async fn granted(contents: &Sources, digest: &Digest) -> Result<Option<ServedBlob>, ProxyError> {
        let granted = contents.granted_blob_head(digest).await?;
        Ok(granted.map(|(size, outcome)| ServedBlob::unopened(*digest, size, outcome)))
    }
}
