//! Push of manifests.

use colocate::oci::{Algorithm, Digest, Hasher};
use serde_json::{Value, json};

use super::content::{INDEX, LAYER, MANIFEST, artifact, blob, descriptor, image, index};
use crate::support::pusher::{Outcome, Pusher, refused, same, wanted};

/// What every registry should take (distribution spec, "Pushing Manifests"): 4 MiB.
const LIMIT: usize = 4 << 20;

/// A manifest was taken under this reference, and is the same wherever it is looked for.
async fn taken(at: &Pusher, reference: &str, media_type: &str, bytes: &[u8]) -> Outcome {
    let digest = Digest::of(bytes).to_string();
    let answer = wanted("PUT of a manifest", at.put(reference, media_type, bytes).await?, &[201])?;
    same("Docker-Content-Digest", answer.header("docker-content-digest"), Some(&digest))?;
    let location = at.location(&answer)?;
    for path in [&location, &format!("manifests/{reference}"), &format!("manifests/{digest}")] {
        at.holds(path, bytes).await?;
        same("Content-Type", at.get(path).await?.header("content-type"), Some(media_type))?;
    }
    Ok(())
}

pub(super) async fn a_manifest_is_kept_byte_for_byte(at: &Pusher) -> Outcome {
    let plain = image(at, 401, &json!({"annotations": {"org.example.b": "\u{e9}<&>", "org.example.a": ""}})).await?;
    let plain = String::from_utf8(plain).map_err(|error| error.to_string())?;
    // Nothing that a reader and writer of JSON would leave as it is.
    let odd = plain.replacen('{', "{\n\t \"zzz.example\" :[1.50,{ },null],\"aaa\":\"\\u0041\\/\",", 1) + " \n\n";
    taken(at, "v1", MANIFEST, plain.as_bytes()).await?;
    taken(at, "odd", MANIFEST, odd.as_bytes()).await
}

pub(super) async fn a_manifest_is_pushed_by_its_digest(at: &Pusher) -> Outcome {
    let (manifest, other) = (image(at, 402, &json!({})).await?, image(at, 403, &json!({})).await?);
    taken(at, &Digest::of(&manifest).to_string(), MANIFEST, &manifest).await?;
    let wrong = Digest::of(&other).to_string();
    let codes = ["DIGEST_INVALID", "MANIFEST_INVALID"];
    refused("PUT under another's digest", at.put(&wrong, MANIFEST, &manifest).await?, &[400], &codes)?;
    at.lacks(&format!("manifests/{wrong}")).await
}

/// Registries need not have this algorithm, but then have to say so.
pub(super) async fn a_manifest_is_pushed_by_sha512_or_refused(at: &Pusher) -> Outcome {
    let manifest = image(at, 404, &json!({})).await?;
    let mut hasher = Hasher::new(Algorithm::Sha512);
    hasher.update(&manifest);
    let digest = hasher.finish().to_string();
    let answer = at.put(&digest, MANIFEST, &manifest).await?;
    if answer.status == 201 {
        return at.holds(&format!("manifests/{digest}"), &manifest).await;
    }
    refused("PUT by SHA-512", answer, &[400], &["DIGEST_INVALID", "UNSUPPORTED"])?;
    at.lacks(&format!("manifests/{digest}")).await
}

pub(super) async fn a_tag_moves(at: &Pusher) -> Outcome {
    let (first, second) = (image(at, 405, &json!({})).await?, image(at, 406, &json!({})).await?);
    taken(at, "v1", MANIFEST, &first).await?;
    taken(at, "v1", MANIFEST, &second).await?;
    at.holds(&format!("manifests/{}", Digest::of(&first)), &first).await
}

pub(super) async fn an_index_is_pushed(at: &Pusher) -> Outcome {
    let mut children = Vec::new();
    for (seed, architecture) in [(407, "amd64"), (408, "arm64")] {
        let child = image(at, seed, &json!({})).await?;
        at.manifest(&Digest::of(&child).to_string(), MANIFEST, &child).await?;
        let mut child = descriptor(MANIFEST, &child);
        child["platform"] = json!({"os": "linux", "architecture": architecture});
        children.push(child);
    }
    let inner = index(&children, &json!({}));
    taken(at, "v1", INDEX, &inner).await?;
    let outer = index(&[descriptor(INDEX, &inner)], &json!({"annotations": {"org.example": "outer"}}));
    taken(at, "outer", INDEX, &outer).await
}

