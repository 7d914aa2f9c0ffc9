//! Where a bundle that is served differs from the one that should be, from the inside out.

use std::io::{self, Read, Seek, SeekFrom};

use super::content::{Rendered, Tar};
use super::derive::read_lock;
use super::difference::{Difference, Differences, Kind, Part};
use super::lock::{self, ComparedLocks, ImageChange};
use super::{Content, Report, Served, Verdict, archive, document};
use crate::imgpkg::{ImagesLock, LOCK_PATH};
use crate::oci::{Algorithm, Digest, Manifest};
use crate::rewrite::{RelocatedLayer, Replacement, Unchanged, diff_id, relocate_config, relocate_manifest};

/// What should be served.
pub(super) struct Expected<'a, L> {
    /// The original's manifest.
    pub(super) manifest: &'a Manifest,
    /// Its config.
    pub(super) config: &'a [u8],
    /// Its layer.
    pub(super) layer: L,
    /// What becomes of that, if anything does.
    pub(super) relocated: Option<&'a RelocatedLayer>,
    /// The manifest that should be served.
    pub(super) derived: &'a [u8],
}

/// What is known of the locks.
pub(super) struct Locks {
    pub(super) images: Vec<ImageChange>,
    pub(super) relocated: Vec<bool>,
    /// Whether they differ in more than that, which is told.
    pub(super) told: bool,
}

/// Compares the original's lock with the one served, if there is one. Without, all images should have been relocated.
pub(super) fn locks<L: Read + Seek>(
    original: &ImagesLock,
    served: &mut Served<'_, L>,
    target: &str,
    differences: &mut Differences,
) -> io::Result<Locks> {
    let mut locks = Locks { images: Vec::new(), relocated: vec![true; original.images().len()], told: false };
    let Some(Content::Verified(layer)) = served.parts.as_mut().map(|parts| &mut parts.layer) else { return Ok(locks) };
    match read_lock(layer)? {
        Ok(found) => {
            let before = differences.len();
            let ComparedLocks { images, relocated } = lock::compare(original, &found, target, differences);
            locks = Locks { images, relocated, told: differences.len() > before };
        }
        Err(reason @ (Unchanged::Lock(_) | Unchanged::LockTooLarge(_) | Unchanged::LockSizedByPax)) => {
            let difference = Difference::new(Part::Lock, LOCK_PATH, Kind::Unreadable);
            differences.add(difference.found(reason.to_string()));
            locks.told = true;
        }
        // It lies in the layer, of which the comparison of the layers tells more.
        Err(_) => {}
    }
    Ok(locks)
}

/// Adds how what is served differs from what should be, besides how the locks do.
pub(super) fn explain<L: Read + Seek>(
    expected: Expected<'_, L>,
    served: Served<'_, L>,
    algorithm: Algorithm,
    lock_is_told: bool,
    differences: &mut Differences,
) -> io::Result<Verdict> {
    let Expected { manifest, config: old_config, layer: old_layer, relocated, derived } = expected;
    let Served { manifest: found, parts } = served;
    let Some(parts) = parts else {
        document::compare(Part::Manifest, derived, &found.bytes, differences);
        return Ok(Verdict::NotProven);
    };
    let (config, layer) = (parts.candidate.config, parts.candidate.layer);
    let (mut tar, mut size) = (None, layer.size);
    match parts.layer {
        Content::Verified(mut other) => {
            size = other.seek(SeekFrom::End(0))?;
            other.rewind()?;
            let old = Tar::new(Rendered::new(old_layer, relocated.map(|relocated| &relocated.recipe))?)?;
            tar = archive::compare(old, Tar::new(other)?, algorithm, lock_is_told, differences)?;
        }
        other => not_there(Part::Layer, &layer.digest, &other, differences),
    }

    // As it should be for the tar that is served, so that a change in there is not told once more.
    let diff_id = tar.or_else(|| parts.config.verified().and_then(|config| diff_id(config).ok()));
    let should = match diff_id.map(|diff_id| relocate_config(old_config, &diff_id)) {
        Some(Ok(config)) => config,
        _ => old_config.to_vec(),
    };
    match &parts.config {
        Content::Verified(config) => document::compare(Part::Config, &should, config, differences),
        other => not_there(Part::Config, &config.digest, other, differences),
    }

    // And this for the config and the layer that are served.
    let content = parts.config.verified();
    let should = relocate_manifest(
        &manifest.bytes,
        Replacement {
            digest: config.digest,
            size: content.map_or(config.size, |content| content.len() as u64),
            content: Some(content.map_or(&[], |content| content)),
        },
        Replacement { digest: layer.digest, size, content: None },
    );
    document::compare(Part::Manifest, should.as_deref().unwrap_or(derived), &found.bytes, differences);
    if !differences.is_empty() {
        return Ok(Verdict::NotProven);
    }
    // Every part is what it should be for those below it, and yet the whole is not.
    if let Some(made) = relocated.map(|relocated| relocated.digest).filter(|made| *made != layer.digest) {
        let difference = Difference::new(Part::Layer, "$", Kind::Rewritten).expected(made.to_string());
        differences.add(difference.aspect("compression").found(layer.digest.to_string()));
        return Ok(Verdict::ContentEqual);
    }
    document::compare(Part::Manifest, derived, &found.bytes, differences);
    Ok(Verdict::NotProven)
}

/// Tells why a part could not be compared.
fn not_there<T>(part: Part, digest: &Digest, content: &Content<T>, differences: &mut Differences) {
    let difference = |kind| Difference::new(part, "$", kind).expected(digest.to_string());
    differences.add(match content {
        Content::Wrong(actual) => difference(Kind::WrongBytes).found(actual.to_string()),
        Content::TooLarge => Difference::new(part, "$", Kind::Changed).aspect("size"),
        Content::Missing | Content::Verified(_) => difference(Kind::Removed),
    });
}

/// The report on something else in the place of an original that cannot be relocated.
pub(super) fn unchangeable<L>(manifest: &Manifest, config: &[u8], served: Served<'_, L>, reason: Unchanged) -> Report {
    let mut differences = Differences::default();
    if let Some(Content::Verified(other)) = served.parts.map(|parts| parts.config) {
        document::compare(Part::Config, config, &other, &mut differences);
    }
    document::compare(Part::Manifest, &manifest.bytes, &served.manifest.bytes, &mut differences);
    let (differences, more) = differences.into_parts();
    Report { differences, more, reason: Some(reason), ..Report::of(Verdict::NotProven) }
}
