//! Real file systems for the disk to be full or read-only on. Needs root, and programs from Debian's `mount`.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::process::succeed;
use super::{find, require, require_root};

/// Something mounted on a directory, until it is dropped.
pub(crate) struct Mount(PathBuf);

impl Mount {
    /// Whether this test may mount; skips and fails as [`require`] does.
    pub(crate) fn is_possible() -> bool {
        require_root() && require(&["mount", "umount"])
    }

    /// A file system in memory that takes so many bytes.
    pub(crate) async fn small(directory: &Path, bytes: u64) -> Self {
        let options = format!("size={bytes},mode=0700");
        succeed("mount", &["-t", "tmpfs", "-o", &options, "tmpfs", &directory.to_string_lossy()]).await;
        Self(directory.to_owned())
    }

    /// The same directory, in front of itself, so that nothing can be written any more (`EROFS`). Making a whole file
    /// system read-only fails while a file on it is open for writing; this does not ask.
    pub(crate) async fn read_only(directory: &Path) -> Self {
        let path = directory.to_string_lossy();
        succeed("mount", &["--bind", &path, &path]).await;
        let mounted = Self(directory.to_owned());
        succeed("mount", &["-o", "remount,bind,ro", &path]).await;
        mounted
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: a program that is still running may have files open there. It fails only if it is gone already.
        let umount = find("umount").unwrap_or_default();
        let _ = Command::new(umount).arg("-l").arg(&self.0).status();
    }
}
