//! Cases made by hand. What needs every compressor there is, or chance, is in `tests/it/gzip.rs`.

use std::io::{self, Read};

use flate2::bufread::DeflateDecoder;

use super::{
    BitWriter, Cut, Fault, HeaderError, HeaderParser, MAX_HEADER_LENGTH, Resume, ResumeBlock, Stop, Trailer, Walker,
    encode, fill_to_phase, stored_block_header, trailer,
};

#[test]
fn the_walker_stops_before_what_does_not_add_output() {
    // A stored block "ab", a static block "cd", an empty final one.
    let mut out = BitWriter::new();
    stored_block_header(&mut out, 2, false);
    out.write_bytes(b"ab");
    encode(b"cd", &mut out, false);
    encode(b"", &mut out, true);
    let (stream, _) = out.finish();
    assert_eq!(inflate(&stream), Some(b"abcd".to_vec()));

    let mut walker = Walker::new();
    let cut = |bit, output, end_of_block| Cut { bit, output, end_of_block, final_flag: None };
    let mut at = |limit: u64| {
        let view = &stream[(walker.position() / 8) as usize..];
        let stop = walker.advance(view, limit).expect("the stream is valid");
        (stop, walker.position(), walker.cut(), walker.resume())
    };
    let boundary = |bit, output| Resume { bit, output, block: ResumeBlock::Boundary };
    assert_eq!(at(0), (Stop::Limit, 0, cut(0, 0, None), boundary(0, 0)));
    let stored = Resume { bit: 48, output: 1, block: ResumeBlock::Stored { remaining: 1, is_final: false } };
    assert_eq!(at(1), (Stop::Limit, 48, cut(0, 0, None), stored));
    assert_eq!(at(2), (Stop::Limit, 56, cut(56, 2, None), boundary(56, 2)));
    let (stop, position, found, resume) = at(4);
    assert_eq!((stop, position, found), (Stop::Limit, 75, cut(75, 4, Some((0, 7)))));
    let ResumeBlock::Huffman { header } = resume.block else { panic!("inside a block: {resume:?}") };
    assert_eq!((header.bytes, header.bits), (vec![0b010], 3));
    let (stop, position, found, resume) = at(5);
    assert_eq!((stop, position, resume.block), (Stop::End, 92, ResumeBlock::End));
    assert_eq!(found, Cut { bit: 92, output: 4, end_of_block: None, final_flag: Some(82) });
}

#[test]
fn a_match_is_taken_whole_and_only_past_a_target() {
    let mut out = BitWriter::new();
    encode(&[7; 100], &mut out, true);
    let (stream, _) = out.finish();
    let mut walker = Walker::new();
    assert_eq!(walker.advance(&stream, 50), Ok(Stop::Limit));
    assert_eq!((walker.output(), walker.cut().final_flag), (1, Some(0)));
    assert_eq!(walker.advance_to(&stream[(walker.position() / 8) as usize..], 50), Ok(Stop::Limit));
    assert_eq!(walker.output(), 100);
}

#[test]
fn invalid_streams_are_refused_with_the_place() {
    /// Values and their bits.
    type Bits = &'static [(u64, u32)];
    let cases: [(Bits, u64, Fault); 10] = [
        (&[(0b110, 3)], 0, Fault::BlockType),
        (&[(0, 8), (5, 16), (5, 16)], 0, Fault::StoredLength { length: 5, complement: 5 }),
        (&[(0b010, 3), (0, 7), (0b100, 3), (30, 14)], 10, Fault::TooManyCodes),
        (&[(0b100, 3), (30 << 5, 14)], 0, Fault::TooManyCodes),
        (&[(0b100, 3), (0, 14), (1, 12)], 0, Fault::CodeLengthCode),
        // 16 and 0 have one bit each: a repeat comes first.
        (&[(0b100, 3), (0, 14), (1 | 1 << 9, 12), (1, 1), (0, 2)], 0, Fault::Repeat),
        // 18 and 0: two runs of 138 zeros, all 258 lengths, and past them.
        (&[(0b100, 3), (0, 14), (1 << 6 | 1 << 9, 12), (0xff, 8), (0xff, 8)], 0, Fault::Repeat),
        (&[(0b100, 3), (0, 14), (1 << 6 | 1 << 9, 12), (0xff, 8), (1 | 109 << 1, 8)], 0, Fault::NoEndOfBlock),
        (&[(0b010, 3), (0b0110_0011, 8)], 3, Fault::LiteralSymbol),
        // The literal 0, then the shortest match, two bytes back.
        (&[(0b010, 3), (0b0000_1100, 8), (0b100_0000, 7), (0b10000, 5)], 11, Fault::DistanceTooFar { distance: 2 }),
    ];
    for (bits, place, fault) in cases {
        let mut out = BitWriter::new();
        bits.iter().for_each(|(value, n)| out.write_bits(*value, *n));
        out.write_bits(0, 56);
        let (stream, _) = out.finish();
        let mut walker = Walker::new();
        let error = walker.advance(&stream, u64::MAX).expect_err("the stream is invalid");
        assert_eq!((error.bit, error.fault), (place, fault));
        assert_eq!(inflate(&stream), None, "{fault:?}");
        let rest = &stream[(walker.position() / 8) as usize..];
        assert_eq!(walker.advance(rest, u64::MAX), Err(error), "the walker stays where it is");
    }
}

