//! Push of blobs: each way the spec has.

use bytes::Bytes;
use colocate::oci::{Algorithm, Digest, Hasher};

use super::content::blob;
use crate::support::http::{Answer, Method, try_stream};
use crate::support::pusher::{OCTETS, Outcome, Pusher, refused, same, wanted, with_digest};

/// A blob was taken: what the answer says, and that the blob is where it says.
async fn taken(at: &Pusher, answer: Answer, content: &[u8]) -> Outcome {
    let answer = wanted("the last request of a push", answer, &[201])?;
    let location = at.location(&answer)?;
    at.holds(&location, content).await?;
    at.holds(&format!("blobs/{}", Digest::of(content)), content).await
}

pub(super) async fn a_blob_is_pushed_by_one_post(at: &Pusher) -> Outcome {
    let content = blob(201, 50_000);
    let digest = Digest::of(&content).to_string();
    let path = format!("blobs/uploads/?digest={digest}");
    let answer = at.ask(Method::POST, &path, &[OCTETS], content.clone()).await?;
    let answer = wanted("POST of a blob", answer, &[201, 202])?;
    if answer.status == 201 {
        return taken(at, answer, &content).await;
    }
    // A registry that does not do this has the client go on as if it had sent nothing.
    let location = at.location(&answer)?;
    taken(at, at.end(&location, &digest, &content).await?, &content).await
}

pub(super) async fn a_blob_is_pushed_by_post_and_put(at: &Pusher) -> Outcome {
    let content = blob(202, 50_000);
    let location = at.begin().await?;
    taken(at, at.end(&location, &Digest::of(&content).to_string(), &content).await?, &content).await
}

/// In pieces whose sum nobody says before.
fn pieces(content: &[u8]) -> Vec<Bytes> {
    content.chunks(7777).map(Bytes::copy_from_slice).collect()
}

pub(super) async fn a_blob_is_pushed_by_a_streamed_patch(at: &Pusher) -> Outcome {
    let content = blob(203, 50_000);
    let location = at.begin().await?;
    let answer = try_stream(Method::PATCH, &at.url(&location), &[OCTETS], pieces(&content)).await?;
    let answer = wanted("a streamed PATCH", answer, &[202])?;
    same("Range", answer.header("range"), Some("0-49999"))?;
    let location = at.location(&answer)?;
    taken(at, at.end(&location, &Digest::of(&content).to_string(), b"").await?, &content).await
}

pub(super) async fn a_blob_is_pushed_by_a_streamed_put(at: &Pusher) -> Outcome {
    let content = blob(204, 50_000);
    let url = with_digest(&at.url(&at.begin().await?), &Digest::of(&content).to_string());
    taken(at, try_stream(Method::PUT, &url, &[OCTETS], pieces(&content)).await?, &content).await
}

pub(super) async fn a_blob_is_pushed_in_chunks(at: &Pusher) -> Outcome {
    let content = blob(205, 50_000);
    let digest = Digest::of(&content).to_string();
    // The last chunk by PATCH, and by PUT.
    for last_by_put in [false, true] {
        let at = at.beside(if last_by_put { "put" } else { "patch" });
        let mut location = at.begin().await?;
        let by_patch = if last_by_put { 40_000 } else { 50_000 };
        for from in (0..by_patch).step_by(20_000) {
            let until = by_patch.min(from + 20_000);
            let answer = at.chunk(&location, from, &content[from..until]).await?;
            let answer = wanted("PATCH of a chunk", answer, &[202])?;
            same("Range", answer.header("range"), Some(&*format!("0-{}", until - 1)))?;
            location = at.location(&answer)?;
        }
        taken(&at, at.end(&location, &digest, &content[by_patch..]).await?, &content).await?;
    }
    Ok(())
}

pub(super) async fn a_blob_is_pushed_again(at: &Pusher) -> Outcome {
    let content = blob(206, 5000);
    for _ in 0..2 {
        let location = at.begin().await?;
        taken(at, at.end(&location, &Digest::of(&content).to_string(), &content).await?, &content).await?;
    }
    Ok(())
}

