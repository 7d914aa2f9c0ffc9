//! The ImagesLock: what a bundle's images are, as `.imgpkg/images.yml` says.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::document::{BYTE_ORDER_MARK, Document, Node, Value};
use super::emit::Emitter;
use super::{ImageReference, LockError, Target, order, scalar};

pub(super) const API_VERSION: &str = "imgpkg.carvel.dev/v1alpha1";
const KIND: &str = "ImagesLock";
/// imgpkg writes by way of JSON read as YAML, where a longer key, quotes and escapes included, does not parse.
const MAX_KEY_CHARACTERS: usize = 1024;

/// A bundle's images, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImagesLock {
    images: Vec<LockedImage>,
}

/// One image of a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockedImage {
    /// As the file has it: perhaps short, perhaps with a tag.
    pub written: String,
    /// What it means.
    pub reference: ImageReference,
    /// Notes by whoever made the lock, such as the name before it was resolved.
    pub annotations: BTreeMap<String, String>,
}

impl ImagesLock {
    /// Reads a lock as imgpkg does, and refuses what it refuses.
    pub fn parse(bytes: &[u8]) -> Result<Self, LockError> {
        let document = Document::parse(bytes)?;
        let [images] = fields(&document, KIND, ["images"], Unknown::Refused)?;
        let images = list(&document, images, "images")?;
        let images = images.iter().map(|node| LockedImage::read(&document, node)).collect::<Result<_, _>>()?;
        Ok(Self { images })
    }

    /// The images, in order. One may come twice.
    pub fn images(&self) -> impl ExactSizeIterator<Item = &LockedImage> {
        self.images.iter()
    }

    /// The file as imgpkg writes it with every image at the target, or `None` if every one reads so already: then
    /// the file need not change, however it is written.
    pub fn relocate(&self, target: &Target) -> Option<Vec<u8>> {
        self.relocate_some(target, |_| true)
    }

    /// The same with only those images at the target that `colocated` takes; the others stay where they are, their
    /// references in full. It is asked for each image, in the order of the file.
    pub fn relocate_some(&self, target: &Target, colocated: impl Fn(&LockedImage) -> bool) -> Option<Vec<u8>> {
        let target = target.to_string();
        let mut moved = false;
        let references: Vec<String> = (self.images.iter())
            .map(|image| {
                if !colocated(image) {
                    return image.reference.to_string();
                }
                let reference = format!("{target}@{}", image.reference.digest);
                moved |= image.written != reference;
                reference
            })
            .collect();
        moved.then(|| self.write(references))
    }

    /// The file as imgpkg writes it with every image where it is, references in full.
    pub fn to_yaml(&self) -> Vec<u8> {
        self.write(self.images.iter().map(|image| image.reference.to_string()))
    }

    fn write(&self, references: impl IntoIterator<Item = String>) -> Vec<u8> {
        let mut out = Emitter::new();
        out.key("apiVersion");
        out.string(API_VERSION);
        if !self.images.is_empty() {
            out.key("images");
        }
        for (image, reference) in self.images.iter().zip(references) {
            out.item();
            out.nested(|out| {
                if !image.annotations.is_empty() {
                    out.key("annotations");
                    out.nested(|out| {
                        for (key, value) in order::sorted(&image.annotations) {
                            out.key(key);
                            out.string(value);
                        }
                    });
                }
                out.key("image");
                out.string(&reference);
            });
        }
        out.key("kind");
        out.string(KIND);
        out.finish()
    }
}

impl LockedImage {
    fn read(document: &Document<'_>, node: &Node) -> Result<Self, LockError> {
        let entries = match &node.value {
            Value::Map(map) => document.entries(map)?,
            // JSON null leaves a Go struct as it is: an image without a name.
            Value::Null => Vec::new(),
            _ => return Err(wrong_type("images", "a list of maps", document.line(node))),
        };
        let [image, annotations] = pick(entries, ["image", "annotations"], Unknown::Refused)?;
        let written = match image.map(|(node, line)| (&node.value, line)) {
            None | Some((Value::Null, _)) => String::new(),
            Some((value, line)) => string(value).ok_or_else(|| wrong_type("image", "a string", line))?.into_owned(),
        };
        let Some(reference) = ImageReference::parse(&written) else {
            return Err(LockError::NotInDigestForm { reference: written });
        };
        let annotations = match annotations.map(|(node, line)| (&node.value, line)) {
            None | Some((Value::Null, _)) => BTreeMap::new(),
            Some((Value::Map(map), _)) => read_annotations(document, map)?,
            Some((_, line)) => return Err(wrong_type("annotations", "a map", line)),
        };
        Ok(Self { written, reference, annotations })
    }
}

fn read_annotations(document: &Document<'_>, map: &[(Node, Node)]) -> Result<BTreeMap<String, String>, LockError> {
    let entries = document.entries(map)?;
    let line = entries.first().and_then(|(_, _, line)| *line);
    let annotations = entries.into_iter().map(|(key, node, line)| {
        let value = string(&node.value).ok_or_else(|| wrong_type("an annotation", "a string", line))?;
        check_writable(&key, &value, line)?;
        Ok((key.into_owned(), value.into_owned()))
    });
    let annotations = annotations.collect::<Result<_, _>>()?;
    if !order::is_settled(&annotations) {
        return Err(LockError::Unsure { construct: "annotation keys that go-yaml sorts in no certain order", line });
    }
    Ok(annotations)
}

