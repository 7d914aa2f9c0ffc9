//! Which bundles were pulled by tag lately, what became of them and why: what an operator looks at when somebody pulls
//! from the wrong place. In memory alone, and bounded.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use serde::Serialize;

use super::explain::{ExplainedImage, explained_image};
use super::relocation::{Answer, RelocationKey, Seen, Settled};
use crate::body::unix_seconds;
use crate::imgpkg::ImagesLock;
use crate::oci::{Digest, Tag};

/// Bundles that are remembered, each for one target.
const MAX_BUNDLES: usize = 64;
/// Tags that are told of one bundle.
const MAX_TAGS: usize = 8;
/// What is kept of all bundles' locks and images, about: a few hundred ordinary ones, or one that is very large.
const MAX_DETAIL_BYTES: usize = 4 << 20;

/// A bundle that was pulled by tag, for clients of one name.
#[derive(Clone, Debug, Serialize)]
pub struct RecentBundle {
    /// By which its details can be asked for; the same each time for the same bundle and target.
    pub id: String,
    /// The repository, with its registry.
    pub repository: String,
    /// The tags it was pulled by, the last first.
    pub tags: Vec<String>,
    /// What references would name.
    pub target: String,
    /// The original's digest.
    pub original: Digest,
    /// What was served in its place.
    pub relocated: Option<Digest>,
    /// `relocated`, `original` or `undecided`.
    pub outcome: &'static str,
    /// Why it was not relocated.
    pub reason: Option<String>,
    /// How many images its lock names, where it was read.
    pub images: Option<usize>,
    /// How often it was pulled by tag.
    pub pulls: u64,
    /// Seconds since 1970 at which it was first seen, and last.
    pub first: u64,
    /// See `first`.
    pub last: u64,
}

/// What was seen of a bundle when it was settled what becomes of it.
#[derive(Clone, Debug, Serialize)]
pub struct BundleDetails {
    /// The bundle.
    pub bundle: RecentBundle,
    /// Its images, in order, and where they were found.
    pub images: Vec<ExplainedImage>,
    /// Its lock.
    pub lock: LockTexts,
    /// Why images and lock are not there.
    pub omitted: Option<&'static str>,
}

/// A lock, as it stands upstream and as it is served.
#[derive(Clone, Debug, Default, Serialize)]
pub struct LockTexts {
    /// Upstream.
    pub before: Option<String>,
    /// Relocated.
    pub after: Option<String>,
}

/// The list. See the [module](self).
#[derive(Default)]
pub(super) struct Recent(Mutex<List>);

#[derive(Default)]
struct List {
    entries: HashMap<RelocationKey, Entry>,
    /// How many answers there were.
    answers: u64,
}

struct Entry {
    bundle: RecentBundle,
    details: Kept,
    /// Its last answer among all of them: a second has room for many.
    turn: u64,
}

/// What is kept of a bundle's details.
enum Kept {
    /// They were not seen: the answer was known from before.
    Unseen,
    /// There was no room for them.
    TooLarge,
    Whole(Details),
}

struct Details {
    images: Vec<ExplainedImage>,
    lock: LockTexts,
    bytes: usize,
}

impl Recent {
    /// It was settled what becomes of a bundle.
    pub(super) fn settled(&self, key: &RelocationKey, settled: &Settled, seen: &Seen, now: SystemTime) {
        if is_no_bundle(settled) {
            return;
        }
        let details = Details::of(key, settled, seen);
        let mut list = self.list();
        let entry = list.answered(key, settled, now);
        entry.bundle.images = seen.lock.as_ref().map(|(_, lock)| lock.images().len());
        entry.details = details;
        list.bound();
    }

    /// A bundle was pulled.
    pub(super) fn pulled(&self, key: &RelocationKey, tag: &Tag, settled: &Settled, now: SystemTime) {
        if is_no_bundle(settled) {
            return;
        }
        let mut list = self.list();
        let bundle = &mut list.answered(key, settled, now).bundle;
        bundle.pulls += 1;
        if bundle.tags.first().is_none_or(|last| last != tag.as_str()) {
            bundle.tags.retain(|known| known != tag.as_str());
            bundle.tags.insert(0, tag.to_string());
            bundle.tags.truncate(MAX_TAGS);
        }
        list.bound();
    }

    /// All of them, the last pulled first.
    pub(super) fn bundles(&self) -> Vec<RecentBundle> {
        let list = self.list();
        let mut entries: Vec<&Entry> = list.entries.values().collect();
        entries.sort_by_key(|entry| Reverse(entry.turn));
        entries.into_iter().map(|entry| entry.bundle.clone()).collect()
    }

