//! A layer as bytes to read: the one that should be served, and the tar inside of any.

use std::io::{self, Cursor, Read, Seek, SeekFrom};

use flate2::read::MultiGzDecoder;

use crate::rewrite::layer::output_limit;
use crate::rewrite::recipe::{Recipe, Segment};

/// A relocated layer, made of the original as it is read.
pub(super) struct Rendered<L> {
    original: L,
    segments: std::vec::IntoIter<Segment>,
    current: Piece,
}

enum Piece {
    Original { left: u64 },
    Inline(Cursor<bytes::Bytes>),
}

impl<L: Read + Seek> Rendered<L> {
    /// What `recipe` makes of a layer; without one, the layer itself.
    pub(super) fn new(mut original: L, recipe: Option<&Recipe>) -> io::Result<Self> {
        original.rewind()?;
        let (segments, left) = match recipe {
            Some(recipe) => (recipe.slice(0..u64::MAX), 0),
            None => (Vec::new(), u64::MAX),
        };
        Ok(Self { original, segments: segments.into_iter(), current: Piece::Original { left } })
    }
}

impl<L: Read + Seek> Read for Rendered<L> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let taken = match &mut self.current {
                Piece::Original { left } => {
                    let taken = self.original.by_ref().take(*left).read(buffer)?;
                    *left -= taken as u64;
                    taken
                }
                Piece::Inline(bytes) => bytes.read(buffer)?,
            };
            if taken > 0 || buffer.is_empty() {
                return Ok(taken);
            }
            self.current = match self.segments.next() {
                None => return Ok(0),
                Some(Segment::Inline(bytes)) => Piece::Inline(Cursor::new(bytes)),
                Some(Segment::Original(range)) => {
                    self.original.seek(SeekFrom::Start(range.start))?;
                    Piece::Original { left: range.end - range.start }
                }
            };
        }
    }
}

/// The tar in a layer, gzipped or not, within the bounds that a rewriting pass has.
pub(super) struct Tar<L: Read> {
    form: Form<L>,
    output: u64,
}

enum Form<L: Read> {
    Plain(Started<L>),
    Zstd,
    Gzip(Box<MultiGzDecoder<Started<L>>>),
}

impl<L: Read> Tar<L> {
    pub(super) fn new(mut layer: L) -> io::Result<Self> {
        let mut magic = [0; 4];
        let mut known = 0;
        while known < magic.len() {
            match layer.read(&mut magic[known..])? {
                0 => break,
                taken => known += taken,
            }
        }
        let layer = Started { start: Cursor::new(magic[..known].to_vec()), rest: layer, count: 0 };
        let form = match magic {
            [0x1f, 0x8b, ..] => Form::Gzip(Box::new(MultiGzDecoder::new(layer))),
            // RFC 8878, section 3.1.1.
            [0x28, 0xb5, 0x2f, 0xfd] => Form::Zstd,
            _ => Form::Plain(layer),
        };
        Ok(Self { form, output: 0 })
    }
}

impl<L: Read> Read for Tar<L> {
    /// An error of the kind `InvalidData`, `InvalidInput` or `UnexpectedEof` is the layer's own.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let decoder = match &mut self.form {
            Form::Plain(layer) => return layer.read(buffer),
            Form::Zstd => return Err(io::Error::new(io::ErrorKind::InvalidData, "it is compressed with zstd")),
            Form::Gzip(decoder) => decoder,
        };
        let taken = decoder.read(buffer)?;
        self.output += taken as u64;
        let limit = output_limit(decoder.get_ref().count);
        if self.output > limit {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("it inflates to more than {limit} bytes")));
        }
        Ok(taken)
    }
}

/// A layer whose first bytes were looked at, and of which is counted how far it was read.
struct Started<L> {
    start: Cursor<Vec<u8>>,
    rest: L,
    count: u64,
}

impl<L: Read> Read for Started<L> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut taken = self.start.read(buffer)?;
        if taken == 0 {
            taken = self.rest.read(buffer)?;
        }
        self.count += taken as u64;
        Ok(taken)
    }
}
