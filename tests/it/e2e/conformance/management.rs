//! Content management: deletion.

use colocate::oci::Digest;
use serde_json::{Value, json};

use super::content::{MANIFEST, blob, image};
use crate::support::pusher::{Outcome, Pusher, refused, same, wanted};

pub(super) async fn a_blob_is_deleted_and_pushed_again(at: &Pusher) -> Outcome {
    let content = blob(701, 5000);
    let path = format!("blobs/{}", at.blob(&content).await?);
    for _ in 0..2 {
        at.holds(&path, &content).await?;
        wanted("DELETE of a blob", at.delete(&path).await?, &[202])?;
        at.lacks(&path).await?;
        refused("DELETE of a deleted blob", at.delete(&path).await?, &[404], &["BLOB_UNKNOWN"])?;
        at.blob(&content).await?;
    }
    at.holds(&path, &content).await
}

/// The tags there are; none if there is no list.
async fn tags(at: &Pusher) -> Outcome<Vec<String>> {
    let answer = wanted("GET of tags", at.get("tags/list").await?, &[200, 404])?;
    let document: Value = serde_json::from_slice(&answer.body).map_err(|error| error.to_string())?;
    let tags = document["tags"].as_array().into_iter().flatten();
    let mut tags: Vec<_> = tags.filter_map(Value::as_str).map(str::to_owned).collect();
    tags.sort();
    Ok(tags)
}

pub(super) async fn a_manifest_is_deleted_and_pushed_again(at: &Pusher) -> Outcome {
    let (manifest, other) = (image(at, 702, &json!({})).await?, image(at, 703, &json!({})).await?);
    at.manifest("other", MANIFEST, &other).await?;
    let path = format!("manifests/{}", Digest::of(&manifest));
    for _ in 0..2 {
        at.manifest("v1", MANIFEST, &manifest).await?;
        at.manifest("v1.0", MANIFEST, &manifest).await?;
        at.holds(&path, &manifest).await?;
        at.holds("manifests/v1", &manifest).await?;
        wanted("DELETE of a manifest", at.delete(&path).await?, &[202])?;
        for path in [&path, "manifests/v1", "manifests/v1.0"] {
            at.lacks(path).await?;
        }
        same("tags without those of a deleted manifest", tags(at).await?, vec!["other".to_owned()])?;
        refused("DELETE of a deleted manifest", at.delete(&path).await?, &[404], &["MANIFEST_UNKNOWN"])?;
        at.holds("manifests/other", &other).await?;
    }
    at.manifest("v1", MANIFEST, &manifest).await?;
    at.holds("manifests/v1", &manifest).await
}

/// Registries need not be able to, but have to do what they say.
pub(super) async fn a_tag_is_deleted_or_stays(at: &Pusher) -> Outcome {
    let manifest = image(at, 704, &json!({})).await?;
    at.manifest("v1", MANIFEST, &manifest).await?;
    at.manifest("v2", MANIFEST, &manifest).await?;
    at.holds("manifests/v1", &manifest).await?;
    let answer = at.delete("manifests/v1").await?;
    if answer.status == 202 {
        at.lacks("manifests/v1").await?;
        same("tags without a deleted one", tags(at).await?, vec!["v2".to_owned()])?;
    } else {
        wanted("DELETE of a tag", answer, &[400, 405])?;
        at.holds("manifests/v1", &manifest).await?;
        same("tags", tags(at).await?, vec!["v1".to_owned(), "v2".to_owned()])?;
    }
    // A tag is all that goes, if it goes.
    at.holds("manifests/v2", &manifest).await?;
    at.holds(&format!("manifests/{}", Digest::of(&manifest)), &manifest).await
}

pub(super) async fn what_is_absent_cannot_be_deleted(at: &Pusher) -> Outcome {
    let absent = format!("sha256:{}", "0".repeat(64));
    at.blob(b"so that there is a repository").await?;
    for at in [at, &at.beside("nowhere")] {
        let answer = at.delete(&format!("blobs/{absent}")).await?;
        refused("DELETE of no blob", answer, &[404], &["BLOB_UNKNOWN", "NAME_UNKNOWN"])?;
        let answer = at.delete(&format!("manifests/{absent}")).await?;
        refused("DELETE of no manifest", answer, &[404], &["MANIFEST_UNKNOWN", "NAME_UNKNOWN"])?;
    }
    Ok(())
}
