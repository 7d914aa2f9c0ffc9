//! The rewriting pass: reads a layer as it arrives and pushes it through the rewriter.

use bytes::Bytes;
use http_body_util::BodyExt as _;
use tokio::sync::mpsc;

use crate::body::Body;
use crate::cache::Reader;
use crate::oci::{Algorithm, Descriptor};
use crate::proxy::contents::body_cause;
use crate::proxy::error::ProxyError;
use crate::proxy::undecided::Undecided;
use crate::rewrite::{LayerRewriter, LockChange, RelocatedLayer, Unchanged};

/// Chunks between the reader and the rewriter: one being worked on, one ready.
const QUEUED_CHUNKS: usize = 2;

/// Runs the pass over the layer that `reader` gives, which may still be arriving.
///
/// Inflating and hashing take a processor for as long as they last, so they run off the runtime.
pub(in crate::proxy) async fn run(
    reader: Reader,
    layer: &Descriptor,
    diff_id: Algorithm,
    change: LockChange,
) -> Result<Result<RelocatedLayer, Unchanged>, Undecided> {
    if reader.size() != layer.size {
        return Ok(Err(confirmed(reader.body(0..reader.size()), Unchanged::LayerMismatch).await?));
    }
    let (chunks, mut queue) = mpsc::channel::<Bytes>(QUEUED_CHUNKS);
    let mut rewriter = LayerRewriter::new(layer.digest.algorithm(), diff_id, change);
    let worker = tokio::task::spawn_blocking(move || {
        while let Some(chunk) = queue.blocking_recv() {
            rewriter.push(&chunk)?;
        }
        rewriter.finish()
    });
    let mut body = reader.body(0..reader.size());
    while let Some(chunk) = next(&mut body).await? {
        // The worker stops taking chunks when it has found a reason to give up.
        if chunks.send(chunk).await.is_err() {
            break;
        }
    }
    drop(chunks);
    match worker.await.map_err(|_| Undecided::Internal("the rewriting pass panicked".to_owned()))? {
        Ok(layer) => Ok(Ok(layer)),
        Err(reason) => Ok(Err(confirmed(body, reason).await?)),
    }
}

/// A reason, once the bytes it was found in are known to be the layer's, which they are at the body's end: what a
/// broken download looks like says nothing of the bundle.
async fn confirmed(mut body: Body, reason: Unchanged) -> Result<Unchanged, Undecided> {
    while next(&mut body).await?.is_some() {}
    Ok(reason)
}

async fn next(body: &mut Body) -> Result<Option<Bytes>, Undecided> {
    let Some(frame) = body.frame().await else { return Ok(None) };
    let frame = frame.map_err(|cause| unreadable(body_cause(&*cause)))?;
    Ok(Some(frame.into_data().unwrap_or_default()))
}

/// What it means for a bundle that a part of it cannot be read.
pub(in crate::proxy) fn unreadable(error: ProxyError) -> Undecided {
    match error {
        ProxyError::Upstream(error) => Undecided::Upstream { what: "reading the bundle".to_owned(), error },
        ProxyError::NotFound { .. } => Undecided::Upstream {
            what: "reading the bundle".to_owned(),
            error: crate::upstream::UpstreamError::NotFound,
        },
        other => Undecided::Internal(other.to_string()),
    }
}
