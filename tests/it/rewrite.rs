//! The splice, whole: layers of every writer, the lock at every place, every split of the input.

mod one_block;

use std::io::{Read, Write};

use colocate::oci::{Algorithm, Digest};
use colocate::rewrite::{LayerRewriter, LockChange, Recipe, RelocatedLayer, Segment, Unchanged};
use flate2::read::MultiGzDecoder;
use proptest::prelude::*;

use one_block::Sparse;

use crate::support::tarball::{LOCK_PATH, Tarball, lock_text, noise, prose};

/// DESIGN, section 2: the patch is at most the lock and this much.
const PATCH_BYTES: u64 = 128 << 10;

#[test]
fn every_level_and_strategy_of_zlib() {
    let mut spliced = 0;
    for tar in lock_first_middle_last() {
        for level in 0..=9 {
            assert_spliced(&gzip(&tar.bytes, level), &tar, "level");
            spliced += 1;
        }
        for strategy in [
            zlib_rs::Strategy::Default,
            zlib_rs::Strategy::Filtered,
            zlib_rs::Strategy::HuffmanOnly,
            zlib_rs::Strategy::Rle,
            zlib_rs::Strategy::Fixed,
        ] {
            for (level, mem_level) in [(1, 1), (6, 8), (9, 9)] {
                assert_spliced(&zlib(&tar.bytes, level, mem_level, strategy), &tar, "strategy");
                spliced += 1;
            }
        }
    }
    assert_eq!(spliced, 3 * (10 + 15));
}

#[test]
fn libdeflate_and_zopfli() {
    for tar in lock_first_middle_last() {
        for level in [0, 1, 3, 6, 9, 12] {
            let level = libdeflater::CompressionLvl::new(level).expect("a level");
            let mut compressor = libdeflater::Compressor::new(level);
            let mut layer = vec![0; compressor.gzip_compress_bound(tar.bytes.len())];
            let size = compressor.gzip_compress(&tar.bytes, &mut layer).expect("compresses");
            layer.truncate(size);
            assert_spliced(&layer, &tar, "libdeflate");
        }
    }
    for tar in [small(0), small(3)] {
        let mut layer = Vec::new();
        let options = zopfli::Options { iteration_count: 2.try_into().expect("positive"), ..Default::default() };
        zopfli::compress(options, zopfli::Format::Gzip, &tar.bytes[..], &mut layer).expect("compresses");
        assert_spliced(&layer, &tar, "zopfli");
    }
}

/// `tests/fixtures/layers`: one tar, compressed by programs that are not libraries here.
#[test]
fn layers_of_other_programs() {
    let tar = fixture_tar();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/layers");
    let mut seen = 0;
    for file in std::fs::read_dir(folder).expect("the fixtures are there") {
        let path = file.expect("readable").path();
        if path.extension().is_some_and(|extension| extension == "gz") {
            assert_spliced(&std::fs::read(&path).expect("readable"), &tar, &path.display().to_string());
            seen += 1;
        }
    }
    assert_eq!(seen, 4, "pigz, pigz -i, GNU gzip, Go");
}

/// The tar behind `tests/fixtures/layers`; `COLOCATE_FIXTURE_TAR=FILE cargo test` writes it out to be compressed.
fn fixture_tar() -> Tarball {
    let mut tar = Tarball::new();
    tar.folder(".").folder(".imgpkg").file("a.txt", &prose(1, 300_000)).file("b.bin", &noise(2, 200_000));
    tar.lock(&lock_text(12)).file("c.txt", &prose(3, 300_000)).finish();
    if let Some(path) = std::env::var_os("COLOCATE_FIXTURE_TAR") {
        std::fs::write(path, &tar.bytes).expect("writable");
    }
    tar
}

