//! One pass over a layer: bytes in, a recipe for the layer with another lock out.

use super::back::Back;
use super::lock_editor::{LockChange, LockEditor};
use super::member::{MemberReader, Part};
use super::recipe::Recipe;
use super::splice::{Front, Patch};
use super::unchanged::Unchanged;
use crate::imgpkg::ImagesLock;
use crate::oci::{Algorithm, Digest};

/// A layer may inflate to this many bytes whatever its size.
const FREE_OUTPUT_BYTES: u64 = 1 << 30;
/// Beyond that, to this many times its size. Deflate reaches 1032; files that people ship reach 100 at most.
const MAX_RATIO: u64 = 200;
/// And never to more than this: minutes of work, which one layer may cost for each manifest that names it.
const MAX_OUTPUT_BYTES: u64 = 64 << 30;

/// To how many bytes a layer may inflate of which so many were read.
pub(super) fn output_limit(input: u64) -> u64 {
    input.saturating_mul(MAX_RATIO).clamp(FREE_OUTPUT_BYTES, MAX_OUTPUT_BYTES)
}

/// The layer with its lock relocated.
#[derive(Debug)]
pub struct RelocatedLayer {
    /// How to make it of the original.
    pub recipe: Recipe,
    /// Its digest (`L'`).
    pub digest: Digest,
    /// The digest of the tar inside.
    pub diff_id: Digest,
}

/// Rewrites one layer. Memory is bounded whatever the layer; see [`RelocatedLayer`] for what comes out.
pub struct LayerRewriter {
    format: Format,
    editor: LockEditor,
    algorithm: Algorithm,
    input: u64,
    output: u64,
    /// Over the output of the gzip member that is being read.
    member_crc: u32,
}

enum Format {
    /// Not enough bytes yet to tell.
    Unknown(Vec<u8>),
    Plain,
    Gzip {
        reader: Box<MemberReader>,
        splice: Splice,
    },
}

enum Splice {
    Front(Box<Front>),
    Patch(Box<Patch>),
    Back(Box<Back>),
    /// While one is made of another; stays only after an error.
    Broken,
}

impl LayerRewriter {
    /// A pass that puts what `change` makes of the lock in its place. The digests are in the algorithms that the
    /// original's manifest and config use.
    pub fn new(layer: Algorithm, diff_id: Algorithm, change: LockChange) -> Self {
        Self {
            format: Format::Unknown(Vec::new()),
            editor: LockEditor::new(diff_id, change),
            algorithm: layer,
            input: 0,
            output: 0,
            member_crc: 0,
        }
    }

    /// The original's lock, once it has gone past.
    pub fn lock(&self) -> Option<&ImagesLock> {
        self.editor.lock()
    }

    /// Takes in the next bytes of the original layer.
    ///
    /// # Errors
    /// The reason why the layer is to be served as it stands. The pass is over then.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Unchanged> {
        if let Format::Unknown(magic) = &mut self.format {
            magic.extend_from_slice(bytes);
            if magic.len() < 4 {
                return Ok(());
            }
            let bytes = std::mem::take(magic);
            self.format = recognise(&bytes, self.algorithm)?;
            return self.push_known(&bytes);
        }
        self.push_known(bytes)
    }

    /// The relocated layer; there are no more bytes.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn finish(self) -> Result<RelocatedLayer, Unchanged> {
        let (recipe, hasher) = match self.format {
            Format::Unknown(_) => return Err(Unchanged::NoLock),
            Format::Plain => {
                let edit = self.editor.edit().ok_or(Unchanged::NoLock)?;
                let mut recipe = Recipe::new();
                recipe.original(0..edit.start);
                recipe.inline(edit.replacement.clone());
                recipe.original(edit.end..self.input);
                // The layer is the tar, so one hash serves for both.
                let digest = self.editor.finish()?;
                return Ok(RelocatedLayer { recipe, digest, diff_id: digest });
            }
            Format::Gzip { reader, splice } => {
                reader.finish()?;
                match splice {
                    Splice::Back(back) => back.finish(),
                    // Without a lock there was nothing to splice, and the editor knows why.
                    _ => return self.editor.finish().and(Err(Unchanged::Inflate)),
                }
            }
        };
        let diff_id = self.editor.finish()?;
        Ok(RelocatedLayer { recipe, digest: hasher.finish(), diff_id })
    }

    fn push_known(&mut self, bytes: &[u8]) -> Result<(), Unchanged> {
        let Format::Gzip { reader, splice } = &mut self.format else { return self.push_plain(bytes) };
        let mut left = bytes;
        let mut full = false;
        while !left.is_empty() || full {
            let (taken, part) = reader.push(left)?;
            let (compressed, rest) = left.split_at(taken);
            left = rest;
            self.input += taken as u64;
            splice.push_compressed(compressed)?;
            full = false;
            match part {
                Part::Header { whole: true } => {
                    self.member_crc = 0;
                    splice.begin_member();
                }
                Part::Header { whole: false } | Part::Trailer => {}
                Part::Deflate { output, full: more, ended, crc } => {
                    full = more;
                    self.member_crc = crc;
                    self.output += output.len() as u64;
                    let limit = output_limit(self.input);
                    if self.output > limit {
                        return Err(Unchanged::Bomb(limit));
                    }
                    self.editor.push(output)?;
                    splice.push_output(output);
                    if ended {
                        splice.end_member(crc);
                    }
                }
            }
            splice.settle(&self.editor, self.output, self.member_crc)?;
        }
        Ok(())
    }

    fn push_plain(&mut self, bytes: &[u8]) -> Result<(), Unchanged> {
        self.input += bytes.len() as u64;
        self.editor.push(bytes)
    }
}

