//! Open files, and pieces of them that stay what they were.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::oci::{Algorithm, Hasher};
use crate::upstream::UpstreamError;

/// The most that is read at once.
const MAX_READ_BYTES: usize = 1 << 20;
/// How long a file has to have been left alone for its times to tell of the next change: file systems count time in steps
/// of some milliseconds, some network file systems in whole seconds.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// What tells one state of a file from every other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    pub(super) size: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// That of a regular file, or why there is none.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        Self::read(&fs::metadata(path)?)
    }

    fn read(metadata: &Metadata) -> io::Result<Self> {
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
        }
        Ok(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }

    /// Whether it was left alone for long enough, by the one time that nobody can set.
    pub(super) fn is_settled(&self) -> bool {
        let changed = UNIX_EPOCH + Duration::from_secs(u64::try_from(self.changed.0).unwrap_or(0));
        // A clock may have been wrong then, or be now.
        let apart = SystemTime::now().duration_since(changed).unwrap_or_else(|ahead| ahead.duration());
        apart > SETTLED_AFTER
    }

    /// Tells a stretch of a file in this state from all others.
    fn identity(&self, offset: u64, size: u64) -> (u64, u64) {
        if !self.is_settled() {
            return unique();
        }
        let mut hasher = Hasher::new(Algorithm::Sha256);
        for number in [self.device, self.inode, self.size, offset, size] {
            hasher.update(&number.to_be_bytes());
        }
        for (seconds, nanoseconds) in [self.modified, self.changed] {
            hasher.update(&seconds.to_be_bytes());
            hasher.update(&nanoseconds.to_be_bytes());
        }
        let digest = hasher.finish();
        let word = |at: usize| digest.as_bytes()[at..at + 8].iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
        (word(0).max(1), word(8))
    }

    /// Whether bytes that were read under this stamp are still those of the file. One that was removed meanwhile is only
    /// ours, whatever its times say.
    fn still_holds(&self, metadata: &Metadata) -> bool {
        let Ok(now) = Self::read(metadata) else { return false };
        let changed = if metadata.nlink() == 0 { self.changed } else { now.changed };
        Self { changed, ..now } == *self
    }
}

/// An identity that nothing else has. Those of stamps do not begin with 0.
fn unique() -> (u64, u64) {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    (0, NEXT.fetch_add(1, Ordering::Relaxed))
}

/// An open file, with the stamp that it had then.
#[derive(Debug)]
pub(super) struct Opened {
    file: File,
    path: PathBuf,
    pub(super) stamp: Stamp,
}

impl Opened {
    /// Opens a regular file.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        // Looked at first: opening a pipe would wait for whoever writes to it.
        Stamp::of(path)?;
        let file = File::open(path)?;
        let stamp = Stamp::read(&file.metadata()?)?;
        Ok(Self { file, path: path.to_owned(), stamp })
    }

    /// The same, if the path itself is no link.
    pub(super) fn open_itself(path: &Path) -> io::Result<Self> {
        Stamp::read(&fs::symlink_metadata(path)?)?;
        Self::open(path)
    }

    /// Fills as much of `buffer` as there is behind `offset`, and says how much that is.
    pub(super) fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.file.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.check()?;
        Ok(filled)
    }

    /// Whether what was read until now is what the file had when it was opened.
    fn check(&self) -> io::Result<()> {
        if self.stamp.still_holds(&self.file.metadata()?) {
            return Ok(());
        }
        let what = format!("{} changed while it was read", self.path.display());
        Err(io::Error::new(io::ErrorKind::InvalidData, what))
    }
}

/// Content where it lies: a stretch of a file, or in memory. It never gives bytes that the file did not have when it was
/// opened; a file that changes cannot be read any more.
#[derive(Clone, Debug)]
pub struct Piece(Held);

#[derive(Clone, Debug)]
enum Held {
    Memory { bytes: Bytes, identity: (u64, u64) },
    File { file: Arc<Opened>, offset: u64, size: u64, identity: (u64, u64) },
}

impl Piece {
    pub(super) fn memory(bytes: Bytes) -> Self {
        Self(Held::Memory { bytes, identity: unique() })
    }

    pub(super) fn of(file: &Arc<Opened>, offset: u64, size: u64) -> Self {
        let identity = file.stamp.identity(offset, size);
        Self(Held::File { file: Arc::clone(file), offset, size, identity })
    }

    pub(super) fn whole(file: Opened) -> Self {
        let size = file.stamp.size;
        Self::of(&Arc::new(file), 0, size)
    }

    /// Its length in bytes.
    pub fn size(&self) -> u64 {
        match &self.0 {
            Held::Memory { bytes, .. } => bytes.len() as u64,
            Held::File { size, .. } => *size,
        }
    }

    /// The same for all pieces of the same stretch of the same state of a file, and for no others; of a file that was just
    /// written, whose states cannot all be told apart, each piece has its own.
    pub fn identity(&self) -> (u64, u64) {
        match &self.0 {
            Held::Memory { identity, .. } | Held::File { identity, .. } => *identity,
        }
    }

    /// Whether others have the same identity.
    pub fn is_settled(&self) -> bool {
        self.identity().0 != 0
    }

    /// Up to `max` bytes from `offset` on; none at its end.
    ///
    /// # Errors
    /// When the file cannot be read, or is not what it was.
    pub async fn read_at(&self, offset: u64, max: usize) -> io::Result<Bytes> {
        if matches!(self.0, Held::Memory { .. }) {
            return self.read(offset, max);
        }
        let piece = self.clone();
        let read = tokio::task::spawn_blocking(move || piece.read(offset, max));
        read.await.unwrap_or_else(|stopped| Err(stopped.into()))
    }

    /// The same in a thread that may block.
    pub(super) fn read(&self, offset: u64, max: usize) -> io::Result<Bytes> {
        let (file, start, size) = match &self.0 {
            Held::Memory { bytes, .. } => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                return Ok(bytes.slice(start..start + max.min(bytes.len() - start)));
            }
            Held::File { file, offset, size, .. } => (file, offset, size),
        };
        let left = usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut buffer = vec![0; max.min(left).min(MAX_READ_BYTES)];
        let filled = file.read(start + offset, &mut buffer)?;
        if filled < buffer.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(buffer.into())
    }

    /// All of it, if that is at most `cap` bytes.
    pub(super) fn read_all(&self, cap: u64) -> Result<Bytes, UpstreamError> {
        if self.size() > cap {
            return Err(UpstreamError::TooLarge { limit: cap });
        }
        let mut all = Vec::new();
        while (all.len() as u64) < self.size() {
            let read = self.read(all.len() as u64, MAX_READ_BYTES);
            all.extend_from_slice(&read.map_err(|cause| UpstreamError::io("a file cannot be read", cause))?);
        }
        Ok(all.into())
    }
}
