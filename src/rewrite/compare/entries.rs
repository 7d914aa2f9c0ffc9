//! A tar as a sequence of entries, none of which is held.

use std::io::{self, Read};

use crate::oci::{Algorithm, Digest, Hasher};
use crate::tar::{BLOCK, Entry, Scanner, Step, TarError};

/// How much is read at a time.
const BUFFER_BYTES: usize = 64 << 10;
/// How much of a name is kept: as much as a path may have where Linux extracts it. The rest is in the headers' digest.
const MAX_NAME_BYTES: usize = 4096;

/// Why a tar cannot be read on.
#[derive(Debug, thiserror::Error)]
pub(super) enum EntriesError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Tar(#[from] TarError),
}

impl EntriesError {
    /// What is wrong with the layer, or the error if it is this machine's.
    pub(super) fn fault(self) -> io::Result<String> {
        use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
        match self {
            Self::Tar(error) => Ok(error.to_string()),
            Self::Io(error) if matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof) => {
                Ok(format!("it does not inflate: {error}"))
            }
            Self::Io(error) => Err(error),
        }
    }
}

/// An entry that has gone past, or the end of the archive.
#[derive(Debug)]
pub(super) struct Item {
    /// `None` at the end.
    pub(super) name: Option<Vec<u8>>,
    /// Its own header block.
    pub(super) header: Box<[u8; BLOCK]>,
    /// Of what stands before that: extended headers and long names; at the end, of all that follows the last entry.
    pub(super) extension: Digest,
    /// Bytes of data.
    pub(super) size: u64,
    /// Of the data.
    pub(super) data: Digest,
    /// What fills up the last block.
    pub(super) padding: Vec<u8>,
}

/// See the [module](self). Hashes the whole tar on the way.
pub(super) struct Entries<R> {
    source: R,
    buffer: Box<[u8]>,
    unread: std::ops::Range<usize>,
    scanner: Scanner,
    whole: Hasher,
    extension: Hasher,
    current: Option<Current>,
    ended: bool,
}

struct Current {
    item: Item,
    data: Hasher,
    left: u64,
}

impl<R: Read> Entries<R> {
    /// Of a tar, which is hashed with `algorithm`.
    pub(super) fn new(source: R, algorithm: Algorithm) -> Self {
        Self {
            source,
            buffer: vec![0; BUFFER_BYTES].into(),
            unread: 0..0,
            scanner: Scanner::new(),
            whole: Hasher::new(algorithm),
            extension: Hasher::new(Algorithm::Sha256),
            current: None,
            ended: false,
        }
    }

    /// The next entry; last of all the end of the archive.
    pub(super) fn next(&mut self) -> Result<Option<Item>, EntriesError> {
        while !self.ended {
            if self.unread.is_empty() {
                let read = self.source.read(&mut self.buffer)?;
                if read == 0 {
                    return self.end();
                }
                self.unread = 0..read;
            }
            if let Some(item) = self.step()? {
                return Ok(Some(item));
            }
        }
        Ok(None)
    }

    /// The digest of the whole tar, which is read to its end for that.
    pub(super) fn digest(mut self) -> Result<Digest, EntriesError> {
        while self.next()?.is_some() {}
        Ok(self.whole.finish())
    }

    fn step(&mut self) -> Result<Option<Item>, EntriesError> {
        let unread = &self.buffer[self.unread.clone()];
        let step = self.scanner.push(unread)?;
        let (Step::Partial(taken) | Step::Block(taken, _) | Step::Data(taken)) = step;
        let bytes = &unread[..taken];
        self.whole.update(bytes);
        self.unread.start += taken;
        match step {
            Step::Partial(_) => Ok(None),
            Step::Block(_, entry) => {
                let before = self.current.take().map(Current::finish);
                match entry {
                    None => self.extension.update(self.scanner.block()),
                    Some(entry) => {
                        let extension = std::mem::replace(&mut self.extension, Hasher::new(Algorithm::Sha256));
                        self.current = Some(Current::new(entry, *self.scanner.block(), extension.finish()));
                    }
                }
                Ok(before)
            }
            Step::Data(_) => {
                match &mut self.current {
                    Some(current) => current.push(bytes),
                    None => self.extension.update(bytes),
                }
                Ok(None)
            }
        }
    }

    fn end(&mut self) -> Result<Option<Item>, EntriesError> {
        self.scanner.finish()?;
        if let Some(last) = self.current.take() {
            return Ok(Some(last.finish()));
        }
        self.ended = true;
        let extension = self.extension.clone().finish();
        let (header, data) = (Box::new([0; BLOCK]), Digest::of(b""));
        Ok(Some(Item { name: None, header, extension, size: 0, data, padding: Vec::new() }))
    }
}

impl Current {
    fn new(entry: Entry, header: [u8; BLOCK], extension: Digest) -> Self {
        let Entry { mut name, size, .. } = entry;
        name.truncate(MAX_NAME_BYTES);
        let (header, data) = (Box::new(header), Digest::of(b""));
        let item = Item { name: Some(name), header, extension, size, data, padding: Vec::new() };
        Self { item, data: Hasher::new(Algorithm::Sha256), left: size }
    }

    fn push(&mut self, bytes: &[u8]) {
        let own = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
        let (data, padding) = bytes.split_at(own);
        self.data.update(data);
        self.left -= own as u64;
        self.item.padding.extend_from_slice(padding);
    }

    fn finish(self) -> Item {
        Item { data: self.data.finish(), ..self.item }
    }
}
