//! What a tar has, by one pass over its headers.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::files_opened::{Opened, Stamp};
use crate::oci::Digest;
use crate::tar::{BLOCK, Entry, Kind, Scanner, Step, TarError};
use crate::upstream::UpstreamError;

/// More entries than any archive of images has; what is known of them takes some 30 MB.
const MAX_ENTRIES: usize = 200_000;
/// The largest table that is read back.
const MAX_KEPT_BYTES: u64 = 64 << 20;
/// The form of the tables that are kept; others are made anew.
const VERSION: u32 = 1;

/// Where something lies in a tar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) offset: u64,
    pub(super) size: u64,
}

/// What a tar has, as far as it is of use here.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Table {
    /// Image-spec's `oci-layout`.
    pub(super) marker: Option<Place>,
    /// Image-spec's `index.json`.
    pub(super) index: Option<Place>,
    /// imgpkg's description; Docker has a file of that name, too.
    pub(super) description: Option<Place>,
    /// Content, by what its name says.
    pub(super) contents: HashMap<Digest, Place>,
    /// How many entries have the name of content and are links, which are not followed.
    pub(super) links: usize,
}

/// A table as it is written down.
#[derive(Serialize, Deserialize)]
struct Kept<T> {
    version: u32,
    stamp: Stamp,
    table: T,
}

impl Table {
    /// The table of an archive: the one that was written down in `directory`, if the file is still the same, else one that
    /// is made now.
    pub(super) fn of(file: &Opened, path: &Path, directory: Option<&Path>) -> Result<Self, UpstreamError> {
        let kept = directory.map(|directory| kept_path(directory, path));
        if let Some(table) = kept.as_deref().and_then(|kept| Self::read(kept, &file.stamp)) {
            return Ok(table);
        }
        let table = Self::scan(file)?;
        // What was just written may change without its times telling.
        if let Some(kept) = kept.filter(|_| file.stamp.is_settled())
            && let Err(error) = table.keep(&kept, file.stamp)
        {
            tracing::debug!(file = %kept.display(), %error, "what an archive has cannot be written down");
        }
        Ok(table)
    }

    /// Looks through all headers, and at nothing else.
    pub(super) fn scan(file: &Opened) -> Result<Self, UpstreamError> {
        let (mut table, mut scanner, mut at) = (Self::default(), Scanner::new(), 0);
        let (mut entries, mut buffer) = (0, [0; BLOCK]);
        let bad = |error: TarError| UpstreamError::malformed(format!("is no tar that can be read: {error}"));
        while at < file.stamp.size && !scanner.has_ended() {
            let filled =
                file.read(at, &mut buffer).map_err(|cause| UpstreamError::io("an archive cannot be read", cause))?;
            if at == 0 {
                refuse_compressed(&buffer[..filled])?;
            }
            let mut input = &buffer[..filled];
            while !input.is_empty() {
                let (taken, entry) = match scanner.push(input).map_err(bad)? {
                    Step::Block(taken, entry) => (taken, entry),
                    Step::Partial(taken) | Step::Data(taken) => (taken, None),
                };
                input = &input[taken..];
                at += taken as u64;
                let Some(entry) = entry else { continue };
                entries += 1;
                if entries > MAX_ENTRIES {
                    return Err(UpstreamError::malformed("is an archive with more entries than are taken in"));
                }
                let end = at.saturating_add(entry.size);
                if end > file.stamp.size {
                    return Err(truncated(&entry.name, end, file.stamp.size));
                }
                table.note(&entry, at);
                at += scanner.skip();
                break;
            }
        }
        if !scanner.has_ended() {
            return Err(UpstreamError::malformed(
                "is a tar without an end: it was cut off, or is still being written; copy it again",
            ));
        }
        Ok(table)
    }