pub(super) async fn an_artifact_is_pushed(at: &Pusher) -> Outcome {
    let manifest = artifact(at, &json!({"artifactType": "application/vnd.example.sbom"})).await?;
    taken(at, "sbom", MANIFEST, &manifest).await?;
    let list = index(&[descriptor(MANIFEST, &manifest)], &json!({"artifactType": "application/vnd.example.list"}));
    taken(at, "list", INDEX, &list).await
}

pub(super) async fn a_docker_image_and_its_list_are_pushed(at: &Pusher) -> Outcome {
    let docker = |document: Vec<u8>| -> Outcome<Vec<u8>> {
        let text = String::from_utf8(document).map_err(|error| error.to_string())?;
        let text = text.replace("vnd.oci.image.manifest.v1", "vnd.docker.distribution.manifest.v2");
        let text = text.replace("vnd.oci.image.index.v1", "vnd.docker.distribution.manifest.list.v2");
        let text = text.replace("vnd.oci.image.config.v1", "vnd.docker.container.image.v1");
        Ok(text.replace("vnd.oci.image.layer.v1.tar+gzip", "vnd.docker.image.rootfs.diff.tar.gzip").into_bytes())
    };
    let image = docker(image(at, 409, &json!({})).await?)?;
    taken(at, "v1", "application/vnd.docker.distribution.manifest.v2+json", &image).await?;
    let mut child = descriptor(MANIFEST, &image);
    child["platform"] = json!({"os": "linux", "architecture": "amd64"});
    let list = docker(index(&[child], &json!({})))?;
    taken(at, "list", "application/vnd.docker.distribution.manifest.list.v2+json", &list).await
}

pub(super) async fn a_subject_need_not_be_there(at: &Pusher) -> Outcome {
    let subject = descriptor(MANIFEST, b"pushed by nobody");
    let manifest = artifact(at, &json!({"artifactType": "application/vnd.example.sbom", "subject": subject})).await?;
    taken(at, &Digest::of(&manifest).to_string(), MANIFEST, &manifest).await?;
    taken(at, "sbom", MANIFEST, &manifest).await
}

/// An image's manifest of so many bytes.
async fn sized(at: &Pusher, seed: u64, bytes: usize) -> Outcome<Vec<u8>> {
    let small = image(at, seed, &json!({"annotations": {"org.example.filler": ""}})).await?;
    let filler = "a".repeat(bytes - small.len());
    image(at, seed, &json!({"annotations": {"org.example.filler": filler}})).await
}

pub(super) async fn a_manifest_of_nearly_four_mebibytes_is_taken(at: &Pusher) -> Outcome {
    let manifest = sized(at, 410, LIMIT - 100_000).await?;
    taken(at, "big", MANIFEST, &manifest).await
}

pub(super) async fn a_manifest_of_more_is_too_large(at: &Pusher) -> Outcome {
    let manifest = sized(at, 411, LIMIT + 1).await?;
    let digest = Digest::of(&manifest).to_string();
    for reference in ["bigger", &digest] {
        wanted("PUT of more than 4 MiB", at.put(reference, MANIFEST, &manifest).await?, &[413])?;
        at.lacks(&format!("manifests/{reference}")).await?;
    }
    Ok(())
}

pub(super) async fn a_manifest_of_absent_blobs_is_refused(at: &Pusher) -> Outcome {
    let manifest = image(at, 412, &json!({})).await?;
    let mut document: Value = serde_json::from_slice(&manifest).map_err(|error| error.to_string())?;
    document["layers"] = json!([descriptor(LAYER, &blob(413, 100))]);
    let manifest = document.to_string().into_bytes();
    let answer = at.put("v1", MANIFEST, &manifest).await?;
    refused("PUT of a manifest of absent blobs", answer, &[400, 404], &["MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN"])?;
    at.lacks("manifests/v1").await?;
    at.lacks(&format!("manifests/{}", Digest::of(&manifest))).await
}

pub(super) async fn what_is_no_manifest_is_refused(at: &Pusher) -> Outcome {
    let manifest = image(at, 414, &json!({})).await?;
    for (what, media_type, bytes) in [
        ("no JSON", MANIFEST, &b"{\"schemaVersion\": 2,"[..]),
        ("nothing", MANIFEST, b""),
        ("another type", INDEX, &manifest),
        ("a type of no manifest", "text/plain", &manifest),
    ] {
        refused(&format!("PUT of {what}"), at.put("v1", media_type, bytes).await?, &[400, 415], &["MANIFEST_INVALID"])?;
        at.lacks("manifests/v1").await?;
    }
    Ok(())
}
