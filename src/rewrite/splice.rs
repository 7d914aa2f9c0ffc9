//! A splice: the cut before the lock, the patch, and the point where the original's bytes are good again.
//!
//! [`Front`] follows the inflate at the distance of what may still change, so at any moment the last place where
//! the stream can be cut is known, and only what lies behind it is in memory. When the lock has gone past, it
//! becomes a [`Patch`], which goes on to the first place that does not look back across the lock, and is then
//! built at once into a [`Back`], which copies the rest.

use flate2::Crc;

use super::back::Back;
use super::kept::Kept;
use super::lock_editor::Edit;
use super::stretch::{Member, Stretch};
use super::unchanged::Unchanged;
use crate::gzip::{BitWriter, Cut, Resume, ResumeBlock, Stop, encode, fill_to_phase, stored_block_header};
use crate::oci::Algorithm;

/// How far back a match reaches (RFC 1951, section 2).
const WINDOW: u64 = 32 << 10;

/// Before the lock. See the [module](self).
pub(super) struct Front {
    pub(super) stretch: Stretch,
    cut: Cut,
    kept: Kept,
    /// Over the present member's output before the cut.
    crc: Crc,
}

impl Front {
    pub(super) fn new(algorithm: Algorithm) -> Self {
        let stretch = Stretch::new();
        Self { cut: stretch.walker.cut(), stretch, kept: Kept::new(algorithm), crc: Crc::new() }
    }

    /// Lets the walker catch up with what cannot change any more: the output before `frontier`.
    ///
    /// Where it ends up depends on the last `frontier` alone, not on those before it: the walker takes every
    /// event up to the limit and stops at once when it is there.
    pub(super) fn follow(&mut self, frontier: u64) -> Result<(), Unchanged> {
        while let Some(member) = self.stretch.member() {
            if self.stretch.walk(member, frontier, false)? != Stop::End {
                self.advance_cut(member, true);
                break;
            }
            // Until the next member begins, the cut stays where it was: behind a final block is no place for one.
            if !self.stretch.next_member()? {
                break;
            }
            if let Some(next) = self.stretch.member() {
                self.advance_cut(next, false);
                self.crc = Crc::new();
            }
        }
        Ok(())
    }

    /// Moves the cut to where the walker is and lets go of what lies before it.
    fn advance_cut(&mut self, member: Member, same_member: bool) {
        self.cut = self.stretch.walker.cut();
        let output = member.output_start + self.cut.output;
        let tail = &mut self.stretch.tail;
        if same_member {
            self.crc.update(tail.slice(tail.start()..output));
        }
        tail.drop_before(output);

        let byte = member.deflate_start + self.cut.bit / 8;
        let pending = &mut self.stretch.pending;
        if !same_member {
            // The last member ended without the lock, so its last block stays last.
            self.kept.member_ended();
        }
        let final_flag = self.cut.final_flag.map(|bit| member.deflate_start * 8 + bit);
        self.kept.push(pending.slice(pending.start()..byte), final_flag);
        pending.drop_before(byte);
    }

    /// The lock begins at `start`: cuts there.
    pub(super) fn cut(mut self, start: u64) -> Result<Patch, Unchanged> {
        self.follow(start)?;
        let member = self.stretch.member().ok_or(Unchanged::Inflate)?;
        let byte = member.deflate_start + self.cut.bit / 8;
        let mut partial = self.stretch.pending.from(byte).first().copied().unwrap_or_default();
        let final_flag = self.cut.final_flag.map(|bit| member.deflate_start * 8 + bit);
        if let Some(bit) = final_flag.filter(|bit| bit / 8 == byte) {
            partial &= !(1 << (bit % 8));
        }
        let mut patch = BitWriter::with_prefix(partial, (self.cut.bit % 8) as u32);
        if let Some((code, length)) = self.cut.end_of_block {
            patch.write_bits(u64::from(code), length);
        }
        Ok(Patch {
            cut_output: self.stretch.tail.start(),
            member_size: self.stretch.tail.start() - member.output_start,
            crc: self.crc,
            kept: self.kept,
            final_flag,
            patch,
            stretch: self.stretch,
        })
    }
}

