//! Two layers, compared entry by entry.

use std::io::{self, Read};
use std::ops::Range;

use super::align::{Alignment, Step};
use super::difference::{Difference, Differences, Kind, Part};
use super::entries::{Entries, EntriesError, Item};
use crate::imgpkg::{LOCK_PATH, PathRole, path_role};
use crate::oci::{Algorithm, Digest};
use crate::tar::BLOCK;

/// The fields of a header (POSIX 1003.1, `ustar`) but for the checksum and the size, which follow from others.
const FIELDS: [(&str, Range<usize>); 13] = [
    ("name", 0..100),
    ("mode", 100..108),
    ("owner", 108..116),
    ("group", 116..124),
    ("time", 136..148),
    ("type", 156..157),
    ("link", 157..257),
    ("format", 257..265),
    ("owner's name", 265..297),
    ("group's name", 297..329),
    ("device", 329..345),
    ("prefix", 345..500),
    ("rest of the header", 500..BLOCK),
];
const SIZE: Range<usize> = 124..136;
const CHECKSUM: Range<usize> = 148..156;

/// A failure of the comparison's own, or what is wrong with the layer that was found.
enum Fault {
    Io(io::Error),
    Found(EntriesError),
}

/// Adds how the tar `found` differs from `expected`, and gives its digest if it can be read.
///
/// `lock_is_told`: how the locks differ was added already.
///
/// # Errors
/// When a layer cannot be read from where it is kept.
pub(super) fn compare(
    expected: impl Read,
    found: impl Read,
    algorithm: Algorithm,
    lock_is_told: bool,
    differences: &mut Differences,
) -> io::Result<Option<Digest>> {
    let mut expected = Entries::new(expected, algorithm);
    let mut found = Entries::new(found, algorithm);
    let compared = in_lockstep(&mut expected, &mut found, lock_is_told, differences);
    let digest = match compared {
        Ok(()) => found.digest(),
        Err(Fault::Io(error)) => return Err(error),
        Err(Fault::Found(error)) => Err(error),
    };
    match digest {
        Ok(digest) => Ok(Some(digest)),
        Err(error) => {
            differences.add(Difference::new(Part::Layer, "$", Kind::Unreadable).found(error.fault()?));
            Ok(None)
        }
    }
}

fn in_lockstep<E: Read, F: Read>(
    expected: &mut Entries<E>,
    found: &mut Entries<F>,
    lock_is_told: bool,
    differences: &mut Differences,
) -> Result<(), Fault> {
    // What was made here can be read, unless the disk fails.
    let expected = || expected.next().map_err(|error| Fault::Io(io::Error::other(error)));
    let mut alignment = Alignment::new(expected, || found.next().map_err(Fault::Found));
    while let Some(step) = alignment.next(|a: &Item, b: &Item| a.name == b.name)? {
        match step {
            Step::Both(expected, found) => items(&expected, &found, lock_is_told, differences),
            Step::Missing(item) => differences.add(Difference::new(Part::Layer, name(&item), Kind::Removed)),
            Step::Extra(item) => differences.add(Difference::new(Part::Layer, name(&item), Kind::Added)),
        }
        if differences.is_full() {
            break;
        }
    }
    Ok(())
}

fn items(expected: &Item, found: &Item, lock_is_told: bool, differences: &mut Differences) {
    let at = name(expected);
    let mut change = |aspect: &str, values: Option<(String, String)>| {
        let mut difference = Difference::new(Part::Layer, &at, Kind::Changed);
        if !aspect.is_empty() {
            difference = difference.aspect(aspect);
        }
        if let Some((expected, found)) = values {
            difference = difference.expected(expected).found(found);
        }
        differences.add(difference);
    };
    let mut header = false;
    if expected.name != found.name {
        header = true;
        change("name", Some((at.clone(), name(found))));
    }
    if expected.extension != found.extension {
        change(if expected.name.is_some() { "extended header" } else { "" }, None);
    }
    let same_data = (expected.size, expected.data) == (found.size, found.data);
    for (aspect, range) in FIELDS {
        let (old, new) = (&expected.header[range.clone()], &found.header[range]);
        if old != new && !(aspect == "name" && header) {
            header = true;
            change(aspect, Some((text(old), text(new))).filter(|(old, new)| old != new));
        }
    }
    let differs = |range: Range<usize>| expected.header[range.clone()] != found.header[range];
    if same_data && differs(SIZE) {
        header = true;
        change("size", None);
    }
    if same_data && !header && differs(CHECKSUM) {
        change("checksum", None);
    }
    if expected.padding != found.padding && expected.size == found.size {
        change("padding", None);
    }
    if same_data {
        return;
    }
    let is_lock = expected.name.as_deref().is_some_and(|name| path_role(name) == PathRole::Lock);
    if !is_lock {
        let data = |item: &Item| format!("{} bytes, {}", item.size, item.data);
        change("data", Some((data(expected), data(found))));
    } else if !lock_is_told {
        differences.add(Difference::new(Part::Lock, LOCK_PATH, Kind::Rewritten).found("not as imgpkg writes it"));
    }
}

fn name(item: &Item) -> String {
    match &item.name {
        Some(name) => String::from_utf8_lossy(name).into_owned(),
        None => "end of the archive".to_owned(),
    }
}

/// A field up to its first NUL.
fn text(field: &[u8]) -> String {
    let text = field.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text.trim_ascii()).into_owned()
}
