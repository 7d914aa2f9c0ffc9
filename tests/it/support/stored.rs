//! What a cache directory holds, read and hashed by other code than wrote it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use colocate::oci::{Digest, Hasher};

/// Behind content there are this and its length in eight bytes.
const TRAILER: &[u8] = b"\ncolo01\n";

/// A cache directory in which everything is what it is called.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) contents: BTreeSet<Digest>,
    /// From `records` on.
    pub(crate) records: Vec<PathBuf>,
    /// What is not committed.
    pub(crate) partials: Vec<PathBuf>,
}

impl Stored {
    /// Reads all of it; fails the test at the first entry that is wrong.
    pub(crate) fn audit(cache: &Path) -> Self {
        let contents = files(&cache.join("blobs")).iter().map(|path| content(cache, path)).collect();
        let records = files(&cache.join("records"));
        records.iter().for_each(|path| record(path));
        let records = records.iter().map(|path| path.strip_prefix(cache).expect("below").to_owned()).collect();
        Self { contents, records, partials: files(&cache.join("partial")) }
    }

    /// How many records are of this kind.
    pub(crate) fn records_of(&self, kind: &str) -> usize {
        self.records.iter().filter(|path| path.starts_with(Path::new("records").join(kind))).count()
    }
}

/// Every file below a directory; none if there is no such directory.
pub(crate) fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten() {
        let path = entry.expect("a directory entry").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn content(cache: &Path, path: &Path) -> Digest {
    let names: Vec<_> = path.strip_prefix(cache).expect("below").iter().map(|name| name.to_string_lossy()).collect();
    let [_, algorithm, start, hex] = names.as_slice() else { panic!("a stray file: {}", path.display()) };
    assert!(hex.starts_with(&**start), "{}", path.display());
    let digest: Digest = format!("{algorithm}:{hex}").parse().expect("a digest for a name");
    let mut file = File::open(path).expect("readable content");
    let length = file.metadata().expect("metadata").len();
    let size = length.checked_sub(16).unwrap_or_else(|| panic!("{} is truncated", path.display()));
    let mut hasher = Hasher::new(digest.algorithm());
    let mut buffer = vec![0; 1 << 20];
    let mut left = size;
    while left > 0 {
        let wanted = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        file.read_exact(&mut buffer[..wanted]).expect("readable content");
        hasher.update(&buffer[..wanted]);
        left -= wanted as u64;
    }
    let mut trailer = Vec::new();
    file.read_to_end(&mut trailer).expect("readable content");
    assert_eq!(trailer, [TRAILER, &size.to_le_bytes()].concat(), "the trailer of {}", path.display());
    assert_eq!(hasher.finish(), digest, "what is in {}", path.display());
    digest
}

fn record(path: &Path) {
    let bytes = fs::read(path).expect("a readable record");
    let line = bytes.iter().position(|byte| *byte == b'\n').unwrap_or_else(|| panic!("{}: no line", path.display()));
    let payload = &bytes[line + 1..];
    assert_eq!(bytes[..line], *Digest::of(payload).to_string().as_bytes(), "{}", path.display());
    let parsed: Result<serde_json::Value, _> = serde_json::from_slice(payload);
    parsed.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
