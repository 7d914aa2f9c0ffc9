//! Pull.

use serde_json::json;

use super::content::{MANIFEST, blob, image};
use crate::support::http::Method;
use crate::support::pusher::{Outcome, Pusher, refused, same, wanted};

pub(super) async fn the_api_is_there(at: &Pusher) -> Outcome {
    wanted("GET /v2/", at.get("/v2/").await?, &[200]).map(drop)
}

pub(super) async fn a_manifest_is_pulled_by_tag_and_by_digest(at: &Pusher) -> Outcome {
    let manifest = image(at, 101, &json!({})).await?;
    let digest = at.manifest("v1", MANIFEST, &manifest).await?.to_string();
    for reference in ["v1", &digest] {
        let path = format!("manifests/{reference}");
        at.holds(&path, &manifest).await?;
        for answer in [at.get(&path).await?, at.head(&path).await?] {
            same("Docker-Content-Digest", answer.header("docker-content-digest"), Some(&digest))?;
            same("Content-Type", answer.header("content-type"), Some(MANIFEST))?;
        }
    }
    Ok(())
}

pub(super) async fn a_blob_is_pulled_whole_and_in_part(at: &Pusher) -> Outcome {
    let content = blob(102, 100_000);
    let digest = at.blob(&content).await?;
    let path = format!("blobs/{digest}");
    at.holds(&path, &content).await?;
    // The spec only recommends ranges, and takes "no such range" for an answer.
    let answer = at.ask(Method::GET, &path, &[("range", "bytes=50000-50999")], "").await?;
    let answer = wanted("GET of a part", answer, &[206])?;
    same("Content-Range", answer.header("content-range"), Some("bytes 50000-50999/100000"))?;
    same("the part", &answer.body[..], &content[50_000..51_000])
}

pub(super) async fn a_part_that_is_not_there_is_refused(at: &Pusher) -> Outcome {
    let content = blob(104, 100_000);
    let path = format!("blobs/{}", at.blob(&content).await?);
    at.holds(&path, &content).await?;
    let answer = at.ask(Method::GET, &path, &[("range", "bytes=200000-")], "").await?;
    wanted("GET of a part that is not there", answer, &[416]).map(drop)
}

pub(super) async fn what_is_absent_is_not_found(at: &Pusher) -> Outcome {
    let absent = format!("sha256:{}", "0".repeat(64));
    let manifest = image(at, 103, &json!({})).await?;
    at.manifest("v1", MANIFEST, &manifest).await?;
    for (path, codes) in [
        ("manifests/absent", &["MANIFEST_UNKNOWN"][..]),
        (&format!("manifests/{absent}"), &["MANIFEST_UNKNOWN"]),
        (&format!("blobs/{absent}"), &["BLOB_UNKNOWN"]),
    ] {
        at.lacks(path).await?;
        refused(&format!("GET {path}"), at.get(path).await?, &[404], codes)?;
    }
    let nowhere = at.beside("nowhere");
    nowhere.lacks("manifests/v1").await?;
    nowhere.lacks(&format!("blobs/{absent}")).await
}
