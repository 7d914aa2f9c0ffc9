//! What must hold for any bytes. Each function is a fuzz target; `tests/it/fuzz.rs` replays the corpus.

#![allow(dead_code, unreachable_pub, reason = "every target uses one of these")]

use std::io::{Read, Write};

use colocate::gzip::{Stop, Walker};
use colocate::imgpkg::{ImagesLock, LockError};
use colocate::oci::{Algorithm, Digest};
use colocate::rewrite::{FoundLock, LayerRewriter, Recipe, Segment};
use colocate::tar::{Entry, Scanner, Step};
use flate2::read::MultiGzDecoder;

/// The walker takes what inflate takes, and counts the same bytes.
pub fn walker(data: &[u8]) {
    let mut inflate = flate2::Decompress::new(false);
    let mut output = vec![0; 1 << 16];
    let inflated = loop {
        let before = (inflate.total_in(), inflate.total_out());
        match inflate.decompress(&data[before.0 as usize..], &mut output, flate2::FlushDecompress::None) {
            Ok(flate2::Status::StreamEnd) => break Some(inflate.total_out()),
            Ok(_) if (inflate.total_in(), inflate.total_out()) != before => {}
            Ok(_) | Err(_) => break None,
        }
        if inflate.total_out() > 1 << 26 {
            return;
        }
    };
    let mut walker = Walker::new();
    let walked = (walker.advance(data, u64::MAX) == Ok(Stop::End)).then(|| walker.output());
    assert_eq!(walked, inflated);
}

/// A layer that is spliced decodes to the tar it claims, whatever the layer is and however it is split.
pub fn splice(data: &[u8]) {
    let Some((&[mode, chunk], data)) = data.split_first_chunk() else { return };
    let layer = match mode {
        // As it is, for the parsers; else compressed, so that the splice is reached.
        0 => data.to_vec(),
        mode => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(u32::from(mode % 10)));
            encoder.write_all(data).expect("in memory");
            encoder.finish().expect("in memory")
        }
    };
    let run = |chunk: usize| {
        let change = Box::new(|_: FoundLock<'_>| Ok(b"another lock\n".repeat(40)));
        let mut rewriter = LayerRewriter::new(Algorithm::Sha256, Algorithm::Sha256, change);
        layer.chunks(chunk).try_for_each(|chunk| rewriter.push(chunk)).and_then(|()| rewriter.finish())
    };
    let Ok(relocated) = run(layer.len().max(1)) else { return };
    let split = run(1 + usize::from(chunk)).expect("a split changes nothing");
    assert_eq!((split.digest, &split.recipe), (relocated.digest, &relocated.recipe));

    let mut new = Vec::new();
    for segment in relocated.recipe.slice(0..u64::MAX) {
        match segment {
            Segment::Original(range) => new.extend(&layer[range.start as usize..range.end as usize]),
            Segment::Inline(bytes) => new.extend(&bytes),
        }
    }
    assert_eq!(Digest::of(&new), relocated.digest);
    let tar = if layer.starts_with(&[0x1f, 0x8b]) {
        let mut tar = Vec::new();
        MultiGzDecoder::new(&new[..]).read_to_end(&mut tar).expect("decodes");
        tar
    } else {
        new
    };
    assert_eq!(Digest::of(&tar), relocated.diff_id);
}

/// A tar is the same entries however it is split.
pub fn tar(data: &[u8]) {
    let Some((&chunk, data)) = data.split_first() else { return };
    let whole = entries(data, data.len().max(1));
    assert_eq!(whole, entries(data, 1 + usize::from(chunk)));
}

fn entries(tar: &[u8], chunk: usize) -> Option<Vec<Entry>> {
    let mut scanner = Scanner::new();
    let mut entries = Vec::new();
    let mut seen = 0;
    for mut chunk in tar.chunks(chunk) {
        while !chunk.is_empty() {
            let step = scanner.push(chunk).ok()?;
            let (Step::Partial(taken) | Step::Block(taken, _) | Step::Data(taken)) = step;
            assert!(taken > 0, "no progress");
            seen += taken as u64;
            if let Step::Block(_, Some(entry)) = step {
                assert!(scanner.frontier() >= seen, "what was reported is behind the frontier");
                entries.push(entry);
            }
            chunk = &chunk[taken..];
        }
    }
    scanner.finish().ok().map(|()| entries)
}

/// A lock that is read is the same when it was written and is read again.
pub fn lock(data: &[u8]) {
    let Ok(lock) = ImagesLock::parse(data) else { return };
    let again = match ImagesLock::parse(&lock.to_yaml()) {
        Ok(again) => again,
        // A `!` that stands alone is refused wherever it is, in a string as well.
        Err(LockError::Unsure { construct: "a tag (!)", .. }) => return,
        Err(error) => panic!("what is written is read: {error}"),
    };
    assert_eq!(lock.images().len(), again.images().len());
    for (image, again) in lock.images().zip(again.images()) {
        assert_eq!((&image.reference, &image.annotations), (&again.reference, &again.annotations));
    }
}

/// A recipe that is read has the size it says, in whole and in parts, and is written as it was read.
pub fn recipe(data: &[u8]) {
    let Ok(recipe) = serde_json::from_slice::<Recipe>(data) else { return };
    let sum = |range: std::ops::Range<u64>| -> u64 {
        let size = |segment: &Segment| match segment {
            Segment::Original(range) => range.end - range.start,
            Segment::Inline(bytes) => bytes.len() as u64,
        };
        recipe.slice(range).iter().map(size).sum()
    };
    assert_eq!(sum(0..u64::MAX), recipe.size());
    let middle = recipe.size() / 2;
    assert_eq!(sum(0..middle), middle);
    assert_eq!(sum(middle..recipe.size()), recipe.size() - middle);
    let written = serde_json::to_string(&recipe).expect("writes");
    assert_eq!(serde_json::from_str::<Recipe>(&written).expect("reads"), recipe);
}
