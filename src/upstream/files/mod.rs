//! Files as an upstream: OCI image layout directories, and archives that are served as they are.
//!
//! [`FilesUpstream`] answers from whatever its `library` has now. Each layout or archive is a `store`: an `index` of what
//! its repositories show, and where that lies. An archive is a tar that holds an image layout, or what
//! `imgpkg copy --to-tar` writes (`described`); one pass over its headers (`files_scan`) tells where everything is, and
//! nothing is unpacked: content is read from its place (`files_opened`).
//!
//! A digest is served under a repository only if that repository's entries lead to it. Bytes are not verified here, and
//! manifests are, as everywhere in this room.

mod described;
mod files_layout;
mod files_library;
mod files_opened;
mod files_scan;
mod index;
mod store;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinError;

use files_library::{Holdings, Library};
pub use files_opened::Piece;
use store::Store;

use super::error::UpstreamError;
use super::{Blob, Change, Changed, ClientCredential, ListPage, ManifestHead, NameList, Referrer, Upstream};
use crate::body::{BoxError, BoxFuture, sized};
use crate::config::{Files, FilesPlace};
use crate::oci::{Digest, Manifest, Reference, RepositoryName};
use crate::telemetry::carried;

/// How many requests look into files at one time, of which each has a thread.
const CONCURRENT_READS: usize = 32;
/// What a blob is read by: large enough that the way to a blocking thread and back is cheap.
const CHUNK_BYTES: usize = 64 << 10;

/// Files as an upstream: image layouts, archives, and directories in which archives come and go.
pub struct FilesUpstream {
    name: String,
    /// Waited for by tasks, not by threads: a place that is slow keeps nobody from what else there is on disks.
    library: Arc<Mutex<Library>>,
    permits: Semaphore,
}

impl FilesUpstream {
    /// Opens files. Reads them, so not to be called where that may not block. What archives hold is written down in `kept`,
    /// so that not even their headers are read twice.
    ///
    /// # Errors
    /// When one that is named is not there, or is no layout and no archive.
    pub fn open(files: Files, kept: Option<PathBuf>) -> Result<Self, UpstreamError> {
        let shown = files.places.iter().map(|place| match place {
            FilesPlace::Layout(path) | FilesPlace::Archive(path) => path.display().to_string(),
        });
        let name = shown.collect::<Vec<_>>().join(", ");
        let places = files.places.into_iter().map(|place| match place {
            FilesPlace::Layout(path) => files_library::absolute(&path).map(FilesPlace::Layout),
            FilesPlace::Archive(path) => files_library::absolute(&path).map(FilesPlace::Archive),
        });
        let library = Library::open(Files { places: places.collect::<Result<_, _>>()?, ..files }, kept)?;
        Ok(Self { name, library: Arc::new(Mutex::new(library)), permits: Semaphore::new(CONCURRENT_READS) })
    }

    /// The repositories in them now with their tags.
    pub async fn repositories(&self) -> BTreeMap<RepositoryName, Vec<String>> {
        let find = |holdings: Holdings| {
            let mut repositories: BTreeMap<RepositoryName, BTreeSet<String>> = BTreeMap::new();
            for (name, entries) in holdings.stores.iter().flat_map(|store| store.index.repositories()) {
                repositories.entry(name.clone()).or_default().extend(entries.tags.keys().cloned());
            }
            Ok(repositories.into_iter().map(|(name, tags)| (name, tags.into_iter().collect())).collect())
        };
        self.run(find).await.unwrap_or_default()
    }

    /// Runs something that reads files where it may block.
    async fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce(Holdings) -> Result<T, UpstreamError> + Send + 'static,
    ) -> Result<T, UpstreamError> {
        let stopped = |stopped: JoinError| UpstreamError::io("reading files was stopped", stopped.into());
        let _permit = self.permits.acquire().await;
        let mut library = Arc::clone(&self.library).lock_owned().await;
        let work = move || {
            let holdings = library.look();
            drop(library);
            read(holdings)
        };
        tokio::task::spawn_blocking(carried(work)).await.map_err(stopped)?
    }
}

impl Holdings {
    /// The first answer that one of the stores has.
    fn first<T>(&self, ask: impl Fn(&Store) -> Result<T, UpstreamError>) -> Result<T, UpstreamError> {
        let mut trouble = self.trouble.clone();
        for store in &self.stores {
            match ask(store) {
                Err(UpstreamError::NotFound) => {}
                // One archive's damage is not another's.
                Err(error) => trouble = Some(trouble.unwrap_or(error)),
                found => return found,
            }
        }
        Err(trouble.unwrap_or(UpstreamError::NotFound))
    }

    fn tags(&self, repository: &RepositoryName) -> Result<BTreeSet<&str>, UpstreamError> {
        let found = self.stores.iter().filter_map(|store| store.index.repository(repository)).collect::<Vec<_>>();
        if found.is_empty() {
            return Err(self.trouble.clone().unwrap_or(UpstreamError::NotFound));
        }
        Ok(found.into_iter().flat_map(|entries| entries.tags.keys().map(String::as_str)).collect())
    }

    fn catalog(&self) -> BTreeSet<&str> {
        let names = self.stores.iter().flat_map(|store| store.index.repositories());
        names.map(|(name, _)| name.as_str()).collect()
    }

