//! An OCI image layout directory (image-spec, `image-layout.md`) as an upstream.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use serde::Deserialize;

use super::error::UpstreamError;
use super::layout_index::{LayoutIndex, Part, reach, repository_from};
use super::manifest_answer::verify;
use super::{Blob, Change, Changed, ClientCredential, ListPage, ManifestHead, NameList, Referrer, Upstream};
use crate::body::{BoxError, BoxFuture, sized};
use crate::oci::{Digest, MAX_MANIFEST_BYTES, Manifest, MediaType, Reference, RepositoryName};

/// The largest `index.json` that is read: some fifty thousand entries.
const MAX_INDEX_BYTES: u64 = 32 << 20;
/// `oci-layout` has some thirty bytes.
const MAX_MARKER_BYTES: u64 = 4 << 10;
/// What a blob is read by: large enough that the way to a blocking thread and back is cheap.
const CHUNK_BYTES: usize = 64 << 10;

/// How images are named that the layout gives no repository.
#[derive(Clone, Debug, Default)]
pub struct LayoutNaming {
    /// Their repository; the directory's own name without it, or `layout` if that cannot be one.
    pub default_repository: Option<RepositoryName>,
}

/// An OCI image layout directory.
///
/// `index.json` may change while it is served: it is read again when its time or length changes. A digest is
/// served under a repository only if that repository's entries lead to it. Nothing is followed outside the
/// directory: paths are made from valid digests, and links are not opened.
#[derive(Debug)]
pub struct LayoutUpstream {
    name: String,
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    directory: PathBuf,
    default_repository: RepositoryName,
    current: Mutex<Arc<Contents>>,
}

/// The layout as one `index.json` says.
#[derive(Debug)]
struct Contents {
    stamp: Stamp,
    index: LayoutIndex,
    // Worked out when a repository is first asked for something other than what the index lists.
    reached: Mutex<HashMap<RepositoryName, Arc<Parts>>>,
}

type Parts = HashMap<Digest, Part>;
type Stamp = (Option<SystemTime>, u64);

impl LayoutUpstream {
    /// Opens a layout, with images named as [`LayoutNaming::default`] says. Reads files, so not to be called
    /// where that may not block.
    ///
    /// # Errors
    /// When it is no layout, or cannot be read.
    pub fn open(directory: &Path) -> Result<Self, UpstreamError> {
        Self::open_named(directory, LayoutNaming::default())
    }

    /// Opens a layout.
    ///
    /// # Errors
    /// When it is no layout, or cannot be read.
    pub fn open_named(directory: &Path, naming: LayoutNaming) -> Result<Self, UpstreamError> {
        let name = directory.display().to_string();
        // Made absolute, so that `.` has a name and a later change of directory changes nothing.
        let directory = fs::canonicalize(directory)
            .map_err(|cause| UpstreamError::io(format!("{name} cannot be opened as an image layout"), cause))?;
        let default_repository = naming
            .default_repository
            .or_else(|| repository_from(directory.file_name()?.to_str()?))
            .map_or_else(|| "layout".parse(), Ok)
            .map_err(|_| UpstreamError::malformed("is a layout without a name"))?;
        check_marker(&directory)?;
        let contents = Contents::read(&directory, &default_repository)?;
        let current = Mutex::new(Arc::new(contents));
        Ok(Self { name, inner: Arc::new(Inner { directory, default_repository, current }) })
    }

    /// The repositories in it now, for explanations.
    pub fn repositories(&self) -> Vec<RepositoryName> {
        lock(&self.inner.current).index.repositories().cloned().collect()
    }

    /// Runs something that reads files where it may block.
    async fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Inner) -> Result<T, UpstreamError> + Send + 'static,
    ) -> Result<T, UpstreamError> {
        let inner = Arc::clone(&self.inner);
        tokio::task::spawn_blocking(move || read(&inner))
            .await
            .unwrap_or_else(|stopped| Err(UpstreamError::io("reading the layout was stopped", stopped.into())))
    }
}

impl Inner {
    /// The layout as it is now.
    fn contents(&self) -> Result<Arc<Contents>, UpstreamError> {
        let stamp = stamp(&self.directory)?;
        let known = Arc::clone(&lock(&self.current));
        if known.stamp == stamp {
            return Ok(known);
        }
        match Contents::read(&self.directory, &self.default_repository) {
            Ok(contents) => {
                let contents = Arc::new(contents);
                *lock(&self.current) = Arc::clone(&contents);
                Ok(contents)
            }
            // Tools write the file in place, so this may be half of it; digests keep the old one true.
            Err(error) => {
                tracing::warn!(%error, "the layout's index.json has changed but cannot be read; the last one holds");
                Ok(known)
            }
        }
    }

