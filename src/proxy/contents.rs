//! Originals: manifests and blobs by digest, from the cache if this repository may have them, else from upstream.
//!
//! Content is stored once for all repositories, so having it is no right to show it: a digest is served under a
//! repository only when that repository's upstream gave it, or confirmed it.

use std::error::Error;
use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::epoch::{Epoch, Epochs};
use super::error::{ProxyError, Subject};
use super::outcome::Outcome;
use super::reader::ReaderKey;
use super::view::Payer;
use crate::body::{self, BoxFuture, CollectError, find_source};
use crate::cache::{
    Cache, Content, FillError, Lookup, MAX_READ_BYTES, Member, ReadAt, ReadError, Reader, Source, SourceBody,
    SourceError, TAIL_BYTES,
};
use crate::oci::{Digest, MAX_MANIFEST_BYTES, Manifest, MediaType, Reference, Repository, is_schema1};
use crate::telemetry::carry;
use crate::upstream::{Piece, Upstream, UpstreamError};

/// The originals of one repository: the upstream that has it, as one client may ask it, and the cache in front.
pub(super) struct Contents {
    pub(super) repository: Repository,
    /// The client, where the upstream is asked as that one.
    pub(super) reader: Option<ReaderKey>,
    /// Whose request it is.
    pub(super) payer: Option<Payer>,
    pub(super) upstream: Arc<dyn Upstream>,
    pub(super) cache: Cache,
    /// What is deleted through this proxy.
    pub(super) deletions: Arc<Epochs>,
}

impl Contents {
    /// The manifest of `digest`.
    pub(super) async fn manifest(&self, digest: &Digest) -> Result<(Manifest, Outcome), ProxyError> {
        if let Some(manifest) = self.cached_manifest(digest).await {
            return Ok((manifest, Outcome::Hit));
        }
        let before = self.deletions.of(&self.repository).await;
        let manifest = self.fetch_manifest(&Reference::Digest(*digest)).await?;
        let outcome = self.keep_manifest(&manifest, before).await;
        Ok((manifest, outcome))
    }

    /// What the upstream has by this name.
    pub(super) async fn fetch_manifest(&self, reference: &Reference) -> Result<Manifest, ProxyError> {
        let manifest = self.upstream.manifest(&self.repository.name, reference).await;
        manifest.map_err(|error| ProxyError::upstream(error, Subject::Manifest, &self.repository.name))
    }

    /// The manifest of `digest`, if that needs no asking.
    pub(super) async fn cached_manifest(&self, digest: &Digest) -> Option<Manifest> {
        if self.upstream.is_in_place() {
            return None;
        }
        // A disk that cannot say ends no pull: the upstream can.
        cached_manifest(&self.cache, &self.repository, digest).await.unwrap_or_default()
    }

    /// Stores a manifest that the upstream sent, unless it is of the kind whose digest is not that of its bytes. `before` is
    /// when it was asked: something may have been deleted since.
    pub(super) async fn keep_manifest(&self, manifest: &Manifest, before: Epoch) -> Outcome {
        if is_schema1(&manifest.media_type) {
            return Outcome::Bypass;
        }
        if self.upstream.is_in_place() {
            return Outcome::InPlace;
        }
        let member = Member { media_type: Some(manifest.media_type.to_string()), size: manifest.bytes.len() as u64 };
        let stored = async {
            // The client waits for none of it: its bytes are here, and right.
            self.cache.put_behind(&manifest.digest, manifest.bytes.clone()).await?;
            let Some(_still) = self.deletions.still(&self.repository, before).await else { return Ok(()) };
            self.cache.add_member_behind(&self.repository, &manifest.digest, member).await
        };
        if let Err(error) = stored.await {
            tracing::warn!(repository = %self.repository, digest = %manifest.digest, %error, "a manifest could not be cached");
        }
        Outcome::Miss
    }

    /// What is known of `digest` in this repository. A disk that cannot say ends no pull: the upstream can.
    pub(super) async fn member(&self, digest: &Digest) -> Option<Member> {
        if self.upstream.is_in_place() {
            return None;
        }
        self.cache.member(&self.repository, digest).await.unwrap_or_default()
    }

    /// The blob of `digest`, if that needs no asking.
    pub(super) async fn cached_blob(&self, digest: &Digest) -> Option<Reader> {
        self.member(digest).await?;
        self.cache.content(digest).await
    }