#[test]
fn headers_with_every_field() {
    let tar = small(2);
    let layer = gzip(&tar.bytes, 6);
    // FHCRC, FEXTRA, FNAME and FCOMMENT at once (RFC 1952, section 2.3).
    let mut header = vec![0x1f, 0x8b, 8, 0b1_1110, 1, 2, 3, 4, 2, 3, 5, 0];
    header.extend(b"extra");
    header.extend(b"layer.tar\0a comment\0");
    let mut crc = flate2::Crc::new();
    crc.update(&header);
    header.extend(&crc.sum().to_le_bytes()[..2]);
    assert_spliced(&[&header[..], &layer[10..]].concat(), &tar, "header fields");
}

#[test]
fn members_of_any_split() {
    for (seed, tar) in lock_first_middle_last().into_iter().enumerate() {
        for pieces in [vec![1], vec![512], vec![100, 1000], vec![40_000], vec![0, 70_000, 3]] {
            // Members of one byte are made for a short tar only: each costs twenty bytes and a header.
            let tar = if pieces == [1] { small(seed) } else { tar.clone() };
            assert_spliced(&members(&tar.bytes, &pieces, 6), &tar, &format!("members of {pieces:?}"));
        }
        let around = [tar.lock_start, 512, tar.lock_end - tar.lock_start - 512];
        assert_spliced(&members(&tar.bytes, &around, 9), &tar, "the lock's parts are members");
        assert_spliced(&members(&tar.bytes, &[tar.lock_start - 1, 2], 9), &tar, "a member ends in the header");
    }
}

#[test]
fn one_block_of_256_mib() {
    const SIZE: usize = 256 << 20;
    for place in [0, 1, 2] {
        let tar = Sparse::new(SIZE, place);
        for (kind, layer) in
            [("static", tar.compress_as_one_block(false)), ("dynamic", tar.compress_as_one_block(true))]
        {
            let change = tar.lock.replace("example.com", "cache.example.org:5000/a/longer/place");
            let relocated = rewrite(&layer, 1 << 20, change.clone()).unwrap_or_else(|e| panic!("{kind} {place}: {e}"));
            assert!(relocated.recipe.inline_bytes() <= change.len() as u64 + PATCH_BYTES, "{kind} {place}");
            // Too large to compare in memory many times over: the reader's own checksum and the diff id must do.
            let new = render(&relocated.recipe, &layer);
            let mut hasher = colocate::oci::Hasher::new(Algorithm::Sha256);
            let mut decoder = MultiGzDecoder::new(&new[..]);
            let mut buffer = vec![0; 1 << 20];
            loop {
                match decoder.read(&mut buffer).expect("decodes") {
                    0 => break,
                    n => hasher.update(&buffer[..n]),
                }
            }
            assert_eq!(hasher.finish(), relocated.diff_id, "{kind} {place}");
        }
    }
}

#[test]
fn uncompressed_tars() {
    for tar in lock_first_middle_last() {
        let change = changed_lock(&tar, 7000);
        let relocated = rewrite(&tar.bytes, 1000, change.clone()).expect("spliced");
        assert_eq!(render(&relocated.recipe, &tar.bytes), tar.with_lock(&change));
        assert_eq!(relocated.digest, relocated.diff_id);
    }
}

#[test]
fn long_names_and_odd_names() {
    type Build = fn(&mut Tarball);
    let cases: [(&str, Build); 6] = [
        ("./", |tar| _ = tar.lock_named("./.imgpkg/images.yml", &lock_text(3))),
        ("backslashes", |tar| _ = tar.lock_named(".imgpkg\\images.yml", &lock_text(3))),
        ("dot dot", |tar| _ = tar.lock_named("x/../.imgpkg/images.yml", &lock_text(3))),
        ("PAX path", |tar| _ = tar.pax(&[("path", LOCK_PATH), ("mtime", "1.5")]).lock_named("short", &lock_text(3))),
        ("GNU long name", |tar| _ = tar.gnu_long_name(LOCK_PATH).lock_named("short", &lock_text(3))),
        ("prefix", |tar| _ = tar.lock_with_prefix(".imgpkg", "images.yml", &lock_text(3))),
    ];
    for (name, build) in cases {
        let mut tar = Tarball::new();
        tar.file("before", &prose(7, 100_000));
        build(&mut tar);
        tar.file("after", &prose(8, 100_000)).finish();
        assert_spliced(&gzip(&tar.bytes, 6), &tar, name);
    }
}

