//! Push of blobs: what becomes of an upload between its requests.

use colocate::oci::Digest;

use super::content::blob;
use crate::support::http::Method;
use crate::support::pusher::{OCTETS, Outcome, Pusher, refused, same, wanted};

/// A session that is gone. The spec has a code for each of two cases, and registries mix them up.
const GONE: &[&str] = &["BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID"];

pub(super) async fn the_status_tells_how_far_an_upload_is(at: &Pusher) -> Outcome {
    let content = blob(301, 30_000);
    let location = at.begin().await?;
    let (begun, location) = at.progress(&location).await?;
    same("bytes of an upload that was begun", begun, 0)?;
    let answer = wanted("PATCH of a chunk", at.chunk(&location, 0, &content[..10_000]).await?, &[202])?;
    let (so_far, location) = at.progress(&at.location(&answer)?).await?;
    same("bytes after a chunk", so_far, 10_000)?;
    let answer = wanted("PATCH of a chunk", at.chunk(&location, 10_000, &content[10_000..]).await?, &[202])?;
    let answer = at.end(&at.location(&answer)?, &Digest::of(&content).to_string(), b"").await?;
    wanted("PUT at the end", answer, &[201])?;
    at.holds(&format!("blobs/{}", Digest::of(&content)), &content).await
}

pub(super) async fn a_chunk_out_of_order_is_refused(at: &Pusher) -> Outcome {
    let content = blob(302, 30_000);
    let location = at.begin().await?;
    let early = at.chunk(&location, 10_000, &content[10_000..]).await?;
    wanted("PATCH of a chunk before the first", early, &[416])?;
    let (_, location) = at.progress(&location).await?;
    let answer = wanted("PATCH of a chunk", at.chunk(&location, 0, &content[..10_000]).await?, &[202])?;
    let location = at.location(&answer)?;
    // One that leaves a gap, and one that is there already.
    for from in [20_000, 0] {
        let answer = at.chunk(&location, from, &content[from..from + 10_000]).await?;
        let answer = wanted(&format!("PATCH from {from} of an upload of 10000"), answer, &[416])?;
        same("Range", answer.header("range"), Some("0-9999"))?;
        at.location(&answer)?;
    }
    let (so_far, location) = at.progress(&location).await?;
    same("bytes after chunks that were refused", so_far, 10_000)?;
    let answer = wanted("PATCH of the right chunk", at.chunk(&location, 10_000, &content[10_000..]).await?, &[202])?;
    let answer = at.end(&at.location(&answer)?, &Digest::of(&content).to_string(), b"").await?;
    wanted("PUT at the end", answer, &[201])?;
    at.holds(&format!("blobs/{}", Digest::of(&content)), &content).await
}

pub(super) async fn an_interrupted_upload_goes_on_where_it_stopped(at: &Pusher) -> Outcome {
    let content = blob(303, 1_000_000);
    let location = at.begin().await?;
    let (so_far, location) = at.interrupted(&location, 0, &content, 300_000).await?;
    let answer = wanted("PATCH of the rest", at.chunk(&location, so_far, &content[so_far..]).await?, &[202])?;
    same("Range", answer.header("range"), Some("0-999999"))?;
    let answer = at.end(&at.location(&answer)?, &Digest::of(&content).to_string(), b"").await?;
    wanted("PUT at the end", answer, &[201])?;
    at.holds(&format!("blobs/{}", Digest::of(&content)), &content).await
}

pub(super) async fn an_upload_is_cancelled(at: &Pusher) -> Outcome {
    let content = blob(304, 10_000);
    let location = at.begin().await?;
    let answer = wanted("PATCH of a chunk", at.chunk(&location, 0, &content).await?, &[202])?;
    let location = at.location(&answer)?;
    wanted("DELETE of an upload", at.delete(&location).await?, &[204])?;
    refused("GET of an upload that was cancelled", at.get(&location).await?, &[404], GONE)?;
    let answer = at.end(&location, &Digest::of(&content).to_string(), b"").await?;
    refused("PUT of an upload that was cancelled", answer, &[404], GONE)?;
    at.lacks(&format!("blobs/{}", Digest::of(&content))).await
}

pub(super) async fn an_upload_that_ended_is_no_more(at: &Pusher) -> Outcome {
    let content = blob(305, 10_000);
    let location = at.begin().await?;
    wanted("PUT", at.end(&location, &Digest::of(&content).to_string(), &content).await?, &[201])?;
    refused("GET of an upload that ended", at.get(&location).await?, &[404], GONE)?;
    let answer = at.ask(Method::PATCH, &location, &[OCTETS], content).await?;
    refused("PATCH of an upload that ended", answer, &[404], GONE)
}
