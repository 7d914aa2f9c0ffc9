//! The only file of this room that knows `serde_yaml`, which is archived: a successor replaces it here.

use super::error::Problem;
use super::keys;
use super::raw::Raw;

/// The largest file taken in. `serde_yaml` reads all of its input before it gives up on any of it.
pub(super) const MAX_BYTES: u64 = 1 << 20;

/// The file's shape. Unknown keys come first and all at once; a wrong shape is then told by serde, with its line.
pub(super) fn parse(text: &str) -> Result<Raw, Vec<Problem>> {
    let whole = |err: serde_yaml::Error| vec![Problem::new("", format!("not a configuration: {err}"))];
    // Read twice, because a tree of values has lost the line numbers that serde's own errors carry.
    let tree: serde_json::Value = serde_yaml::from_str(text).map_err(whole)?;
    if tree.is_null() {
        return Ok(Raw::default());
    }
    let unknown = keys::unknown(&tree);
    if !unknown.is_empty() {
        return Err(unknown);
    }
    serde_yaml::from_str(text).map_err(whole)
}
