//! The config and the manifest of a relocated bundle: the originals with the digests and sizes that changed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::json::{Edits, Node, Unreadable, find};
use super::unchanged::Unchanged;
use crate::oci::Digest;

/// The largest config that is taken in.
pub const MAX_CONFIG_BYTES: usize = 8 << 20;

/// The digest that `rootfs.diff_ids` gives the only layer.
///
/// # Errors
/// When the config is not JSON, ambiguous, or has not exactly one diff id.
pub fn diff_id(config: &[u8]) -> Result<Digest, Unchanged> {
    let node = only_diff_id(config).map_err(|Unreadable| unreadable("config"))?;
    let digest = config.get(node.span()).and_then(|text| serde_json::from_slice(text).ok());
    digest.ok_or_else(|| unreadable("config"))
}

/// The config with its only diff id replaced.
///
/// # Errors
/// As [`diff_id`].
pub fn relocate_config(config: &[u8], diff_id: &Digest) -> Result<Vec<u8>, Unchanged> {
    let node = only_diff_id(config).map_err(|Unreadable| unreadable("config"))?;
    let mut edits = Edits::default();
    edits.replace(node.span(), format!("\"{diff_id}\""));
    Ok(edits.apply(config))
}

fn only_diff_id(config: &[u8]) -> Result<Node<'_>, Unreadable> {
    let diff_ids = Node::parse(config)?.member("rootfs")?.member("diff_ids")?.elements()?;
    match diff_ids.as_slice() {
        [only] => Ok(*only),
        _ => Err(Unreadable),
    }
}

/// A blob that takes another's place in a manifest.
#[derive(Clone, Copy, Debug)]
pub struct Replacement<'a> {
    /// The new digest.
    pub digest: Digest,
    /// The new size in bytes.
    pub size: u64,
    /// The new bytes where they are at hand, for a descriptor that embeds them as `data`.
    pub content: Option<&'a [u8]>,
}

/// The manifest with the descriptors of its config and of its only layer replaced.
///
/// Other fields, their order and the white space stay. Embedded `data` is made anew; `urls` are dropped, since
/// they lead to the old bytes.
///
/// # Errors
/// When the manifest is not JSON, ambiguous, has not exactly one layer, or embeds `data` that is not at hand.
pub fn relocate_manifest(
    manifest: &[u8],
    config: Replacement<'_>,
    layer: Replacement<'_>,
) -> Result<Vec<u8>, Unchanged> {
    let edit = || -> Result<Vec<u8>, Unreadable> {
        let root = Node::parse(manifest)?;
        let mut edits = Edits::default();
        replace_descriptor(manifest, root.member("config")?, config, &mut edits)?;
        let layers = root.member("layers")?.elements()?;
        let [only] = layers.as_slice() else { return Err(Unreadable) };
        replace_descriptor(manifest, *only, layer, &mut edits)?;
        Ok(edits.apply(manifest))
    };
    edit().map_err(|Unreadable| unreadable("manifest"))
}

fn replace_descriptor(
    text: &[u8],
    descriptor: Node<'_>,
    replacement: Replacement<'_>,
    edits: &mut Edits,
) -> Result<(), Unreadable> {
    let members = descriptor.members()?;
    let span = |index: usize| members[index].1.span();
    edits.replace(span(find(&members, "digest")?.ok_or(Unreadable)?), format!("\"{}\"", replacement.digest));
    edits.replace(span(find(&members, "size")?.ok_or(Unreadable)?), replacement.size.to_string());
    let urls = find(&members, "urls")?;
    let data = find(&members, "data")?;
    match (data, replacement.content) {
        (Some(data), Some(content)) => edits.replace(span(data), format!("\"{}\"", STANDARD.encode(content))),
        // No writer embeds a layer; one that does is served as it stands.
        (Some(_), None) => return Err(Unreadable),
        (None, _) => {}
    }
    if let Some(urls) = urls {
        edits.remove(text, descriptor.span(), &members, urls);
    }
    Ok(())
}

fn unreadable(document: &'static str) -> Unchanged {
    Unchanged::Document { document, problem: "is not JSON of the shape an image has, or says one thing twice" }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn only_what_hashes_over_the_layer_changes() {
        let new = Digest::of(b"new");
        let config = format!(r#"{{"x":1.0, "rootfs":{{"type":"layers","diff_ids":[ "{OLD}" ]}},"z":"\u0041"}}"#);
        let relocated = relocate_config(config.as_bytes(), &new).expect("edits");
        assert_eq!(String::from_utf8_lossy(&relocated), config.replace(OLD, &new.to_string()));
        assert_eq!(diff_id(&relocated), Ok(new));
        for bad in ["{}", "[]", r#"{"rootfs":{"diff_ids":[]}}"#, r#"{"rootfs":{"diff_ids":["a","b"]}}"#, "{"] {
            assert!(matches!(relocate_config(bad.as_bytes(), &new), Err(Unchanged::Document { .. })), "{bad}");
        }
    }

    #[test]
    fn descriptors_keep_their_other_fields() {
        let manifest = format!(
            r#"{{ "schemaVersion": 2,
  "config": {{ "urls": ["http://a"], "mediaType": "c", "digest": "{OLD}", "size": 7, "data": "e30=" }},
  "layers": [ {{ "mediaType": "l", "size": 8, "digest": "{OLD}", "urls": ["http://b"], "annotations": {{"k":"v"}} }} ],
  "extra": 1e400 }}"#
        );
        let config = Replacement { digest: Digest::of(b"{\"a\":1}"), size: 7, content: Some(b"{\"a\":1}") };
        let layer = Replacement { digest: Digest::of(b"layer"), size: 99, content: None };
        let relocated = relocate_manifest(manifest.as_bytes(), config, layer).expect("edits");
        let expected = format!(
            r#"{{ "schemaVersion": 2,
  "config": {{ "mediaType": "c", "digest": "{}", "size": 7, "data": "eyJhIjoxfQ==" }},
  "layers": [ {{ "mediaType": "l", "size": 99, "digest": "{}", "annotations": {{"k":"v"}} }} ],
  "extra": 1e400 }}"#,
            config.digest, layer.digest
        );
        assert_eq!(String::from_utf8_lossy(&relocated), expected);
        let twice = manifest.replace("\"extra\"", "\"Layers\"");
        assert!(relocate_manifest(twice.as_bytes(), config, layer).is_err());
    }
}
