//! Content of any size that takes no memory and can be checked at every offset.

use std::ops::Range;
use std::sync::OnceLock;

use bytes::Bytes;
use colocate::oci::{Algorithm, Digest, Hasher};

use super::tarball::noise;

/// After so many bytes it repeats. A prime, so that no buffer, chunk or page is a multiple: a piece that comes to
/// stand at the wrong place shows.
const PERIOD: u64 = 1_048_583;
/// The largest piece.
const PIECE: usize = 256 << 10;

/// Noise, different for each seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    phase: u64,
    size: u64,
    digest: Digest,
}

impl Pattern {
    /// So many bytes. Takes as long as hashing them does.
    pub(crate) fn new(seed: u64, size: u64) -> Self {
        let phase = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) % PERIOD;
        let mut hasher = Hasher::new(Algorithm::Sha256);
        let mut at = 0;
        while at < size {
            let piece = piece(phase, at..size);
            hasher.update(&piece);
            at += piece.len() as u64;
        }
        Self { phase, size, digest: hasher.finish() }
    }

    /// How many bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Its digest.
    pub(crate) fn digest(&self) -> Digest {
        self.digest
    }

    /// The bytes of `range`, or some of its first ones. They are shared, not made anew.
    pub(crate) fn piece(&self, range: Range<u64>) -> Bytes {
        piece(self.phase, range.start..range.end.min(self.size))
    }

    /// Whether `bytes` are those at `offset`.
    pub(crate) fn holds(&self, mut offset: u64, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let piece = self.piece(offset..offset + bytes.len() as u64);
            if piece.is_empty() || bytes[..piece.len()] != piece {
                return false;
            }
            bytes = &bytes[piece.len()..];
            offset += piece.len() as u64;
        }
        true
    }
}

fn piece(phase: u64, range: Range<u64>) -> Bytes {
    static NOISE: OnceLock<Bytes> = OnceLock::new();
    // Longer than the period by a piece, so that none has a seam.
    let bytes = NOISE.get_or_init(|| {
        let mut bytes = noise(1, PERIOD as usize);
        bytes.extend_from_within(..PIECE);
        bytes.into()
    });
    let start = ((range.start + phase) % PERIOD) as usize;
    let length = range.end.saturating_sub(range.start).min(PIECE as u64) as usize;
    bytes.slice(start..start + length)
}

#[test]
fn every_byte_is_in_one_place() {
    let pattern = Pattern::new(7, 3 * PERIOD + 5);
    let mut whole = Vec::new();
    while (whole.len() as u64) < pattern.size() {
        whole.extend_from_slice(&pattern.piece(whole.len() as u64..u64::MAX));
    }
    assert_eq!(pattern.digest(), Digest::of(&whole));
    assert!(pattern.holds(0, &whole) && pattern.holds(PERIOD - 9, &whole[PERIOD as usize - 9..]));
    assert!(!pattern.holds(1, &whole[..9]) && !pattern.holds(pattern.size() - 1, &whole[whole.len() - 1..].repeat(2)));
    assert_ne!(pattern.digest(), Pattern::new(8, pattern.size()).digest());
}
