//! Finds the lock in a tar as it streams past, and knows what the tar is once the lock is another.

use super::unchanged::Unchanged;
use crate::imgpkg::{ImagesLock, MAX_LOCK_BYTES, PathRole, path_role};
use crate::oci::{Algorithm, Digest, Hasher};
use crate::tar::{BLOCK, Entry, Kind, Scanner, Step, padded, resize};

/// Makes the lock that takes the original's place.
///
/// It is asked as soon as the lock has gone past, and must depend on nothing but the lock: not on how much of
/// the layer is there by then, or two passes over it would differ.
pub type LockChange = Box<dyn FnOnce(FoundLock<'_>) -> Result<Vec<u8>, Unchanged> + Send>;

/// A lock as it stands in a layer.
#[derive(Clone, Copy, Debug)]
pub struct FoundLock<'a> {
    /// The file.
    pub text: &'a [u8],
    /// What it says.
    pub images: &'a ImagesLock,
}

/// The one stretch of a tar that changes: the lock's own header block, data and padding.
#[derive(Debug)]
pub(super) struct Edit {
    /// The first byte that changes, an offset in the original tar.
    pub(super) start: u64,
    /// The first byte after it that stays.
    pub(super) end: u64,
    /// What stands there instead; whole blocks.
    pub(super) replacement: Vec<u8>,
}

/// See the [module](self). Hashes the new tar on the way.
pub(super) struct LockEditor {
    scanner: Scanner,
    progress: Progress,
    change: Option<LockChange>,
    diff: Hasher,
    lock: Option<ImagesLock>,
}

enum Progress {
    Searching,
    /// The lock's header has passed; its data and padding are kept until they are whole.
    Collecting(Collecting),
    Edited(Edit),
}

struct Collecting {
    header: Box<[u8; BLOCK]>,
    entry: Entry,
    data: Vec<u8>,
}

impl LockEditor {
    pub(super) fn new(algorithm: Algorithm, change: LockChange) -> Self {
        Self {
            scanner: Scanner::new(),
            progress: Progress::Searching,
            change: Some(change),
            diff: Hasher::new(algorithm),
            lock: None,
        }
    }

    /// Takes in the next bytes of the original tar.
    pub(super) fn push(&mut self, mut tar: &[u8]) -> Result<(), Unchanged> {
        while !tar.is_empty() {
            let step = self.scanner.push(tar)?;
            let (Step::Partial(taken) | Step::Block(taken, _) | Step::Data(taken)) = step;
            match step {
                Step::Partial(_) => {}
                Step::Block(_, None) => self.diff.update(self.scanner.block()),
                Step::Block(_, Some(entry)) => self.entry(entry)?,
                Step::Data(_) => self.data(&tar[..taken])?,
            }
            tar = &tar[taken..];
        }
        Ok(())
    }

    /// The first offset in the original tar at which something may change.
    pub(super) fn frontier(&self) -> u64 {
        match &self.progress {
            Progress::Searching => self.scanner.frontier(),
            Progress::Collecting(lock) => lock.entry.header_offset,
            Progress::Edited(edit) => edit.start,
        }
    }

    /// The change, once it is known.
    pub(super) fn edit(&self) -> Option<&Edit> {
        match &self.progress {
            Progress::Edited(edit) => Some(edit),
            _ => None,
        }
    }

    /// The original's lock, once it has gone past.
    pub(super) fn lock(&self) -> Option<&ImagesLock> {
        self.lock.as_ref()
    }

    /// The new tar's digest; there are no more bytes.
    pub(super) fn finish(self) -> Result<Digest, Unchanged> {
        self.scanner.finish()?;
        match self.progress {
            Progress::Edited(_) => Ok(self.diff.finish()),
            _ => Err(Unchanged::NoLock),
        }
    }

    fn entry(&mut self, entry: Entry) -> Result<(), Unchanged> {
        match path_role(&entry.name) {
            PathRole::Whiteout => return Err(Unchanged::LockWhitedOut),
            PathRole::Parent if entry.kind != Kind::Directory => return Err(Unchanged::LockNotAFile),
            PathRole::Parent | PathRole::Other => {
                self.diff.update(self.scanner.block());
                return Ok(());
            }
            PathRole::Lock => {}
        }
        if !matches!(self.progress, Progress::Searching) {
            return Err(Unchanged::SecondLock);
        }
        if entry.kind != Kind::File {
            return Err(Unchanged::LockNotAFile);
        }
        if entry.size > MAX_LOCK_BYTES as u64 {
            return Err(Unchanged::LockTooLarge(MAX_LOCK_BYTES));
        }
        if entry.size_from_pax {
            return Err(Unchanged::LockSizedByPax);
        }
        // The cast holds: the size was just seen to be small.
        let data = Vec::with_capacity(padded(entry.size) as usize);
        self.progress = Progress::Collecting(Collecting { header: Box::new(*self.scanner.block()), entry, data });
        self.data(&[])
    }

    fn data(&mut self, data: &[u8]) -> Result<(), Unchanged> {
        let Progress::Collecting(lock) = &mut self.progress else {
            self.diff.update(data);
            return Ok(());
        };
        lock.data.extend_from_slice(data);
        if (lock.data.len() as u64) < padded(lock.entry.size) {
            return Ok(());
        }
        let original = &lock.data[..lock.entry.size as usize];
        let parsed = self.lock.insert(ImagesLock::parse(original)?);
        let change = self.change.take().ok_or(Unchanged::SecondLock)?;
        let relocated = change(FoundLock { text: original, images: parsed })?;
        let start = lock.entry.header_offset;
        let edit = Edit {
            start,
            end: start + BLOCK as u64 + padded(lock.entry.size),
            replacement: replacement(&lock.header, lock.entry.size, &relocated),
        };
        self.diff.update(&edit.replacement);
        self.progress = Progress::Edited(edit);
        Ok(())
    }
}

/// Header, data and padding of the new lock. A header that need not change does not.
fn replacement(header: &[u8; BLOCK], old_size: u64, lock: &[u8]) -> Vec<u8> {
    let size = lock.len() as u64;
    let header = if size == old_size { *header } else { resize(header, size) };
    let mut blocks = Vec::with_capacity(BLOCK + padded(size) as usize);
    blocks.extend_from_slice(&header);
    blocks.extend_from_slice(lock);
    blocks.resize(BLOCK + padded(size) as usize, 0);
    blocks
}
