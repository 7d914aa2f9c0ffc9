//! From bytes to a tree of nodes, by YAML 1.1 as go-yaml v2 reads it. The one file here that knows `serde_yaml`.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, Visitor};

use super::LockError;
use super::scalar::{self, Resolved};

/// The largest lock that is read. imgpkg has no limit; an image with its annotations takes some 200 bytes.
pub const MAX_LOCK_BYTES: usize = 8 << 20;
/// Nodes of the tree, an alias counting as all it stands for: some 50 MiB of memory at most.
const MAX_NODES: usize = 1 << 20;
/// Text in the tree, likewise.
const MAX_TEXT_BYTES: usize = 2 * MAX_LOCK_BYTES;
/// `serde_yaml` makes a list of all events before it hands out the first one, at some 100 bytes each. Each takes
/// one of the characters counted here; a lock of 8 MiB has about 300,000 of them.
const MAX_INDICATORS: usize = 1 << 19;
/// libyaml looks at every open bracket for each token, so many of them cost quadratic time. A lock needs three.
const MAX_OPEN_BRACKETS: usize = 256;

/// U+FEFF, which is dropped at the start of a file.
pub(super) const BYTE_ORDER_MARK: char = '\u{FEFF}';

/// A value with what Go's YAML reader would make of it.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    Text(String),
    /// A plain `<<`: a merge where it is a key, text where it is a value.
    Merge,
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    /// Byte offset in the document's text; known for scalars that stand in the input as they are.
    offset: Option<usize>,
}

/// A map's entries with their keys as JSON has them, merges carried out.
pub(super) type Entries<'a> = Vec<(Cow<'a, str>, &'a Node, Option<usize>)>;

/// The first document of a file.
#[derive(Debug)]
pub(super) struct Document<'a> {
    text: Cow<'a, str>,
    /// How many lines end before each [`LINE_STRIDE`]th byte: every key of a large lock asks for its line.
    lines: Vec<usize>,
    pub(super) root: Node,
}

/// Bytes between two entries of a document's index of lines.
const LINE_STRIDE: usize = 4096;

impl<'a> Document<'a> {
    /// Reads the first document; what follows it is not looked at.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, LockError> {
        if bytes.len() > MAX_LOCK_BYTES {
            return Err(LockError::TooLarge { bytes: bytes.len(), limit: MAX_LOCK_BYTES });
        }
        let text = decode(bytes)?;
        check(&text)?;
        let root = read(&text)?;
        let mut lines = vec![0];
        for stride in text.as_bytes().chunks(LINE_STRIDE) {
            lines.push(lines[lines.len() - 1] + line_ends(stride));
        }
        Ok(Self { text, lines, root })
    }

    /// The line, from 1, of a node that knows its place.
    pub(super) fn line(&self, node: &Node) -> Option<usize> {
        node.offset.map(|offset| self.line_at(offset))
    }

    fn line_at(&self, offset: usize) -> usize {
        let stride = offset / LINE_STRIDE;
        1 + self.lines[stride] + line_ends(&self.text.as_bytes()[stride * LINE_STRIDE..offset])
    }

    /// The entries of a map, its merges (`<<: *other`) carried out. A key that would come twice is refused, as
    /// imgpkg does; so are two keys that only become one as strings, where it keeps either.
    pub(super) fn entries<'n>(&self, map: &'n [(Node, Node)]) -> Result<Entries<'n>, LockError> {
        let mut entries = Vec::with_capacity(map.len());
        self.collect(map, &mut entries)?;
        let mut seen = HashSet::with_capacity(entries.len());
        for (key, _, line) in &entries {
            if !seen.insert(key.as_ref()) {
                return Err(LockError::DuplicateKey { key: key.to_string(), line: *line });
            }
        }
        Ok(entries)
    }

    fn collect<'n>(&self, map: &'n [(Node, Node)], entries: &mut Entries<'n>) -> Result<(), LockError> {
        for (key, value) in map {
            let line = self.line(key);
            let text = match &key.value {
                Value::Merge => {
                    self.merge(value, line, entries)?;
                    continue;
                }
                Value::Text(text) => Cow::Borrowed(text.as_str()),
                Value::Bool(bool) => Cow::Borrowed(if *bool { "true" } else { "false" }),
                Value::Int(int) => Cow::Owned(int.to_string()),
                Value::Float(float) => Cow::Owned(match scalar::go_float(*float).as_str() {
                    "+Inf" => ".inf".to_owned(),
                    "-Inf" => "-.inf".to_owned(),
                    "NaN" => ".nan".to_owned(),
                    text => text.to_owned(),
                }),
                // sigs.k8s.io/yaml converts signed keys, not unsigned ones.
                Value::Uint(_) | Value::Null | Value::List(_) | Value::Map(_) => {
                    let line = line.or_else(|| map.iter().find_map(|(key, _)| self.line(key)));
                    return Err(LockError::BadKey { line });
                }
            };
            entries.push((text, value, line));
        }
        Ok(())
    }

    fn merge<'n>(&self, value: &'n Node, line: Option<usize>, entries: &mut Entries<'n>) -> Result<(), LockError> {
        let wrong = LockError::WrongType { field: "the value of <<", expected: "a map or a list of maps", line };
        match &value.value {
            Value::Map(map) => self.collect(map, entries),
            Value::List(list) => list.iter().try_for_each(|node| match &node.value {
                Value::Map(map) => self.collect(map, entries),
                _ => Err(wrong.clone()),
            }),
            _ => Err(wrong),
        }
    }
}

