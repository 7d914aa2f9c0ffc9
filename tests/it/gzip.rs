//! The gzip room against real decoders: whatever is cut, patched and resumed, they read the bytes that were meant.

use std::sync::LazyLock;

use colocate::gzip::{BitWriter, ResumeBlock, Stop, Walker, encode, fill_to_phase, stored_block_header};
use flate2::{Decompress, FlushDecompress, Status};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

const WINDOW: u64 = 32 * 1024;

#[test]
fn the_walker_counts_what_inflate_writes() {
    for stream in STREAMS.iter() {
        let mut walker = Walker::new();
        assert_eq!(walker.advance(&stream.deflate, u64::MAX), Ok(Stop::End), "{}", stream.name);
        assert_eq!(walker.output(), stream.data.len() as u64, "{}", stream.name);
        assert_eq!(walker.position().div_ceil(8), stream.deflate.len() as u64, "{}", stream.name);
        assert_eq!(walker.resume().block, ResumeBlock::End);
    }
}

#[test]
fn a_spliced_stream_decodes_to_the_edited_bytes() {
    for (index, stream) in (0u64..).zip(STREAMS.iter()) {
        let length = stream.data.len() as u64;
        let mut random = Random(index + 1);
        let inside = random.below(length.max(1));
        for start in [0, inside, length.saturating_sub(WINDOW + 700), length] {
            let replaced = random.below(3000).min(length - start);
            let new = random.bytes(random.clone().below(5000) as usize);
            let edit = Edit { start, end: start + replaced, new: &new };
            let (spliced, expected) = splice(&stream.deflate, &stream.data, &edit, WINDOW);
            assert_eq!(inflate(&spliced), Some((expected.clone(), spliced.len())), "{} at {start}", stream.name);
            assert!(libdeflate_reads(&spliced, &expected), "{} at {start}", stream.name);
        }
    }
}

#[test]
fn a_stream_can_be_cut_and_resumed_at_every_offset() {
    let data = text(1500);
    for config in [(6, zlib_rs::Strategy::Default), (6, zlib_rs::Strategy::Fixed), (0, zlib_rs::Strategy::Default)] {
        let deflate = zlib(&data, config.0, 1, config.1);
        for start in 0..=data.len() {
            for gap in [0, 1, 150, 1499] {
                // The patch is what was there, so matches behind it may reach into it.
                let edit = Edit { start: start as u64, end: start as u64, new: b"" };
                let (spliced, expected) = splice(&deflate, &data, &edit, gap);
                assert_eq!(expected, data);
                assert_eq!(inflate(&spliced), Some((expected, spliced.len())), "{config:?} at {start} + {gap}");
                assert!(libdeflate_reads(&spliced, &data), "{config:?} at {start} + {gap}");
            }
        }
    }
}

