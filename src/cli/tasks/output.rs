//! The file that an archive becomes.
//!
//! Until it is whole it is another one beside it, `FILE.partial`, which stays when something goes wrong: the next export goes on
//! with what of it is right. It is locked, since two that write at once would make something that is neither's.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use tokio::task::block_in_place;

use super::error::{ExportError, PlaceError};
use super::kept::{self, Kept};
use crate::cli::error::CliError;
use crate::oci::Digest;

/// How often another partial file is tried if the one that was locked has just become an archive.
const ATTEMPTS: u32 = 10;

/// See the [module](self).
pub(super) struct Output {
    path: PathBuf,
    partial: PathBuf,
    file: File,
    kept: Kept,
    /// How much of the archive is there, and how long it will be, once that is known.
    written: Option<(u64, u64)>,
}

impl Output {
    /// Opens what there is of an archive, or begins one.
    pub(super) fn open(path: &Path) -> Result<Self, ExportError> {
        let mut partial = OsString::from(path);
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        check(path)?;
        check(&partial)?;
        let file = lock(&partial)?;
        Ok(Self { path: path.to_owned(), partial, file, kept: Kept::default(), written: None })
    }

    /// The marks of the files that are whole.
    pub(super) async fn kept(&mut self) -> Result<Vec<Digest>, ExportError> {
        self.kept = kept::read(&mut self.file).await.map_err(|source| self.trouble("read", source))?;
        Ok(self.kept.marks.clone())
    }

    /// Begins behind so many of them.
    pub(super) fn begin(&mut self, bytes: u64, kept: u64, kept_bytes: u64) -> Result<(), ExportError> {
        let end = match usize::try_from(kept).unwrap_or(usize::MAX).checked_sub(1) {
            None => Some(0),
            Some(last) => self.kept.ends.get(last).copied(),
        };
        if end != Some(kept_bytes) || self.written.is_some() {
            return Err(ExportError::Confused);
        }
        let begun = self.file.set_len(kept_bytes).and_then(|()| self.file.seek(SeekFrom::Start(kept_bytes)));
        begun.map_err(|source| self.trouble("written", source))?;
        self.written = Some((kept_bytes, bytes));
        Ok(())
    }

    /// Takes in the next bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), ExportError> {
        let Some((written, _)) = &mut self.written else { return Err(ExportError::Confused) };
        *written += bytes.len() as u64;
        block_in_place(|| self.file.write_all(bytes)).map_err(|source| self.trouble("written", source))
    }

    /// Gives the archive its name, once it is on the disk.
    pub(super) fn finish(&mut self) -> Result<(), ExportError> {
        if self.written.is_none_or(|(written, bytes)| written != bytes) {
            return Err(ExportError::Confused);
        }
        let finished = block_in_place(|| {
            self.file.sync_all()?;
            fs::rename(&self.partial, &self.path)?;
            let directory = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
            File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
        });
        finished.map_err(|source| ExportError::File { path: self.path.clone(), what: "written", source })
    }

    /// The same error, with what has become of the archive. One that has not begun is taken away.
    pub(super) fn unfinished(self, error: CliError) -> CliError {
        let begun = self.file.metadata().is_ok_and(|found| found.len() > 0);
        if !begun {
            // While it is locked, so that nobody else has just begun with it.
            let _ = fs::remove_file(&self.partial);
        }
        match error {
            CliError::Problems(_)
            | CliError::Stopped(_)
            | CliError::Control(_)
            | CliError::Place(PlaceError::Stopped)
                if begun =>
            {
                ExportError::Unfinished { partial: self.partial, cause: Box::new(error) }.into()
            }
            error => error,
        }
    }

    fn trouble(&self, what: &'static str, source: io::Error) -> ExportError {
        ExportError::File { path: self.partial.clone(), what, source }
    }
}

/// Refuses what an archive must not take the place of.
fn check(path: &Path) -> Result<(), ExportError> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.is_file() => Err(ExportError::NotAFile { path: path.to_owned() }),
        Ok(_) => Ok(()),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(ExportError::File { path: path.to_owned(), what: "looked at", source }),
    }
}

/// Opens the partial file for this process alone.
fn lock(partial: &Path) -> Result<File, ExportError> {
    let trouble = |source| ExportError::File { path: partial.to_owned(), what: "opened", source };
    let mut options = OpenOptions::new();
    // Whoever may put a link there could have any file of this user's written to.
    let no_links = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    options.read(true).write(true).create(true).truncate(false).custom_flags(no_links.bits().cast_signed());
    for _ in 0..ATTEMPTS {
        let file = options.open(partial).map_err(trouble)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(ExportError::Busy { path: partial.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(trouble(source)),
        }
        let found = file.metadata().map_err(trouble)?;
        if !found.is_file() {
            return Err(ExportError::NotAFile { path: partial.to_owned() });
        }
        // It may have become the archive between the two.
        if fs::symlink_metadata(partial).is_ok_and(|named| (named.dev(), named.ino()) == (found.dev(), found.ino())) {
            return Ok(file);
        }
    }
    Err(ExportError::Busy { path: partial.to_owned() })
}
