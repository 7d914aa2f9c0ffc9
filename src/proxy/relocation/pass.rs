//! The rewriting pass: reads a layer as it arrives and pushes it through the rewriter.

use bytes::Bytes;
use http_body_util::BodyExt as _;

use crate::body::Body;
use crate::cache::Reader;
use crate::oci::{Algorithm, Descriptor};
use crate::proxy::contents::body_cause;
use crate::proxy::error::ProxyError;
use crate::proxy::undecided::Undecided;
use crate::rewrite::{LayerRewriter, LockChange, RelocatedLayer, Unchanged};

/// Runs the pass over the layer that `reader` gives, which may still be arriving.
///
/// Inflating and hashing take a processor for as long as they last, so they run off the runtime, a chunk at a time: no
/// thread waits for the upstream.
pub(in crate::proxy) async fn run(
    reader: Reader,
    layer: &Descriptor,
    diff_id: Algorithm,
    change: LockChange,
) -> Result<Result<RelocatedLayer, Unchanged>, Undecided> {
    if reader.size() != layer.size {
        return Ok(Err(confirmed(reader.body(0..reader.size()), Unchanged::LayerMismatch).await?));
    }
    let mut rewriter = LayerRewriter::new(layer.digest.algorithm(), diff_id, change);
    let mut body = reader.body(0..reader.size());
    let mut next_chunk = next(&mut body).await?;
    while let Some(chunk) = next_chunk {
        let push = tokio::task::spawn_blocking(move || {
            let pushed = rewriter.push(&chunk);
            (rewriter, pushed)
        });
        // The next one is read meanwhile.
        let (read, pushed) = tokio::join!(next(&mut body), push);
        let (pushed_to, pushed) = pushed.map_err(panicked)?;
        if let Err(reason) = pushed {
            // What was read ahead may be how the body broke.
            read?;
            return Ok(Err(confirmed(body, reason).await?));
        }
        (rewriter, next_chunk) = (pushed_to, read?);
    }
    tokio::task::spawn_blocking(move || rewriter.finish()).await.map_err(panicked)
}

fn panicked(_: tokio::task::JoinError) -> Undecided {
    Undecided::Internal("the rewriting pass panicked".to_owned())
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