#[test]
fn the_encoder_is_frozen() {
    // A change here changes the digest of every relocated bundle: see `gzip::encode`.
    let golden = [
        (Vec::new(), "9b4fb24edd6d1d8830e272398263cdbf026b97392cc35387b991dc0248a628f9"),
        (b"abc".to_vec(), "7ce573d21753aedbe7d6d1f5893e3f1265a35b9b51e42a154174a4ce9602ae39"),
        (text(300_000), "8f3130fffc911feed607373a2869c9a7c9712ad115de34f94d78bced6548b073"),
        (Random(5).bytes(70_000), "50fd6b4ad2301086f4e25907b98275b8b67b8219c7dd39f44bca807eb7c8001e"),
        (mixed(200_000), "583abb6aab8694590a627ffc9fc3ebf6a6a908d8f81d76bdbb16d18b898d1fab"),
        (vec![0; 100_000], "9ab0ea0edf39958869f2c86e4ed858eb21e5642becbe49c273e88a2a2ddadde0"),
    ];
    for (data, expected) in golden {
        let digest: String = Sha256::digest(encoded(&data)).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digest, expected, "{} bytes", data.len());
    }
    let abc = [0x4b, 0x4c, 0x4a, 0x06, 0x00];
    assert_eq!(encoded(b"abc"), abc);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_split_of_the_input_does_not_matter(
        pick in any::<prop::sample::Index>(),
        targets in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 1..6),
        pieces in prop::collection::vec(1usize..3000, 1..8),
        tiny in any::<bool>(),
    ) {
        let stream = &STREAMS[pick.index(STREAMS.len())];
        let mut targets: Vec<_> =
            targets.iter().map(|(at, cross)| (at.index(stream.data.len() + 2) as u64, *cross)).collect();
        targets.sort_unstable();
        let mut whole = Walker::new();
        let mut split = Walker::new();
        let mut end = 0;
        let mut pieces = pieces.iter().map(|n| if tiny { n % 9 + 1 } else { *n }).cycle();
        let go = |walker: &mut Walker, end: usize, (target, cross): (u64, bool)| {
            let view = &stream.deflate[(walker.position() / 8) as usize..end];
            if cross { walker.advance_to(view, target) } else { walker.advance(view, target) }
        };
        for target in targets {
            let expected = go(&mut whole, stream.deflate.len(), target);
            let stop = loop {
                match go(&mut split, end, target) {
                    Ok(Stop::NeedInput) => end = stream.deflate.len().min(end + pieces.next().unwrap_or(1)),
                    stop => break stop,
                }
            };
            prop_assert_eq!(stop, expected);
            prop_assert_eq!(split.position(), whole.position());
            prop_assert_eq!(split.cut(), whole.cut());
            prop_assert_eq!(split.resume(), whole.resume());
            if target.1 && stop == Ok(Stop::Limit) {
                prop_assert!((target.0..target.0 + 258).contains(&split.output()) || split.output() > target.0);
            }
        }
    }

    #[test]
    fn the_walker_takes_exactly_what_inflate_takes(
        pick in any::<prop::sample::Index>(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0u32..8), 0..4),
        keep in any::<prop::sample::Index>(),
    ) {
        let mut stream = FRAGILE[pick.index(FRAGILE.len())].clone();
        // Most of the time in the first bytes, where the headers are.
        for (at, bit) in flips {
            let range = if bit % 2 == 0 { stream.len() } else { stream.len().min(90) };
            stream[at.index(range)] ^= 1 << bit;
        }
        if keep.index(4) == 0 {
            stream.truncate(keep.index(stream.len()));
        }
        agrees(&stream)?;
    }

    #[test]
    fn random_dynamic_blocks_are_judged_as_inflate_judges_them(
        literals in prop::collection::vec((0u16..286, 1u8..10), 0..12),
        distances in prop::collection::vec((0usize..30, 1u8..5), 0..4),
        complete in (any::<bool>(), any::<bool>()),
        counts in (257usize..=286, 1usize..=30),
        body in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let mut lengths = vec![0; counts.0 + counts.1];
        lengths[256] = 3;
        for (symbol, length) in literals {
            if let Some(slot) = lengths[..counts.0].get_mut(usize::from(symbol)) {
                *slot = length;
            }
        }
        for (symbol, length) in distances {
            if let Some(slot) = lengths[counts.0..].get_mut(symbol) {
                *slot = length;
            }
        }
        if complete.0 {
            complete_code(&mut lengths[..counts.0]);
        }
        if complete.1 {
            complete_code(&mut lengths[counts.0..]);
        }
        let mut out = BitWriter::new();
        out.write_bits(0b101 | (counts.0 as u64 - 257) << 3 | (counts.1 as u64 - 1) << 8 | 15 << 13, 17);
        // The code lengths 0 to 15 have four bits each, repeats none.
        (0..19).for_each(|at| out.write_bits(if at < 3 { 0 } else { 4 }, 3));
        lengths.iter().for_each(|length| out.write_bits(u64::from(length.reverse_bits() >> 4), 4));
        body.iter().for_each(|byte| out.write_bits((*byte).into(), 8));
        out.write_bits(0, 8);
        agrees(&out.finish().0)?;
    }

    #[test]
    fn arbitrary_bytes_are_judged_as_inflate_judges_them(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        agrees(&bytes)?;
    }

    #[test]
    fn what_is_encoded_decodes(
        seed in any::<u64>(), length in 0usize..150_000, phase in 0u32..8, kind in 0..3, is_final in any::<bool>(),
    ) {
        let data = match kind {
            0 => text(length),
            1 => Random(seed).bytes(length),
            _ => mixed(length),
        };
        let mut out = BitWriter::new();
        fill_to_phase(&mut out, phase);
        let start = out.bit_len();
        encode(&data, &mut out, is_final);
        let overhead = data.len().div_ceil(32 * 1024).max(1) as u64 * 6;
        prop_assert!(out.bit_len() - start <= (data.len() as u64 + overhead) * 8);
        if !is_final {
            encode(b"", &mut out, true);
        }
        let (stream, _) = out.finish();
        prop_assert!(libdeflate_reads(&stream, &data));
        prop_assert_eq!(inflate(&stream), Some((data, stream.len())));
    }
}

/// The walker and flate2 both take the stream, with the same length on both sides, or neither does.
fn agrees(stream: &[u8]) -> Result<(), TestCaseError> {
    let mut walker = Walker::new();
    let walked = walker.advance(stream, u64::MAX) == Ok(Stop::End);
    let walked = walked.then(|| (walker.output(), walker.position().div_ceil(8) as usize));
    prop_assert_eq!(walked, inflate_with(stream, |_| {}));
    Ok(())
}

