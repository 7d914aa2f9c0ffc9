//! How a bundle is known, and where its lock is.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::lock::folds_to;

/// The label that makes an image a bundle, whatever its value.
pub const BUNDLE_LABEL: &str = "dev.carvel.imgpkg.bundle";
/// The lock's path in the bundle's layer.
pub const LOCK_PATH: &str = ".imgpkg/images.yml";

/// Whether an image's config carries [`BUNDLE_LABEL`]. What is not a config has no labels.
///
/// Go reads the field names without regard to case, the labels themselves with.
pub fn has_bundle_label(config: &[u8]) -> bool {
    members(config).into_iter().filter(|(key, _)| folds_to(key, "config")).any(|(_, config)| {
        members(config.get().as_bytes()).into_iter().filter(|(key, _)| folds_to(key, "Labels")).any(|(_, labels)| {
            serde_json::from_str::<HashMap<Cow<'_, str>, IgnoredAny>>(labels.get())
                .is_ok_and(|labels| labels.contains_key(BUNDLE_LABEL))
        })
    })
}

fn members(object: &[u8]) -> HashMap<String, &RawValue> {
    serde_json::from_slice(object).unwrap_or_default()
}

/// What a tar entry's name means for the lock, extracted as imgpkg does: backslashes separate, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathRole {
    /// The lock itself.
    Lock,
    /// A directory the lock is in, the root included: harmless as a directory, but anything else replaces it.
    Parent,
    /// A whiteout that removes the lock if it is there.
    Whiteout,
    /// Anything else.
    Other,
}

/// The role of an entry's name.
pub fn path_role(name: &[u8]) -> PathRole {
    let Some(mut path) = clean(name) else {
        return PathRole::Other;
    };
    // imgpkg reads a whiteout from the last part: the rest of it names what is removed beside it. `.wh.` alone
    // removes the directory it stands in, `.wh...` the one above.
    let removed = path.last().and_then(|base| base.strip_prefix(b".wh."));
    if let Some(removed) = removed {
        path.pop();
        match removed {
            b"" | b"." => {}
            b".." => {
                path.pop();
            }
            sibling => path.push(sibling),
        }
    }
    let lock: Vec<&[u8]> = LOCK_PATH.as_bytes().split(|byte| *byte == b'/').collect();
    match (removed, lock.starts_with(&path)) {
        (_, false) => PathRole::Other,
        (Some(_), true) => PathRole::Whiteout,
        (None, true) if path.len() == lock.len() => PathRole::Lock,
        (None, true) => PathRole::Parent,
    }
}

/// The parts of a path below the directory that a layer is extracted into; `None` if it leads outside.
fn clean(name: &[u8]) -> Option<Vec<&[u8]>> {
    let mut parts = Vec::new();
    for part in name.split(|byte| matches!(byte, b'/' | b'\\')) {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels() {
        for yes in [
            r#"{"config":{"Labels":{"dev.carvel.imgpkg.bundle":"true"}}}"#,
            r#"{"config":{"Labels":{"dev.carvel.imgpkg.bundle":""}},"os":""}"#,
            r#"{"config":{"Labels":{"a":"b","dev.carvel.imgpkg.bundle":null}}}"#,
            r#"{"Config":{"labels":{"dev.carvel.imgpkg\u002ebundle":"x"}}}"#,
            r#"{"config":{"x":[1,{"y":2}],"Labels":{"dev.carvel.imgpkg.bundle":"x"}},"container_config":{}}"#,
        ] {
            assert!(has_bundle_label(yes.as_bytes()), "{yes}");
        }
        for no in [
            "",
            "[]",
            "{}",
            "{",
            r#"{"config":null}"#,
            r#"{"config":{"Labels":null}}"#,
            r#"{"config":{"Labels":["dev.carvel.imgpkg.bundle"]}}"#,
            r#"{"config":{"Labels":{"Dev.carvel.imgpkg.bundle":"true"}}}"#,
            r#"{"container_config":{"Labels":{"dev.carvel.imgpkg.bundle":"true"}}}"#,
        ] {
            assert!(!has_bundle_label(no.as_bytes()), "{no}");
        }
    }

    #[test]
    fn path_roles() {
        use PathRole::{Lock, Other, Parent, Whiteout};
        for (name, role) in [
            (".imgpkg/images.yml", Lock),
            ("./.imgpkg/images.yml", Lock),
            ("/.imgpkg//images.yml/", Lock),
            (".imgpkg\\images.yml", Lock),
            ("x/../.imgpkg/./images.yml", Lock),
            (".imgpkg", Parent),
            (".imgpkg/", Parent),
            (".", Parent),
            ("./", Parent),
            ("", Parent),
            (".imgpkg/images.yml/x", Other),
            (".imgpkg/images.yaml", Other),
            (".imgpkg/bundle.yml", Other),
            ("a/.imgpkg/images.yml", Other),
            ("../.imgpkg/images.yml", Other),
            (".imgpkg/.wh.images.yml", Whiteout),
            (".wh..imgpkg", Whiteout),
            (".imgpkg/.wh.", Whiteout),
            (".imgpkg/x/.wh...", Whiteout),
            (".wh.", Whiteout),
            (".imgpkg/.wh.bundle.yml", Other),
            (".imgpkg/.wh..wh..opq", Other),
        ] {
            assert_eq!(path_role(name.as_bytes()), role, "{name}");
        }
    }
}