#[test]
fn the_result_does_not_depend_on_the_split() {
    let tar = small(1);
    let layer = members(&tar.bytes, &[9000, 20_000], 6);
    let change = changed_lock(&tar, 900);
    let whole = rewrite(&layer, layer.len(), change.clone()).expect("spliced");
    for chunk in [1, 2, 3, 7, 511, 4096] {
        let relocated = rewrite(&layer, chunk, change.clone()).expect("spliced");
        assert_eq!((relocated.digest, &relocated.recipe), (whole.digest, &whole.recipe), "chunks of {chunk}");
    }
}

#[test]
fn what_is_passed_through_says_why() {
    let tar = small(1);
    let layer = gzip(&tar.bytes, 6);
    let reason = |layer: &[u8]| rewrite(layer, 1000, "x".into()).map(|_| ()).expect_err("passed through").label();

    assert_eq!(reason(&[0x28, 0xb5, 0x2f, 0xfd, 0, 0]), "zstd");
    assert_eq!(reason(&[0x50, 0x2a, 0x4d, 0x18, 0, 0]), "zstd");
    assert_eq!(reason(b"<html>not a layer</html>".repeat(50).as_slice()), "tar");
    assert_eq!(reason(b""), "no_lock");
    assert_eq!(reason(&layer[..layer.len() - 1]), "inflate");
    assert_eq!(reason(&layer[..layer.len() / 2]), "inflate");
    assert_eq!(reason(&[&layer[..], &[0; 512]].concat()), "trailing_bytes");
    let mut flipped = layer.clone();
    let last = flipped.len() - 5;
    flipped[last] ^= 1;
    assert_eq!(reason(&flipped), "checksum");
    assert_eq!(reason(&[&[0x1f, 0x8b, 7, 0][..], &layer[4..]].concat()), "gzip_header");

    let tar_reason = |build: &dyn Fn(&mut Tarball)| {
        let mut tar = Tarball::new();
        build(&mut tar);
        tar.finish();
        let plain = reason(&tar.bytes);
        assert_eq!(reason(&gzip(&tar.bytes, 6)), plain);
        plain
    };
    assert_eq!(tar_reason(&|tar| _ = tar.file("a", b"a")), "no_lock");
    assert_eq!(tar_reason(&|tar| _ = tar.lock(&lock_text(1)).lock(&lock_text(1))), "second_lock");
    assert_eq!(tar_reason(&|tar| _ = tar.symlink(LOCK_PATH, "../elsewhere")), "lock_not_a_file");
    assert_eq!(tar_reason(&|tar| _ = tar.hard_link(LOCK_PATH, "elsewhere")), "lock_not_a_file");
    assert_eq!(tar_reason(&|tar| _ = tar.lock(&lock_text(1)).symlink(LOCK_PATH, "x")), "second_lock");
    assert_eq!(tar_reason(&|tar| _ = tar.symlink(".imgpkg", "x").lock(&lock_text(1))), "lock_not_a_file");
    assert_eq!(tar_reason(&|tar| _ = tar.lock(&lock_text(1)).file(".imgpkg/.wh.images.yml", b"")), "lock_whited_out");
    assert_eq!(tar_reason(&|tar| _ = tar.lock("not: a lock")), "lock_refused");
    assert_eq!(tar_reason(&|tar| _ = tar.lock(&"#".repeat((8 << 20) + 1))), "lock_too_large");
    assert_eq!(tar_reason(&|tar| _ = tar.pax(&[("size", "5")]).lock(&lock_text(1))), "lock_sized_by_pax");
    assert_eq!(tar_reason(&|tar| _ = tar.global_pax(&[("path", "x")]).lock(&lock_text(1))), "tar");
    // Go forgets the long name at the global header, other readers do not.
    let forgotten =
        |tar: &mut Tarball| _ = tar.gnu_long_name(LOCK_PATH).global_pax(&[("comment", "x")]).file("a", b"a");
    assert_eq!(tar_reason(&forgotten), "tar");
    assert_eq!(tar_reason(&|tar| _ = tar.file("nul\0.txt", b"").damage_checksum()), "tar");
}

