//! The directory that a local store is in: where things are, and how files come and go there.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::disk::{ensure_directory, remove_anything, replace, sync_directory};
use crate::oci::Digest;

/// The beginning of some content.
struct Left {
    path: PathBuf,
    bytes: u64,
}

/// The directory, locked for this process.
pub(super) struct Directory {
    root: PathBuf,
    // Its lock goes when it is closed.
    _lock: File,
    // Held between the look at a damaged file and its removal, and while a new one takes its place, so that a
    // late finder of the damage does not remove the repair.
    repair: Mutex<()>,
    // Numbers the files in `partial`.
    next: AtomicU64,
    // Files in `partial` that nobody is writing, and what they are the beginning of.
    left: Mutex<HashMap<Digest, Left>>,
}

impl Directory {
    /// The directory `root`, for as long as `lock` is held.
    pub(super) fn new(root: PathBuf, lock: File) -> Self {
        let (repair, next, left) = (Mutex::new(()), AtomicU64::new(0), Mutex::default());
        Self { root, _lock: lock, repair, next, left }
    }

    pub(super) fn records(&self) -> PathBuf {
        self.root.join("records")
    }

    /// A new name in `partial`, for something that is of no use before it is whole.
    pub(super) fn scratch(&self) -> PathBuf {
        self.root.join("partial").join(self.number().to_string())
    }

    /// A new name in `partial` that says what it is the beginning of.
    pub(super) fn partial(&self, digest: &Digest) -> PathBuf {
        let name = format!("{}-{}-{}", digest.algorithm().name(), digest.hex(), self.number());
        self.root.join("partial").join(name)
    }

    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Finds what a process before this one left in `partial`: beginnings of content stay, to be gone on with, the
    /// rest goes. Gives how much there is of either.
    pub(super) fn take_stock(&self) -> io::Result<(usize, usize)> {
        let (mut swept, mut sizes) = (0, HashMap::new());
        for entry in fs::read_dir(self.root.join("partial"))? {
            let entry = entry?;
            let parsed = entry.file_name().to_str().and_then(parse_partial);
            let metadata = fs::symlink_metadata(entry.path())?;
            let is_beginning =
                |(digest, _): &(Digest, u64)| metadata.is_file() && metadata.len() > 0 && !self.blob(digest).exists();
            let Some((digest, number)) = parsed.filter(is_beginning) else {
                remove_anything(&entry.path())?;
                swept += 1;
                continue;
            };
            self.next.fetch_max(number.saturating_add(1), Ordering::Relaxed);
            if sizes.get(&digest).is_none_or(|size| *size < metadata.len()) {
                sizes.insert(digest, metadata.len());
                swept += usize::from(self.leave(digest, entry.path(), metadata.len()));
            } else {
                remove_anything(&entry.path())?;
                swept += 1;
            }
        }
        Ok((self.left().len(), swept))
    }

    /// Leaves a file in `partial` to whoever goes on with it. One that was left before goes; says whether there was.
    pub(super) fn leave(&self, digest: Digest, path: PathBuf, bytes: u64) -> bool {
        let Some(older) = self.left().insert(digest, Left { path, bytes }) else { return false };
        if let Err(err) = remove_anything(&older.path) {
            tracing::warn!(path = %older.path.display(), %err, "cannot remove an unfinished download; the next start will");
        }
        true
    }

    /// Takes over what was left of `digest`.
    pub(super) fn take_over(&self, digest: &Digest) -> Option<PathBuf> {
        self.left().remove(digest).map(|left| left.path)
    }

    /// How many bytes were left.
    pub(super) fn left_bytes(&self) -> u64 {
        self.left().values().map(|left| left.bytes).sum()
    }

    /// Removes what was left of `digest`, which came another way.
    pub(super) fn forget_left(&self, digest: &Digest) {
        if let Some(path) = self.take_over(digest)
            && let Err(err) = remove_anything(&path)
        {
            tracing::warn!(path = %path.display(), %err, "cannot remove an unfinished download; the next start will");
        }
    }

    /// Removes what was left at least `age` ago.
    pub(super) fn sweep(&self, age: Duration) -> io::Result<usize> {
        let mut left = self.left();
        let before = left.len();
        left.retain(|_, Left { path, .. }| {
            let modified = fs::symlink_metadata(&*path).and_then(|found| found.modified());
            // A time in the future is a clock that was set back.
            if modified.is_ok_and(|modified| modified.elapsed().is_ok_and(|since| since < age)) {
                return true;
            }
            if let Err(err) = remove_anything(path) {
                tracing::warn!(path = %path.display(), %err, "cannot remove an unfinished download");
            }
            false
        });
        Ok(before - left.len())
    }

    fn left(&self) -> MutexGuard<'_, HashMap<Digest, Left>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// See [`Directory::repair`].
    pub(super) fn repairing(&self) -> MutexGuard<'_, ()> {
        self.repair.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves a synced file from `partial` to its place, durably.
    pub(super) fn place(&self, from: &Path, to: &Path) -> io::Result<()> {
        let parent = to.parent().unwrap_or(&self.root);
        ensure_directory(&self.root, parent)?;
        {
            let _repairing = self.repairing();
            replace(from, to)?;
        }
        sync_directory(parent)
    }

    /// Makes a file in `partial`, and `partial` if somebody removed it.
    pub(super) fn create_partial(&self, path: &Path) -> io::Result<File> {
        ensure_directory(&self.root, &self.root.join("partial"))?;
        OpenOptions::new().read(true).append(true).create_new(true).open(path)
    }

    /// Where content is, two levels above each file.
    pub(super) fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    /// Where the content of `digest` is.
    pub(super) fn blob(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        // Two levels, since some file systems slow down at many entries in one directory.
        self.blobs().join(digest.algorithm().name()).join(&hex[..2]).join(&hex)
    }
}

/// Reads a name that [`Directory::partial`] gave.
fn parse_partial(name: &str) -> Option<(Digest, u64)> {
    let (digest, number) = name.rsplit_once('-')?;
    Some((digest.replacen('-', ":", 1).parse().ok()?, number.parse().ok()?))
}