    fn referrers(&self, repository: &RepositoryName, digest: &Digest) -> Result<Vec<Referrer>, UpstreamError> {
        let mut all = Vec::new();
        for store in &self.stores {
            match store.referrers(repository, digest) {
                Ok(referrers) => all.extend(referrers),
                Err(UpstreamError::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

    /// What the repository of a manifest was called where it came from: of one that is not listed by itself, what all
    /// that are listed beside it were.
    fn original_name(&self, repository: &RepositoryName, digest: &Digest) -> Option<String> {
        let entries = || self.stores.iter().filter_map(|store| store.index.repository(repository));
        let own = entries().find_map(|entries| entries.roots.get(digest));
        let mut beside = entries().flat_map(|entries| entries.roots.values());
        own.or_else(|| {
            let first = beside.next()?;
            beside.all(|other| other.original == first.original).then_some(first)
        })
        .map(|root| root.original.clone())
    }
}

impl Upstream for FilesUpstream {
    fn manifest<'a>(
        &'a self,
        repository: &'a RepositoryName,
        reference: &'a Reference,
    ) -> BoxFuture<'a, Result<Manifest, UpstreamError>> {
        let (repository, reference) = (repository.clone(), reference.clone());
        Box::pin(self.run(move |holdings| holdings.first(|store| store.manifest(&repository, &reference))))
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
        Box::pin(async move {
            let piece = self.piece(repository, digest).await?;
            let size = piece.size();
            if offset > 0 && offset >= size {
                return Err(UpstreamError::RangeNotSatisfiable { offset });
            }
            Ok(Blob { offset, size: Some(size), body: sized(size - offset, (piece, offset), next_chunk) })
        })
    }

    fn blob_head<'a>(
        &'a self,
        repository: &'a RepositoryName,
        digest: &'a Digest,
    ) -> BoxFuture<'a, Result<u64, UpstreamError>> {
        Box::pin(async move { Ok(self.piece(repository, digest).await?.size()) })
    }

    fn in_place<'a>(
        &'a self,
        repository: &'a RepositoryName,
        digest: &'a Digest,
    ) -> BoxFuture<'a, Result<Piece, UpstreamError>> {
        Box::pin(self.piece(repository, digest))
    }

    fn is_in_place(&self) -> bool {
        true
    }

    fn tags<'a>(
        &'a self,
        repository: &'a RepositoryName,
        page: &'a ListPage,
    ) -> BoxFuture<'a, Result<NameList, UpstreamError>> {
        let (repository, page) = (repository.clone(), page.clone());
        Box::pin(self.run(move |holdings| Ok(NameList::of_whole(holdings.tags(&repository)?, &page))))
    }

    fn catalog<'a>(&'a self, page: &'a ListPage) -> BoxFuture<'a, Result<NameList, UpstreamError>> {
        let page = page.clone();
        Box::pin(self.run(move |holdings| Ok(NameList::of_whole(holdings.catalog(), &page))))
    }

    fn referrers<'a>(
        &'a self,
        repository: &'a RepositoryName,
        digest: &'a Digest,
        _: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Option<Vec<Referrer>>, UpstreamError>> {
        let (repository, digest) = (repository.clone(), *digest);
        Box::pin(self.run(move |holdings| {
            // What was copied from a registry without such a list has a tag in its place.
            Ok(Some(holdings.referrers(&repository, &digest)?).filter(|referrers| !referrers.is_empty()))
        }))
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

    fn holders<'a>(&'a self, digests: &'a [Digest]) -> BoxFuture<'a, Vec<(Digest, Vec<RepositoryName>)>> {
        let digests = digests.to_vec();
        let find = move |holdings: Holdings| {
            let holders = |digest: &Digest| {
                let mut names: Vec<_> = holdings.stores.iter().flat_map(|store| store.holders(digest)).collect();
                names.sort_unstable();
                names.dedup();
                names
            };
            let held = digests.iter().map(|digest| (*digest, holders(digest)));
            Ok(held.filter(|(_, holders)| !holders.is_empty()).collect())
        };
        Box::pin(async move { self.run(find).await.unwrap_or_default() })
    }

    fn original_name<'a>(
        &'a self,
        repository: &'a RepositoryName,
        digest: &'a Digest,
    ) -> BoxFuture<'a, Option<String>> {
        let (repository, digest) = (repository.clone(), *digest);
        Box::pin(async move { self.run(move |holdings| Ok(holdings.original_name(&repository, &digest))).await.ok()? })
    }

    fn name(&self) -> &str {
        &self.name
    }
}

impl FilesUpstream {
    async fn piece(&self, repository: &RepositoryName, digest: &Digest) -> Result<Piece, UpstreamError> {
        let (repository, digest) = (repository.clone(), *digest);
        self.run(move |holdings| holdings.first(|store| store.blob(&repository, &digest))).await
    }
}

async fn next_chunk((piece, at): (Piece, u64)) -> Result<Option<(Bytes, (Piece, u64))>, BoxError> {
    match piece.read_at(at, CHUNK_BYTES).await {
        Ok(bytes) if bytes.is_empty() => Ok(None),
        Ok(bytes) => {
            let next = at + bytes.len() as u64;
            Ok(Some((bytes, (piece, next))))
        }
        Err(cause) => Err(UpstreamError::io("a blob cannot be read", cause).into()),
    }
}
