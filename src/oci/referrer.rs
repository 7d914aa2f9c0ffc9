//! What a manifest says it refers to, and how it is listed there.

use serde_json::{Map, Value, json};

use super::digest::Digest;
use super::manifest::{MAX_MANIFEST_BYTES, Manifest};
use super::media_type::{is_index, is_manifest};

/// The subject of a manifest, and the descriptor by which it is listed among the subject's referrers (distribution spec,
/// "Listing Referrers"); `None` of one that refers to nothing, or to something without a valid digest.
///
/// Its type is the manifest's `artifactType` or, of an image without one, that of its config; an index may have none.
pub fn referrer_of(manifest: &Manifest) -> Option<(Digest, Map<String, Value>)> {
    let may_refer = is_manifest(&manifest.media_type) || is_index(&manifest.media_type);
    if !may_refer || manifest.bytes.len() > MAX_MANIFEST_BYTES {
        return None;
    }
    let document: Value = serde_json::from_slice(&manifest.bytes).ok()?;
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let subject = document.get("subject")?.get("digest")?.as_str()?.parse().ok()?;
    let own_type = document.get("artifactType").and_then(text);
    let artifact_type = own_type.or_else(|| document.get("config")?.get("mediaType").and_then(text));
    let mut descriptor = Map::new();
    descriptor.insert("mediaType".to_owned(), json!(manifest.media_type.as_ref()));
    descriptor.insert("digest".to_owned(), json!(manifest.digest));
    descriptor.insert("size".to_owned(), json!(manifest.bytes.len()));
    if let Some(artifact_type) = artifact_type {
        descriptor.insert("artifactType".to_owned(), artifact_type.into());
    }
    if let Some(annotations) = document.get("annotations").filter(|annotations| annotations.is_object()) {
        descriptor.insert("annotations".to_owned(), annotations.clone());
    }
    Some((subject, descriptor))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests {
    use super::*;
    use crate::oci::MediaType;

    fn manifest(media_type: MediaType, document: &Value) -> Manifest {
        let bytes = document.to_string();
        Manifest { digest: Digest::of(bytes.as_bytes()), bytes: bytes.into(), media_type }
    }

    #[test]
    fn an_artifact_is_listed_by_its_type_and_annotations() {
        let subject = Digest::of(b"subject");
        let listed = |artifact_type: Value, config: Value| {
            let image = json!({"schemaVersion": 2, "artifactType": artifact_type, "config": config,
                "subject": {"mediaType": "x", "digest": subject, "size": 7}, "annotations": {"b": "1", "a": "2"}});
            let image = manifest(MediaType::ImageManifest, &image);
            let (found, mut descriptor) = referrer_of(&image).unwrap();
            assert_eq!(found, subject);
            let artifact_type = descriptor.remove("artifactType");
            let rest = json!({"mediaType": MediaType::ImageManifest.as_ref(), "digest": image.digest,
                "size": image.bytes.len(), "annotations": {"b": "1", "a": "2"}});
            assert_eq!(Value::Object(descriptor), rest);
            artifact_type
        };
        let config = json!({"mediaType": "config/type"});
        assert_eq!(listed(json!("own/type"), config.clone()), Some(json!("own/type")));
        assert_eq!(listed(json!(""), config.clone()), Some(json!("config/type")));
        assert_eq!(listed(Value::Null, config), Some(json!("config/type")));
        assert_eq!(listed(Value::Null, json!({})), None);
        assert_eq!(listed(Value::Null, Value::Null), None);
    }

    #[test]
    fn an_index_may_have_no_type() {
        let index = json!({"manifests": [], "subject": {"digest": Digest::of(b"")}});
        let (subject, descriptor) = referrer_of(&manifest(MediaType::ImageIndex, &index)).unwrap();
        assert_eq!((subject, descriptor.len()), (Digest::of(b""), 3));
    }

    #[test]
    fn what_refers_to_nothing() {
        for (media_type, document) in [
            (MediaType::ImageManifest, json!({"config": {}})),
            (MediaType::ImageManifest, json!({"subject": null})),
            (MediaType::ImageManifest, json!({"subject": {"digest": "sha256:beef"}})),
            (MediaType::ImageManifest, json!(["subject"])),
            (MediaType::from("text/html"), json!({"subject": {"digest": Digest::of(b"")}})),
        ] {
            assert_eq!(referrer_of(&manifest(media_type, &document)), None, "{document}");
        }
        let broken = Manifest { bytes: "{".into(), ..manifest(MediaType::ImageIndex, &json!({})) };
        assert_eq!(referrer_of(&broken), None);
    }
}