    /// The blob of `digest`, which may still be arriving.
    pub(super) async fn blob(&self, digest: &Digest) -> Result<(Reader, Outcome), ProxyError> {
        if self.upstream.is_in_place() {
            return self.blob_in_place(digest).await;
        }
        let before = self.deletions.of(&self.repository).await;
        let is_member = self.member(digest).await.is_some();
        let absent = |error| ProxyError::upstream(error, Subject::Blob, &self.repository.name);
        let source = Arc::new(BlobSource::new(self, *digest));
        let reader = self.cache.fill(digest, None, source).await.map_err(|error| match fill_cause(error) {
            Ok(error) => absent(error),
            Err(error) => error,
        })?;
        let mut outcome = match reader.lookup() {
            Lookup::Hit => Outcome::Hit,
            Lookup::Collapsed | Lookup::CollapsedElsewhere => Outcome::Collapsed,
            Lookup::Miss => Outcome::Miss,
        };
        if !is_member {
            // One that this repository gives may have begun before it was deleted there.
            let is_certain = match reader.lookup() {
                Lookup::Miss => true,
                Lookup::Collapsed => before == Epoch::default(),
                Lookup::Hit | Lookup::CollapsedElsewhere => false,
            };
            if !is_certain {
                // Another repository gave it, or is giving it: this one has to say that it has it, too.
                self.upstream.blob_head(&self.repository.name, digest).await.map_err(absent)?;
                outcome = Outcome::Revalidated;
            }
            let (cache, deletions) = (self.cache.clone(), Arc::clone(&self.deletions));
            let (repository, bystander) = (self.repository.clone(), reader.bystander());
            let confirmation = async move {
                confirm_member(&cache, &repository, &bystander, deletions.still(&repository, before)).await;
            };
            if reader.size() <= TAIL_BYTES {
                confirmation.await;
            } else {
                tokio::spawn(carry(confirmation));
            }
        }
        Ok((reader, outcome))
    }

    /// The blob of `digest`, where it lies.
    async fn blob_in_place(&self, digest: &Digest) -> Result<(Reader, Outcome), ProxyError> {
        let piece = self.upstream.in_place(&self.repository.name, digest).await;
        let piece = piece.map_err(|error| ProxyError::upstream(error, Subject::Blob, &self.repository.name))?;
        let reader = self.cache.in_place(digest, Arc::new(InPlace(piece)));
        if reader.size() <= TAIL_BYTES || reader.is_known_wrong() {
            // No byte of it is sent before it was hashed, so that what is wrong is told as such.
            reader.verified().await.map_err(read_failure)?;
        }
        Ok((reader, Outcome::InPlace))
    }

    /// A blob's length, without fetching it.
    pub(super) async fn blob_head(&self, digest: &Digest) -> Result<(u64, Outcome), ProxyError> {
        if let Some(reader) = self.cached_blob(digest).await {
            return Ok((reader.size(), Outcome::Hit));
        }
        let size = self.upstream.blob_head(&self.repository.name, digest).await;
        let outcome = if self.upstream.is_in_place() { Outcome::InPlace } else { Outcome::Miss };
        size.map(|size| (size, outcome))
            .map_err(|error| ProxyError::upstream(error, Subject::Blob, &self.repository.name))
    }
}

/// The manifest of `digest` that is in the cache, if this repository is known to have it.
pub(super) async fn cached_manifest(
    cache: &Cache,
    repository: &Repository,
    digest: &Digest,
) -> io::Result<Option<Manifest>> {
    let Some(Member { media_type: Some(media_type), .. }) = cache.member(repository, digest).await? else {
        return Ok(None);
    };
    let bytes = cache.load(digest, MAX_MANIFEST_BYTES).await;
    let media_type = MediaType::from(media_type.as_str());
    Ok(bytes.map(|bytes| Manifest { bytes, digest: *digest, media_type }))
}

/// Records that a repository has a blob, once its bytes are known to be the blob's, and unless it was deleted meanwhile. Small
/// ones are known when they are handed out.
async fn confirm_member<T>(
    cache: &Cache,
    repository: &Repository,
    reader: &Reader,
    still_there: impl Future<Output = Option<T>>,
) {
    let (digest, member) = (*reader.digest(), Member { media_type: None, size: reader.size() });
    if reader.verified().await.is_err() {
        return;
    }
    let Some(_still) = still_there.await else { return };
    if let Err(error) = cache.add_member(repository, &digest, member).await {
        tracing::warn!(%repository, %digest, %error, "a blob's repository could not be recorded");
    }
}