pub(super) async fn an_empty_blob_is_pushed(at: &Pusher) -> Outcome {
    let digest = Digest::of(b"").to_string();
    let location = at.begin().await?;
    taken(at, at.end(&location, &digest, b"").await?, b"").await
}

pub(super) async fn a_blob_is_pushed_by_sha512(at: &Pusher) -> Outcome {
    let content = blob(207, 5000);
    let mut hasher = Hasher::new(Algorithm::Sha512);
    hasher.update(&content);
    let digest = hasher.finish().to_string();
    let location = at.begin().await?;
    let answer = at.end(&location, &digest, &content).await?;
    let answer = wanted("PUT of a blob", answer, &[201])?;
    at.holds(&at.location(&answer)?, &content).await?;
    at.holds(&format!("blobs/{digest}"), &content).await?;
    // The right bytes under a wrong one are no blob.
    let wrong = format!("sha512:{}", "0".repeat(128));
    let location = at.begin().await?;
    refused("PUT with a wrong SHA-512", at.end(&location, &wrong, &content).await?, &[400], &["DIGEST_INVALID"])?;
    at.lacks(&format!("blobs/{wrong}")).await
}

/// Mounted, or an upload that is then ended.
async fn mounted(at: &Pusher, query: &str, content: &[u8]) -> Outcome {
    let digest = Digest::of(content).to_string();
    let answer = at.ask(Method::POST, &format!("blobs/uploads/?mount={digest}{query}"), &[], "").await?;
    let answer = wanted("POST of a mount", answer, &[201, 202])?;
    if answer.status == 201 {
        return taken(at, answer, content).await;
    }
    let location = at.location(&answer)?;
    taken(at, at.end(&location, &digest, content).await?, content).await
}

pub(super) async fn a_blob_is_mounted_from_another_repository(at: &Pusher) -> Outcome {
    let content = blob(208, 5000);
    let from = at.beside("source");
    let digest = from.blob(&content).await?;
    let query = format!("&from={}", from.repository());
    mounted(at, &query, &content).await?;
    // What is nobody's secret need not be sent twice.
    let again = at.beside("again");
    let path = format!("blobs/uploads/?mount={digest}{query}");
    wanted("POST of a mount", again.ask(Method::POST, &path, &[], "").await?, &[201])?;
    again.holds(&format!("blobs/{digest}"), &content).await
}

pub(super) async fn a_blob_is_mounted_from_wherever_it_is(at: &Pusher) -> Outcome {
    let content = blob(209, 5000);
    at.beside("source").blob(&content).await?;
    mounted(at, "", &content).await
}

pub(super) async fn a_mount_of_what_is_absent_becomes_an_upload(at: &Pusher) -> Outcome {
    let content = blob(210, 5000);
    let digest = Digest::of(&content).to_string();
    let query = format!("?mount={digest}&from={}", at.beside("nowhere").repository());
    let answer = at.ask(Method::POST, &format!("blobs/uploads/{query}"), &[], "").await?;
    let location = at.location(&wanted("POST of a mount", answer, &[202])?)?;
    taken(at, at.end(&location, &digest, &content).await?, &content).await
}

pub(super) async fn a_wrong_digest_is_refused(at: &Pusher) -> Outcome {
    let (content, other) = (blob(211, 5000), blob(212, 5000));
    for digest in
        [Digest::of(&other).to_string(), "sha256:0".to_owned(), "md5:d41d8cd98f00b204e9800998ecf8427e".to_owned()]
    {
        let location = at.begin().await?;
        let what = format!("PUT with {digest}");
        refused(&what, at.end(&location, &digest, &content).await?, &[400], &["DIGEST_INVALID"])?;
    }
    at.lacks(&format!("blobs/{}", Digest::of(&content))).await?;
    at.lacks(&format!("blobs/{}", Digest::of(&other))).await
}
