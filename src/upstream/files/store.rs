//! One layout or archive, open: which repository may show what, and where that lies.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::described::Description;
use super::files_layout::{self, MAX_INDEX_BYTES, MAX_MARKER_BYTES};
use super::files_opened::{Opened, Piece};
use super::files_scan::{Place, Table, Tar};
use super::index::{Entries, Index, Part, Reached, reach, read_index, repository_from};
use crate::config::Called;
use crate::oci::{Digest, MAX_MANIFEST_BYTES, Manifest, MediaType, Reference, RepositoryName};
use crate::upstream::manifest_answer::verify;
use crate::upstream::{Referrer, UpstreamError};

/// The largest description, which has the manifests and configs of all images in it: those of some ten thousand.
const MAX_DESCRIPTION_BYTES: u64 = 128 << 20;
/// Of how many repositories that have an image it is told; more are as good as these.
const MAX_HOLDERS: usize = 8;
/// After what time a layout is looked at again of which not all manifests were there: it may be on its way here.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// The repository of what has no name, in a file whose name cannot be one either.
const NAMELESS: &str = "images";

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Store {
    pub(super) path: PathBuf,
    pub(super) index: Index,
    shelf: Shelf,
    // Worked out when a repository is first asked for something other than what the index lists.
    reached: Mutex<HashMap<RepositoryName, (Arc<Reached>, Instant)>>,
}

/// Where content lies.
#[derive(Debug)]
enum Shelf {
    /// In files of their own.
    Layout(PathBuf),
    /// In one file, and what imgpkg puts into its description in memory.
    Tar { tar: Tar, described: HashMap<Digest, Bytes> },
}

impl Store {
    /// Opens an image layout.
    pub(super) fn layout(directory: &Path, called: Option<&Called>) -> Result<Self, UpstreamError> {
        let index = read_index(&files_layout::read(directory)?)?;
        let index = Index::new(index, &own_name(directory), called)?;
        Ok(Self::new(directory, index, Shelf::Layout(directory.to_owned())))
    }

    /// Opens an archive. What was learned of its entries before is in `kept`, if anywhere.
    pub(super) fn archive(path: &Path, called: Option<&Called>, kept: Option<&Path>) -> Result<Self, UpstreamError> {
        let file = Opened::open(path).map_err(|cause| files_layout::unreadable(path, cause))?;
        let table = Table::of(&file, path, kept)?;
        if table.links > 0 {
            let (path, links) = (path.display(), table.links);
            tracing::warn!(%path, links, "an archive has content that is a link; links are not followed");
        }
        let file = Arc::new(file);
        let read = |place: Place, cap| Piece::of(&file, place.offset, place.size).read_all(cap);
        let (listed, described) = match (table.marker, table.index, table.description) {
            (Some(marker), Some(index), _) => {
                files_layout::check_marker(&read(marker, MAX_MARKER_BYTES)?)?;
                (read_index(&read(index, MAX_INDEX_BYTES)?)?, HashMap::new())
            }
            (_, _, Some(description)) => {
                let Description { listed, contents } = Description::read(&read(description, MAX_DESCRIPTION_BYTES)?)?;
                (listed, contents)
            }
            _ => {
                return Err(UpstreamError::malformed(
                    "is neither an image layout (it has no oci-layout with an index.json) nor an archive of \
                     `imgpkg copy --to-tar` (it has no manifest.json)",
                ));
            }
        };
        let index = Index::new(listed, &own_name(path), called)?;
        Ok(Self::new(path, index, Shelf::Tar { tar: Tar { file, table }, described }))
    }

    fn new(path: &Path, index: Index, shelf: Shelf) -> Self {
        Self { path: path.to_owned(), index, shelf, reached: Mutex::default() }
    }

    /// A manifest that a repository has.
    pub(super) fn manifest(&self, name: &RepositoryName, reference: &Reference) -> Result<Manifest, UpstreamError> {
        let entries = self.entries(name)?;
        let digest = match reference {
            Reference::Tag(tag) => entries.tags.get(tag.as_str()).ok_or(UpstreamError::NotFound)?,
            Reference::Digest(digest) => digest,
        };
        let media_type = match entries.roots.get(digest) {
            Some(root) => root.media_type.clone(),
            None => match self.part(name, digest)? {
                Part::Manifest(media_type) => media_type,
                Part::Blob => return Err(UpstreamError::NotFound),
            },
        };
        self.read_manifest(digest, media_type.as_ref())
    }