/// All that a reader has, if that is at most `cap` bytes.
pub(super) async fn read_all(reader: &Reader, cap: usize) -> Result<Bytes, ProxyError> {
    let too_large = |limit: usize| UpstreamError::TooLarge { limit: limit as u64 }.into();
    if reader.size() > cap as u64 {
        return Err(too_large(cap));
    }
    body::collect(reader.body(0..reader.size()), cap).await.map_err(|error| match error {
        CollectError::TooLarge { cap } => too_large(cap),
        CollectError::Body(cause) => body_cause(&*cause),
    })
}

/// What broke the body of content.
pub(super) fn body_cause(cause: &(dyn Error + Send + Sync + 'static)) -> ProxyError {
    match find_source::<ReadError>(cause) {
        Some(error) => read_failure(error.clone()),
        None => io::Error::other(cause.to_string()).into(),
    }
}

/// What broke a fill: the upstream, or else the proxy.
fn fill_cause(error: FillError) -> Result<UpstreamError, ProxyError> {
    if let Some(upstream) = find_source::<UpstreamError>(&error) {
        return Ok(upstream.clone());
    }
    match error {
        FillError::DigestMismatch { expected, actual } => {
            Ok(UpstreamError::DigestMismatch { expected: Box::new(expected), actual })
        }
        FillError::SizeMismatch { .. }
        | FillError::WrongOffset { .. }
        | FillError::Changed { .. }
        | FillError::Source(_) => Ok(UpstreamError::Malformed { what: format!("sent a damaged blob: {error}") }),
        FillError::Store(error) => Err(ProxyError::Cache(error)),
        FillError::Stopped => Err(io::Error::other(error).into()),
    }
}

/// The same where it does not matter whose fault it is.
pub(super) fn fill_failure(error: FillError) -> ProxyError {
    fill_cause(error).map_or_else(|error| error, ProxyError::from)
}

/// What broke a read of content that was, or is still, being filled.
pub(super) fn read_failure(error: ReadError) -> ProxyError {
    match error {
        ReadError::Fill(error) => fill_failure(error),
        ReadError::Store(error) => ProxyError::Cache(error),
        ReadError::WrongInPlace => {
            UpstreamError::Malformed { what: "has other bytes under this digest".to_owned() }.into()
        }
        ReadError::InPlace(cause) => {
            UpstreamError::Io { what: "content cannot be read where it lies".to_owned(), cause }.into()
        }
    }
}

/// A piece of a file, as the cache reads it.
struct InPlace(Piece);

impl ReadAt for InPlace {
    fn read_at(&self, offset: u64, max: usize) -> BoxFuture<'_, io::Result<Bytes>> {
        Box::pin(self.0.read_at(offset, max.min(MAX_READ_BYTES)))
    }
}

impl Content for InPlace {
    fn size(&self) -> u64 {
        self.0.size()
    }

    fn identity(&self) -> (u64, u64) {
        self.0.identity()
    }

    fn is_shared(&self) -> bool {
        self.0.is_settled()
    }

    fn discard(&self) -> BoxFuture<'_, io::Result<bool>> {
        Box::pin(std::future::ready(Ok(false)))
    }
}

/// A blob of the upstream's, as the cache wants it.
struct BlobSource {
    upstream: Arc<dyn Upstream>,
    repository: Repository,
    digest: Digest,
    origin: String,
}

impl BlobSource {
    fn new(contents: &Contents, digest: Digest) -> Self {
        let Contents { repository, upstream, reader, .. } = contents;
        // What one client is refused on the way is not refused to another.
        let origin = match reader {
            None => repository.to_string(),
            Some(reader) => format!("{repository} for {reader}"),
        };
        Self { upstream: Arc::clone(upstream), repository: repository.clone(), digest, origin }
    }
}

impl Source for BlobSource {
    fn open(&self, offset: u64) -> BoxFuture<'_, Result<SourceBody, SourceError>> {
        Box::pin(async move {
            match self.upstream.blob(&self.repository.name, &self.digest, offset).await {
                Ok(blob) => Ok(SourceBody { offset: blob.offset, size: blob.size, body: blob.body }),
                Err(error) if error.is_transient() => {
                    Err(SourceError::Transient { retry_after: error.retry_after(), cause: error.into() })
                }
                Err(error) => Err(SourceError::Final(error.into())),
            }
        })
    }

    fn origin(&self) -> &str {
        &self.origin
    }
}