    fn manifest(&self, repository: &RepositoryName, reference: &Reference) -> Result<Manifest, UpstreamError> {
        let contents = self.contents()?;
        let entries = contents.index.repository(repository).ok_or(UpstreamError::NotFound)?;
        let digest = match reference {
            Reference::Tag(tag) => entries.tags.get(tag.as_str()).ok_or(UpstreamError::NotFound)?,
            Reference::Digest(digest) => digest,
        };
        let media_type = match entries.roots.get(digest) {
            Some(media_type) => media_type.clone(),
            None => match self.parts(&contents, repository)?.get(digest) {
                Some(Part::Manifest(media_type)) => media_type.clone(),
                Some(Part::Blob) | None => return Err(UpstreamError::NotFound),
            },
        };
        self.read_manifest(digest, media_type.as_ref())
    }

    fn read_manifest(&self, digest: &Digest, media_type: Option<&MediaType>) -> Result<Manifest, UpstreamError> {
        let path = self.blob_path(digest);
        let bytes = read_file(&path, MAX_MANIFEST_BYTES as u64)?.ok_or(UpstreamError::NotFound)?;
        verify(bytes, media_type.cloned(), &Reference::Digest(*digest), None)
    }

    fn parts(&self, contents: &Contents, repository: &RepositoryName) -> Result<Arc<Parts>, UpstreamError> {
        let mut reached = lock(&contents.reached);
        if let Some(parts) = reached.get(repository) {
            return Ok(Arc::clone(parts));
        }
        let entries = contents.index.repository(repository).ok_or(UpstreamError::NotFound)?;
        // Under the lock: whoever comes meanwhile would do the same work.
        let parts = reach(&entries.roots, |digest, media_type| match self.read_manifest(digest, media_type) {
            Ok(manifest) => Ok(Some(manifest)),
            Err(UpstreamError::NotFound) => Ok(None),
            Err(error @ UpstreamError::Io { .. }) => Err(error),
            Err(error) => {
                tracing::warn!(%digest, %error, "the layout has a manifest that is not what it is called");
                Ok(None)
            }
        })?;
        let parts = Arc::new(parts);
        reached.insert(repository.clone(), Arc::clone(&parts));
        Ok(parts)
    }

    /// A blob's file and its length.
    fn blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<(File, u64), UpstreamError> {
        let contents = self.contents()?;
        if !self.parts(&contents, repository)?.contains_key(digest) {
            return Err(UpstreamError::NotFound);
        }
        open_file(&self.blob_path(digest))?.ok_or(UpstreamError::NotFound)
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.directory.join("blobs").join(digest.algorithm().name()).join(digest.hex())
    }

    fn tags(&self, repository: &RepositoryName, page: &ListPage) -> Result<NameList, UpstreamError> {
        let contents = self.contents()?;
        let entries = contents.index.repository(repository).ok_or(UpstreamError::NotFound)?;
        Ok(NameList::of_whole(entries.tags.keys().map(String::as_str), page))
    }

    fn catalog(&self, page: &ListPage) -> Result<NameList, UpstreamError> {
        let contents = self.contents()?;
        let mut names: Vec<&str> = contents.index.repositories().map(RepositoryName::as_str).collect();
        names.sort_unstable();
        Ok(NameList::of_whole(names, page))
    }
}

impl Contents {
    fn read(directory: &Path, default_repository: &RepositoryName) -> Result<Self, UpstreamError> {
        // The stamp first: what is written in between is read again next time.
        let stamp = stamp(directory)?;
        let path = directory.join("index.json");
        let bytes = read_file(&path, MAX_INDEX_BYTES)?.ok_or_else(|| missing(&path))?;
        Ok(Self { stamp, index: LayoutIndex::read(&bytes, default_repository)?, reached: Mutex::default() })
    }
}

