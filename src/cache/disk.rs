//! Files and directories that survive a crash, and getting off the runtime to touch them.

use std::fs::{self, File};
use std::io::{self, IoSlice, IoSliceMut, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::Bytes;

use super::store::{MAX_READ_BYTES, Space};
use crate::telemetry::carried;

/// The disk cannot read it any more (`EIO`), for which there is no `ErrorKind`.
pub(super) const UNREADABLE: i32 = 5;

/// Runs file work on the blocking pool: a disk that stalls must not stop the sockets.
pub(super) async fn blocking<T, F>(work: F) -> io::Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> io::Result<T> + Send + 'static,
{
    match tokio::task::spawn_blocking(carried(work)).await {
        Ok(outcome) => outcome,
        Err(gone) => Err(io::Error::other(gone)),
    }
}

/// The room of the file system that `path` is on.
pub(super) fn space(path: &Path) -> io::Result<Space> {
    let found = rustix::fs::statvfs(path)?;
    // What is kept for root is no room for this program.
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    Ok(Space { total: bytes(found.f_blocks), free: bytes(found.f_bavail) })
}

/// Makes a rename or a new file in `directory` last.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Makes `directory`, which is below `root`, and what it stands in, durably.
///
/// What stands in its place and is no directory goes, but only below `root`: above, it is not ours.
pub(super) fn ensure_directory(root: &Path, directory: &Path) -> io::Result<()> {
    if fs::metadata(directory).is_ok_and(|found| found.is_dir()) {
        return Ok(());
    }
    let Some(parent) = directory.parent().filter(|_| directory != root && directory.starts_with(root)) else {
        return fs::create_dir_all(directory);
    };
    // A file, or a link that leads nowhere.
    if fs::symlink_metadata(directory).is_ok_and(|found| !found.is_dir()) {
        fs::remove_file(directory)?;
    }
    ensure_directory(root, parent)?;
    match fs::create_dir(directory) {
        Err(err) if err.kind() != io::ErrorKind::AlreadyExists => Err(err),
        // Also if another thread made it just now: that one may not have synced yet.
        _ => sync_directory(parent),
    }
}

/// Moves a file to its place; a directory in that place goes. Lasts only after a [`sync_directory`].
pub(super) fn replace(from: &Path, to: &Path) -> io::Result<()> {
    let Err(err) = fs::rename(from, to) else { return Ok(()) };
    if !fs::symlink_metadata(to).is_ok_and(|found| found.is_dir()) {
        return Err(err);
    }
    fs::remove_dir_all(to)?;
    fs::rename(from, to)
}

/// Removes whatever is at `path`; links are not followed, and nothing there is a success.
pub(super) fn remove_anything(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(err) => Err(err),
    };
    match removed {
        Err(err) if matches!(err.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(()),
        other => other,
    }
}

/// Opens a regular file; anything else of that name is [`Opened::Damaged`].
pub(super) fn open_regular(path: &Path) -> io::Result<Opened> {
    // Looked at first because opening a pipe would wait for its writer.
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(err) => return absent_or_damaged(err),
    };
    if !found.is_file() {
        return Ok(Opened::Damaged("not a regular file"));
    }
    match File::open(path) {
        Ok(file) => Ok(Opened::File(file)),
        Err(err) => absent_or_damaged(err),
    }
}

/// What [`open_regular`] found.
pub(super) enum Opened {
    /// A regular file.
    File(File),
    /// Nothing.
    Absent,
    /// Something that was not put there by this program, and why.
    Damaged(&'static str),
}

fn absent_or_damaged(err: io::Error) -> io::Result<Opened> {
    match err.kind() {
        io::ErrorKind::NotFound => Ok(Opened::Absent),
        // A file where a directory should be on the way there.
        io::ErrorKind::NotADirectory => Ok(Opened::Absent),
        io::ErrorKind::PermissionDenied => Ok(Opened::Damaged("not readable by this user")),
        _ if err.raw_os_error() == Some(UNREADABLE) => Ok(Opened::Damaged("not readable by the disk")),
        // Too many open files, say: that is not the entry's fault, which so must not be thrown away.
        _ => Err(err),
    }
}

/// Reads `max` bytes at `offset` if they are all in memory; else the disk would have to be waited for.
///
/// A trip to the blocking pool costs more than copying from the page cache: with it, serving large blobs that were
/// read a moment ago took 1.4 to 1.9 times the processor time.
#[cfg(target_os = "linux")]
pub(super) fn read_cached(file: &File, offset: u64, max: usize) -> Option<Bytes> {
    let mut buffer = vec![0; max.min(MAX_READ_BYTES)];
    let now = rustix::io::ReadWriteFlags::NOWAIT;
    let read = rustix::io::preadv2(file, &mut [IoSliceMut::new(&mut buffer)], offset, now).ok()?;
    (read == buffer.len()).then(|| buffer.into())
}

/// See the other one; elsewhere nobody can say.
#[cfg(not(target_os = "linux"))]
pub(super) fn read_cached(_: &File, _: u64, _: usize) -> Option<Bytes> {
    None
}

/// Reads up to `max` bytes at `offset`, fewer only at the end of the file.
pub(super) fn read_at(file: &File, offset: u64, max: usize) -> io::Result<Bytes> {
    let mut buffer = vec![0; max.min(MAX_READ_BYTES)];
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            Err(err) => return Err(err),
        }
    }
    buffer.truncate(filled);
    Ok(buffer.into())
}

/// Writes all pieces at the file's end, without joining them first.
pub(super) fn write_all(mut file: &File, pieces: &[Bytes]) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
    let mut rest = &mut slices[..];
    // Not to mistake leading empty pieces for a device that takes nothing.
    IoSlice::advance_slices(&mut rest, 0);
    while !rest.is_empty() {
        match file.write_vectored(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut rest, written),
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            Err(err) => return Err(err),
        }
    }
    Ok(())
}
