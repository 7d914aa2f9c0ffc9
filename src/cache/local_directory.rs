//! The directory that a local store is in: where things are, and how files come and go there.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::disk::{ensure_directory, replace, sync_directory};
use crate::oci::Digest;

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
}

impl Directory {
    /// The directory `root`, for as long as `lock` is held.
    pub(super) fn new(root: PathBuf, lock: File) -> Self {
        Self { root, _lock: lock, repair: Mutex::new(()), next: AtomicU64::new(0) }
    }

    pub(super) fn records(&self) -> PathBuf {
        self.root.join("records")
    }

    /// A new name in `partial`.
    pub(super) fn partial(&self) -> PathBuf {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.root.join("partial").join(number.to_string())
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

    /// Where the content of `digest` is.
    pub(super) fn blob(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        // Two levels, since some file systems slow down at many entries in one directory.
        self.root.join("blobs").join(digest.algorithm().name()).join(&hex[..2]).join(&hex)
    }
}
