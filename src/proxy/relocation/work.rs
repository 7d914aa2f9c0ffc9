//! The work on one bundle: is it one, what does its lock say, are the images there, and what does it become.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::{AcquireError, oneshot};

use super::answer::{Answer, Colocated, Why};
use super::pass::{self, unreadable};
use super::passes::Turn;
use super::record::{Document, Relocation, RelocationKey};
use super::verdict::{Effort, Extent, Sought, Verdict, verdict};
use super::witness::Witness;
use crate::imgpkg::{ImagesLock, Target, has_bundle_label};
use crate::oci::{Descriptor, Digest, Manifest};
use crate::proxy::error::ProxyError;
use crate::proxy::sources::Sources;
use crate::proxy::undecided::Undecided;
use crate::rewrite::{
    Candidate, FoundLock, LockChange, MAX_CONFIG_BYTES, RelocatedLayer, Replacement, Unchanged, candidate, diff_id,
    relocate_config, relocate_manifest,
};
use crate::upstream::UpstreamError;

/// A bundle, by its label, whose layer may be rewritten.
pub(in crate::proxy) struct Bundle {
    pub(in crate::proxy) layer: Descriptor,
    pub(in crate::proxy) config: Bytes,
}

/// What the manifest alone tells: an image that may be a bundle, and what is in its way if it is one.
///
/// # Errors
/// When it is no bundle, or cannot be read as an image.
pub(in crate::proxy) fn glance(manifest: &Manifest) -> Result<(Candidate, Option<Unchanged>), Unchanged> {
    let view = manifest.view();
    candidate(view.map_err(|_| Unchanged::Document { document: "manifest", problem: "does not parse" })?)
}

/// Finds out whether an image is a bundle that can be relocated.
pub(in crate::proxy) async fn inspect(
    contents: &Sources,
    manifest: &Manifest,
    max_layer_bytes: u64,
) -> Result<Result<Bundle, Unchanged>, Undecided> {
    let (Candidate { config, layer }, obstacle) = match glance(manifest) {
        Ok(found) => found,
        Err(reason) => return Ok(Err(reason)),
    };
    if config.size > MAX_CONFIG_BYTES as u64 {
        return Ok(Err(Unchanged::Document { document: "config", problem: "is too large to be an image's" }));
    }
    let config = match contents.small_blob(&config.digest, MAX_CONFIG_BYTES).await {
        Ok(config) => config,
        Err(ProxyError::NotFound { .. }) => return Ok(Err(Unchanged::PartMissing("config"))),
        Err(ProxyError::Upstream(UpstreamError::TooLarge { .. })) => {
            return Ok(Err(Unchanged::Document { document: "config", problem: "is larger than its manifest says" }));
        }
        Err(error) => return Err(unreadable(error)),
    };
    if !has_bundle_label(&config) {
        return Ok(Err(Unchanged::NotABundle));
    }
    if let Some(reason) = obstacle {
        return Ok(Err(reason));
    }
    if layer.size > max_layer_bytes {
        return Ok(Err(Unchanged::LayerTooLarge { size: layer.size, limit: max_layer_bytes }));
    }
    Ok(Ok(Bundle { layer, config }))
}

/// What a bundle's pass and its images came to.
pub(in crate::proxy) struct Worked {
    pub(in crate::proxy) layer: RelocatedLayer,
    pub(in crate::proxy) lock: ImagesLock,
    pub(in crate::proxy) verdict: Verdict,
}

/// Why there is no relocated layer.
pub(in crate::proxy) enum Stopped {
    Answer(Why),
    Undecided(Undecided),
}

impl From<Unchanged> for Stopped {
    fn from(reason: Unchanged) -> Self {
        Self::Answer(Why::Unchanged(reason))
    }
}

impl From<Undecided> for Stopped {
    fn from(cause: Undecided) -> Self {
        Self::Undecided(cause)
    }
}

/// Rewrites the bundle's layer and looks for its images, both at once where one does not need the other.
pub(in crate::proxy) async fn work(
    contents: &Arc<Sources>,
    key: &RelocationKey,
    bundle: &Bundle,
    turn: impl Future<Output = Result<Turn, AcquireError>>,
    effort: Effort,
    witness: &Witness,
) -> Result<Worked, Stopped> {
    let (found, lock) = oneshot::channel::<ImagesLock>();
    let (decide, decision) = oneshot::channel::<Verdict>();
    let pass = async {
        // Held by the pass alone: looking for images costs no processor, and may wait for the upstream.
        let _turn = turn.await.map_err(|error| Undecided::Internal(error.to_string()))?;
        rewrite_layer(contents, bundle, change(key, found, decision, witness)).await
    };
    let looking = async {
        // Without a lock the pass has its reason, and this one none of its own.
        let Ok(lock) = lock.await else { return std::future::pending().await };
        let images = Sought::of(&lock, contents, key.from_origin).await;
        let extent = if key.each { Extent::Whole } else { Extent::UntilMissing };
        let verdict = verdict(contents, key.original, images, effort, extent).await;
        witness.looked(&verdict);
        let _ = decide.send(verdict.clone());
        (lock, verdict)
    };
    tokio::pin!(pass, looking);
    let mut layer = None;
    let mut looked: Option<(ImagesLock, Verdict)> = None;
    loop {
        match (layer.take(), looked.take()) {
            (Some(layer), Some((lock, verdict))) => return Ok(Worked { layer, lock, verdict }),
            (layer_so_far, looked_so_far) => (layer, looked) = (layer_so_far, looked_so_far),
        }
        tokio::select! {
            done = &mut pass, if layer.is_none() => layer = Some(done??),
            done = &mut looking, if looked.is_none() => {
                let (_, verdict) = &done;
                if let Some(count) = verdict.too_many() {
                    return Err(Stopped::Answer(Why::TooManyImages { count, limit: effort.max_images }));
                }
                if !key.each && let Some((image, elsewhere)) = verdict.missing() {
                    return Err(Stopped::Answer(Why::Missing { image, elsewhere: elsewhere.to_vec() }));
                }
                if let Some(cause) = verdict.undecided() {
                    return Err(cause.into());
                }
                looked = Some(done);
            }
        }
    }
}

