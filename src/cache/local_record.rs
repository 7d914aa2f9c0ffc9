//! Records as files.
//!
//! A record's file begins with a line that has the digest of the rest. Records decide what is served under which
//! name, and one with a flipped bit can still parse.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use bytes::Bytes;

use super::disk::{self, Opened, open_regular, remove_anything};
use super::key::RecordKey;
use super::local_directory::Directory;
use crate::oci::Digest;

/// What a record's file name ends in. An encoded component has no dot, so no directory is called so.
const SUFFIX: &str = ".record";
/// The largest record: a relocation's, with a patch of at most a lock (8 MiB) and a config (8 MiB), as base64.
const MAX_RECORD_BYTES: usize = 32 << 20;
/// How deep records nest: a long repository name is several directories.
const MAX_DEPTH: usize = 64;

/// Reads a record; a damaged one goes, and counts as nothing.
pub(super) fn read(directory: &Directory, key: &RecordKey) -> io::Result<Option<Bytes>> {
    let Some(path) = path(directory, key) else { return Ok(None) };
    if let Checked::Whole(payload) = check(&path)? {
        return Ok(Some(payload));
    }
    // Once more, now that nobody can be putting a new one in place.
    let _repairing = directory.repairing();
    match check(&path)? {
        Checked::Whole(payload) => Ok(Some(payload)),
        Checked::Absent => Ok(None),
        Checked::Damaged(reason) => {
            tracing::warn!(path = %path.display(), reason, "removing a damaged record from the cache");
            if let Err(err) = remove_anything(&path) {
                tracing::warn!(path = %path.display(), %err, "cannot remove it");
            }
            Ok(None)
        }
    }
}

/// Writes a record in one step, durably.
pub(super) fn write(directory: &Directory, key: &RecordKey, payload: &[u8]) -> io::Result<()> {
    let path = path(directory, key).ok_or(io::ErrorKind::InvalidInput)?;
    if payload.len() > MAX_RECORD_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the record is too large"));
    }
    let new = directory.scratch();
    let write = || {
        let mut file = directory.create_partial(&new)?;
        file.write_all(format!("{}\n", Digest::of(payload)).as_bytes())?;
        file.write_all(payload)?;
        file.sync_all()?;
        directory.place(&new, &path)
    };
    write().inspect_err(|_| drop(remove_anything(&new)))
}

/// Removes a record, durably: a grant that was taken back must not return after a crash.
pub(super) fn delete(directory: &Directory, key: &RecordKey) -> io::Result<()> {
    let Some(path) = path(directory, key) else { return Ok(()) };
    match fs::symlink_metadata(&path) {
        Ok(_) => remove_anything(&path)?,
        Err(_) => return Ok(()),
    }
    path.parent().map_or(Ok(()), disk::sync_directory)
}

/// The keys under `prefix`, in order. Names that are not of this program's making are passed over.
pub(super) fn list(directory: &Directory, prefix: &RecordKey) -> io::Result<Vec<RecordKey>> {
    let mut keys = Vec::new();
    let mut open = vec![prefix.path_segments()];
    while let Some(segments) = open.pop() {
        let mut path = directory.records();
        path.extend(&segments);
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(err) if matches!(err.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => continue,
            Err(err) => return Err(err),
        };
        for entry in entries {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let mut below = segments.clone();
            match name.strip_suffix(SUFFIX) {
                Some(last) => {
                    below.push(last.to_owned());
                    keys.extend(RecordKey::from_path_segments(&below).filter(|key| key.is_under(prefix)));
                }
                None if below.len() < MAX_DEPTH => {
                    below.push(name);
                    open.push(below);
                }
                None => {}
            }
        }
    }
    keys.sort_unstable();
    Ok(keys)
}

/// Where a record is; a key without components is nowhere.
fn path(directory: &Directory, key: &RecordKey) -> Option<PathBuf> {
    let mut segments = key.path_segments();
    let last = segments.pop()?;
    let mut path = directory.records();
    path.extend(segments);
    path.push(last + SUFFIX);
    Some(path)
}

enum Checked {
    Whole(Bytes),
    Absent,
    Damaged(&'static str),
}

fn check(path: &std::path::Path) -> io::Result<Checked> {
    let file = match open_regular(path)? {
        Opened::File(file) => file,
        Opened::Absent => return Ok(Checked::Absent),
        Opened::Damaged(reason) => return Ok(Checked::Damaged(reason)),
    };
    if file.metadata()?.len() > MAX_RECORD_BYTES as u64 + 256 {
        return Ok(Checked::Damaged("too large for a record"));
    }
    let mut whole = Vec::new();
    if io::Read::read_to_end(&mut &file, &mut whole).is_err() {
        return Ok(Checked::Damaged("not readable by the disk"));
    }
    let whole = Bytes::from(whole);
    let Some(line) = whole.iter().position(|byte| *byte == b'\n') else {
        return Ok(Checked::Damaged("without the digest in front"));
    };
    let payload = whole.slice(line + 1..);
    if whole[..line] != *Digest::of(&payload).to_string().as_bytes() {
        return Ok(Checked::Damaged("not what its digest says"));
    }
    Ok(Checked::Whole(payload))
}