fn recognise(magic: &[u8], algorithm: Algorithm) -> Result<Format, Unchanged> {
    match magic {
        [0x1f, 0x8b, ..] => Ok(Format::Gzip {
            reader: Box::new(MemberReader::new()),
            splice: Splice::Front(Box::new(Front::new(algorithm))),
        }),
        // RFC 8878, section 3.1.1; and 3.1.2, skippable frames, in which zstd:chunked keeps its table.
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Err(Unchanged::Zstd),
        _ => Ok(Format::Plain),
    }
}

impl Splice {
    fn push_compressed(&mut self, bytes: &[u8]) -> Result<(), Unchanged> {
        match self {
            Self::Front(front) => front.stretch.push_compressed(bytes),
            Self::Patch(patch) => patch.stretch.push_compressed(bytes),
            Self::Back(back) => {
                back.push_compressed(bytes);
                Ok(())
            }
            Self::Broken => Err(Unchanged::Inflate),
        }
    }

    fn begin_member(&mut self) {
        match self {
            Self::Front(front) => front.stretch.begin_member(),
            Self::Patch(patch) => patch.stretch.begin_member(),
            Self::Back(_) | Self::Broken => {}
        }
    }

    fn push_output(&mut self, bytes: &[u8]) {
        match self {
            Self::Front(front) => front.stretch.tail.push(bytes),
            Self::Patch(patch) => patch.stretch.tail.push(bytes),
            Self::Back(back) => back.push_output(bytes),
            Self::Broken => {}
        }
    }

    fn end_member(&mut self, old_crc: u32) {
        match self {
            Self::Front(front) => front.stretch.end_member(),
            Self::Patch(patch) => patch.stretch.end_member(),
            Self::Back(back) => back.end_member(old_crc),
            Self::Broken => {}
        }
    }

    /// Goes on as far as the bytes that are there allow; `output` is how far the inflate is, and `old_crc` of its
    /// member's output.
    fn settle(&mut self, editor: &LockEditor, output: u64, old_crc: u32) -> Result<(), Unchanged> {
        if let Self::Front(front) = self {
            let Some(edit) = editor.edit() else { return front.follow(editor.frontier().min(output)) };
            let Self::Front(front) = std::mem::replace(self, Self::Broken) else { return Ok(()) };
            *self = Self::Patch(Box::new(front.cut(edit.start)?));
        }
        if let (Self::Patch(patch), Some(edit)) = (&mut *self, editor.edit()) {
            let Some((resume, member)) = patch.resume(edit)? else { return Ok(()) };
            let Self::Patch(patch) = std::mem::replace(self, Self::Broken) else { return Ok(()) };
            *self = Self::Back(Box::new(patch.build(edit, &resume, member, old_crc)));
        }
        Ok(())
    }
}