/// UTF-8, or UTF-16 with a byte order mark, as the YAML 1.1 character stream allows.
fn decode(bytes: &[u8]) -> Result<Cow<'_, str>, LockError> {
    let units = |pair: fn([u8; 2]) -> u16| -> Result<Cow<'_, str>, LockError> {
        let (pairs, rest) = bytes[2..].as_chunks::<2>();
        let text = char::decode_utf16(pairs.iter().map(|bytes| pair(*bytes))).collect::<Result<String, _>>();
        if rest.is_empty() { text.map(Cow::Owned).map_err(|_| LockError::NotText) } else { Err(LockError::NotText) }
    };
    match bytes {
        [0xFF, 0xFE, ..] => units(u16::from_le_bytes),
        [0xFE, 0xFF, ..] => units(u16::from_be_bytes),
        _ => {
            let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
            Ok(Cow::Borrowed(std::str::from_utf8(bytes).map_err(|_| LockError::NotText)?))
        }
    }
}

/// Refuses, by a look at the characters alone, what would be read differently or cost too much. It may hit text
/// inside a string; then a bundle passes unchanged.
fn check(text: &str) -> Result<(), LockError> {
    let unsure = |construct, offset| Err(LockError::Unsure { construct, line: Some(line_at(text, offset)) });
    let (mut indicators, mut open, mut before) = (0usize, 0usize, '\n');
    for (offset, c) in text.char_indices() {
        match c {
            '[' | '{' => {
                indicators += 1;
                open += 1;
            }
            ']' | '}' => open = open.saturating_sub(1),
            ',' | ':' | '?' | '-' | '&' | '*' => indicators += 1,
            // libyaml and go-yaml skip it in different places, and go-yaml writes it in a peculiar way.
            BYTE_ORDER_MARK => return unsure("a byte order mark inside the text", offset),
            '%' if is_break(before) => return unsure("a directive (%)", offset),
            '!' if starts_token(before) && text[offset + 1..].starts_with(['!', '<']) => {
                return unsure("a tag (!!)", offset);
            }
            _ => {}
        }
        if indicators > MAX_INDICATORS || open > MAX_OPEN_BRACKETS {
            return Err(LockError::TooComplex);
        }
        before = c;
    }
    Ok(())
}

fn is_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn starts_token(before: char) -> bool {
    is_break(before) || matches!(before, ' ' | '\t' | '[' | '{' | ',' | ':' | '-' | '?')
}

fn line_at(text: &str, offset: usize) -> usize {
    1 + line_ends(&text.as_bytes()[..offset])
}

fn line_ends(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

fn read(text: &str) -> Result<Node, LockError> {
    let Some(document) = serde_yaml::Deserializer::from_str(text).next() else {
        return Ok(Node { value: Value::Null, offset: None });
    };
    let reading = Reading {
        text,
        bare_tags: has_bare_tag(text),
        nodes: Cell::new(MAX_NODES),
        bytes: Cell::new(MAX_TEXT_BYTES),
        merges: RefCell::default(),
        refusal: Cell::default(),
    };
    reading.deserialize(document).map_err(|error| {
        let message = error.to_string();
        reading.refusal.take().unwrap_or_else(|| {
            // The two limits that serde_yaml has itself, on depth and on aliases.
            let limit = message.contains("recursion limit exceeded") || message.contains("repetition limit exceeded");
            if limit { LockError::TooComplex } else { LockError::NotYaml(message) }
        })
    })
}

/// A lone `!` makes go-yaml resolve even a quoted scalar; serde_yaml does not tell of it.
fn has_bare_tag(text: &str) -> bool {
    text.match_indices('!').any(|(offset, _)| {
        text[..offset].chars().next_back().is_none_or(starts_token)
            && text[offset + 1..].chars().next().is_none_or(|after| after == ' ' || after == '\t' || is_break(after))
    })
}

/// The state of one pass: what is left of the budgets, and why it was given up.
struct Reading<'t> {
    text: &'t str,
    bare_tags: bool,
    nodes: Cell<usize>,
    bytes: Cell<usize>,
    /// Where plain `<<` stand.
    merges: RefCell<HashSet<usize>>,
    refusal: Cell<Option<LockError>>,
}