/// From the cut to where the original is good again. See the [module](self).
pub(super) struct Patch {
    pub(super) stretch: Stretch,
    cut_output: u64,
    /// Output of the cut member before the cut, in bytes; and its checksum.
    member_size: u64,
    crc: Crc,
    kept: Kept,
    final_flag: Option<u64>,
    patch: BitWriter,
}

impl Patch {
    /// Looks for the place behind `edit` where the original goes on; `None` while it is not there yet.
    pub(super) fn resume(&mut self, edit: &Edit) -> Result<Option<(Resume, Member)>, Unchanged> {
        while let Some(member) = self.stretch.member() {
            let stop = self.stretch.walk(member, edit.end + WINDOW, true)?;
            self.stretch.pending.drop_before(member.deflate_start + self.stretch.walker.position() / 8);
            let output = member.output_start + self.stretch.walker.output();
            match stop {
                Stop::NeedInput => return Ok(None),
                Stop::Limit => {
                    let inflated = output <= self.stretch.tail.end();
                    return Ok(inflated.then(|| (self.stretch.walker.resume(), member)));
                }
                // No member looks back into another, so behind a member all is good.
                Stop::End if output >= edit.end => {
                    return Ok(member.end.is_some().then(|| (self.stretch.walker.resume(), member)));
                }
                Stop::End if !self.stretch.next_member()? => return Ok(None),
                Stop::End => {}
            }
        }
        Ok(None)
    }

    /// Builds the patch, up to `resume` in `member`. `old_crc` is of the original output of the member that the
    /// inflate is in, as far as it is.
    pub(super) fn build(mut self, edit: &Edit, resume: &Resume, member: Member, old_crc: u32) -> Back {
        let resumed = member.output_start + resume.output;
        let tail = &self.stretch.tail;
        let before = tail.slice(self.cut_output..edit.start);
        let after = tail.slice(edit.end..resumed);
        let stretch = [before, &edit.replacement, after].concat();
        self.crc.update(&stretch);
        encode(&stretch, &mut self.patch, false);

        let pending = &self.stretch.pending;
        let (copy_from, patch) = close(self.patch, resume, |byte| {
            pending.from(member.deflate_start + byte).first().copied().unwrap_or_default()
        });
        let copy_from = member.deflate_start + copy_from;
        let (mut hasher, mut recipe) = self.kept.finish(self.final_flag);
        hasher.update(&patch);
        recipe.inline(patch);

        let mut back = Back::new(recipe, hasher, copy_from);
        let rest = tail.slice(resumed..member.end.map_or(tail.end(), |end| end.output));
        self.crc.update(rest);
        let size = self.member_size + (stretch.len() + rest.len()) as u64;
        match member.end {
            Some(end) => {
                back.push_compressed(pending.slice(copy_from..end.deflate));
                back.replace_trailer(self.crc.sum(), size);
                back.push_compressed(pending.from(end.deflate));
            }
            None => {
                back.push_compressed(pending.from(copy_from));
                back.continue_member(self.crc.sum(), old_crc, size);
            }
        }
        back
    }
}

/// Ends the patch so that the original's bits can follow at `resume`. Gives the byte of the member from which on
/// the original is copied, and the patch.
fn close(mut patch: BitWriter, resume: &Resume, original: impl Fn(u64) -> u8) -> (u64, Vec<u8>) {
    let phase = (resume.bit % 8) as u32;
    match &resume.block {
        ResumeBlock::Boundary => fill_to_phase(&mut patch, phase),
        ResumeBlock::Huffman { header } => {
            // Where the header has to begin for the symbols after it to be in phase.
            fill_to_phase(&mut patch, ((u64::from(phase) + 8 - header.bits % 8) % 8) as u32);
            patch.write_bits_from(&header.bytes, header.bits);
        }
        ResumeBlock::Stored { remaining, is_final } => stored_block_header(&mut patch, *remaining, *is_final),
        ResumeBlock::End => {
            encode(&[], &mut patch, true);
            let (bytes, _) = patch.finish();
            return (resume.bit.div_ceil(8), bytes);
        }
    }
    let (mut bytes, _) = patch.finish();
    let byte = resume.bit / 8;
    match bytes.last_mut() {
        // The byte that patch and original share: its low bits are the patch's.
        Some(last) if phase > 0 => {
            *last |= original(byte) & (0xff << phase);
            (byte + 1, bytes)
        }
        _ => (byte, bytes),
    }
}