impl Upstream for LayoutUpstream {
    fn manifest<'a>(
        &'a self,
        repository: &'a RepositoryName,
        reference: &'a Reference,
    ) -> BoxFuture<'a, Result<Manifest, UpstreamError>> {
        let (repository, reference) = (repository.clone(), reference.clone());
        Box::pin(self.run(move |inner| inner.manifest(&repository, &reference)))
    }

    fn manifest_head<'a>(
        &'a self,
        repository: &'a RepositoryName,
        reference: &'a Reference,
    ) -> BoxFuture<'a, Result<ManifestHead, UpstreamError>> {
        Box::pin(async move {
            let Manifest { bytes, digest, media_type } = self.manifest(repository, reference).await?;
            Ok(ManifestHead { digest, media_type, size: bytes.len() as u64 })
        })
    }

    fn blob<'a>(
        &'a self,
        repository: &'a RepositoryName,
        digest: &'a Digest,
        offset: u64,
    ) -> BoxFuture<'a, Result<Blob, UpstreamError>> {
        let (repository, digest) = (repository.clone(), *digest);
        Box::pin(self.run(move |inner| {
            let (mut file, size) = inner.blob(&repository, &digest)?;
            if offset > 0 {
                if offset >= size {
                    return Err(UpstreamError::RangeNotSatisfiable { offset });
                }
                file.seek(SeekFrom::Start(offset))
                    .map_err(|cause| UpstreamError::io("a blob cannot be read", cause))?;
            }
            Ok(Blob { offset, size: Some(size), body: sized(size - offset, file, next_chunk) })
        }))
    }

    fn blob_head<'a>(
        &'a self,
        repository: &'a RepositoryName,
        digest: &'a Digest,
    ) -> BoxFuture<'a, Result<u64, UpstreamError>> {
        let (repository, digest) = (repository.clone(), *digest);
        Box::pin(self.run(move |inner| inner.blob(&repository, &digest).map(|(_, size)| size)))
    }

    fn tags<'a>(
        &'a self,
        repository: &'a RepositoryName,
        page: &'a ListPage,
    ) -> BoxFuture<'a, Result<NameList, UpstreamError>> {
        let (repository, page) = (repository.clone(), page.clone());
        Box::pin(self.run(move |inner| inner.tags(&repository, &page)))
    }

    fn catalog<'a>(&'a self, page: &'a ListPage) -> BoxFuture<'a, Result<NameList, UpstreamError>> {
        let page = page.clone();
        Box::pin(self.run(move |inner| inner.catalog(&page)))
    }

    fn referrers<'a>(
        &'a self,
        _: &'a RepositoryName,
        _: &'a Digest,
        _: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Option<Vec<Referrer>>, UpstreamError>> {
        Box::pin(async { Ok(None) })
    }

    fn change<'a>(&'a self, _: &'a RepositoryName, _: Change<'a>) -> BoxFuture<'a, Result<Changed, UpstreamError>> {
        Box::pin(std::future::ready(Err(UpstreamError::ReadOnly)))
    }

    fn ping<'a>(&'a self) -> BoxFuture<'a, Result<(), UpstreamError>> {
        Box::pin(async { Ok(()) })
    }

    fn for_client(&self, _: &ClientCredential) -> Option<Arc<dyn Upstream>> {
        None
    }

    fn name(&self) -> &str {
        &self.name
    }
}

async fn next_chunk(mut file: File) -> Result<Option<(Bytes, File)>, BoxError> {
    let read = tokio::task::spawn_blocking(move || {
        let mut chunk = Vec::with_capacity(CHUNK_BYTES);
        file.by_ref().take(CHUNK_BYTES as u64).read_to_end(&mut chunk)?;
        Ok((Bytes::from(chunk), file))
    });
    match read.await.unwrap_or_else(|stopped| Err(stopped.into())) {
        Ok((chunk, file)) => Ok((!chunk.is_empty()).then_some((chunk, file))),
        Err(cause) => Err(UpstreamError::io("a blob cannot be read", cause).into()),
    }
}

/// Image-spec asks for the marker, and for version 1.
fn check_marker(directory: &Path) -> Result<(), UpstreamError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Marker {
        image_layout_version: String,
    }
    let path = directory.join("oci-layout");
    let bytes = read_file(&path, MAX_MARKER_BYTES)?.ok_or_else(|| missing(&path))?;
    match serde_json::from_slice::<Marker>(&bytes) {
        Ok(marker) if marker.image_layout_version.starts_with("1.") => Ok(()),
        _ => Err(UpstreamError::malformed(format!("is no image layout of version 1: see {}", path.display()))),
    }
}

fn stamp(directory: &Path) -> Result<Stamp, UpstreamError> {
    let path = directory.join("index.json");
    let metadata = fs::symlink_metadata(&path).map_err(|cause| unreadable(&path, cause))?;
    Ok((metadata.modified().ok(), metadata.len()))
}

/// A whole file of at most `cap` bytes, or nothing if there is none.
fn read_file(path: &Path, cap: u64) -> Result<Option<Bytes>, UpstreamError> {
    let Some((file, size)) = open_file(path)? else { return Ok(None) };
    let mut bytes = Vec::new();
    file.take(cap + 1).read_to_end(&mut bytes).map_err(|cause| unreadable(path, cause))?;
    if size > cap || bytes.len() as u64 > cap {
        return Err(UpstreamError::TooLarge { limit: cap });
    }
    Ok(Some(bytes.into()))
}

/// A regular file and its length. A link could lead anywhere, and opening a pipe would wait for a writer.
fn open_file(path: &Path) -> Result<Option<(File, u64)>, UpstreamError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => {
            let cause = io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file");
            return Err(unreadable(path, cause));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(unreadable(path, cause)),
    }
    let file = File::open(path).map_err(|cause| unreadable(path, cause))?;
    let size = file.metadata().map_err(|cause| unreadable(path, cause))?.len();
    Ok(Some((file, size)))
}

fn unreadable(path: &Path, cause: io::Error) -> UpstreamError {
    UpstreamError::io(format!("{} cannot be read", path.display()), cause)
}

fn missing(path: &Path) -> UpstreamError {
    unreadable(path, io::ErrorKind::NotFound.into())
}

/// What stands behind these locks is replaced whole, so a panic elsewhere leaves it true.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
