//! The rewriting pass: reads a layer as it arrives and pushes it through the rewriter.

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::cache::Reader;
use crate::oci::{Algorithm, Descriptor};
use crate::proxy::contents::{CHUNK_BYTES, read_cause};
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
        return Ok(Err(confirmed(&reader, Unchanged::LayerMismatch).await?));
    }
    let (chunks, mut queue) = mpsc::channel::<Bytes>(QUEUED_CHUNKS);
    let mut rewriter = LayerRewriter::new(layer.digest.algorithm(), diff_id, change);
    let worker = tokio::task::spawn_blocking(move || {
        while let Some(chunk) = queue.blocking_recv() {
            rewriter.push(&chunk)?;
        }
        rewriter.finish()
    });
    let mut offset = 0;
    loop {
        let chunk = reader.read_at(offset, CHUNK_BYTES).await.map_err(|error| unreadable(read_cause(error)))?;
        offset += chunk.len() as u64;
        // The worker stops taking chunks when it has found a reason to give up.
        if chunk.is_empty() || chunks.send(chunk).await.is_err() {
            break;
        }
    }
    drop(chunks);
    match worker.await.map_err(|_| Undecided::Internal("the rewriting pass panicked".to_owned()))? {
        Ok(layer) => Ok(Ok(layer)),
        Err(reason) => Ok(Err(confirmed(&reader, reason).await?)),
    }
}

/// A reason, once the bytes it was found in are known to be the layer's: what a broken download looks like says
/// nothing of the bundle.
async fn confirmed(reader: &Reader, reason: Unchanged) -> Result<Unchanged, Undecided> {
    reader.verified().await.map_err(|error| unreadable(read_cause(error.into())))?;
    Ok(reason)
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
