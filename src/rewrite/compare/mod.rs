//! Whether a bundle that is served is its original relocated, and where it is not.
//!
//! [`prove`] has both, each verified against its digests, and makes the relocated bundle once more (`derive`):
//! with the images relocated that are in the lock served, each with the digest it has in the original's. If what
//! comes out is what is served, to the last byte of manifest, config and layer, then that is the proof: nothing but
//! the lock's `image:` values and what hashes over them can differ.
//!
//! If it is not, what differs is looked for from the inside out, so that a cause is told and not all that hashes over
//! it: the locks (`lock`), the tars entry by entry (`archive`, `entries`, by way of `content`), then the config that
//! the tar served should have, then the manifest that the config and the layer served should have (`document`). If all
//! of them agree, the layer is compressed in another way, which is no proof but no other content either.
//!
//! Memory is bounded whatever is served: tars are streams here, and two of them meet in `align`, which holds as much of
//! each as it takes to see what stands in one alone.

mod align;
mod archive;
mod content;
mod derive;
mod difference;
mod document;
mod entries;
mod explain;
mod lock;

use std::io::{self, Read, Seek};

use bytes::Bytes;
use serde::Serialize;

use super::{Candidate, Unchanged, diff_id};
use crate::imgpkg::{Target, has_bundle_label};
use crate::oci::{Digest, Manifest};
use difference::Differences;
pub use difference::{Difference, Kind, Part, shown};
pub use lock::ImageChange;

/// An image of one layer, its parts verified.
#[derive(Debug)]
pub struct Original<'a, L> {
    /// Its manifest.
    pub manifest: &'a Manifest,
    /// What that says of its parts, and what may be in the way of relocating it.
    pub candidate: (Candidate, Option<Unchanged>),
    /// The config's bytes.
    pub config: Bytes,
    /// The layer's.
    pub layer: L,
}

/// What is served in the original's place.
#[derive(Debug)]
pub struct Served<'a, L> {
    /// Its manifest, verified.
    pub manifest: &'a Manifest,
    /// Its parts, if it is an image of one layer.
    pub parts: Option<ServedParts<L>>,
}

/// The parts of what is served.
#[derive(Debug)]
pub struct ServedParts<L> {
    /// What the manifest says of them.
    pub candidate: Candidate,
    /// The config's bytes.
    pub config: Content<Bytes>,
    /// The layer's.
    pub layer: Content<L>,
}

/// What came of fetching something by its digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content<T> {
    /// It is what its digest stands for.
    Verified(T),
    /// It is something else, with this digest.
    Wrong(Digest),
    /// It is larger than any relocated form of the original, and was not read to its end.
    TooLarge,
    /// It is not there.
    Missing,
}

impl<T> Content<T> {
    fn verified(&self) -> Option<&T> {
        match self {
            Self::Verified(content) => Some(content),
            Self::Wrong(_) | Self::TooLarge | Self::Missing => None,
        }
    }
}

/// What a comparison came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The original itself is served.
    Identical,
    /// The original is served with images relocated, and nothing else.
    Proven,
    /// So it is as far as content goes, but the layer is compressed in another way than a Colocate of this version does.
    ContentEqual,
    /// Something else is served.
    NotProven,
}

/// What was found out.
#[derive(Debug)]
pub struct Report {
    /// What it came to.
    pub verdict: Verdict,
    /// The images that are in both locks, in order.
    pub images: Vec<ImageChange>,
    /// How they differ otherwise, the first ones.
    pub differences: Vec<Difference>,
    /// Whether there are more.
    pub more: bool,
    /// Why the original cannot be relocated at all.
    pub reason: Option<Unchanged>,
}

/// Finds out whether `served` is `original` with images relocated to `target`. See the [module](self).
///
/// It reads both layers, so it takes a processor for as long as that takes, and may wait for a disk.
///
/// # Errors
/// When a layer cannot be read from where it is kept.
pub fn prove<L: Read + Seek>(original: Original<'_, L>, served: Served<'_, L>, target: &Target) -> io::Result<Report> {
    if original.manifest.bytes == served.manifest.bytes {
        return Ok(Report::of(Verdict::Identical));
    }
    let Original { manifest, candidate: (candidate, obstacle), config, mut layer } = original;
    let unchangeable = |reason, served| Ok(explain::unchangeable(manifest, &config, served, reason));
    if !has_bundle_label(&config) {
        return unchangeable(Unchanged::NotABundle, served);
    }
    if let Some(reason) = obstacle {
        return unchangeable(reason, served);
    }
    let algorithms = match diff_id(&config) {
        Ok(diff_id) => (candidate.layer.digest.algorithm(), diff_id.algorithm()),
        Err(reason) => return unchangeable(reason, served),
    };
    let old_lock = match derive::read_lock(&mut layer)? {
        Ok(lock) => lock,
        Err(reason) => return unchangeable(reason, served),
    };

    let mut differences = Differences::default();
    let mut served = served;
    let locks = explain::locks(&old_lock, &mut served, &target.to_string(), &mut differences)?;
    let relocated = match derive::rewrite(&mut layer, algorithms, target, locks.relocated)? {
        Ok(relocated) => Some(relocated),
        // No image is relocated, so that nothing else may be either.
        Err(Unchanged::NothingChanges) => None,
        Err(reason) => return unchangeable(reason, served),
    };
    let derived = match &relocated {
        Some(relocated) => match derive::manifest(manifest, &config, relocated) {
            Ok(derived) => derived,
            Err(reason) => return unchangeable(reason, served),
        },
        None => manifest.bytes.to_vec(),
    };
    let verified = served
        .parts
        .as_ref()
        .is_some_and(|parts| parts.config.verified().is_some() && parts.layer.verified().is_some());
    let mut report = Report { images: locks.images, ..Report::of(Verdict::Proven) };
    if derived == served.manifest.bytes && verified && differences.is_empty() {
        return Ok(report);
    }
    let expected =
        explain::Expected { manifest, config: &config, layer, relocated: relocated.as_ref(), derived: &derived };
    report.verdict = explain::explain(expected, served, algorithms.1, locks.told, &mut differences)?;
    (report.differences, report.more) = differences.into_parts();
    Ok(report)
}

/// The same where the original is no image of one layer, for the reason given: it cannot be relocated.
pub fn prove_unchanged(original: &Manifest, served: &Manifest, reason: Unchanged) -> Report {
    if original.bytes == served.bytes {
        return Report::of(Verdict::Identical);
    }
    explain::unchangeable::<io::Empty>(original, &[], Served { manifest: served, parts: None }, reason)
}

impl Report {
    fn of(verdict: Verdict) -> Self {
        Self { verdict, images: Vec::new(), differences: Vec::new(), more: false, reason: None }
    }
}