    /// What is kept of one.
    pub(super) fn details(&self, id: &str) -> Option<BundleDetails> {
        let list = self.list();
        let Entry { bundle, details, .. } = list.entries.values().find(|entry| entry.bundle.id == id)?;
        let bundle = bundle.clone();
        let omitted = |why| BundleDetails {
            bundle: bundle.clone(),
            images: Vec::new(),
            lock: LockTexts::default(),
            omitted: Some(why),
        };
        Some(match details {
            Kept::Unseen => omitted("what becomes of it was settled before this process, or for another client"),
            Kept::TooLarge => omitted("there was no room to keep its lock and where its images were found"),
            Kept::Whole(Details { images, lock, .. }) => {
                BundleDetails { bundle, images: images.clone(), lock: lock.clone(), omitted: None }
            }
        })
    }

    fn list(&self) -> MutexGuard<'_, List> {
        // Nothing panics while it is held, and a map is whole after any panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Most images are none, and that is nothing to look at.
fn is_no_bundle(settled: &Settled) -> bool {
    matches!(settled, Ok(Answer::Original(why)) if why.is_not_a_bundle())
}

impl List {
    /// The entry of a bundle that was answered so just now.
    fn answered(&mut self, key: &RelocationKey, settled: &Settled, now: SystemTime) -> &mut Entry {
        self.answers += 1;
        let entry = self.entries.entry(key.clone()).or_insert_with(|| Entry::new(key, now));
        entry.answered(settled, now);
        entry.turn = self.answers;
        entry
    }

    /// Keeps to what may be kept: forgets the bundles that were not pulled for longest, and their details before that.
    fn bound(&mut self) {
        let entries = &mut self.entries;
        while entries.len() > MAX_BUNDLES {
            let oldest = entries.iter().min_by_key(|(_, entry)| entry.turn).map(|(key, _)| key.clone());
            oldest.and_then(|key| entries.remove(&key));
        }
        let mut all: usize = entries.values().map(Entry::detail_bytes).sum();
        while all > MAX_DETAIL_BYTES
            && let Some(oldest) =
                entries.values_mut().filter(|entry| entry.detail_bytes() > 0).min_by_key(|entry| entry.turn)
        {
            all -= oldest.detail_bytes();
            oldest.details = Kept::TooLarge;
        }
    }
}

impl Entry {
    fn new(key: &RelocationKey, now: SystemTime) -> Self {
        let RelocationKey { repository, original, target, each, from_origin } = key;
        let whole = format!("{repository}\0{original}\0{target}\0{each}\0{from_origin}");
        let mut id = Digest::of(whole.as_bytes()).hex();
        id.truncate(16);
        let bundle = RecentBundle {
            id,
            repository: repository.to_string(),
            tags: Vec::new(),
            target: target.to_string(),
            original: *original,
            relocated: None,
            outcome: "undecided",
            reason: None,
            images: None,
            pulls: 0,
            first: unix_seconds(now),
            last: unix_seconds(now),
        };
        Self { bundle, details: Kept::Unseen, turn: 0 }
    }

    fn detail_bytes(&self) -> usize {
        match &self.details {
            Kept::Whole(details) => details.bytes,
            Kept::Unseen | Kept::TooLarge => 0,
        }
    }

    fn answered(&mut self, settled: &Settled, now: SystemTime) {
        let bundle = &mut self.bundle;
        bundle.last = unix_seconds(now);
        (bundle.outcome, bundle.relocated, bundle.reason) = match settled {
            Ok(Answer::Relocated(colocated)) => ("relocated", Some(colocated.relocation.manifest.digest), None),
            Ok(Answer::Original(why)) => ("original", None, Some(why.to_string())),
            Err(cause) => ("undecided", None, Some(cause.to_string())),
        };
    }
}

impl Details {
    fn of(key: &RelocationKey, settled: &Settled, Seen { lock, verdict }: &Seen) -> Kept {
        let Some((text, lock)) = lock else { return Kept::Unseen };
        let image = |image| explained_image(key, image, verdict.as_ref());
        let images: Vec<ExplainedImage> = lock.images().map(image).collect();
        let after = match settled {
            Ok(Answer::Relocated(colocated)) => relocated(lock, key, &colocated.relocation.images),
            _ => None,
        };
        let lock = LockTexts { before: Some(String::from_utf8_lossy(text).into_owned()), after };
        let of_lock = text.len() + lock.after.as_ref().map_or(0, String::len);
        let bytes = of_lock + images.iter().map(ExplainedImage::weight).sum::<usize>();
        if bytes > MAX_DETAIL_BYTES { Kept::TooLarge } else { Kept::Whole(Self { images, lock, bytes }) }
    }
}

fn relocated(lock: &ImagesLock, key: &RelocationKey, images: &[Digest]) -> Option<String> {
    let moved = |digest: &Digest| images.binary_search(digest).is_ok();
    let text = lock.relocate_some(&key.target, |image| moved(&image.reference.digest))?;
    Some(String::from_utf8_lossy(&text).into_owned())
}
