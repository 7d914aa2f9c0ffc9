//! The password file: read whole, and looked at for changes.

use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use zeroize::Zeroizing;

use super::password_lines::LineProblem;

/// Some sixteen thousand users.
const MAX_BYTES: usize = 1 << 20;
/// A file that changed no longer ago may change again without its times showing it: they tick in milliseconds, on
/// some file systems in seconds.
const SETTLED: Duration = Duration::from_secs(3);
/// How many unusable lines an error names.
const MAX_NAMED: usize = 20;

/// Why there are no users to be had from a file.
#[derive(Debug, thiserror::Error)]
pub enum HtpasswdError {
    /// The system does not give it.
    #[error("cannot read the password file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A directory, a pipe, a device.
    #[error("{} is not a file; the password file is one with lines such as `htpasswd -B` writes", path.display())]
    NotAFile {
        /// What it is not.
        path: PathBuf,
    },
    /// Over the cap.
    #[error("the password file {} is larger than {MAX_BYTES} bytes, which no such file needs to be", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// A file without a user shuts everyone out, which is nothing anyone asks for in this way.
    #[error("the password file {} has no users; add one with `htpasswd -B`", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Lines that cannot be used: all of the file is refused, so that nobody is left out without a word.
    #[error("the password file {} cannot be used: {}", path.display(), named(problems))]
    Lines {
        /// The file.
        path: PathBuf,
        /// All of them.
        problems: Vec<LineProblem>,
    },
}

fn named(problems: &[LineProblem]) -> String {
    let mut named: Vec<String> = problems.iter().take(MAX_NAMED).map(ToString::to_string).collect();
    if let Some(more @ 1..) = problems.len().checked_sub(MAX_NAMED) {
        named.push(format!("and {more} more lines"));
    }
    named.join("; ")
}

/// Where the file is. Links are followed each time, as Kubernetes changes a mounted secret by its link.
#[derive(Debug)]
pub(super) struct PasswordFile {
    path: PathBuf,
}

/// What tells one state of a file from the next, as far as its metadata can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    place: (u64, u64),
    length: u64,
    modified: (i64, i64),
    /// Cannot be set back, as the other one can.
    changed: (i64, i64),
}

/// A file as it was read.
pub(super) struct Content {
    pub(super) bytes: Zeroizing<Vec<u8>>,
    /// `None` when it may still change without showing it.
    pub(super) stamp: Option<Stamp>,
}

impl PasswordFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The stamp of what is there now.
    pub(super) fn stamp(&self) -> Result<Stamp, HtpasswdError> {
        fs::metadata(&self.path).map(|metadata| stamp(&metadata)).map_err(|source| self.unreadable(source))
    }

    /// Reads all of it. Blocks.
    pub(super) fn read(&self) -> Result<Content, HtpasswdError> {
        // Opening a pipe would wait for somebody to write to it.
        if !fs::metadata(&self.path).map_err(|source| self.unreadable(source))?.is_file() {
            return Err(HtpasswdError::NotAFile { path: self.path.clone() });
        }
        let file = File::open(&self.path).map_err(|source| self.unreadable(source))?;
        // Of the file that is open, and before it is read: what comes later shows in a later stamp.
        let metadata = file.metadata().map_err(|source| self.unreadable(source))?;
        let age = metadata.modified().ok().and_then(|modified| SystemTime::now().duration_since(modified).ok());
        let stamp = age.is_some_and(|age| age > SETTLED).then(|| stamp(&metadata));
        // In one piece from the start: a buffer that grows leaves copies behind.
        let room = usize::try_from(metadata.len()).unwrap_or(MAX_BYTES).min(MAX_BYTES) + 1;
        let mut bytes = Zeroizing::new(Vec::with_capacity(room));
        file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(|source| self.unreadable(source))?;
        if bytes.len() > MAX_BYTES {
            return Err(HtpasswdError::TooLarge { path: self.path.clone() });
        }
        Ok(Content { bytes, stamp })
    }

    fn unreadable(&self, source: io::Error) -> HtpasswdError {
        HtpasswdError::Read { path: self.path.clone(), source }
    }
}

fn stamp(metadata: &Metadata) -> Stamp {
    Stamp {
        place: (metadata.dev(), metadata.ino()),
        length: metadata.len(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests {
    use std::error::Error as _;
    use std::os::unix::fs::symlink;

    use super::super::password_lines::LineFault;
    use super::*;

    fn age(path: &Path, by: Duration) {
        File::options().write(true).open(path).unwrap().set_modified(SystemTime::now() - by).unwrap();
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("users");
        let file = PasswordFile::new(path.clone());
        let missing = file.read().err().unwrap();
        assert!(matches!(missing, HtpasswdError::Read { .. }) && missing.source().is_some(), "{missing}");
        assert!(matches!(file.stamp(), Err(HtpasswdError::Read { .. })));
        let directory = PasswordFile::new(scratch.path().to_owned()).read().err().unwrap();
        assert!(matches!(directory, HtpasswdError::NotAFile { .. }), "{directory}");
        fs::write(&path, vec![b'#'; MAX_BYTES]).unwrap();
        assert_eq!(file.read().unwrap().bytes.len(), MAX_BYTES);
        fs::write(&path, vec![b'#'; MAX_BYTES + 1]).unwrap();
        let large = file.read().err().unwrap();
        assert!(matches!(large, HtpasswdError::TooLarge { .. }), "{large}");
    }

    #[test]
    fn a_stamp_is_trusted_when_the_file_has_settled() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("users");
        fs::write(&path, "one").unwrap();
        let file = PasswordFile::new(path.clone());
        assert_eq!(file.read().unwrap().stamp, None);
        age(&path, Duration::from_secs(60));
        let settled = file.read().unwrap().stamp.unwrap();
        assert_eq!(file.stamp().unwrap(), settled);
    }

    #[test]
    fn a_stamp_shows_other_content_and_other_files() {
        let scratch = tempfile::tempdir().unwrap();
        let [one, two, link, next] = ["one", "two", "link", "next"].map(|name| scratch.path().join(name));
        fs::write(&one, "content").unwrap();
        fs::write(&two, "another").unwrap();
        symlink(&one, &link).unwrap();
        let file = PasswordFile::new(link.clone());
        let first = file.stamp().unwrap();
        // As Kubernetes does it: a new link, renamed over the old one.
        symlink(&two, &next).unwrap();
        fs::rename(&next, &link).unwrap();
        let second = file.stamp().unwrap();
        assert_ne!(first, second);
        fs::write(&two, "longer than before").unwrap();
        assert_ne!(file.stamp().unwrap(), second);
        let third = file.stamp().unwrap();
        age(&two, Duration::from_secs(60));
        assert_ne!(file.stamp().unwrap(), third);
    }

    #[test]
    fn an_error_names_so_many_lines() {
        let problem = |line| LineProblem { line, fault: LineFault::NoColon };
        assert!(!named(&(1..=20).map(problem).collect::<Vec<_>>()).contains("more lines"));
        let many = named(&(1..=22).map(problem).collect::<Vec<_>>());
        assert!(
            many.contains("line 20: ") && !many.contains("line 21") && many.ends_with("and 2 more lines"),
            "{many}"
        );
    }
}
