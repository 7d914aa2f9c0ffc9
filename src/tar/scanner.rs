//! The scanner: a push parser over a tar's bytes.

use super::error::TarError;
use super::header::{BLOCK, Flag, Header, Kind, padded};
use super::pax::Pax;

/// The most an extended header or a long name may hold; Go's limit for the same.
const MAX_EXTENSION_BYTES: u64 = 1 << 20;
/// How many extended headers may stand before one entry. Writers use one of each kind.
const MAX_EXTENSIONS: u32 = 8;
/// How many entries are looked at. A layer with more is served as it stands.
const MAX_ENTRIES: u64 = 4_000_000;

/// An entry whose header has been seen; its data follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name, from wherever it stands: PAX, GNU long name, or prefix and name.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Bytes of data, without the padding that follows them.
    pub size: u64,
    /// Where its own header block begins, counted from the first byte of the tar.
    pub header_offset: u64,
    /// Whether a PAX record rather than the header gives the size.
    pub size_from_pax: bool,
}

/// What the scanner made of the bytes it was given.
#[derive(Debug)]
pub enum Step {
    /// This many bytes went into a header block that is not whole yet: all there were.
    Partial(usize),
    /// This many bytes completed a header block, to be had from [`Scanner::block`]; with the entry if it is
    /// an entry's own header.
    Block(usize, Option<Entry>),
    /// This many bytes are data or padding, or what follows the end of the archive.
    Data(usize),
}

/// See the [module](super).
#[derive(Debug)]
pub struct Scanner {
    offset: u64,
    block: Box<[u8; BLOCK]>,
    filled: usize,
    state: State,
    extension: Extension,
    extensions: u32,
    entries: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Expecting a header block.
    Header,
    /// One zero block has passed.
    Zero,
    /// Data and padding up to an offset.
    Data { until: u64 },
    /// Data of an extended header; `length` of it counts.
    Extension { flag: Flag, length: usize, until: u64 },
    /// After the end marker.
    End,
}

#[derive(Debug, Default)]
struct Extension {
    data: Vec<u8>,
    pax: Pax,
    long_name: Option<Vec<u8>>,
}

impl Default for Scanner {
    fn default() -> Self {
        Self::new()
    }
}

impl Scanner {
    /// Before the first byte.
    pub fn new() -> Self {
        Self {
            offset: 0,
            block: Box::new([0; BLOCK]),
            filled: 0,
            state: State::Header,
            extension: Extension::default(),
            extensions: 0,
            entries: 0,
        }
    }

    /// The header block that the last [`Step::Block`] completed.
    pub fn block(&self) -> &[u8; BLOCK] {
        &self.block
    }

    /// The first offset at which an entry's header that was not reported yet can begin.
    pub fn frontier(&self) -> u64 {
        match self.state {
            State::Header | State::Zero => self.offset - self.filled as u64,
            State::Data { until } | State::Extension { until, .. } => until,
            State::End => u64::MAX,
        }
    }

    /// Takes an entry's data and padding for seen, and says how many bytes that are: for whoever can go on behind them
    /// without reading them.
    pub fn skip(&mut self) -> u64 {
        let State::Data { until } = self.state else { return 0 };
        let skipped = until - self.offset;
        (self.offset, self.state) = (until, State::Header);
        skipped
    }

    /// Whether the mark has passed that stands at the end of an archive.
    pub fn has_ended(&self) -> bool {
        matches!(self.state, State::Zero | State::End) && self.filled == 0
    }

    /// Takes in some of `input`, which must not be empty; says how much and what it was.
    ///
    /// # Errors
    /// When the archive does not parse, or not every reader would read it alike.
    pub fn push(&mut self, input: &[u8]) -> Result<Step, TarError> {
        match self.state {
            State::Header | State::Zero => self.push_header(input),
            State::End => {
                self.offset += input.len() as u64;
                Ok(Step::Data(input.len()))
            }
            State::Data { until } => {
                let taken = self.take(input, until);
                if self.offset == until {
                    self.state = State::Header;
                }
                Ok(Step::Data(taken))
            }
            State::Extension { flag, length, until } => {
                let taken = self.take(input, until);
                let wanted = length - self.extension.data.len();
                self.extension.data.extend_from_slice(&input[..taken.min(wanted)]);
                if self.offset == until {
                    self.state = State::Header;
                    self.finish_extension(flag)?;
                }
                Ok(Step::Data(taken))
            }
        }
    }

