//! The relocated bundle made from the original, as a Colocate makes it.

use std::cell::Cell;
use std::io::{self, Read, Seek};

use crate::imgpkg::{ImagesLock, Target};
use crate::oci::{Algorithm, Digest, Manifest};
use crate::rewrite::{
    LayerRewriter, LockChange, RelocatedLayer, Replacement, Unchanged, relocate_config, relocate_manifest,
};

/// How much of a layer is read at a time.
const BUFFER_BYTES: usize = 256 << 10;

/// The lock in a layer, by a pass that stops there.
pub(super) fn read_lock(layer: &mut (impl Read + Seek)) -> io::Result<Result<ImagesLock, Unchanged>> {
    let change: LockChange = Box::new(|_| Err(Unchanged::NothingChanges));
    let mut rewriter = LayerRewriter::new(Algorithm::Sha256, Algorithm::Sha256, change);
    let stopped = push(layer, &mut rewriter)?;
    Ok(match (rewriter.lock(), stopped) {
        (Some(lock), _) => Ok(lock.clone()),
        (None, Err(reason)) => Err(reason),
        (None, Ok(())) => Err(rewriter.finish().err().unwrap_or(Unchanged::NoLock)),
    })
}

/// The layer with those images relocated that `relocated` says, by their index.
pub(super) fn rewrite(
    layer: &mut (impl Read + Seek),
    (of_layer, of_tar): (Algorithm, Algorithm),
    target: &Target,
    relocated: Vec<bool>,
) -> io::Result<Result<RelocatedLayer, Unchanged>> {
    let target = target.clone();
    let change: LockChange = Box::new(move |found| {
        let index = Cell::new(0);
        let next = |_: &_| relocated.get(index.replace(index.get() + 1)).copied().unwrap_or_default();
        found.images.relocate_some(&target, next).ok_or(Unchanged::NothingChanges)
    });
    let mut rewriter = LayerRewriter::new(of_layer, of_tar, change);
    Ok(match push(layer, &mut rewriter)? {
        Ok(()) => rewriter.finish(),
        Err(reason) => Err(reason),
    })
}

fn push(layer: &mut (impl Read + Seek), rewriter: &mut LayerRewriter) -> io::Result<Result<(), Unchanged>> {
    layer.rewind()?;
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match layer.read(&mut buffer)? {
            0 => return Ok(Ok(())),
            read => {
                if let Err(reason) = rewriter.push(&buffer[..read]) {
                    return Ok(Err(reason));
                }
            }
        }
    }
}

/// The relocated manifest, made as a Colocate makes it.
pub(super) fn manifest(original: &Manifest, config: &[u8], layer: &RelocatedLayer) -> Result<Vec<u8>, Unchanged> {
    let config = relocate_config(config, &layer.diff_id)?;
    relocate_manifest(
        &original.bytes,
        Replacement { digest: Digest::of(&config), size: config.len() as u64, content: Some(&config) },
        Replacement { digest: layer.digest, size: layer.recipe.size(), content: None },
    )
}
