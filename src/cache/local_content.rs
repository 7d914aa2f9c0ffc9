//! Content as files.
//!
//! A committed file ends in a trailer with the content's length. A file that lost its end, grew, or was put there by
//! somebody else so shows itself when it is opened, before a length was promised to a client, and without the
//! second file, or the second sync, that a length kept elsewhere would cost. Bytes that changed in place do not
//! show here; hashing finds them.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use bytes::Bytes;

use super::disk::{self, Opened, blocking, open_regular, remove_anything};
use super::local_directory::Directory;
use super::store::{Content, Listed, PartialContent, ReadAt};
use crate::body::BoxFuture;
use crate::oci::Digest;

/// What a trailer begins with; the content's length follows in eight bytes, least significant first.
const TRAILER_MAGIC: [u8; 8] = *b"\ncolo01\n";
const TRAILER_BYTES: usize = 16;

fn trailer(size: u64) -> [u8; TRAILER_BYTES] {
    let mut trailer = [0; TRAILER_BYTES];
    trailer[..8].copy_from_slice(&TRAILER_MAGIC);
    trailer[8..].copy_from_slice(&size.to_le_bytes());
    trailer
}

/// An open file of committed content.
pub(super) struct LocalContent {
    directory: Arc<Directory>,
    path: PathBuf,
    file: Arc<File>,
    identity: (u64, u64),
    size: u64,
}

/// Device and inode: no other file gets them while this one is open.
fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// Opens what is at `path`; what is no whole content goes, and counts as nothing.
pub(super) fn open_content(directory: &Arc<Directory>, path: PathBuf) -> io::Result<Option<LocalContent>> {
    let checked = match check(&path)? {
        Checked::Damaged(_) => {
            // Once more, now that nobody can be putting the repair in place.
            let _repairing = directory.repairing();
            let again = check(&path)?;
            if let Checked::Damaged(reason) = &again {
                tracing::warn!(path = %path.display(), reason, "removing a damaged file from the cache");
                if let Err(err) = remove_anything(&path) {
                    tracing::warn!(path = %path.display(), %err, "cannot remove it");
                }
            }
            again
        }
        other => other,
    };
    Ok(match checked {
        Checked::Whole(file, size) => {
            let identity = identity(&file.metadata()?);
            Some(LocalContent { directory: Arc::clone(directory), path, file: Arc::new(file), identity, size })
        }
        Checked::Absent | Checked::Damaged(_) => None,
    })
}

enum Checked {
    Whole(File, u64),
    Absent,
    Damaged(&'static str),
}

fn check(path: &Path) -> io::Result<Checked> {
    let file = match open_regular(path)? {
        Opened::File(file) => file,
        Opened::Absent => return Ok(Checked::Absent),
        Opened::Damaged(reason) => return Ok(Checked::Damaged(reason)),
    };
    let Some(size) = file.metadata()?.len().checked_sub(TRAILER_BYTES as u64) else {
        return Ok(Checked::Damaged("truncated"));
    };
    match disk::read_at(&file, size, TRAILER_BYTES) {
        Ok(found) if found == trailer(size)[..] => Ok(Checked::Whole(file, size)),
        Ok(_) => Ok(Checked::Damaged("truncated, or not written by colocate")),
        Err(_) => Ok(Checked::Damaged("not readable by the disk")),
    }
}

impl ReadAt for LocalContent {
    fn read_at(&self, offset: u64, max: usize) -> BoxFuture<'_, io::Result<Bytes>> {
        read_below(&self.file, offset, max, self.size)
    }
}

impl Content for LocalContent {
    fn size(&self) -> u64 {
        self.size
    }

    fn identity(&self) -> (u64, u64) {
        self.identity
    }

    fn discard(&self) -> BoxFuture<'_, io::Result<bool>> {
        let (directory, path, ours) = (Arc::clone(&self.directory), self.path.clone(), self.identity);
        Box::pin(blocking(move || {
            let _repairing = directory.repairing();
            match fs::symlink_metadata(&path) {
                Ok(there) if identity(&there) == ours => remove_anything(&path).map(|()| true),
                _ => Ok(false),
            }
        }))
    }
}

/// Reads what lies below `end`.
fn read_below(file: &Arc<File>, offset: u64, max: usize, end: u64) -> BoxFuture<'static, io::Result<Bytes>> {
    let left = usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX);
    let (file, max) = (Arc::clone(file), max.min(left));
    Box::pin(async move {
        if max == 0 {
            return Ok(Bytes::new());
        }
        match disk::read_cached(&file, offset, max) {
            Some(bytes) => Ok(bytes),
            None => blocking(move || disk::read_at(&file, offset, max)).await,
        }
    })
}

/// A file in `partial` that grows.
pub(super) struct LocalPartial {
    directory: Arc<Directory>,
    digest: Digest,
    path: PathBuf,
    data: Arc<Growing>,
    state: State,
}

#[derive(PartialEq)]
enum State {
    Whole,
    // An append is under way, or was cancelled, or could not be undone: what is at the end nobody knows.
    Torn,
    // In its place, or gone.
    Ended,
}

/// The bytes written so far, for readers.
struct Growing {
    file: Arc<File>,
    // Only what was appended entirely; also keeps readers from the trailer.
    written: AtomicU64,
}

impl ReadAt for Growing {
    fn read_at(&self, offset: u64, max: usize) -> BoxFuture<'_, io::Result<Bytes>> {
        read_below(&self.file, offset, max, self.written.load(Ordering::Acquire))
    }
}