    /// Says that there are no more bytes.
    ///
    /// # Errors
    /// When they end inside a header or an entry. An archive without its end marker is whole, as in Go.
    pub fn finish(&self) -> Result<(), TarError> {
        let whole = match self.state {
            State::Header => self.filled == 0 && self.extensions == 0,
            State::Zero => self.filled == 0,
            State::End => true,
            State::Data { .. } | State::Extension { .. } => false,
        };
        if whole { Ok(()) } else { Err(TarError::Truncated) }
    }

    fn take(&mut self, input: &[u8], until: u64) -> usize {
        let left = usize::try_from(until - self.offset).unwrap_or(usize::MAX);
        let taken = input.len().min(left);
        self.offset += taken as u64;
        taken
    }

    fn push_header(&mut self, input: &[u8]) -> Result<Step, TarError> {
        let taken = input.len().min(BLOCK - self.filled);
        self.block[self.filled..self.filled + taken].copy_from_slice(&input[..taken]);
        self.filled += taken;
        self.offset += taken as u64;
        if self.filled < BLOCK {
            return Ok(Step::Partial(taken));
        }
        self.filled = 0;
        if self.block.iter().all(|&byte| byte == 0) {
            self.state = if self.state == State::Zero { State::End } else { State::Zero };
            return Ok(Step::Block(taken, None));
        }
        if self.state == State::Zero {
            // A lone zero block: Go refuses it, GNU tar warns and goes on.
            return Err(TarError::Checksum);
        }
        let header = Header::parse(&self.block)?;
        let entry = self.begin(header)?;
        Ok(Step::Block(taken, entry))
    }

    fn begin(&mut self, header: Header) -> Result<Option<Entry>, TarError> {
        let kind = match header.flag {
            Flag::GnuSparse => return Err(TarError::Sparse),
            Flag::Entry(kind) => kind,
            // Go forgets what stood before a global header, others do not.
            Flag::GlobalPax if self.extensions > 0 => return Err(TarError::Ambiguous),
            flag => {
                self.extensions += 1;
                if header.size > MAX_EXTENSION_BYTES || self.extensions > MAX_EXTENSIONS {
                    return Err(TarError::TooLarge);
                }
                self.extension.data.clear();
                // The cast holds: the size was just seen to be small.
                let length = header.size as usize;
                self.state = State::Extension { flag, length, until: self.offset + padded(header.size) };
                if length == 0 {
                    self.state = State::Header;
                    self.finish_extension(flag)?;
                }
                return Ok(None);
            }
        };
        self.entries += 1;
        if self.entries > MAX_ENTRIES {
            return Err(TarError::TooLarge);
        }
        let extension = std::mem::take(&mut self.extension);
        self.extensions = 0;
        // In Go a GNU long name wins over a PAX path, and both over the header.
        let name = extension.long_name.or(extension.pax.path).unwrap_or(header.name);
        let directory = header.old_style && name.ends_with(b"/");
        if directory && (header.size > 0 || extension.pax.size.is_some_and(|size| size > 0)) {
            return Err(TarError::Ambiguous);
        }
        let kind = if directory { Kind::Directory } else { kind };
        let pax_size = extension.pax.size.filter(|_| !header.header_only);
        let size_from_pax = pax_size.is_some();
        let size = pax_size.unwrap_or(header.size);
        let until = self.offset.checked_add(size).filter(|&end| end < 1 << 62).ok_or(TarError::Number)?;
        self.state = State::Data { until: self.offset + padded(until - self.offset) };
        let header_offset = self.offset - BLOCK as u64;
        if size == 0 {
            self.state = State::Header;
        }
        Ok(Some(Entry { name, kind, size, header_offset, size_from_pax }))
    }

    fn finish_extension(&mut self, flag: Flag) -> Result<(), TarError> {
        let data = std::mem::take(&mut self.extension.data);
        match flag {
            Flag::Pax => self.extension.pax = Pax::parse(&data)?,
            Flag::GlobalPax => {
                let pax = Pax::parse(&data)?;
                if pax.path.is_some() || pax.size.is_some() {
                    return Err(TarError::GlobalOverride);
                }
                self.extensions = 0;
            }
            Flag::GnuLongName => {
                let end = data.iter().position(|&byte| byte == 0).unwrap_or(data.len());
                // An empty one changes nothing, as in Go.
                self.extension.long_name = (end > 0).then(|| data[..end].to_vec());
            }
            // A link's target never decides anything here.
            Flag::GnuLongLink | Flag::GnuSparse | Flag::Entry(_) => {}
        }
        Ok(())
    }
}