#[test]
fn one_block_of_256_mib() {
    const MATCHES: u64 = (256 << 20) / 258;
    let mut fixed = BitWriter::new();
    fixed.write_bits(0b011, 3);
    fixed.write_bits(0b0000_1100, 8); // literal 0
    let mut dynamic = BitWriter::new();
    // 286 literal/length codes: 0 and 256 of two bits, 285 of one; distance codes 0 and 1 of one bit.
    dynamic.write_bits(0b101 | 29 << 3 | 1 << 8 | 14 << 13, 17);
    // Code lengths: 18 and 1 of two bits, 0 of two, 2 of two.
    [0, 0, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 2].iter().for_each(|n| dynamic.write_bits(*n, 3));
    // 0 is 00, 1 is 01, 2 is 10, 18 is 11; written highest bit first.
    let (one, two, run) = (0b10, 0b01, 0b11);
    dynamic.write_bits(two, 2);
    for n in [138, 117] {
        dynamic.write_bits(run | (n - 11) << 2, 9);
    }
    dynamic.write_bits(two, 2);
    dynamic.write_bits(run | (28 - 11) << 2, 9);
    [one, one, one].iter().for_each(|code| dynamic.write_bits(*code, 2));
    dynamic.write_bits(0b01, 2); // literal 0
    for (mut out, code, bits, end_of_block) in [(fixed, 0b1010_0011, 13, (0b000_0000, 7)), (dynamic, 0, 2, (0b11, 2))] {
        let header = out.bit_len();
        (0..MATCHES).for_each(|_| out.write_bits(code, bits));
        out.write_bits(end_of_block.0.into(), end_of_block.1);
        let total = out.bit_len();
        let (stream, _) = out.finish();

        let mut walker = Walker::new();
        let middle = 128 << 20;
        let mut stops = Vec::new();
        // In pieces, as a download comes.
        let mut end = 0;
        for limit in [middle, u64::MAX] {
            stops.push(loop {
                let start = (walker.position() / 8) as usize;
                match walker.advance(&stream[start..end], limit).expect("the stream is valid") {
                    Stop::NeedInput => end = stream.len().min(end + 50_000),
                    stop => break stop,
                }
            });
            if limit == middle {
                let taken = (middle - 1) / 258;
                let bit = header + taken * u64::from(bits);
                let end_of_block = Some(end_of_block);
                assert_eq!(walker.cut(), Cut { bit, output: 1 + taken * 258, end_of_block, final_flag: Some(0) });
            }
        }
        assert_eq!(stops, [Stop::Limit, Stop::End]);
        assert_eq!((walker.output(), walker.position()), (1 + MATCHES * 258, total));
        let length = io::copy(&mut DeflateDecoder::new(&stream[..]), &mut io::sink()).expect("the stream is valid");
        assert_eq!(length, walker.output());
    }
}

#[test]
fn every_phase_is_reached_from_every_phase() {
    for from in 0..8 {
        for to in 0..8 {
            let mut out = BitWriter::new();
            encode(b"before", &mut out, false);
            fill_to_phase(&mut out, from);
            let start = out.bit_len();
            assert_eq!(start % 8, u64::from(from));
            fill_to_phase(&mut out, to);
            assert_eq!(out.bit_len() % 8, u64::from(to));
            assert!(out.bit_len() - start <= 129);
            assert_eq!(out.bit_len() == start, from == to);
            encode(b" after", &mut out, false);
            stored_block_header(&mut out, 0, false);
            assert_eq!(out.bit_len() % 8, 0);
            encode(b"", &mut out, true);
            let (stream, _) = out.finish();
            assert_eq!(inflate(&stream), Some(b"before after".to_vec()), "from {from} to {to}");
            let mut walker = Walker::new();
            assert_eq!(walker.advance(&stream, u64::MAX), Ok(Stop::End));
            assert_eq!(walker.output(), 12);
        }
    }
}