/// Fills up a code that is not over-subscribed, so that it is complete.
fn complete_code(lengths: &mut [u8]) {
    let used: u32 = lengths.iter().filter(|n| **n > 0).map(|n| 1 << (15 - n)).sum();
    let mut left = (1u32 << 15).saturating_sub(used);
    for slot in lengths.iter_mut().filter(|n| **n == 0) {
        if left > 0 {
            let bit = left.ilog2().min(14);
            *slot = (15 - bit) as u8;
            left -= 1 << bit;
        }
    }
}

struct Edit<'a> {
    start: u64,
    end: u64,
    new: &'a [u8],
}

/// Replaces a range of what `deflate` decodes to, as the rewriter does, and resumes at least `gap` bytes behind it.
/// Returns the new stream, and the bytes it should decode to.
fn splice(deflate: &[u8], data: &[u8], edit: &Edit<'_>, gap: u64) -> (Vec<u8>, Vec<u8>) {
    let mut walker = Walker::new();
    walker.advance(deflate, edit.start).expect("the stream is valid");
    let cut = walker.cut();
    let view = &deflate[(walker.position() / 8) as usize..];
    walker.advance_to(view, edit.end + gap).expect("the stream is valid");
    let resume = walker.resume();

    let kept = (cut.bit / 8) as usize;
    let prefix = deflate.get(kept).copied().unwrap_or_default();
    let mut out = BitWriter::with_prefix(prefix, (cut.bit % 8) as u32);
    if let Some((code, bits)) = cut.end_of_block {
        out.write_bits(code.into(), bits);
    }
    let mut patch = data[cut.output as usize..edit.start as usize].to_vec();
    patch.extend_from_slice(edit.new);
    patch.extend_from_slice(&data[edit.end as usize..resume.output as usize]);
    encode(&patch, &mut out, resume.block == ResumeBlock::End);
    let phase = (resume.bit % 8) as u32;
    match &resume.block {
        ResumeBlock::Boundary => fill_to_phase(&mut out, phase),
        ResumeBlock::Huffman { header } => {
            fill_to_phase(&mut out, (resume.bit.wrapping_sub(header.bits) % 8) as u32);
            out.write_bits_from(&header.bytes, header.bits);
        }
        ResumeBlock::Stored { remaining, is_final } => stored_block_header(&mut out, *remaining, *is_final),
        ResumeBlock::End => {}
    }
    let mut spliced = deflate[..kept].to_vec();
    if resume.block == ResumeBlock::End {
        spliced.extend(out.finish().0);
    } else {
        assert_eq!(out.bit_len() % 8, u64::from(phase));
        let mut rest = &deflate[(resume.bit / 8) as usize..];
        if phase > 0 {
            out.write_bits(u64::from(rest[0] >> phase), 8 - phase);
            rest = &rest[1..];
        }
        spliced.extend(out.finish().0);
        spliced.extend_from_slice(rest);
    }
    if let Some(flag) = cut.final_flag {
        let byte = &mut spliced[(flag / 8) as usize];
        assert_eq!(*byte >> (flag % 8) & 1, 1);
        *byte &= !(1 << (flag % 8));
    }
    let expected = [&data[..cut.output as usize], &patch, &data[resume.output as usize..]].concat();
    (spliced, expected)
}

/// The bytes of a whole raw stream and how much of it was read.
fn inflate(stream: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut data = Vec::new();
    let (_, consumed) = inflate_with(stream, |bytes| data.extend_from_slice(bytes))?;
    Some((data, consumed))
}

fn inflate_with(stream: &[u8], mut sink: impl FnMut(&[u8])) -> Option<(u64, usize)> {
    let mut inflate = Decompress::new(false);
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let (read, written) = (inflate.total_in(), inflate.total_out());
        let status = inflate.decompress(&stream[read as usize..], &mut buffer, FlushDecompress::None).ok()?;
        let n = inflate.total_out() - written;
        sink(&buffer[..n as usize]);
        match status {
            Status::StreamEnd => return Some((inflate.total_out(), inflate.total_in() as usize)),
            _ if n == 0 && inflate.total_in() == read => return None,
            _ => {}
        }
    }
}

fn libdeflate_reads(stream: &[u8], expected: &[u8]) -> bool {
    let mut out = vec![0; expected.len()];
    libdeflater::Decompressor::new().deflate_decompress(stream, &mut out) == Ok(expected.len()) && out == expected
}

fn encoded(data: &[u8]) -> Vec<u8> {
    let mut out = BitWriter::new();
    encode(data, &mut out, true);
    out.finish().0
}

