//! JSON objects with all their keys, in the order and as often as they are written.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::error::{CnabError, shown};

/// An object's members, as they are written.
#[derive(Debug, Default)]
pub(super) struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Members<'a> {
    /// Reads an object; `null` is one without members, as it is to Go.
    pub(super) fn read(json: &'a str) -> Result<Self, CnabError> {
        serde_json::from_str::<Option<Self>>(json).map(Option::unwrap_or_default).map_err(unreadable)
    }

    /// The values of these keys. All others are left out, unless Go would take them for one of these.
    pub(super) fn pick<const N: usize>(&self, names: [&str; N]) -> Result<[Option<&'a RawValue>; N], CnabError> {
        let mut picked = [None; N];
        for (key, value) in &self.0 {
            let Some(at) = names.iter().position(|name| folds_to(key, name)) else { continue };
            if key != names[at] {
                return Err(CnabError::OddKey(shown(key)));
            }
            if picked[at].replace(*value).is_some() {
                return Err(CnabError::DuplicateKey(shown(key)));
            }
        }
        Ok(picked)
    }

    /// All of them.
    pub(super) fn into_all(self) -> Vec<(String, &'a RawValue)> {
        self.0
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// A string; without a value, or with `null`, an empty one.
pub(super) fn string(value: Option<&RawValue>) -> Result<String, CnabError> {
    let Some(value) = value else { return Ok(String::new()) };
    serde_json::from_str::<Option<String>>(value.get()).map(Option::unwrap_or_default).map_err(unreadable)
}

/// A list; without a value, or with `null`, an empty one.
pub(super) fn list(value: Option<&RawValue>) -> Result<Vec<&RawValue>, CnabError> {
    let Some(value) = value else { return Ok(Vec::new()) };
    serde_json::from_str::<Option<Vec<&RawValue>>>(value.get()).map(Option::unwrap_or_default).map_err(unreadable)
}

pub(super) fn unreadable(error: impl fmt::Display) -> CnabError {
    CnabError::Json(shown(&error.to_string()))
}

/// Whether Go takes a key for a field of this name: letters of either case, and two characters that fold to ASCII ones.
fn folds_to(key: &str, name: &str) -> bool {
    let folded = |c: char| match c {
        '\u{17F}' => 's',
        '\u{212A}' => 'k',
        c => c.to_ascii_lowercase(),
    };
    key.chars().map(folded).eq(name.chars().map(folded))
}
