//! The only file of this room that knows `serde_yaml`, which is archived: a successor replaces it here.

use super::error::Problem;
use super::keys;
use super::raw::Raw;

/// The largest file taken in. `serde_yaml` reads all of its input before it gives up on any of it.
pub(super) const MAX_BYTES: u64 = 1 << 20;

/// The file's shape. Unknown keys come first and all at once; a wrong shape is then told by serde, with its line.
pub(super) fn parse(text: &str) -> Result<Raw, Vec<Problem>> {
    let whole = |err: serde_yaml::Error| vec![Problem::new("", format!("not a configuration: {}", unquoted(&err)))];
    // Read twice, because a tree of values has lost the line numbers that serde's own errors carry.
    let tree: serde_json::Value = serde_yaml::from_str(text).map_err(whole)?;
    if tree.is_null() {
        return Ok(Raw::default());
    }
    // Serde would show what stands there instead, which may be a password.
    let several = tree.pointer("/upstreams").and_then(serde_json::Value::as_array).into_iter().flatten();
    let paths = several.enumerate().map(|(index, one)| (format!("upstreams[{index}]"), one));
    for (path, upstream) in tree.pointer("/upstream").map(|one| ("upstream".to_owned(), one)).into_iter().chain(paths) {
        if upstream.get("credentials").is_some_and(|value| !value.is_null() && !value.is_object()) {
            let message = "must be a mapping, such as of `username` and `password_file`";
            return Err(vec![Problem::new(format!("{path}.credentials"), message)]);
        }
    }
    let unknown = keys::unknown(&tree);
    if !unknown.is_empty() {
        return Err(unknown);
    }
    serde_yaml::from_str(text).map_err(whole)
}

/// serde's message without the text it stumbled over, as in `invalid type: string "…", expected …`: a URL that stands
/// one level too high may hold a password.
fn unquoted(err: &serde_yaml::Error) -> String {
    let message = err.to_string();
    match message.split_once("invalid type: string \"") {
        Some((before, rest)) => {
            let after = rest.rsplit_once('"').map_or("", |(_, after)| after);
            format!("{before}invalid type: a text{after}")
        }
        None => message,
    }
}
