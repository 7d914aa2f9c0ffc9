//! JSON as Go reads it.

use std::fmt;

use serde_json::value::RawValue;

use super::error::{CnabError, shown};
use crate::oci::Members;

/// Reads an object; `null` is one without members, as it is to Go.
pub(super) fn object(json: &str) -> Result<Members<'_>, CnabError> {
    serde_json::from_str::<Option<Members<'_>>>(json).map(Option::unwrap_or_default).map_err(unreadable)
}

/// The values of these keys. All others are left out, unless Go would take them for one of these.
pub(super) fn pick<'a, const N: usize>(
    members: &Members<'a>,
    names: [&str; N],
) -> Result<[Option<&'a RawValue>; N], CnabError> {
    let mut picked = [None; N];
    for (key, value) in &members.0 {
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
