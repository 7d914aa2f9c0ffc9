//! Unknown keys, all of them, each with the nearest known one.
//!
//! serde alone stops at the first. The known keys are not listed again here: a deserializer that only looks
//! asks each raw struct for its fields, so the two cannot drift apart.

use serde::de::value::Error;
use serde::de::{Deserialize, Deserializer, Error as _, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::Value;

use super::error::Problem;
use super::raw;

/// Every section's path and keys. A list's elements stand under the list's own path.
fn sections() -> [(&'static str, &'static [&'static str]); 24] {
    [
        ("", keys_of::<raw::Raw>()),
        ("admin", keys_of::<raw::Admin>()),
        ("upstream", keys_of::<raw::Upstream>()),
        ("upstream.credentials", keys_of::<raw::Credentials>()),
        ("upstream.auth", keys_of::<raw::Auth>()),
        ("upstream.timeouts", keys_of::<raw::Timeouts>()),
        ("upstream.tls", keys_of::<raw::UpstreamTls>()),
        ("upstreams", keys_of::<raw::Upstream>()),
        ("upstreams.credentials", keys_of::<raw::Credentials>()),
        ("upstreams.auth", keys_of::<raw::Auth>()),
        ("upstreams.timeouts", keys_of::<raw::Timeouts>()),
        ("upstreams.tls", keys_of::<raw::UpstreamTls>()),
        ("access", keys_of::<raw::Access>()),
        ("access.rules", keys_of::<raw::AccessRule>()),
        ("cache", keys_of::<raw::Cache>()),
        ("cache.finish_abandoned", keys_of::<raw::StartedOver>()),
        ("tags", keys_of::<raw::Tags>()),
        ("relocation", keys_of::<raw::Relocation>()),
        ("relocation.from_origin", keys_of::<raw::FromOrigin>()),
        ("rules", keys_of::<raw::Rule>()),
        ("rules.relocation", keys_of::<raw::RuleRelocation>()),
        ("server", keys_of::<raw::Server>()),
        ("server.tls", keys_of::<raw::Tls>()),
        ("log", keys_of::<raw::Log>()),
    ]
}

/// The problems with keys of `tree` that no section has.
pub(super) fn unknown(tree: &Value) -> Vec<Problem> {
    let mut problems = Vec::new();
    walk(tree, "", "", &mut problems);
    problems
}

/// `section` is the path in [`sections`], `shown` the path to tell, which numbers the elements of lists.
fn walk(value: &Value, section: &str, shown: &str, problems: &mut Vec<Problem>) {
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                walk(item, section, &format!("{shown}[{index}]"), problems);
            }
        }
        Value::Object(fields) => {
            let sections = sections();
            // A mapping where none belongs is serde's to refuse.
            let Some((_, keys)) = sections.iter().find(|(path, _)| *path == section) else { return };
            for (key, inner) in fields {
                if keys.contains(&key.as_str()) {
                    walk(inner, &join(section, key), &join(shown, key), problems);
                } else {
                    problems.push(Problem::new(shown, complaint(key, shown, keys, &sections)));
                }
            }
        }
        _ => {}
    }
}

fn complaint(key: &str, shown: &str, keys: &[&str], sections: &[(&str, &[&str])]) -> String {
    let place = if shown.is_empty() { "at the top level".to_owned() } else { format!("in `{shown}`") };
    // `{user:password}` is a mapping too, from that very text to nothing.
    if key.contains([':', '@']) {
        return format!("a key (not shown, it may hold a password) {place} is unknown; it knows {}", keys.join(", "));
    }
    let unknown = format!("unknown key `{key}` {place}");
    if let Some((outer, inner)) = key.split_once('.').filter(|(outer, _)| keys.contains(outer)) {
        return format!("{unknown}; write `{outer}:` and `{inner}:` indented below it");
    }
    if let Some(near) = nearest(key, keys) {
        return format!("{unknown}; did you mean `{near}`?");
    }
    let elsewhere = sections.iter().filter(|(_, keys)| keys.contains(&key)).map(|(path, _)| *path);
    match elsewhere.collect::<Vec<_>>().as_slice() {
        [""] => format!("{unknown}; `{key}` belongs at the top level"),
        [only] => format!("{unknown}; `{key}` belongs in `{only}`"),
        _ => format!("{unknown}; it knows {}", keys.join(", ")),
    }
}

/// The known key that a typing error could have made `key` from.
fn nearest<'k>(key: &str, keys: &[&'k str]) -> Option<&'k str> {
    // A third of the letters wrong is still a misspelling; more is another word.
    let tolerance = key.chars().count() / 3 + 1;
    keys.iter()
        .map(|known| (strsim::damerau_levenshtein(key, known), *known))
        .min()
        .filter(|(distance, _)| *distance <= tolerance)
        .map(|(_, known)| known)
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// The field names serde's derive gives to a struct.
fn keys_of<T: for<'de> Deserialize<'de>>() -> &'static [&'static str] {
    struct Look<'a>(&'a mut &'static [&'static str]);
    impl<'de> Deserializer<'de> for Look<'_> {
        type Error = Error;

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
            Err(Error::custom("only structs have keys"))
        }
        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            visitor: V,
        ) -> Result<V::Value, Error> {
            *self.0 = fields;
            self.deserialize_any(visitor)
        }
        forward_to_deserialize_any! {
            bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct
            newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }
    let mut keys: &'static [&'static str] = &[];
    // It always fails: there is nothing to read, only a question to overhear.
    let _ = T::deserialize(Look(&mut keys));
    keys
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests {
    use super::*;

    #[test]
    fn every_section_has_its_keys() {
        for (path, keys) in sections() {
            assert!(!keys.is_empty(), "{path}");
            let Some((parent, own)) = path.rsplit_once('.').or((!path.is_empty()).then_some(("", path))) else {
                continue;
            };
            let (_, parent_keys) = sections().into_iter().find(|(path, _)| *path == parent).unwrap();
            assert!(parent_keys.contains(&own), "{path}");
        }
    }

    #[test]
    fn default_yaml_mentions_every_key() {
        let text = include_str!("../../config/default.yaml");
        for (path, keys) in sections() {
            for key in keys {
                let mentioned = |line: &str| line.trim_start_matches([' ', '#', '-']).starts_with(&format!("{key}:"));
                assert!(text.lines().any(mentioned), "{path}: {key}");
            }
        }
    }
}
