//! Content as files.
//!
//! A committed file ends in a trailer with the content's length. A file that lost its end, grew, or was put there by
//! somebody else so shows itself when it is opened, before a length was promised to a client, and without the
//! second file, or the second sync, that a length kept elsewhere would cost. Bytes that changed in place do not
//! show here; hashing finds them.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::disk::{self, Opened, blocking, open_regular, remove_anything};
use super::local_directory::Directory;
use super::store::{Content, PartialContent, ReadAt};
use crate::body::BoxFuture;

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
    size: u64,
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
            Some(LocalContent { directory: Arc::clone(directory), path, file: Arc::new(file), size })
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

    fn discard(&self) -> BoxFuture<'_, io::Result<()>> {
        let (directory, path, file) = (Arc::clone(&self.directory), self.path.clone(), Arc::clone(&self.file));
        Box::pin(blocking(move || {
            let _repairing = directory.repairing();
            let ours = file.metadata()?;
            match fs::symlink_metadata(&path) {
                Ok(there) if (there.dev(), there.ino()) == (ours.dev(), ours.ino()) => remove_anything(&path),
                _ => Ok(()),
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
        blocking(move || disk::read_at(&file, offset, max)).await
    })
}

/// A file in `partial` that grows.
pub(super) struct LocalPartial {
    directory: Arc<Directory>,
    path: PathBuf,
    target: PathBuf,
    data: Arc<Growing>,
    state: State,
}

#[derive(PartialEq)]
enum State {
    Whole,
    // An append is under way, or failed, or was cancelled: what is at the end nobody knows.
    Torn,
    Committed,
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
    pub(super) fn create(directory: Arc<Directory>, target: PathBuf) -> io::Result<Self> {
        let path = directory.partial();
        let file = Arc::new(directory.create_partial(&path)?);
        let data = Arc::new(Growing { file, written: AtomicU64::new(0) });
        Ok(Self { directory, path, target, data, state: State::Whole })
    }

    fn finish(mut self) -> io::Result<Arc<dyn Content>> {
        if self.state != State::Whole {
            return Err(io::Error::other("the content was not written to its end"));
        }
        let size = self.data.written.load(Ordering::Acquire);
        disk::write_all(&self.data.file, &[Bytes::copy_from_slice(&trailer(size))])?;
        self.data.file.sync_all()?;
        self.directory.place(&self.path, &self.target)?;
        self.state = State::Committed;
        let (directory, path) = (Arc::clone(&self.directory), self.target.clone());
        Ok(Arc::new(LocalContent { directory, path, file: Arc::clone(&self.data.file), size }))
    }
}

impl PartialContent for LocalPartial {
    fn append(&mut self, pieces: Vec<Bytes>) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move {
            if self.state != State::Whole {
                return Err(io::Error::other("an earlier write failed"));
            }
            self.state = State::Torn;
            let added: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
            let file = Arc::clone(&self.data.file);
            blocking(move || disk::write_all(&file, &pieces)).await?;
            self.data.written.fetch_add(added, Ordering::Release);
            self.state = State::Whole;
            Ok(())
        })
    }

    fn reader(&self) -> Arc<dyn ReadAt> {
        Arc::clone(&self.data) as Arc<dyn ReadAt>
    }

    fn commit(self: Box<Self>) -> BoxFuture<'static, io::Result<Arc<dyn Content>>> {
        Box::pin(blocking(move || self.finish()))
    }
}

impl Drop for LocalPartial {
    fn drop(&mut self) {
        if self.state == State::Committed {
            return;
        }
        let (path, directory) = (self.path.clone(), Arc::clone(&self.directory));
        let remove = move || {
            if let Err(err) = remove_anything(&path) {
                tracing::warn!(path = %path.display(), %err, "cannot remove an unfinished download; the next start will");
            }
            // Only now may another process have the directory.
            drop(directory);
        };
        // Freeing the blocks of a large file takes its time, so not on the runtime if there is one.
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}
