//! Small files that operators change while the program runs: passwords, credentials, keys.
//!
//! They are read whole and looked at by their metadata, as rooms above do every second or so. Links are followed each
//! time, as Kubernetes changes a mounted secret by its link.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::OFlags;
use zeroize::Zeroizing;

/// A file that changed no longer ago may change again without its times showing it: they tick in milliseconds, on
/// some file systems in seconds.
const SETTLED: Duration = Duration::from_secs(3);

/// Why there is nothing to be had from a file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system does not give it.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A directory, a pipe, a device: those would give their bytes once, or never end.
    #[error("{} is no regular file", .0.display())]
    Irregular(PathBuf),
    /// Over the cap.
    #[error("{} is larger than {cap} bytes, which no such file needs to be", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// What is read at most.
        cap: u64,
    },
}

/// What tells one state of a file from the next, as far as its metadata can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    place: (u64, u64),
    length: u64,
    modified: (i64, i64),
    /// Cannot be set back, as the other one can.
    changed: (i64, i64),
}

/// A file as it was read.
pub struct SmallFile {
    /// All of it.
    pub bytes: Zeroizing<Vec<u8>>,
    /// The state it was read in; `None` when it may still change without showing it.
    pub stamp: Option<Stamp>,
}

impl SmallFile {
    /// Reads a regular file of at most `cap` bytes. Blocks.
    ///
    /// # Errors
    /// When there is none, or it is larger.
    pub fn read(path: &Path, cap: u64) -> Result<Self, FileError> {
        let unreadable = |source| FileError::Read { path: path.to_owned(), source };
        // Opening a pipe would wait for somebody to write to it.
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(unreadable)?;
        // Of the file that is open, and before it is read: what comes later shows in a later stamp.
        let metadata = file.metadata().map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(FileError::Irregular(path.to_owned()));
        }
        let age = metadata.modified().ok().and_then(|modified| SystemTime::now().duration_since(modified).ok());
        let stamp = age.is_some_and(|age| age > SETTLED).then(|| Stamp::of(&metadata));
        Ok(Self { bytes: whole(file, path, metadata.len(), cap)?, stamp })
    }

    /// Reads it as [`read`](Self::read) does, unless it is as it was at `last`. Blocks.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_changed(path: &Path, cap: u64, last: Option<Stamp>) -> Result<Option<Self>, FileError> {
        let unchanged = |last| fs::metadata(path).is_ok_and(|metadata| Stamp::of(&metadata) == last);
        if last.is_some_and(unchanged) { Ok(None) } else { Self::read(path, cap).map(Some) }
    }
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            place: (metadata.dev(), metadata.ino()),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// Reads what is named on a command line, which may as well be a pipe. Blocks.
pub(super) fn read_once(path: &Path, cap: u64) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let file = File::open(path).map_err(|source| FileError::Read { path: path.to_owned(), source })?;
    whole(file, path, 0, cap)
}

fn whole(file: File, path: &Path, length: u64, cap: u64) -> Result<Zeroizing<Vec<u8>>, FileError> {
    // In one piece from the start: a buffer that grows leaves copies behind.
    let room = usize::try_from(length.min(cap).saturating_add(1)).unwrap_or_default();
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    let read = file.take(cap.saturating_add(1)).read_to_end(&mut bytes);
    read.map_err(|source| FileError::Read { path: path.to_owned(), source })?;
    if bytes.len() as u64 > cap { Err(FileError::TooLarge { path: path.to_owned(), cap }) } else { Ok(bytes) }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests {
    use std::error::Error as _;
    use std::os::unix::fs::symlink;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    const CAP: u64 = 64;

    fn age(path: &Path, by: Duration) {
        File::options().write(true).open(path).unwrap().set_modified(SystemTime::now() - by).unwrap();
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("file");
        let error = || SmallFile::read(&path, CAP).err().unwrap();
        assert!(matches!(error(), FileError::Read { .. }) && error().source().is_some(), "{}", error());
        let directory = SmallFile::read(scratch.path(), CAP).err().unwrap();
        assert!(matches!(directory, FileError::Irregular(_)), "{directory}");
        fs::write(&path, vec![b'#'; CAP as usize]).unwrap();
        assert_eq!(SmallFile::read(&path, CAP).unwrap().bytes.len(), CAP as usize);
        assert_eq!(read_once(&path, CAP).unwrap().len(), CAP as usize);
        fs::write(&path, vec![b'#'; CAP as usize + 1]).unwrap();
        assert!(matches!(error(), FileError::TooLarge { cap: CAP, .. }), "{}", error());
        assert!(matches!(read_once(&path, CAP), Err(FileError::TooLarge { .. })));
    }

    #[test]
    fn a_pipe_holds_nobody_up() {
        let scratch = tempfile::tempdir().unwrap();
        let pipe = scratch.path().join("pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RWXU, 0).unwrap();
        assert!(matches!(SmallFile::read(&pipe, CAP), Err(FileError::Irregular(_))));
    }

    #[test]
    fn a_stamp_is_trusted_when_the_file_has_settled() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("file");
        fs::write(&path, "one").unwrap();
        assert_eq!(SmallFile::read(&path, CAP).unwrap().stamp, None);
        assert!(SmallFile::read_changed(&path, CAP, None).unwrap().is_some());
        age(&path, Duration::from_secs(60));
        let settled = SmallFile::read(&path, CAP).unwrap().stamp;
        assert!(settled.is_some() && SmallFile::read_changed(&path, CAP, settled).unwrap().is_none());
    }

    #[test]
    fn a_stamp_shows_other_content_and_other_files() {
        let scratch = tempfile::tempdir().unwrap();
        let [one, two, link, next] = ["one", "two", "link", "next"].map(|name| scratch.path().join(name));
        fs::write(&one, "content").unwrap();
        fs::write(&two, "another").unwrap();
        symlink(&one, &link).unwrap();
        let stamp = || Stamp::of(&fs::metadata(&link).unwrap());
        let first = stamp();
        // As Kubernetes does it: a new link, renamed over the old one.
        symlink(&two, &next).unwrap();
        fs::rename(&next, &link).unwrap();
        let second = stamp();
        assert_ne!(first, second);
        fs::write(&two, "longer than before").unwrap();
        let third = stamp();
        assert_ne!(third, second);
        age(&two, Duration::from_secs(60));
        assert_ne!(stamp(), third);
        let changed = SmallFile::read_changed(&link, CAP, Some(third)).unwrap().unwrap();
        assert_eq!(*changed.bytes, b"longer than before");
    }
}
