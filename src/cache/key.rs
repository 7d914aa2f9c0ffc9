//! Names of records.

use std::fmt;

/// The name of a record: components such as `tags`, a repository, a tag.
///
/// Any text is a component. How a component is spelled in a file system, so that none escapes its directory, meets
/// another one's name or is too long, is this type's business too.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordKey(Box<[Box<str>]>);

/// The longest encoded piece of a component; file systems end names at 255 bytes, eCryptfs at 143.
const MAX_SEGMENT_BYTES: usize = 140;
/// Ends a piece that the next piece continues. Not among the characters an encoded component has.
const CONTINUED: char = '+';
/// What an empty component is spelled as: a percent sign that introduces nothing.
const EMPTY: &str = "%";

impl RecordKey {
    /// The key of these components, outermost first.
    pub fn new<C: AsRef<str>>(components: impl IntoIterator<Item = C>) -> Self {
        Self(components.into_iter().map(|component| component.as_ref().into()).collect())
    }

    /// The components, outermost first.
    pub fn components(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter().map(|component| &**component)
    }

    /// The innermost component.
    pub fn last(&self) -> Option<&str> {
        self.0.last().map(|component| &**component)
    }

    /// Whether this key begins with `prefix` and goes on.
    pub fn is_under(&self, prefix: &Self) -> bool {
        self.0.len() > prefix.0.len() && self.0.starts_with(&prefix.0)
    }

    /// The length of all components in bytes, for weighing.
    pub(super) fn bytes(&self) -> usize {
        self.0.iter().map(|component| component.len()).sum()
    }

    /// The names of nested directories that stand for this key; the last is a directory's too.
    ///
    /// Only `a-z 0-9 - _` stand for themselves, so that file systems that fold case, normalise Unicode, or give a
    /// meaning to dots keep keys apart. Injective, also as a prefix code: no key's names are another's with more
    /// characters at the end of the last one.
    pub(super) fn path_segments(&self) -> Vec<String> {
        let mut segments = Vec::with_capacity(self.0.len());
        for component in &self.0 {
            if component.is_empty() {
                segments.push(EMPTY.to_owned());
                continue;
            }
            let mut segment = String::new();
            for byte in component.bytes() {
                if segment.len() + 3 > MAX_SEGMENT_BYTES {
                    segment.push(CONTINUED);
                    segments.push(std::mem::take(&mut segment));
                }
                match byte {
                    b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => segment.push(char::from(byte)),
                    other => segment.push_str(&format!("%{other:02x}")),
                }
            }
            segments.push(segment);
        }
        segments
    }

    /// Reads [`path_segments`](Self::path_segments) back; `None` for names that it does not write.
    pub(super) fn from_path_segments<S: AsRef<str>>(segments: &[S]) -> Option<Self> {
        let mut components = Vec::new();
        let mut component: Vec<u8> = Vec::new();
        for segment in segments {
            let segment = segment.as_ref();
            let (piece, continued) = match segment.strip_suffix(CONTINUED) {
                Some(piece) => (piece, true),
                None => (segment, false),
            };
            if piece != EMPTY {
                decode(piece, &mut component)?;
            }
            if !continued {
                components.push(String::from_utf8(std::mem::take(&mut component)).ok()?);
            }
        }
        let key = Self::new(components);
        // The one check that there is one spelling only: write it again.
        key.path_segments().iter().map(String::as_str).eq(segments.iter().map(S::as_ref)).then_some(key)
    }
}

fn decode(piece: &str, into: &mut Vec<u8>) -> Option<()> {
    let mut rest = piece.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'%' {
            into.push(first);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        into.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = after;
    }
    Some(())
}

impl fmt::Display for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" / "))
    }
}

impl fmt::Debug for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.0).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spells_components_safely() {
        let spelled = |component: &str| RecordKey::new([component]).path_segments().join("/");
        assert_eq!(spelled("acme/app"), "acme%2fapp");
        assert_eq!(spelled(".."), "%2e%2e");
        assert_eq!(spelled("V1"), "%561");
        assert_eq!(spelled(""), "%");
        assert_eq!(spelled("sha256:ab"), "sha256%3aab");
        for long in ["a".repeat(255), "/".repeat(255), "a".repeat(137), "a".repeat(138), "é".repeat(100)] {
            let segments = RecordKey::new([&long]).path_segments();
            assert!(segments.iter().all(|segment| segment.len() <= MAX_SEGMENT_BYTES + 1), "{segments:?}");
            assert_eq!(RecordKey::from_path_segments(&segments), Some(RecordKey::new([&long])));
        }
    }

    #[test]
    fn reads_only_its_own_spelling() {
        for foreign in ["A", "a.b", "%2F", "%61", "%zz", "%2", "a+", "", "lost+found", "%ff", "é"] {
            assert_eq!(RecordKey::from_path_segments(&[foreign]), None, "{foreign}");
        }
    }

    proptest! {
        #[test]
        fn spelling_is_injective(a in prop::collection::vec(".{0,160}", 0..4), b in prop::collection::vec("[%+/a.]{0,3}", 0..3)) {
            let (a, b) = (RecordKey::new(a), RecordKey::new(b));
            prop_assert_eq!(RecordKey::from_path_segments(&a.path_segments()), Some(a.clone()));
            prop_assert_eq!(RecordKey::from_path_segments(&b.path_segments()), Some(b.clone()));
            prop_assert_eq!(a == b, a.path_segments() == b.path_segments());
        }
    }
}
