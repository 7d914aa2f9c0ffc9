//! How a relocated layer is made of the original's bytes and a few of its own.

use std::fmt;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One piece of a layer.
#[derive(Clone, PartialEq, Eq)]
pub enum Segment {
    /// These bytes of the original layer, as they stand.
    Original(Range<u64>),
    /// Bytes of our own.
    Inline(Bytes),
}

impl Segment {
    fn size(&self) -> u64 {
        match self {
            Self::Original(range) => range.end.saturating_sub(range.start),
            Self::Inline(bytes) => bytes.len() as u64,
        }
    }
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Original(range) => write!(f, "Original({range:?})"),
            Self::Inline(bytes) => write!(f, "Inline({} bytes)", bytes.len()),
        }
    }
}

/// A relocated layer, as ranges of the original and bytes of its own. All that it adds to a cache.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Segment>", into = "Vec<Segment>")]
pub struct Recipe {
    segments: Vec<Segment>,
    size: u64,
}

/// Segments that make no layer: ranges that run backwards, or sizes beyond counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the recipe's ranges are not in order")]
pub struct RecipeError;

impl Recipe {
    /// Before the first segment.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds bytes of the original; an empty range adds nothing.
    pub(super) fn original(&mut self, range: Range<u64>) {
        if range.start < range.end {
            self.size += range.end - range.start;
            self.segments.push(Segment::Original(range));
        }
    }

    /// Adds bytes of our own.
    pub(super) fn inline(&mut self, bytes: impl Into<Bytes>) {
        let bytes = bytes.into();
        if !bytes.is_empty() {
            self.size += bytes.len() as u64;
            self.segments.push(Segment::Inline(bytes));
        }
    }

    /// The layer's length in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// How many bytes are our own.
    pub fn inline_bytes(&self) -> u64 {
        let inline = |segment: &Segment| matches!(segment, Segment::Inline(_)).then(|| segment.size());
        self.segments.iter().filter_map(inline).sum()
    }

    /// The segments that make up `range` of the layer, cut to it. What lies beyond the end is left out.
    pub fn slice(&self, range: Range<u64>) -> Vec<Segment> {
        let mut slices = Vec::new();
        let mut offset = 0;
        for segment in &self.segments {
            let end = offset + segment.size();
            let from = range.start.max(offset);
            let to = range.end.min(end);
            if from < to {
                slices.push(match segment {
                    Segment::Original(original) => {
                        Segment::Original(original.start + (from - offset)..original.start + (to - offset))
                    }
                    // The casts hold: both lie within a buffer.
                    Segment::Inline(bytes) => {
                        Segment::Inline(bytes.slice((from - offset) as usize..(to - offset) as usize))
                    }
                });
            }
            offset = end;
        }
        slices
    }
}

impl TryFrom<Vec<Segment>> for Recipe {
    type Error = RecipeError;

    fn try_from(segments: Vec<Segment>) -> Result<Self, RecipeError> {
        let (mut size, mut at): (u64, u64) = (0, 0);
        for segment in &segments {
            if let Segment::Original(range) = segment {
                // The original is read once, forwards.
                if range.start < at || range.start >= range.end {
                    return Err(RecipeError);
                }
                at = range.end;
            }
            size = size.checked_add(segment.size()).ok_or(RecipeError)?;
        }
        Ok(Self { segments, size })
    }
}

impl From<Recipe> for Vec<Segment> {
    fn from(recipe: Recipe) -> Self {
        recipe.segments
    }
}

/// How a segment is written down: `{"original":[start,end]}` or `{"inline":"base64"}`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Written {
    Original(u64, u64),
    Inline(String),
}

impl Serialize for Segment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Original(range) => Written::Original(range.start, range.end),
            Self::Inline(bytes) => Written::Inline(STANDARD.encode(bytes)),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Segment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Written::deserialize(deserializer)? {
            Written::Original(start, end) => Self::Original(start..end),
            Written::Inline(text) => Self::Inline(STANDARD.decode(text).map_err(serde::de::Error::custom)?.into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe() -> Recipe {
        let mut recipe = Recipe::new();
        recipe.original(0..10);
        recipe.inline(&b"abcde"[..]);
        recipe.original(12..20);
        recipe
    }

    #[test]
    fn a_slice_is_what_the_whole_has_there() {
        let original: Vec<u8> = (100..120).collect();
        let whole = render(&recipe().slice(0..u64::MAX), &original);
        assert_eq!(whole.len() as u64, recipe().size());
        for start in 0..whole.len() {
            for end in start..=whole.len() {
                let slice = recipe().slice(start as u64..end as u64);
                assert_eq!(render(&slice, &original), &whole[start..end]);
            }
        }
    }

    #[test]
    fn reads_back_what_it_writes() {
        let text = serde_json::to_string(&recipe()).expect("writes");
        assert_eq!(serde_json::from_str::<Recipe>(&text).expect("reads"), recipe());
        for bad in [r#"[{"original":[5,5]}]"#, r#"[{"original":[9,1]}]"#, r#"[{"inline":"%"}]"#] {
            assert!(serde_json::from_str::<Recipe>(bad).is_err(), "{bad}");
        }
        let huge = r#"[{"original":[0,18446744073709551615]},{"original":[0,2]}]"#;
        assert!(serde_json::from_str::<Recipe>(huge).is_err());
    }

    fn render(segments: &[Segment], original: &[u8]) -> Vec<u8> {
        let mut rendered = Vec::new();
        for segment in segments {
            match segment {
                Segment::Original(range) => rendered.extend(&original[range.start as usize..range.end as usize]),
                Segment::Inline(bytes) => rendered.extend(bytes),
            }
        }
        rendered
    }
}
