//! What differs, and where.

use std::fmt;

use serde::Serialize;

/// How many differences are told. Whoever looks for the cause needs the first, and a hostile bundle could have millions.
const MAX_DIFFERENCES: usize = 20;
/// How much of a name or a value is told.
const MAX_SHOWN: usize = 200;

/// The part of a bundle in which something differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The manifest.
    Manifest,
    /// The config.
    Config,
    /// The layer, or an entry of the tar inside.
    Layer,
    /// `.imgpkg/images.yml` in the layer.
    Lock,
}

/// In what way something differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It is there on both sides, and another.
    Changed,
    /// Only what is served has it.
    Added,
    /// What is served lacks it.
    Removed,
    /// It is served in another place.
    Moved,
    /// It says the same in other bytes.
    Rewritten,
    /// The bytes are not those that their digest stands for.
    WrongBytes,
    /// What is served makes no sense.
    Unreadable,
}

/// One difference between what should be served and what is.
///
/// Texts are cut, and without control characters: they may be a hostile server's, and end on a terminal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// In what.
    pub part: Part,
    /// Where in it: a path in JSON (`layers[0].mediaType`), `images[2].image` in the lock, an entry's name in the layer;
    /// `$` is the whole.
    pub at: String,
    /// What of it, where a place has several things to it: `mode` or `data` of an entry, `digest` of an image.
    pub aspect: Option<String>,
    /// How.
    pub kind: Kind,
    /// What should be there, if it can be shown.
    pub expected: Option<String>,
    /// What is there, if it can be shown; or what is wrong with it.
    pub found: Option<String>,
}

impl Difference {
    pub(super) fn new(part: Part, at: impl AsRef<str>, kind: Kind) -> Self {
        Self { part, at: shown(at.as_ref()), aspect: None, kind, expected: None, found: None }
    }

    pub(super) fn aspect(mut self, aspect: impl AsRef<str>) -> Self {
        self.aspect = Some(shown(aspect.as_ref()));
        self
    }

    pub(super) fn expected(mut self, expected: impl AsRef<str>) -> Self {
        self.expected = Some(shown(expected.as_ref()));
        self
    }

    pub(super) fn found(mut self, found: impl AsRef<str>) -> Self {
        self.found = Some(shown(found.as_ref()));
        self
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = match self.part {
            Part::Manifest => "manifest",
            Part::Config => "config",
            Part::Layer => "layer",
            Part::Lock => "lock",
        };
        write!(f, "{part} {}: ", if self.at == "$" { "as a whole" } else { &self.at })?;
        if let Some(aspect) = &self.aspect {
            write!(f, "{aspect}: ")?;
        }
        match (self.kind, &self.expected, &self.found) {
            (Kind::Changed, Some(expected), Some(found)) => write!(f, "{found} in place of {expected}"),
            (Kind::Changed, ..) => f.write_str("changed"),
            (Kind::Added, _, Some(found)) => write!(f, "added: {found}"),
            (Kind::Added, ..) => f.write_str("added"),
            (Kind::Removed, Some(expected), _) => write!(f, "removed: {expected}"),
            (Kind::Removed, ..) => f.write_str("removed"),
            (Kind::Moved, Some(expected), Some(found)) => write!(f, "moved: {found} in place of {expected}"),
            (Kind::Moved, ..) => f.write_str("moved"),
            (Kind::Rewritten, _, found) => {
                f.write_str("the same content in other bytes")?;
                found.iter().try_for_each(|found| write!(f, " ({found})"))
            }
            (Kind::WrongBytes, Some(expected), Some(found)) => {
                write!(f, "the bytes served as {expected} have the digest {found}")
            }
            (Kind::WrongBytes, _, found) => {
                f.write_str("the bytes are not those of its digest")?;
                found.iter().try_for_each(|found| write!(f, " ({found})"))
            }
            (Kind::Unreadable, _, found) => {
                f.write_str("cannot be read")?;
                found.iter().try_for_each(|found| write!(f, ": {found}"))
            }
        }
    }
}

/// The differences found so far, up to a number.
#[derive(Debug, Default)]
pub(super) struct Differences {
    list: Vec<Difference>,
    more: bool,
}

impl Differences {
    pub(super) fn add(&mut self, difference: Difference) {
        if self.list.len() < MAX_DIFFERENCES {
            self.list.push(difference);
        } else {
            self.more = true;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether any more would not be told, so that looking for them is idle.
    pub(super) fn is_full(&self) -> bool {
        self.more
    }

    /// The list, and whether there are more.
    pub(super) fn into_parts(self) -> (Vec<Difference>, bool) {
        (self.list, self.more)
    }
}

/// Text of anyone's as it may be shown on a terminal: cut, and without control characters.
pub fn shown(text: &str) -> String {
    // Also what turns the direction of writing, with which a terminal shows another text than there is.
    let is_odd = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    let mut shown = String::new();
    for c in text.chars() {
        if shown.len() > MAX_SHOWN {
            shown.push('…');
            break;
        }
        if is_odd(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_hostile_reaches_a_terminal() {
        assert_eq!(shown("a\u{1b}[2Jb\u{202e}c\n"), "a\\u{1b}[2Jb\\u{202e}c\\u{a}");
        assert!(shown(&"é".repeat(10_000)).len() < MAX_SHOWN + 10);
    }
}
