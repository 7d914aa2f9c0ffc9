//! Content discovery: referrers, which `docker-registry` does not have.

use colocate::oci::Digest;
use serde_json::{Value, json};

use super::content::{INDEX, MANIFEST, artifact, descriptor, image, index};
use crate::support::http::Answer;
use crate::support::pusher::{Outcome, Pusher, same, wanted};

const SBOM: &str = "application/vnd.example.sbom";
const SIGNATURE: &str = "application/vnd.example.signature";

/// What refers to a manifest, with the answer that says so.
async fn listed(at: &Pusher, subject: &str, query: &str) -> Outcome<(Vec<Value>, Answer)> {
    let path = format!("referrers/{subject}{query}");
    let answer = wanted(&format!("GET {path}"), at.get(&path).await?, &[200])?;
    same("Content-Type", answer.header("content-type"), Some(INDEX))?;
    let document: Value = serde_json::from_slice(&answer.body).map_err(|error| error.to_string())?;
    same("schemaVersion", document["schemaVersion"].as_u64(), Some(2))?;
    same("mediaType", document["mediaType"].as_str(), Some(INDEX))?;
    let manifests = document["manifests"].as_array().ok_or_else(|| format!("no list: {document}"))?;
    Ok((manifests.clone(), answer))
}

/// The digests in a list, in an order of their own.
fn digests(list: &[Value]) -> Vec<String> {
    let mut digests: Vec<_> = list.iter().filter_map(|one| one["digest"].as_str().map(str::to_owned)).collect();
    digests.sort();
    digests
}

/// Pushes an image under a tag; gives its descriptor.
async fn subject(at: &Pusher, seed: u64) -> Outcome<Value> {
    let manifest = image(at, seed, &json!({})).await?;
    at.manifest("v1", MANIFEST, &manifest).await?;
    Ok(descriptor(MANIFEST, &manifest))
}

/// Pushes an artifact that refers to a subject, by its digest; gives that.
async fn referrer(at: &Pusher, subject: &Value, artifact_type: &str, note: &str) -> Outcome<Vec<u8>> {
    let more = json!({"artifactType": artifact_type, "subject": subject, "annotations": {"org.example.note": note}});
    let manifest = artifact(at, &more).await?;
    let digest = Digest::of(&manifest).to_string();
    let answer = wanted("PUT of a referrer", at.put(&digest, MANIFEST, &manifest).await?, &[201])?;
    same("OCI-Subject", answer.header("oci-subject"), subject["digest"].as_str())?;
    Ok(manifest)
}

pub(super) async fn a_subject_is_acknowledged(at: &Pusher) -> Outcome {
    let subject = subject(at, 601).await?;
    let manifest = referrer(at, &subject, SBOM, "by digest").await?;
    let answer = wanted("PUT of a referrer", at.put("by-tag", MANIFEST, &manifest).await?, &[201])?;
    same("OCI-Subject", answer.header("oci-subject"), subject["digest"].as_str())?;
    let list = index(&[], &json!({"artifactType": SBOM, "subject": subject}));
    let answer = wanted("PUT of an index that refers", at.put("list", INDEX, &list).await?, &[201])?;
    same("OCI-Subject", answer.header("oci-subject"), subject["digest"].as_str())?;
    let other = image(at, 602, &json!({})).await?;
    let answer = wanted("PUT of an image", at.put("other", MANIFEST, &other).await?, &[201])?;
    same("OCI-Subject without a subject", answer.header("oci-subject"), None)
}

pub(super) async fn there_is_always_a_list(at: &Pusher) -> Outcome {
    let subject = subject(at, 603).await?;
    // Of what nothing refers to, and of what is not there.
    for digest in [subject["digest"].as_str().unwrap_or_default(), &format!("sha256:{}", "0".repeat(64))] {
        let (list, _) = listed(at, digest, "").await?;
        same("referrers", list, Vec::new())?;
    }
    Ok(())
}