#[test]
fn a_bomb_is_left_alone() {
    // A gigabyte of zeros in a megabyte is the most that deflate does; sixteen members of it are more than any
    // layer of that size should hold.
    let mut zeros = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..128 {
        zeros.write_all(&vec![0; 1 << 20]).expect("in memory");
    }
    let member = zeros.finish().expect("in memory");
    let mut tar = Tarball::new();
    tar.file_header("zeros", 10 << 30);
    let bomb = [gzip(&tar.bytes, 1), member.repeat(16)].concat();
    let error = rewrite(&bomb, 1 << 20, "x".into()).map(|_| ()).expect_err("passed through");
    assert!(matches!(error, Unchanged::Bomb(_)), "{error}");
}

#[test]
fn a_lock_of_eight_mebibytes() {
    let mut lock = lock_text(50_000);
    let padding = (8 << 20) - lock.len();
    lock.push('#');
    lock.push_str(&"x".repeat(padding - 1));
    assert_eq!(lock.len(), 8 << 20);
    let mut tar = Tarball::new();
    tar.file("a", &prose(5, 70_000)).lock(&lock).file("b", &prose(6, 70_000)).finish();
    assert_spliced(&gzip(&tar.bytes, 6), &tar, "8 MiB");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_tar_any_writer_any_split(
        files in prop::collection::vec((0_usize..60_000, any::<bool>()), 0..6),
        place in 0_usize..6,
        images in 1_usize..40,
        new_size in 0_usize..20_000,
        level in 0_u32..10,
        writer in 0_usize..4,
        chunk in 1_usize..70_000,
        seed in any::<u64>(),
    ) {
        let mut tar = Tarball::new();
        for (index, (size, random)) in files.iter().enumerate() {
            if index == place {
                tar.lock(&lock_text(images));
            }
            let seed = seed.wrapping_add(index as u64);
            tar.file(&format!("file{index}"), &if *random { noise(seed, *size) } else { prose(seed, *size) });
        }
        if place >= files.len() {
            tar.lock(&lock_text(images));
        }
        tar.finish();
        let layer = match writer {
            0 => gzip(&tar.bytes, level),
            1 => members(&tar.bytes, &[chunk, 3000], level),
            2 => zlib(&tar.bytes, level as i32, 1 + (seed % 9) as i32, zlib_rs::Strategy::Fixed),
            _ => zlib(&tar.bytes, level as i32, 1 + (seed % 9) as i32, zlib_rs::Strategy::HuffmanOnly),
        };
        let change = changed_lock(&tar, new_size);
        let relocated = rewrite(&layer, chunk, change.clone()).expect("spliced");
        check(&relocated, &layer, &tar, &change, "property");
    }
}

/// Rewrites `layer` with locks that grow, shrink and keep their length, and checks everything that is promised.
fn assert_spliced(layer: &[u8], tar: &Tarball, what: &str) {
    let old = tar.lock_end - tar.lock_start - 512;
    for new_size in [0, old.saturating_sub(700), old + 3000] {
        let change = changed_lock(tar, new_size);
        let relocated = match rewrite(layer, 50_000, change.clone()) {
            Ok(relocated) => relocated,
            Err(reason) => panic!("{what}: passed through, {reason}"),
        };
        check(&relocated, layer, tar, &change, what);
    }
}

