//! Two locks, compared image by image.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;

use serde::Serialize;

use super::align::{Alignment, Step};
use super::difference::{Difference, Differences, Kind, Part};
use crate::imgpkg::{ImagesLock, LockedImage};
use crate::oci::Digest;

/// What became of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ImageChange {
    /// Its reference in the original lock.
    pub before: String,
    /// Its reference in the relocated one.
    pub after: String,
    /// Whether that is at the target.
    pub relocated: bool,
}

/// What comparing two locks came to, besides the differences.
#[derive(Debug, Default)]
pub(super) struct ComparedLocks {
    /// The images that are in both.
    pub(super) images: Vec<ImageChange>,
    /// For each image of the original, whether it is to be at the target: it is there, or where it should not be.
    pub(super) relocated: Vec<bool>,
}

/// Adds how `found` differs from the lock `original` relocated to `target`, for any choice of images to relocate.
pub(super) fn compare(
    original: &ImagesLock,
    found: &ImagesLock,
    target: &str,
    differences: &mut Differences,
) -> ComparedLocks {
    let (originals, others): (Vec<_>, Vec<_>) = (original.images().collect(), found.images().collect());
    let mut comparison = Comparison {
        target,
        places: others.iter().enumerate().map(|(index, image)| (image.reference.digest, index)).collect(),
        differences,
        result: ComparedLocks { images: Vec::new(), relocated: vec![true; originals.len()] },
    };
    if originals.len() == others.len() {
        for index in 0..originals.len() {
            comparison.images((index, originals[index]), (index, others[index]));
        }
        return comparison.result;
    }
    let (mut left, mut right) = (originals.into_iter().enumerate(), others.into_iter().enumerate());
    let mut alignment = Alignment::new(|| Ok::<_, Infallible>(left.next()), || Ok(right.next()));
    let same = |a: &Indexed<'_>, b: &Indexed<'_>| a.1.reference.digest == b.1.reference.digest;
    while let Ok(Some(step)) = alignment.next(same) {
        match step {
            Step::Both(original, found) => comparison.images(original, found),
            Step::Missing((index, image)) => comparison
                .differences
                .add(Difference::new(Part::Lock, format!("images[{index}]"), Kind::Removed).expected(&image.written)),
            Step::Extra((index, image)) => comparison
                .differences
                .add(Difference::new(Part::Lock, format!("images[{index}]"), Kind::Added).found(&image.written)),
        }
    }
    comparison.result
}

type Indexed<'a> = (usize, &'a LockedImage);

struct Comparison<'a> {
    target: &'a str,
    /// Where a digest is among those found.
    places: HashMap<Digest, usize>,
    differences: &'a mut Differences,
    result: ComparedLocks,
}

impl Comparison<'_> {
    fn images(&mut self, (index, original): Indexed<'_>, (at, found): Indexed<'_>) {
        let at = format!("images[{at}]");
        let image = format!("{at}.image");
        let (old, new) = (&original.reference.digest, &found.reference.digest);
        if old != new {
            let kind = if self.places.contains_key(old) { Kind::Moved } else { Kind::Changed };
            let difference = Difference::new(Part::Lock, &image, kind).aspect("digest");
            self.differences.add(difference.expected(old.to_string()).found(new.to_string()));
        }
        // As it is written: a tag or a short form is nothing that a Colocate leaves there.
        let place = found.written.rsplit_once('@').map_or("", |(place, _)| place);
        let home = format!("{}/{}", original.reference.registry, original.reference.repository);
        let relocated = place == self.target;
        if !relocated && place != home {
            let expected = if home == self.target { home.clone() } else { format!("{} or {home}", self.target) };
            let difference = Difference::new(Part::Lock, &image, Kind::Changed).aspect("location");
            self.differences.add(difference.expected(expected).found(place));
        }
        self.result.relocated[index] = place != home || relocated;
        self.annotations(&at, &original.annotations, &found.annotations);
        let (before, after) = (original.written.clone(), found.written.clone());
        self.result.images.push(ImageChange { before, after, relocated });
    }

    fn annotations(&mut self, at: &str, old: &BTreeMap<String, String>, new: &BTreeMap<String, String>) {
        let difference = |key: &str, kind| Difference::new(Part::Lock, format!("{at}.annotations[{key:?}]"), kind);
        for (key, old) in old {
            match new.get(key) {
                Some(new) if new == old => {}
                Some(new) => self.differences.add(difference(key, Kind::Changed).expected(old).found(new)),
                None => self.differences.add(difference(key, Kind::Removed).expected(old)),
            }
        }
        for (key, new) in new.iter().filter(|(key, _)| !old.contains_key(*key)) {
            self.differences.add(difference(key, Kind::Added).found(new));
        }
    }
}
