//! Two JSON documents, compared by what they say and then by how.

use std::collections::HashMap;

use super::difference::{Difference, Differences, Kind, Part};
use crate::rewrite::json::{Node, Unreadable};

/// How deep a document is looked into: an image's has five levels. What lies deeper is compared as text.
const MAX_DEPTH: usize = 32;

/// Adds how `found` differs from `expected`, which is JSON.
pub(super) fn compare(part: Part, expected: &[u8], found: &[u8], differences: &mut Differences) {
    if expected == found {
        return;
    }
    let before = differences.len();
    let mut comparison = Comparison { part, differences };
    let Ok(expected) = Node::parse(expected) else {
        comparison.add(Difference::new(part, "$", Kind::Changed));
        return;
    };
    match Node::parse(found) {
        Ok(found) => comparison.values("", expected, found, 0),
        Err(Unreadable) => comparison.add(Difference::new(part, "$", Kind::Unreadable).found("it is not JSON")),
    }
    if differences.len() == before {
        differences.add(Difference::new(part, "$", Kind::Rewritten).found("white space"));
    }
}

struct Comparison<'a> {
    part: Part,
    differences: &'a mut Differences,
}

impl Comparison<'_> {
    fn add(&mut self, difference: Difference) {
        self.differences.add(difference);
    }

    fn values(&mut self, path: &str, expected: Node<'_>, found: Node<'_>, depth: usize) {
        if expected.text() == found.text() || self.differences.is_full() {
            return;
        }
        if depth < MAX_DEPTH {
            if let (Ok(expected), Ok(found)) = (expected.members(), found.members()) {
                return self.objects(path, &expected, &found, depth);
            }
            if let (Ok(expected), Ok(found)) = (expected.elements(), found.elements()) {
                return self.arrays(path, &expected, &found, depth);
            }
        }
        let at = if path.is_empty() { "$" } else { path };
        let changed = Difference::new(self.part, at, Kind::Changed);
        self.add(changed.expected(expected.text()).found(found.text()));
    }

    fn objects(&mut self, path: &str, expected: &[(String, Node<'_>)], found: &[(String, Node<'_>)], depth: usize) {
        let before = self.differences.len();
        let (ours, theirs) = (Grouped::new(expected), Grouped::new(found));
        for (key, values) in &ours.groups {
            let others = theirs.of(key);
            let path = member(path, key);
            for (value, other) in values.iter().zip(others) {
                self.values(&path, *value, *other, depth + 1);
            }
            for value in values.iter().skip(others.len()) {
                self.add(Difference::new(self.part, &path, Kind::Removed).expected(value.text()));
            }
        }
        for (key, values) in &theirs.groups {
            for value in values.iter().skip(ours.of(key).len()) {
                self.add(Difference::new(self.part, member(path, key), Kind::Added).found(value.text()));
            }
        }
        let keys = |members: &[(String, Node<'_>)]| members.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>();
        if self.differences.len() == before && keys(expected) != keys(found) {
            let at = if path.is_empty() { "$" } else { path };
            self.add(Difference::new(self.part, at, Kind::Rewritten).found("the order of its members"));
        }
    }

    fn arrays(&mut self, path: &str, expected: &[Node<'_>], found: &[Node<'_>], depth: usize) {
        for index in 0..expected.len().max(found.len()) {
            let path = format!("{path}[{index}]");
            match (expected.get(index), found.get(index)) {
                (Some(expected), Some(found)) => self.values(&path, *expected, *found, depth + 1),
                (Some(expected), None) => {
                    self.add(Difference::new(self.part, path, Kind::Removed).expected(expected.text()));
                }
                (None, found) => {
                    let text = found.map_or("", |found| found.text());
                    self.add(Difference::new(self.part, path, Kind::Added).found(text));
                }
            }
        }
    }
}

/// The values of each key, in the order of the document; a hostile one may have a key twice.
struct Grouped<'m, 'a> {
    groups: Vec<(&'m str, Vec<Node<'a>>)>,
    index: HashMap<&'m str, usize>,
}

impl<'m, 'a> Grouped<'m, 'a> {
    fn new(members: &'m [(String, Node<'a>)]) -> Self {
        let (mut groups, mut index) = (Vec::<(&str, Vec<Node<'a>>)>::new(), HashMap::new());
        for (key, value) in members {
            let at = *index.entry(key.as_str()).or_insert(groups.len());
            match groups.get_mut(at) {
                Some((_, values)) => values.push(*value),
                None => groups.push((key, vec![*value])),
            }
        }
        Self { groups, index }
    }

    fn of(&self, key: &str) -> &[Node<'a>] {
        self.index.get(key).map_or(&[], |at| &self.groups[*at].1)
    }
}

/// The path of a member, as people write it where the key allows.
fn member(path: &str, key: &str) -> String {
    let plain = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    match (plain, path.is_empty()) {
        (true, true) => key.to_owned(),
        (true, false) => format!("{path}.{key}"),
        (false, _) => format!("{path}[{key:?}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(expected: &str, found: &str) -> Vec<String> {
        let mut differences = Differences::default();
        compare(Part::Config, expected.as_bytes(), found.as_bytes(), &mut differences);
        differences.into_parts().0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn says_where() {
        let expected = r#"{"a":{"b":[1,{"c":"x"}]},"l":{"k.v":"1"},"n":null}"#;
        assert_eq!(told(expected, expected), [""; 0]);
        for (found, what) in [
            (expected.replace("\"x\"", "\"y\""), r#"a.b[1].c: "y" in place of "x""#),
            (expected.replace(r#""k.v":"1""#, ""), r#"l["k.v"]: removed: "1""#),
            (expected.replace("null", "null,\"m\":2"), "m: added: 2"),
            (expected.replace("[1,", "[1,7,"), r#"a.b[1]: 7 in place of {"c":"x"}"#),
            (expected.replace("null", "null,\"n\":3"), "n: added: 3"),
            (expected.replace("null", "{}"), "n: {} in place of null"),
            (expected.replace(':', ": "), "as a whole: the same content in other bytes (white space)"),
            (
                r#"{"l":{"k.v":"1"},"a":{"b":[1,{"c":"x"}]},"n":null}"#.to_owned(),
                "as a whole: the same content in other bytes (the order of its members)",
            ),
            ("[]".to_owned(), "as a whole: [] in place of {"),
            ("{".to_owned(), "as a whole: cannot be read: it is not JSON"),
        ] {
            let told = told(expected, &found);
            assert!(told[0].starts_with(&format!("config {what}")), "{found}: {told:?}");
        }
    }

    #[test]
    fn depth_and_number_are_bounded() {
        let nest = |inner: &str| format!("{}{inner}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(told(&nest("1"), &nest("2")).len(), 1);
        let many = |value: u8| format!("[{}]", vec![value.to_string(); 1000].join(","));
        assert_eq!(told(&many(1), &many(2)).len(), 20);
    }
}