fn check(relocated: &RelocatedLayer, layer: &[u8], tar: &Tarball, lock: &str, what: &str) {
    let new = render(&relocated.recipe, layer);
    let expected = tar.with_lock(lock);
    assert_eq!(relocated.recipe.size(), new.len() as u64, "{what}: size");
    assert_eq!(relocated.digest, Digest::of(&new), "{what}: digest");
    assert_eq!(relocated.diff_id, Digest::of(&expected), "{what}: diff id");
    let patch = relocated.recipe.inline_bytes();
    assert!(patch <= lock.len() as u64 + PATCH_BYTES, "{what}: the patch has {patch} bytes");
    let mut decoded = Vec::with_capacity(expected.len());
    MultiGzDecoder::new(&new[..]).read_to_end(&mut decoded).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(decoded == expected, "{what}: decodes to something else");
}

fn rewrite(layer: &[u8], chunk: usize, lock: String) -> Result<RelocatedLayer, Unchanged> {
    let change: LockChange = Box::new(move |_| Ok(lock.into_bytes()));
    let mut rewriter = LayerRewriter::new(Algorithm::Sha256, Algorithm::Sha256, change);
    for chunk in layer.chunks(chunk.max(1)) {
        rewriter.push(chunk)?;
    }
    rewriter.finish()
}

fn render(recipe: &Recipe, original: &[u8]) -> Vec<u8> {
    let mut rendered = Vec::with_capacity(recipe.size() as usize);
    for segment in recipe.slice(0..recipe.size()) {
        match segment {
            Segment::Original(range) => rendered.extend(&original[range.start as usize..range.end as usize]),
            Segment::Inline(bytes) => rendered.extend(&bytes),
        }
    }
    rendered
}

/// A lock text of `size` bytes that shares most of its words with the original.
fn changed_lock(tar: &Tarball, size: usize) -> String {
    let old = String::from_utf8_lossy(tar.lock_data()).replace("example.com", "mirror.example.org/prefix");
    old.chars().cycle().take(size).collect()
}

fn lock_first_middle_last() -> Vec<Tarball> {
    let build = |place: usize| {
        let mut tar = Tarball::new();
        for index in 0..3 {
            if index == place {
                tar.folder(".imgpkg").lock(&lock_text(9));
            }
            tar.file(&format!("{index}.txt"), &prose(index as u64, 150_000));
            tar.file(&format!("{index}.bin"), &noise(index as u64, 50_000));
        }
        if place == 3 {
            tar.folder(".imgpkg").lock(&lock_text(9));
        }
        tar.finish();
        tar
    };
    vec![build(0), build(1), build(3)]
}

/// A few kilobytes, with the lock after `place` files.
fn small(place: usize) -> Tarball {
    let mut tar = Tarball::new();
    for index in 0..3 {
        if index == place {
            tar.lock(&lock_text(4));
        }
        tar.file(&format!("{index}.txt"), &prose(index as u64, 17_000));
    }
    if place >= 3 {
        tar.lock(&lock_text(4));
    }
    tar.finish();
    tar
}

fn gzip(tar: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(level));
    encoder.write_all(tar).expect("in memory");
    encoder.finish().expect("in memory")
}

fn zlib(tar: &[u8], level: i32, mem_level: i32, strategy: zlib_rs::Strategy) -> Vec<u8> {
    // Window bits of 31 ask zlib for a gzip wrapper.
    let config = zlib_rs::DeflateConfig { level, mem_level, strategy, window_bits: 31, ..Default::default() };
    let mut layer = vec![0; tar.len() + tar.len() / 8 + 65536];
    let (written, code) = zlib_rs::compress_slice(&mut layer, tar, config);
    assert_eq!(code, zlib_rs::ReturnCode::Ok);
    written.to_vec()
}

/// Members of the given sizes, the last of them repeated.
fn members(tar: &[u8], sizes: &[usize], level: u32) -> Vec<u8> {
    let mut layer = Vec::new();
    let mut left = tar;
    let mut sizes = sizes.iter().copied();
    let mut size = 0;
    loop {
        size = sizes.next().unwrap_or(size.max(1));
        let (piece, rest) = left.split_at(size.min(left.len()));
        layer.extend(gzip(piece, level));
        left = rest;
        if left.is_empty() {
            return layer;
        }
    }
}