impl LocalPartial {
    pub(super) fn create(directory: Arc<Directory>, digest: Digest) -> io::Result<Self> {
        let path = directory.partial(&digest);
        let file = directory.create_partial(&path)?;
        Ok(Self::new(directory, digest, path, file, 0))
    }

    /// Goes on with what was left of `digest`.
    pub(super) fn resume(directory: Arc<Directory>, digest: Digest) -> io::Result<Option<Self>> {
        let Some(path) = directory.take_over(&digest) else { return Ok(None) };
        let file = match OpenOptions::new().read(true).append(true).open(&path) {
            Ok(file) => file,
            // Not of our making any more; what is in our directory can be removed all the same.
            Err(err) => {
                remove_anything(&path)?;
                return Err(err);
            }
        };
        let mut written = file.metadata()?.len();
        // Stopped between the trailer and the move to its place.
        if let Some(size) = written.checked_sub(TRAILER_BYTES as u64)
            && disk::read_at(&file, size, TRAILER_BYTES)? == trailer(size)[..]
        {
            file.set_len(size)?;
            written = size;
        }
        Ok(Some(Self::new(directory, digest, path, file, written)))
    }

    fn new(directory: Arc<Directory>, digest: Digest, path: PathBuf, file: File, written: u64) -> Self {
        let data = Arc::new(Growing { file: Arc::new(file), written: AtomicU64::new(written) });
        Self { directory, digest, path, data, state: State::Whole }
    }

    fn finish(mut self) -> io::Result<Arc<dyn Content>> {
        if self.state != State::Whole {
            return Err(io::Error::other("the content was not written to its end"));
        }
        let size = self.written();
        self.state = State::Torn;
        let target = self.directory.blob(&self.digest);
        disk::write_all(&self.data.file, &[Bytes::copy_from_slice(&trailer(size))])?;
        self.data.file.sync_all()?;
        self.directory.place(&self.path, &target)?;
        self.state = State::Ended;
        self.directory.forget_left(&self.digest);
        let (directory, file) = (Arc::clone(&self.directory), Arc::clone(&self.data.file));
        let identity = identity(&file.metadata()?);
        Ok(Arc::new(LocalContent { directory, path: target, file, identity, size }))
    }

    fn remove(&mut self) {
        self.state = State::Ended;
        if let Err(err) = remove_anything(&self.path) {
            let path = self.path.display();
            tracing::warn!(%path, %err, "cannot remove an unfinished download; the next start will");
        }
    }
}

impl PartialContent for LocalPartial {
    fn written(&self) -> u64 {
        self.data.written.load(Ordering::Acquire)
    }

    fn append(&mut self, pieces: Vec<Bytes>) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move {
            if self.state != State::Whole {
                return Err(io::Error::other("an earlier write failed"));
            }
            self.state = State::Torn;
            let added: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
            let (file, before) = (Arc::clone(&self.data.file), self.written());
            let (outcome, whole) = blocking(move || match disk::write_all(&file, &pieces) {
                Ok(()) => Ok((Ok(()), true)),
                // A full disk takes the first bytes and refuses the rest.
                Err(err) => Ok((Err(err), file.set_len(before).is_ok())),
            })
            .await?;
            if whole {
                self.state = State::Whole;
            }
            outcome?;
            self.data.written.fetch_add(added, Ordering::Release);
            Ok(())
        })
    }

    fn reader(&self) -> Arc<dyn ReadAt> {
        Arc::clone(&self.data) as Arc<dyn ReadAt>
    }

    fn commit(self: Box<Self>) -> BoxFuture<'static, io::Result<Arc<dyn Content>>> {
        Box::pin(blocking(move || self.finish()))
    }

    fn discard(mut self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let _ = blocking(move || {
                self.remove();
                Ok(())
            })
            .await;
        })
    }
}

impl Drop for LocalPartial {
    fn drop(&mut self) {
        match self.state {
            State::Ended => {}
            State::Whole if self.written() > 0 => {
                self.directory.leave(self.digest, self.path.clone(), self.written());
            }
            State::Whole | State::Torn => self.remove(),
        }
    }
}

/// All content in `directory`. What is not of this program's making is passed over: it shows when it is opened.
pub(super) fn list(directory: &Directory) -> io::Result<Vec<Listed>> {
    let mut listed = Vec::new();
    for algorithm in entries(&directory.blobs())? {
        for shard in entries(&algorithm)? {
            for path in entries(&shard)? {
                let name = |path: &Path| Some(path.file_name()?.to_str()?.to_owned());
                let digest = name(&algorithm).zip(name(&path)).map(|(algorithm, hex)| format!("{algorithm}:{hex}"));
                let Some(digest) = digest.and_then(|text| text.parse::<Digest>().ok()) else { continue };
                // Gone again, perhaps.
                let Ok(found) = fs::symlink_metadata(&path) else { continue };
                let Some(size) = found.len().checked_sub(TRAILER_BYTES as u64).filter(|_| found.is_file()) else {
                    continue;
                };
                listed.push(Listed { digest, size, accessed: found.modified()? });
            }
        }
    }
    Ok(listed)
}

/// What is in a directory; nothing, if it is none.
fn entries(directory: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(directory) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(err) if matches!(err.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(Vec::new()),
        Err(err) => Err(err),
    }
}

/// Notes when content was last used: as the time its file was modified, which nothing else here needs.
pub(super) fn touch(directory: &Directory, digest: &Digest, at: SystemTime) -> io::Result<()> {
    OpenOptions::new().write(true).open(directory.blob(digest))?.set_modified(at)
}