/// Runs the pass over a bundle's layer.
pub(in crate::proxy) async fn rewrite_layer(
    contents: &Sources,
    bundle: &Bundle,
    change: LockChange,
) -> Result<Result<RelocatedLayer, Unchanged>, Undecided> {
    let diff_id = match diff_id(&bundle.config) {
        Ok(diff_id) => diff_id,
        Err(reason) => return Ok(Err(reason)),
    };
    let reader = match contents.blob(&bundle.layer.digest).await {
        Ok((reader, _)) => reader,
        Err(ProxyError::NotFound { .. }) => return Ok(Err(Unchanged::PartMissing("layer"))),
        Err(error) => return Err(unreadable(error)),
    };
    pass::run(reader, &bundle.layer, diff_id.algorithm(), change).await
}

/// A bundle's lock.
pub(in crate::proxy) struct BundleLock {
    /// The file, as it stands.
    pub(in crate::proxy) text: Vec<u8>,
    pub(in crate::proxy) images: ImagesLock,
}

/// The bundle's lock, by a pass that stops there.
pub(in crate::proxy) async fn read_lock(
    contents: &Sources,
    bundle: &Bundle,
) -> Result<Result<BundleLock, Unchanged>, Undecided> {
    let found = Arc::new(Mutex::new(None));
    let kept = Arc::clone(&found);
    let change: LockChange = Box::new(move |FoundLock { text, images }| {
        let lock = BundleLock { text: text.to_vec(), images: images.clone() };
        *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(lock);
        Err(Unchanged::NothingChanges)
    });
    let stopped = rewrite_layer(contents, bundle, change).await?;
    let found = found.lock().unwrap_or_else(PoisonError::into_inner).take();
    Ok(match (found, stopped) {
        (Some(lock), _) => Ok(lock),
        (None, Err(reason)) => Err(reason),
        (None, Ok(_)) => Err(Unchanged::NoLock),
    })
}

/// How the lock changes. It is called in the pass's own thread, so it may wait there for the verdict; and it
/// does only where the new lock depends on it.
fn change(
    key: &RelocationKey,
    found: oneshot::Sender<ImagesLock>,
    decision: oneshot::Receiver<Verdict>,
    witness: &Witness,
) -> LockChange {
    let (target, each, witness) = (key.target.clone(), key.each, witness.clone());
    Box::new(move |FoundLock { text, images: lock }| {
        witness.read(text, lock);
        let _ = found.send(lock.clone());
        let relocated = if each {
            let verdict = decision.blocking_recv().map_err(|_| Unchanged::NothingChanges)?;
            lock.relocate_some(&target, |image| verdict.is_colocated(&image.reference.digest))
        } else {
            lock.relocate(&target)
        };
        relocated.ok_or(Unchanged::NothingChanges)
    })
}

/// The relocated bundle, from its relocated layer.
pub(in crate::proxy) fn assemble(
    manifest: &Manifest,
    target: &Target,
    bundle: &Bundle,
    worked: Worked,
) -> Result<Answer, Unchanged> {
    let Worked { layer, lock, verdict } = worked;
    let config = document(relocate_config(&bundle.config, &layer.diff_id)?)?;
    let relocated = relocate_manifest(
        &manifest.bytes,
        Replacement { digest: config.digest, size: config.text.len() as u64, content: Some(config.text.as_bytes()) },
        Replacement { digest: layer.digest, size: layer.recipe.size(), content: None },
    )?;
    let mut images: Vec<Digest> = lock.images().map(|image| image.reference.digest).collect();
    images.sort_unstable();
    images.dedup();
    let named = images.len();
    images.retain(|digest| verdict.is_colocated(digest));
    let origins = verdict.at_origins();
    let relocation = Arc::new(Relocation {
        original: manifest.digest,
        media_type: manifest.media_type.to_string(),
        target: target.to_string(),
        manifest: document(relocated)?,
        config,
        layer: layer.digest,
        original_layer: bundle.layer.digest,
        recipe: layer.recipe,
        complete: images.len() == named,
        images,
    });
    Ok(Answer::Relocated(Colocated { relocation, origins }))
}

/// A document under its digest, which is SHA-256 whatever the original's was.
fn document(bytes: Vec<u8>) -> Result<Document, Unchanged> {
    let digest = Digest::of(&bytes);
    let not_text = |_| Unchanged::Document { document: "manifest", problem: "is not UTF-8" };
    Ok(Document { digest, text: String::from_utf8(bytes).map_err(not_text)? })
}