struct Stream {
    name: String,
    deflate: Vec<u8>,
    data: Vec<u8>,
}

/// Every maker of deflate streams at hand, with every setting that changes the kind of its blocks.
static STREAMS: LazyLock<Vec<Stream>> = LazyLock::new(|| {
    let mut streams = Vec::new();
    let samples = [("text", text(150_000)), ("mixed", mixed(180_000)), ("zeros", vec![0; 90_000]), ("none", vec![])];
    for (sample, data) in samples {
        let mut add = |name: String, deflate| {
            streams.push(Stream { name: format!("{sample} {name}"), deflate, data: data.clone() });
        };
        for level in 0..=9 {
            add(format!("zlib -{level}"), zlib(&data, level, 8, zlib_rs::Strategy::Default));
        }
        use zlib_rs::Strategy as S;
        for strategy in [S::Default, S::Filtered, S::HuffmanOnly, S::Rle, S::Fixed] {
            for memory in [1, 4, 9] {
                add(format!("zlib {strategy:?} {memory}"), zlib(&data, 6, memory, strategy));
            }
        }
        for level in 1..=12 {
            let level = libdeflater::CompressionLvl::new(level).expect("1 to 12 are levels");
            let mut compressor = libdeflater::Compressor::new(level);
            let mut deflate = vec![0; compressor.deflate_compress_bound(data.len())];
            let n = compressor.deflate_compress(&data, &mut deflate).expect("the bound is enough");
            deflate.truncate(n);
            add(format!("libdeflate {level:?}"), deflate);
        }
        let options = zopfli::Options { iteration_count: std::num::NonZeroU64::MIN, ..Default::default() };
        let mut deflate = Vec::new();
        zopfli::compress(options, zopfli::Format::Deflate, &data[..], &mut deflate).expect("a Vec takes everything");
        add("zopfli".into(), deflate);
        add("frozen encoder".into(), encoded(&data));
    }
    streams
});

/// Streams to be damaged: most are short, so that damage hits headers; two are longer than a window, behind which the
/// walker goes faster.
static FRAGILE: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let samples = [text(700), mixed(9000), vec![1; 300]];
    let strategies = [zlib_rs::Strategy::Default, zlib_rs::Strategy::HuffmanOnly, zlib_rs::Strategy::Fixed];
    let mut streams: Vec<_> =
        samples.iter().flat_map(|data| strategies.map(|strategy| zlib(data, 6, 1, strategy))).collect();
    streams.extend(samples.iter().map(|data| zlib(data, 0, 1, zlib_rs::Strategy::Default)));
    streams.push(zlib(&text(50_000), 6, 3, zlib_rs::Strategy::Default));
    streams.push(zlib(&mixed(80_000), 6, 3, zlib_rs::Strategy::Default));
    streams
});

fn zlib(data: &[u8], level: i32, mem_level: i32, strategy: zlib_rs::Strategy) -> Vec<u8> {
    let config = zlib_rs::DeflateConfig { level, window_bits: -15, mem_level, strategy, ..Default::default() };
    // The library's own bound does not cover every strategy.
    let mut out = vec![0; data.len() * 2 + 1000];
    let (deflate, code) = zlib_rs::compress_slice(&mut out, data, config);
    assert_eq!(code, zlib_rs::ReturnCode::Ok);
    deflate.to_vec()
}

/// Something like an ImagesLock.
fn text(length: usize) -> Vec<u8> {
    let mut random = Random(3);
    let mut text = Vec::with_capacity(length + 200);
    while text.len() < length {
        let (a, b) = (random.next(), random.next());
        let name = ["app", "web", "cache", "worker", "sidecar"][random.below(5) as usize];
        text.extend(format!("- image: registry.example.com/team/{name}@sha256:{a:016x}{b:016x}\n").bytes());
    }
    text.truncate(length);
    text
}

/// Runs of text, noise and repeats of what was there before.
fn mixed(length: usize) -> Vec<u8> {
    let mut random = Random(9);
    let mut mixed = Vec::with_capacity(length + 40_000);
    while mixed.len() < length {
        let n = random.below(40_000) as usize;
        match random.below(4) {
            0 => mixed.extend(text(n)),
            1 => mixed.extend(random.bytes(n)),
            2 => mixed.resize(mixed.len() + n, 0),
            _ => mixed.extend_from_within(mixed.len() - n.min(mixed.len())..),
        }
    }
    mixed.truncate(length);
    mixed
}

/// xorshift64*: the same on every machine.
#[derive(Clone)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 |= u64::from(self.0 == 0);
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.next().to_le_bytes()[7]).collect()
    }
}