pub(super) async fn referrers_are_listed_with_what_they_are(at: &Pusher) -> Outcome {
    let subject = subject(at, 604).await?;
    let digest = subject["digest"].as_str().unwrap_or_default();
    let note = |text: &str| json!({"org.example.note": text});
    let with = |media_type: &str, bytes: &[u8], artifact_type: &str, note: Value| {
        let mut descriptor = descriptor(media_type, bytes);
        descriptor["artifactType"] = json!(artifact_type);
        descriptor["annotations"] = note;
        descriptor
    };
    let sbom = referrer(at, &subject, SBOM, "an sbom").await?;
    // An image says by its config's type what it is.
    let more = json!({"subject": subject, "annotations": note("an image")});
    let image = image(at, 605, &more).await?;
    at.manifest("image", MANIFEST, &image).await?;
    let more = json!({"artifactType": SIGNATURE, "subject": subject, "annotations": note("an index")});
    let list = index(&[descriptor(MANIFEST, &sbom)], &more);
    at.manifest("list", INDEX, &list).await?;
    let mut expected = vec![
        with(MANIFEST, &sbom, SBOM, note("an sbom")),
        with(MANIFEST, &image, super::content::CONFIG, note("an image")),
        with(INDEX, &list, SIGNATURE, note("an index")),
    ];
    // Twice the same is once.
    at.manifest("image", MANIFEST, &image).await?;
    let (mut found, _) = listed(at, digest, "").await?;
    let key = |one: &Value| one["digest"].as_str().unwrap_or_default().to_owned();
    found.sort_by_key(key);
    expected.sort_by_key(key);
    same("referrers", found, expected)
}

pub(super) async fn referrers_are_filtered_by_type(at: &Pusher) -> Outcome {
    let subject = subject(at, 606).await?;
    let digest = subject["digest"].as_str().unwrap_or_default();
    let sbom = referrer(at, &subject, SBOM, "one").await?;
    referrer(at, &subject, SIGNATURE, "another").await?;
    for (artifact_type, expected) in
        [(SBOM, vec![Digest::of(&sbom).to_string()]), ("application/vnd.example.none", vec![])]
    {
        let (list, answer) = listed(at, digest, &format!("?artifactType={artifact_type}")).await?;
        same("OCI-Filters-Applied", answer.header("oci-filters-applied"), Some("artifactType"))?;
        same(&format!("referrers of type {artifact_type}"), digests(&list), expected)?;
    }
    let (all, answer) = listed(at, digest, "").await?;
    same("OCI-Filters-Applied", answer.header("oci-filters-applied"), None)?;
    same("referrers of any type", all.len(), 2)
}

pub(super) async fn referrers_come_before_their_subject(at: &Pusher) -> Outcome {
    let image = image(at, 607, &json!({})).await?;
    let sbom = referrer(at, &descriptor(MANIFEST, &image), SBOM, "early").await?;
    let subject = Digest::of(&image).to_string();
    for _ in 0..2 {
        let (list, _) = listed(at, &subject, "").await?;
        same("referrers", digests(&list), vec![Digest::of(&sbom).to_string()])?;
        at.manifest("v1", MANIFEST, &image).await?;
    }
    Ok(())
}

pub(super) async fn a_deleted_referrer_is_listed_no_more(at: &Pusher) -> Outcome {
    let subject = subject(at, 608).await?;
    let digest = subject["digest"].as_str().unwrap_or_default();
    let gone = Digest::of(&referrer(at, &subject, SBOM, "to be deleted").await?).to_string();
    let kept = Digest::of(&referrer(at, &subject, SBOM, "to be kept").await?).to_string();
    for (delete, expected) in [(&gone, vec![kept.clone()]), (&kept, vec![])] {
        wanted("DELETE of a referrer", at.delete(&format!("manifests/{delete}")).await?, &[202])?;
        let (list, _) = listed(at, digest, "").await?;
        same("referrers", digests(&list), expected)?;
    }
    Ok(())
}

pub(super) async fn a_digest_is_what_has_referrers(at: &Pusher) -> Outcome {
    subject(at, 609).await?;
    for broken in ["v1", "sha256:0"] {
        wanted(&format!("GET referrers/{broken}"), at.get(&format!("referrers/{broken}")).await?, &[400])?;
    }
    Ok(())
}