    /// Notes an entry whose data is at `offset`. Of several with one name the last counts, as when they are unpacked.
    fn note(&mut self, entry: &Entry, offset: u64) {
        let Ok(name) = std::str::from_utf8(&entry.name) else { return };
        let name = name.strip_prefix("./").unwrap_or(name);
        let place = Place { offset, size: entry.size };
        let is_link = matches!(entry.kind, Kind::HardLink | Kind::SymbolicLink);
        if !is_link && entry.kind != Kind::File {
            return;
        }
        let described = match name {
            "oci-layout" => Some(&mut self.marker),
            "index.json" => Some(&mut self.index),
            "manifest.json" => Some(&mut self.description),
            _ => None,
        };
        match (described, content_name(name)) {
            (Some(_), _) | (_, Some(_)) if is_link => self.links += 1,
            (Some(described), _) => *described = Some(place),
            (None, Some(digest)) => drop(self.contents.insert(digest, place)),
            (None, None) => {}
        }
    }

    fn read(kept: &Path, stamp: &Stamp) -> Option<Self> {
        let file = Opened::open(kept).ok().filter(|file| file.stamp.size <= MAX_KEPT_BYTES)?;
        let mut bytes = vec![0; usize::try_from(file.stamp.size).ok()?];
        let filled = file.read(0, &mut bytes).ok()?;
        let kept: Kept<Self> = serde_json::from_slice(&bytes[..filled]).ok()?;
        let within = |place: &Place| place.offset.checked_add(place.size).is_some_and(|end| end <= stamp.size);
        let all = |table: &Self| {
            table.contents.values().chain(&table.marker).chain(&table.index).chain(&table.description).all(within)
        };
        (kept.version == VERSION && kept.stamp == *stamp && all(&kept.table)).then_some(kept.table)
    }

    fn keep(&self, kept: &Path, stamp: Stamp) -> io::Result<()> {
        let directory = kept.parent().unwrap_or(Path::new("."));
        // Not what it is in: that is another's to make.
        fs::create_dir(directory).or_else(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Ok(()),
            _ => Err(error),
        })?;
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        file.write_all(&serde_json::to_vec(&Kept { version: VERSION, stamp, table: self })?)?;
        file.persist(kept)?;
        Ok(())
    }
}

/// Forgets what was written down of an archive that is gone.
pub(super) fn forget(path: &Path, directory: Option<&Path>) {
    if let Some(directory) = directory {
        // It is a help and nothing more; at worst a small file stays.
        let _ = fs::remove_file(kept_path(directory, path));
    }
}

fn kept_path(directory: &Path, path: &Path) -> PathBuf {
    directory.join(format!("{}.json", Digest::of(path.as_os_str().as_encoded_bytes()).hex()))
}

/// The digest that a name stands for: image-spec's `blobs/ALGORITHM/HEX`, or imgpkg's `ALGORITHM-HEX.tar.gz`.
fn content_name(name: &str) -> Option<Digest> {
    let (algorithm, hex) = match name.strip_prefix("blobs/") {
        Some(rest) => rest.split_once('/')?,
        None => name.strip_suffix(".tar.gz")?.split_once('-')?,
    };
    format!("{algorithm}:{hex}").parse().ok()
}

fn truncated(name: &[u8], end: u64, size: u64) -> UpstreamError {
    let name: String = String::from_utf8_lossy(name).chars().filter(|c| !c.is_control()).take(128).collect();
    let what = format!("is a truncated tar: `{name}` ends at byte {end}, and the file has {size}; copy it again");
    UpstreamError::malformed(what)
}

/// Content is served by its offset, which a compressed archive does not have.
fn refuse_compressed(start: &[u8]) -> Result<(), UpstreamError> {
    let by_magic: [(&[u8], &str); 4] =
        [(b"\x1f\x8b", "gunzip"), (b"\x28\xb5\x2f\xfd", "unzstd"), (b"\xfd7zXZ", "unxz"), (b"BZh", "bunzip2")];
    match by_magic.iter().find(|(magic, _)| start.starts_with(magic)) {
        Some((_, program)) => Err(UpstreamError::malformed(format!(
            "is compressed, and can only be served as a plain tar; {program} it first"
        ))),
        None => Ok(()),
    }
}

/// A file with its table.
#[derive(Debug)]
pub(super) struct Tar {
    pub(super) file: Arc<Opened>,
    pub(super) table: Table,
}
