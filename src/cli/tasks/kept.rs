//! What there is of an archive that was broken off.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::mem;

use tokio::task::{block_in_place, yield_now};

use crate::oci::Digest;
use crate::proxy::EntryMark;
use crate::tar::{Scanner, Step, padded};

/// What is read at one time.
const CHUNK_BYTES: usize = 256 << 10;
/// How many files are looked at. So many marks fit into one task, with thousands of references.
const MAX_MARKS: usize = 10_000;
/// What may stand before a file's content. Those that are written here have three blocks.
const MAX_HEADER_BYTES: usize = 16 << 10;

/// The files at the beginning of an archive that are whole.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// What tells each from all others.
    pub(super) marks: Vec<Digest>,
    /// Where each ends, with what fills its last block.
    pub(super) ends: Vec<u64>,
}

/// Reads a file as far as it is an archive. A signal can come in between.
pub(super) async fn read(file: &mut File) -> io::Result<Kept> {
    file.rewind()?;
    let (mut reading, mut chunk) = (Reading::default(), vec![0; CHUNK_BYTES]);
    loop {
        let more = block_in_place(|| {
            let count = match file.read(&mut chunk) {
                Err(err) if err.kind() == io::ErrorKind::Interrupted => return Ok(true),
                read => read?,
            };
            Ok::<_, io::Error>(count > 0 && reading.take(&chunk[..count]).is_some())
        })?;
        if !more {
            return Ok(reading.kept);
        }
        yield_now().await;
    }
}

#[derive(Default)]
struct Reading {
    scanner: Scanner,
    at: u64,
    /// What stands before a file's content, so far.
    header: Vec<u8>,
    open: Option<Open>,
    kept: Kept,
}

/// A file whose content is being read.
struct Open {
    mark: EntryMark,
    /// Where its content ends.
    end: u64,
    /// And what fills its last block.
    until: u64,
}

impl Reading {
    /// Takes in the next bytes; `None` where the archive ends, or is none.
    fn take(&mut self, mut bytes: &[u8]) -> Option<()> {
        while !bytes.is_empty() {
            let step = self.scanner.push(bytes).ok()?;
            let (Step::Partial(count) | Step::Block(count, _) | Step::Data(count)) = step;
            let (taken, rest) = bytes.split_at(count);
            bytes = rest;
            match (&mut self.open, step) {
                (Some(open), Step::Data(_)) => {
                    let content = usize::try_from(open.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
                    let (content, filling) = taken.split_at(count.min(content));
                    open.mark.update(content);
                    filling.iter().all(|byte| *byte == 0).then_some(())?;
                }
                (_, step) => {
                    self.header.extend_from_slice(taken);
                    (self.header.len() <= MAX_HEADER_BYTES).then_some(())?;
                    if let Step::Block(_, Some(entry)) = step {
                        let start = self.at + count as u64;
                        let mark = EntryMark::new(&entry.name, mem::take(&mut self.header));
                        let (end, until) = (start + entry.size, start + padded(entry.size));
                        self.open = Some(Open { mark, end, until });
                    } else if matches!(step, Step::Block(_, None)) && self.scanner.block().iter().all(|byte| *byte == 0)
                    {
                        return None;
                    }
                }
            }
            self.at += count as u64;
            if let Some(Open { mark, until, .. }) = self.open.take_if(|open| open.until == self.at) {
                self.kept.marks.push(mark.finish());
                self.kept.ends.push(until);
                (self.kept.marks.len() < MAX_MARKS).then_some(())?;
            }
        }
        Some(())
    }
}
