//! What is refused, by which status, with an error document where the spec has a code for it.

use serde_json::json;

use super::content::{MANIFEST, blob, image};
use crate::support::http::Method;
use crate::support::pusher::{OCTETS, Outcome, Pusher, refused, wanted};

/// Names that no repository can have: they never get as far as a repository.
pub(super) async fn broken_names_are_refused(at: &Pusher) -> Outcome {
    for name in ["UPPER", "under__/score", "-dash", "a//b", "a/../b", "a/%2e%2e/b"] {
        for (method, path) in [
            (Method::POST, "blobs/uploads/"),
            (Method::GET, "tags/list"),
            (Method::PUT, "manifests/v1"),
            (Method::GET, "manifests/v1"),
        ] {
            let path = format!("/v2/{name}/{path}");
            let what = format!("{method} {path}");
            // 301 is how a server of Go's says that a path is not as it should be.
            let answer = at.ask(method, &path, &[], "").await?;
            wanted(&what, answer, &[301, 400, 404])?;
        }
    }
    Ok(())
}

pub(super) async fn broken_digests_are_refused(at: &Pusher) -> Outcome {
    at.blob(b"so that there is a repository").await?;
    for digest in ["sha256:0", "sha256:zz", &format!("sha256:{}", "G".repeat(64))] {
        for method in [Method::GET, Method::DELETE] {
            let what = format!("{method} blobs/{digest}");
            let answer = at.ask(method, &format!("blobs/{digest}"), &[], "").await?;
            wanted(&what, answer, &[400, 404])?;
        }
    }
    Ok(())
}

pub(super) async fn broken_references_are_refused(at: &Pusher) -> Outcome {
    let manifest = image(at, 801, &json!({})).await?;
    for reference in ["sha256:zz", "-dash", ".dot", &"a".repeat(129)] {
        let path = format!("manifests/{reference}");
        for (method, body) in [(Method::GET, &b""[..]), (Method::PUT, &manifest[..])] {
            let what = format!("{method} {path}");
            let answer = at.ask(method, &path, &[("content-type", MANIFEST)], body.to_vec()).await?;
            wanted(&what, answer, &[400, 404])?;
        }
    }
    Ok(())
}

pub(super) async fn other_methods_are_refused(at: &Pusher) -> Outcome {
    let digest = at.blob(b"so that there is a repository").await?;
    for (method, path) in [
        (Method::POST, "tags/list"),
        (Method::PUT, &*format!("blobs/{digest}")),
        (Method::POST, "manifests/v1"),
        (Method::PATCH, "manifests/v1"),
    ] {
        let what = format!("{method} {path}");
        wanted(&what, at.ask(method, path, &[], "").await?, &[405])?;
    }
    Ok(())
}

pub(super) async fn unknown_uploads_are_not_found(at: &Pusher) -> Outcome {
    at.blob(b"so that there is a repository").await?;
    for session in ["d3b07384-d113-4ec6-a7f1-5bca1e2a9d77", "nonsense", "d3b07384?_state=e30%3D"] {
        let path = format!("blobs/uploads/{session}");
        for method in [Method::GET, Method::PATCH, Method::PUT, Method::DELETE] {
            let what = format!("{method} {path}");
            let answer = at.ask(method, &path, &[OCTETS], blob(802, 100)).await?;
            refused(&what, answer, &[404], &["BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID"])?;
        }
    }
    Ok(())
}