#[test]
fn filler_is_frozen() {
    let filled = |phase| {
        let mut out = BitWriter::new();
        fill_to_phase(&mut out, phase);
        (out.bit_len(), out.finish().0)
    };
    assert_eq!(filled(4), (20, vec![0x02, 0x08, 0x00]));
    let dynamic = vec![4, 193, 33, 1, 0, 0, 0, 0, 16, 255, 7, 119, 4];
    assert_eq!(filled(3), (99, dynamic));
}

#[test]
fn headers_are_read_however_they_are_split() {
    let plain = [0x1f, 0x8b, 8, 0, 1, 2, 3, 4, 0, 3];
    let mut full = vec![0x1f, 0x8b, 8, 0b1_1111, 1, 2, 3, 4, 0, 3];
    full.extend([3, 0, 0, 9, 0]);
    full.extend(b"name\0comment\0");
    let mut crc = flate2::Crc::new();
    crc.update(&full);
    full.extend(&crc.sum().to_le_bytes()[..2]);
    let empty_extra = [0x1f, 0x8b, 8, 0b1100, 1, 2, 3, 4, 0, 3, 0, 0, 0];
    for header in [&plain[..], &full, &empty_extra] {
        let member = [header, b"deflate"].concat();
        for size in 1..=member.len() {
            let mut parser = HeaderParser::new();
            let mut start = 0;
            let end = member.chunks(size).find_map(|chunk| {
                let taken = parser.push(chunk).expect("the header is valid");
                start += taken.unwrap_or(chunk.len());
                taken.map(|_| start)
            });
            assert_eq!((end, parser.length()), (Some(header.len()), header.len()), "by {size}");
            assert_eq!(parser.push(b"more"), Ok(Some(0)));
        }
    }
}

#[test]
fn headers_that_are_not_understood_are_refused() {
    let refused = |header: &[u8]| {
        let mut parser = HeaderParser::new();
        let error = parser.push(header).expect_err("the header is invalid");
        assert_eq!((parser.push(b""), parser.push(b"x")), (Err(error), Err(error)));
        error
    };
    assert_eq!(refused(b"PK"), HeaderError::NotGzip(b'P', b'K'));
    assert_eq!(refused(&[0x1f, 0x8b, 7]), HeaderError::UnknownMethod(7));
    assert_eq!(refused(&[0x1f, 0x8b, 8, 0x21]), HeaderError::ReservedFlags(0x20));
    let checked = [0x1f, 0x8b, 8, 2, 0, 0, 0, 0, 0, 3];
    let mut crc = flate2::Crc::new();
    crc.update(&checked);
    let actual = (crc.sum() & 0xffff) as u16;
    let wrong = [&checked[..], &(actual ^ 1).to_le_bytes()].concat();
    assert_eq!(refused(&wrong), HeaderError::ChecksumMismatch { expected: actual ^ 1, actual });

    let mut named = vec![0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 3];
    named.resize(MAX_HEADER_LENGTH, b'n');
    assert_eq!(HeaderParser::new().push(&named), Ok(None));
    assert_eq!(refused(&[&named[..], b"\0"].concat()), HeaderError::TooLong);
    *named.last_mut().expect("it has a last byte") = 0;
    assert_eq!(HeaderParser::new().push(&named), Ok(Some(MAX_HEADER_LENGTH)));
}

#[test]
fn the_trailer_counts_modulo_4_gib() {
    let bytes = trailer(0x0403_0201, (5 << 32) + 7);
    assert_eq!(bytes, [1, 2, 3, 4, 7, 0, 0, 0]);
    assert_eq!(Trailer::parse(bytes), Trailer { crc32: 0x0403_0201, size: 7 });
    assert!(Trailer::parse(bytes).fits(0x0403_0201, 7));
    assert!(!Trailer::parse(bytes).fits(0x0403_0201, 8));
}

fn inflate(stream: &[u8]) -> Option<Vec<u8>> {
    let mut data = Vec::new();
    DeflateDecoder::new(stream).read_to_end(&mut data).is_ok().then_some(data)
}
