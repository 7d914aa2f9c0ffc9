//! JSON edited in place: values are found by their span in the text, and only those bytes change.
//!
//! A parse and a new print would change white space, escapes and numbers, and so a digest, with the printing
//! library's version. Members are told apart as Go does, which every client is written in: keys that differ
//! only in case are one key there, so a document with two of them means different things to different
//! readers and is refused.

use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::oci::Members;

/// Not JSON of the shape that was asked for, or ambiguous.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unreadable;

/// One value of a document, still in its text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node<'a> {
    text: &'a str,
    raw: &'a RawValue,
}

impl<'a> Node<'a> {
    pub(super) fn parse(text: &'a [u8]) -> Result<Self, Unreadable> {
        let text = std::str::from_utf8(text).map_err(|_| Unreadable)?;
        let raw = serde_json::from_str(text).map_err(|_| Unreadable)?;
        Ok(Self { text, raw })
    }

    /// Where the value stands in the whole document.
    pub(super) fn span(self) -> Range<usize> {
        // Both borrow from one text, so the distance of their addresses is an offset in it.
        let start = self.raw.get().as_ptr() as usize - self.text.as_ptr() as usize;
        start..start + self.raw.get().len()
    }

    /// The value as it is written.
    pub(super) fn text(self) -> &'a str {
        self.raw.get()
    }

    /// The members of an object, in order.
    pub(super) fn members(self) -> Result<Vec<(String, Node<'a>)>, Unreadable> {
        let Members(members) = serde_json::from_str(self.raw.get()).map_err(|_| Unreadable)?;
        Ok(members.into_iter().map(|(key, raw)| (key, Node { text: self.text, raw })).collect())
    }

    /// The elements of an array.
    pub(super) fn elements(self) -> Result<Vec<Node<'a>>, Unreadable> {
        let Elements(elements) = serde_json::from_str(self.raw.get()).map_err(|_| Unreadable)?;
        Ok(elements.into_iter().map(|raw| Node { text: self.text, raw }).collect())
    }

    /// The member `key`, which must be there.
    pub(super) fn member(self, key: &str) -> Result<Node<'a>, Unreadable> {
        let members = self.members()?;
        find(&members, key)?.map(|index| members[index].1).ok_or(Unreadable)
    }

    /// The value of a JSON string.
    #[cfg(test)]
    pub(super) fn string(self) -> Option<String> {
        serde_json::from_str(self.raw.get()).ok()
    }
}

/// The only member that a reader could take for `key`.
pub(super) fn find(members: &[(String, Node<'_>)], key: &str) -> Result<Option<usize>, Unreadable> {
    let mut alike = members.iter().enumerate().filter(|(_, (own, _))| fold(own) == key.to_ascii_lowercase());
    match (alike.next(), alike.next()) {
        (None, _) => Ok(None),
        (Some((index, (own, _))), None) if own == key => Ok(Some(index)),
        _ => Err(Unreadable),
    }
}

/// Go's case folding, as far as it reaches ASCII keys: the long s and the Kelvin sign fold to letters.
fn fold(key: &str) -> String {
    let fold = |c: char| match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    };
    key.chars().map(fold).collect()
}

/// Changes to a text, none overlapping another.
#[derive(Debug, Default)]
pub(super) struct Edits(Vec<(Range<usize>, String)>);

impl Edits {
    /// Puts `text` where `span` is.
    pub(super) fn replace(&mut self, span: Range<usize>, text: impl Into<String>) {
        self.0.push((span, text.into()));
    }

    /// Takes member `index` out of an object, with one comma.
    pub(super) fn remove(&mut self, text: &[u8], object: Range<usize>, members: &[(String, Node<'_>)], index: usize) {
        let own = members[index].1.span();
        let span = match index.checked_sub(1) {
            Some(before) => members[before].1.span().end..own.end,
            None => {
                let comma = text[own.end..object.end].iter().position(|&byte| byte == b',');
                let end = match comma {
                    Some(comma) if members.len() > 1 => own.end + comma + 1,
                    _ => own.end,
                };
                object.start + 1..end
            }
        };
        self.replace(span, "");
    }

    /// The text with all changes made.
    pub(super) fn apply(mut self, text: &[u8]) -> Vec<u8> {
        self.0.sort_by_key(|(span, _)| span.start);
        let mut edited = Vec::with_capacity(text.len() + 256);
        let mut copied = 0;
        for (span, replacement) in self.0 {
            edited.extend_from_slice(&text[copied..span.start]);
            edited.extend_from_slice(replacement.as_bytes());
            copied = span.end;
        }
        edited.extend_from_slice(&text[copied..]);
        edited
    }
}

struct Elements<'a>(Vec<&'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Elements<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Elements<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Elements<'de>, A::Error> {
                let mut elements = Vec::new();
                while let Some(element) = sequence.next_element::<&RawValue>()? {
                    elements.push(element);
                }
                Ok(Elements(elements))
            }
        }
        deserializer.deserialize_seq(Visit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_goes_with_one_comma() {
        for (text, index, expected) in [
            (r#"{"a":1, "b":2 , "c":3}"#, 0, r#"{ "b":2 , "c":3}"#),
            (r#"{"a":1, "b":2 , "c":3}"#, 1, r#"{"a":1 , "c":3}"#),
            (r#"{"a":1, "b":2 , "c":3}"#, 2, r#"{"a":1, "b":2}"#),
            (r#"{ "a" : [1] }"#, 0, r"{ }"),
        ] {
            let node = Node::parse(text.as_bytes()).expect("parses");
            let members = node.members().expect("object");
            let mut edits = Edits::default();
            edits.remove(text.as_bytes(), node.span(), &members, index);
            assert_eq!(String::from_utf8_lossy(&edits.apply(text.as_bytes())), expected);
        }
    }

    #[test]
    fn keys_that_go_takes_for_one_are_refused() {
        for text in
            [r#"{"layers":1,"Layers":2}"#, r#"{"layers":1,"layers":2}"#, r#"{"Layers":2}"#, "{\"layer\u{17f}\":2}"]
        {
            let node = Node::parse(text.as_bytes()).expect("parses");
            assert_eq!(find(&node.members().expect("object"), "layers"), Err(Unreadable), "{text}");
        }
        let node = Node::parse(br#" {"x":{"y":["z"]}} "#).expect("parses");
        let inner = node.member("x").and_then(|x| x.member("y")).and_then(|y| y.elements()).expect("there");
        assert_eq!(inner[0].string().as_deref(), Some("z"));
        assert_eq!(inner[0].span(), 12..15);
    }
}