/// A value as it decodes into a Go string: sigs.k8s.io/yaml turns numbers and booleans into text beforehand.
pub(super) fn string(value: &Value) -> Option<Cow<'_, str>> {
    Some(match value {
        Value::Text(text) => Cow::Borrowed(text),
        Value::Merge => Cow::Borrowed("<<"),
        Value::Null => Cow::Borrowed(""),
        Value::Bool(bool) => Cow::Borrowed(if *bool { "true" } else { "false" }),
        Value::Int(int) => Cow::Owned(int.to_string()),
        Value::Uint(uint) => Cow::Owned(uint.to_string()),
        Value::Float(float) => Cow::Owned(scalar::go_float(*float)),
        Value::List(_) | Value::Map(_) => return None,
    })
}

/// imgpkg writes a lock as JSON, reads that as YAML, and writes what it read. Not every string survives.
fn check_writable(key: &str, value: &str, line: Option<usize>) -> Result<(), LockError> {
    let unwritable = |reason| Err(LockError::Unwritable { key: key.chars().take(64).collect(), reason });
    let is_control = |c| matches!(c, '\u{7F}'..='\u{84}' | '\u{86}'..='\u{9F}' | '\u{FFFE}' | '\u{FFFF}');
    if key.contains(is_control) || value.contains(is_control) {
        return unwritable("it has a control character that JSON does not escape and YAML does not allow");
    }
    // JSON does not escape the one, which YAML then reads as a line break; the other see `document`.
    let is_odd = |c| c == '\u{85}' || c == BYTE_ORDER_MARK;
    if key.contains(is_odd) || value.contains(is_odd) {
        return Err(LockError::Unsure { construct: "the character U+0085 or U+FEFF in a string", line });
    }
    if key == "<<" {
        return unwritable("imgpkg writes this key without quotes, and then takes it for a merge");
    }
    let json_length: usize = key.chars().map(json_characters).sum();
    if json_length + 2 > MAX_KEY_CHARACTERS {
        return unwritable("its key is longer than YAML allows in JSON form");
    }
    for text in [key, value] {
        if scalar::resolve(text) == scalar::Resolved::Varies {
            return Err(LockError::Unsure { construct: "a number or time out of range", line });
        }
    }
    Ok(())
}

/// How many characters Go's JSON writer makes of one.
fn json_characters(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' => 2,
        '\0'..='\x1F' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => 6,
        _ => 1,
    }
}

/// What to do with fields that a document should not have: imgpkg reads locks strictly and locations not.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Unknown {
    Refused,
    Ignored,
}

pub(super) type Field<'n> = Option<(&'n Node, Option<usize>)>;

/// The fields of a whole document, its `apiVersion` and `kind` checked.
pub(super) fn fields<'n, const N: usize>(
    document: &'n Document<'_>,
    kind: &'static str,
    names: [&'static str; N],
    unknown: Unknown,
) -> Result<[Field<'n>; N], LockError> {
    let entries = match &document.root.value {
        Value::Map(map) => document.entries(map)?,
        Value::Null => Vec::new(),
        _ => return Err(wrong_type("the file", "a map", document.line(&document.root))),
    };
    let (header, rest): (Vec<_>, Vec<_>) =
        entries.into_iter().partition(|(key, ..)| folds_to(key, "apiVersion") || folds_to(key, "kind"));
    let [version, found_kind] = pick(header, ["apiVersion", "kind"], Unknown::Refused)?;
    let picked = pick(rest, names, unknown)?;
    let text = |field: Field<'_>, name| match field.map(|(node, line)| (&node.value, line)) {
        None | Some((Value::Null, _)) => Ok(String::new()),
        Some((Value::Text(text), _)) => Ok(text.clone()),
        Some((_, line)) => Err(wrong_type(name, "a string", line)),
    };
    let found = text(version, "apiVersion")?;
    if found != API_VERSION {
        return Err(LockError::UnknownVersion { found });
    }
    let found = text(found_kind, "kind")?;
    if found != kind {
        return Err(LockError::UnknownKind { found, expected: kind });
    }
    Ok(picked)
}

/// Go's JSON decoder matches keys without regard to case. Two that match one field it merges in ways of its own.
pub(super) fn pick<'n, const N: usize>(
    entries: super::document::Entries<'n>,
    names: [&'static str; N],
    unknown: Unknown,
) -> Result<[Field<'n>; N], LockError> {
    let mut fields = [None; N];
    for (key, node, line) in entries {
        match names.iter().position(|name| folds_to(&key, name)) {
            Some(index) if fields[index].is_none() => fields[index] = Some((node, line)),
            Some(_) => return Err(LockError::Unsure { construct: "two keys that differ only in case", line }),
            None if unknown == Unknown::Ignored => {}
            None => return Err(LockError::UnknownField { key: key.into_owned(), line }),
        }
    }
    Ok(fields)
}

/// Simple Unicode case folding, in which two characters outside ASCII fold to letters in it.
pub(super) fn folds_to(key: &str, name: &str) -> bool {
    let folded = |c: char| match c {
        '\u{17F}' => 's',
        '\u{212A}' => 'k',
        c => c.to_ascii_lowercase(),
    };
    key.chars().map(folded).eq(name.chars().map(folded))
}

pub(super) fn list<'n>(document: &Document<'_>, field: Field<'n>, name: &'static str) -> Result<&'n [Node], LockError> {
    match field.map(|(node, line)| (&node.value, line.or_else(|| document.line(node)))) {
        None | Some((Value::Null, _)) => Ok(&[]),
        Some((Value::List(list), _)) => Ok(list),
        Some((_, line)) => Err(wrong_type(name, "a list", line)),
    }
}

pub(super) fn wrong_type(field: &'static str, expected: &'static str, line: Option<usize>) -> LockError {
    LockError::WrongType { field, expected, line }
}