impl Reading<'_> {
    fn node<E: de::Error>(&self, value: Value, offset: Option<usize>) -> Result<Node, E> {
        self.spend(&self.nodes, 1)?;
        Ok(Node { value, offset })
    }

    fn spend<E: de::Error>(&self, budget: &Cell<usize>, cost: usize) -> Result<(), E> {
        match budget.get().checked_sub(cost) {
            Some(left) => budget.set(left),
            None => return Err(self.refuse(LockError::TooComplex)),
        }
        Ok(())
    }

    fn refuse<E: de::Error>(&self, refusal: LockError) -> E {
        let error = E::custom(&refusal);
        self.refusal.set(Some(refusal));
        error
    }

    fn unsure<E: de::Error>(&self, construct: &'static str, offset: Option<usize>) -> E {
        self.refuse(LockError::Unsure { construct, line: offset.map(|offset| line_at(self.text, offset)) })
    }

    /// Text that was quoted, in a block, or folded from several lines: nothing but text, whatever it reads.
    fn text<E: de::Error>(&self, text: &str, offset: Option<usize>) -> Result<Node, E> {
        if self.bare_tags && !matches!(scalar::resolve(text), Resolved::Text | Resolved::Timestamp) {
            return Err(self.unsure("a tag (!)", offset));
        }
        self.spend(&self.bytes, text.len())?;
        self.node(Value::Text(text.to_owned()), offset)
    }

    fn plain<E: de::Error>(&self, text: &str, offset: usize) -> Result<Node, E> {
        if text == "<<" {
            // An alias to it is no merge for go-yaml, and a second visit looks the same from here.
            if !self.merges.borrow_mut().insert(offset) {
                return Err(self.unsure("an alias to a merge (<<)", Some(offset)));
            }
            return self.node(Value::Merge, Some(offset));
        }
        self.spend(&self.bytes, text.len())?;
        let value = match scalar::resolve(text) {
            Resolved::Text | Resolved::Timestamp => Value::Text(text.to_owned()),
            Resolved::Null => Value::Null,
            Resolved::Bool(bool) => Value::Bool(bool),
            Resolved::Int(int) => Value::Int(int),
            Resolved::Uint(uint) => Value::Uint(uint),
            Resolved::Float(float) => Value::Float(float),
            Resolved::Varies => return Err(self.unsure("a number or time out of range", Some(offset))),
        };
        self.node(value, Some(offset))
    }
}

impl<'de> DeserializeSeed<'de> for &Reading<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &Reading<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a scalar, list or map without a tag")
    }

    // What serde_yaml takes for null, a boolean or a number, go-yaml does too.

    /// An empty document.
    fn visit_none<E: de::Error>(self) -> Result<Node, E> {
        self.node(Value::Null, None)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Node, E> {
        self.node(Value::Null, None)
    }

    fn visit_bool<E: de::Error>(self, bool: bool) -> Result<Node, E> {
        self.node(Value::Bool(bool), None)
    }

    fn visit_i64<E: de::Error>(self, int: i64) -> Result<Node, E> {
        self.node(Value::Int(int), None)
    }

    fn visit_u64<E: de::Error>(self, uint: u64) -> Result<Node, E> {
        self.node(i64::try_from(uint).map_or(Value::Uint(uint), Value::Int), None)
    }

    fn visit_i128<E: de::Error>(self, _: i128) -> Result<Node, E> {
        Err(self.unsure("a number out of range", None))
    }

    fn visit_u128<E: de::Error>(self, _: u128) -> Result<Node, E> {
        Err(self.unsure("a number out of range", None))
    }

    fn visit_f64<E: de::Error>(self, float: f64) -> Result<Node, E> {
        self.node(Value::Float(float), None)
    }

    /// A slice of the input: a scalar on one line, without escapes. A quoted one has its quote right behind it,
    /// where no plain one can have any.
    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Node, E> {
        let offset = (text.as_ptr() as usize).wrapping_sub(self.text.as_ptr() as usize);
        let end = offset.wrapping_add(text.len());
        match self.text.as_bytes().get(end) {
            _ if end > self.text.len() => self.text(text, None),
            Some(b'"' | b'\'') => self.text(text, Some(offset)),
            _ => self.plain(text, offset),
        }
    }

    /// Not a slice of the input: escaped, in a block, or over several lines, so never a number or the like.
    fn visit_str<E: de::Error>(self, text: &str) -> Result<Node, E> {
        self.text(text, None)
    }

    /// A tag of the document's own, `!such`: the value would have to be looked at apart from it.
    fn visit_enum<A: EnumAccess<'de>>(self, _: A) -> Result<Node, A::Error> {
        Err(self.unsure("a tag (!)", None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        self.node(Value::List(list), None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut map = Vec::new();
        while let Some(key) = entries.next_key_seed(self)? {
            map.push((key, entries.next_value_seed(self)?));
        }
        self.node(Value::Map(map), None)
    }
}