    /// A blob that a repository has, where it lies. Manifests are blobs, too.
    pub(super) fn blob(&self, name: &RepositoryName, digest: &Digest) -> Result<Piece, UpstreamError> {
        self.part(name, digest)?;
        self.open(digest)?.ok_or(UpstreamError::NotFound)
    }

    /// What refers to `subject` in a repository.
    pub(super) fn referrers(&self, name: &RepositoryName, subject: &Digest) -> Result<Vec<Referrer>, UpstreamError> {
        Ok(self.reached(name)?.referrers.get(subject).cloned().unwrap_or_default())
    }

    /// The repositories that have this manifest: those that list it, or else those where it belongs to something listed.
    pub(super) fn holders(&self, digest: &Digest) -> Vec<RepositoryName> {
        let named = |is_holder: &dyn Fn(&RepositoryName, &Entries) -> bool| {
            let holders = self.index.repositories().filter(|(name, entries)| is_holder(name, entries));
            holders.map(|(name, _)| name.clone()).take(MAX_HOLDERS).collect::<Vec<_>>()
        };
        let listed = named(&|_, entries| entries.roots.contains_key(digest));
        if !listed.is_empty() {
            return listed;
        }
        named(&|name, _| {
            let reached = self.reached(name);
            reached.is_ok_and(|reached| matches!(reached.parts.get(digest), Some(Part::Manifest(_))))
        })
    }

    /// What a digest is to a repository. What is not found may be behind a manifest that cannot be read.
    fn part(&self, name: &RepositoryName, digest: &Digest) -> Result<Part, UpstreamError> {
        let reached = self.reached(name)?;
        let unknown = || reached.trouble.clone().unwrap_or(UpstreamError::NotFound);
        reached.parts.get(digest).cloned().ok_or_else(unknown)
    }

    fn entries(&self, name: &RepositoryName) -> Result<&Entries, UpstreamError> {
        self.index.repository(name).ok_or(UpstreamError::NotFound)
    }

    fn read_manifest(&self, digest: &Digest, media_type: Option<&MediaType>) -> Result<Manifest, UpstreamError> {
        let piece = self.open(digest)?.ok_or(UpstreamError::NotFound)?;
        let bytes = piece.read_all(MAX_MANIFEST_BYTES as u64)?;
        let manifest = verify(bytes, media_type.cloned(), &Reference::Digest(*digest), None)?;
        // Docker's schema 1 has the digest of something else only where a registry makes it.
        if manifest.digest != *digest {
            return Err(UpstreamError::mismatch(*digest, manifest.digest));
        }
        Ok(manifest)
    }

    /// What lies under a digest, whoever has it.
    fn open(&self, digest: &Digest) -> Result<Option<Piece>, UpstreamError> {
        match &self.shelf {
            Shelf::Layout(directory) => files_layout::open(directory, digest),
            Shelf::Tar { tar: Tar { file, table }, described } => {
                let described = described.get(digest).cloned().map(Piece::memory);
                let place = table.contents.get(digest).map(|place| Piece::of(file, place.offset, place.size));
                Ok(described.or(place))
            }
        }
    }

    fn reached(&self, name: &RepositoryName) -> Result<Arc<Reached>, UpstreamError> {
        // What stands behind the lock is replaced whole, so a panic elsewhere leaves it true.
        let mut all = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((reached, since)) = all.get(name)
            && (reached.is_whole || since.elapsed() < LOOK_AGAIN_AFTER)
        {
            return Ok(Arc::clone(reached));
        }
        let entries = self.entries(name)?;
        // Under the lock: whoever comes meanwhile would do the same work.
        let reached = reach(&entries.roots, |digest, media_type| match self.read_manifest(digest, media_type) {
            Err(error) if !matches!(error, UpstreamError::NotFound) => {
                let path = self.path.display();
                tracing::warn!(%path, %digest, %error, "a manifest cannot be read, or is not what it is called");
                Err(error)
            }
            read => read,
        })?;
        // A tar has all that it will ever have, as far as it can be read.
        let is_tar = matches!(self.shelf, Shelf::Tar { .. });
        let is_whole = reached.is_whole || (is_tar && reached.trouble.is_none());
        let reached = Arc::new(Reached { is_whole, ..reached });
        all.insert(name.clone(), (Arc::clone(&reached), Instant::now()));
        Ok(reached)
    }
}

/// The repository of what has no name: that of the file, without `.tar`.
fn own_name(path: &Path) -> RepositoryName {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let name = repository_from(name.strip_suffix(".tar").unwrap_or(name));
    #[expect(clippy::expect_used, reason = "a literal")]
    name.unwrap_or_else(|| NAMELESS.parse().expect("a name"))
}
