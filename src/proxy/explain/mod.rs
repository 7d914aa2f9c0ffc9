//! What the proxy makes of a reference, told to a person: all that a pull looks at, and for bundles within a bundle what
//! whoever pulls those will look at. Nothing of it is remembered, and nothing granted.

mod account;
mod cnab;
mod cnab_account;
mod nested;

use std::sync::{Arc, Mutex, PoisonError};

pub use account::{ExplainedChild, ExplainedImage, Explanation, Nested, Relocated};
pub use cnab_account::{ExplainedCnab, ExplainedCnabImage};
use nested::Follower;
pub(super) use nested::explained_image;

use super::Proxy;
use super::error::ProxyError;
use super::relocation::{
    Answer, BundleLock, Colocated, Extent, RelocationKey, Sought, Why, Worked, assemble, inspect, read_lock,
    rewrite_layer, verdict,
};
use super::sources::Sources;
use super::tag::Demand;
use super::undecided::Undecided;
use super::view::View;
use crate::oci::{Manifest, ManifestView, Reference};
use crate::rewrite::{LockChange, Unchanged};

/// How many images of an index are looked at.
const MAX_CHILDREN: usize = 64;

impl Proxy {
    /// Explains what a pull of `reference` gives, and why. Looks at everything anew; nothing is remembered.
    ///
    /// # Errors
    /// When the reference itself cannot be resolved.
    pub async fn explain(&self, view: &View, reference: &Reference) -> Result<Explanation, ProxyError> {
        let (contents, repository) = (self.contents(view).await?, &view.repository.name);
        let (manifest, separator) = match reference {
            Reference::Tag(tag) => (self.original(&contents, tag, Demand::Believed).await?.0, ':'),
            Reference::Digest(digest) => (contents.manifest(digest).await?.0, '@'),
        };
        let mut explanation = Explanation {
            reference: format!("{repository}{separator}{reference}"),
            upstream: contents.upstream.name().to_owned(),
            original: manifest.digest,
            media_type: manifest.media_type.to_string(),
            is_bundle: false,
            target: view.target.as_ref().map(ToString::to_string),
            outcome: "original",
            reason: None,
            images: Vec::new(),
            bundles: Vec::new(),
            cnab: None,
            lock: None,
            relocated: None,
        };
        let Some(key) = RelocationKey::new(view, manifest.digest) else {
            explanation.reason = Some("this endpoint gives the exact view of this repository".to_owned());
            self.explain_cnab(&contents, view, &manifest, &mut explanation).await;
            return Ok(explanation);
        };
        match self.explain_bundle(&contents, &key, &manifest, &mut explanation).await {
            Ok(()) => explanation.outcome = "relocated",
            Err(Shown::Original(reason)) => explanation.reason = Some(reason),
            Err(Shown::Undecided(reason)) => {
                explanation.outcome = "undecided";
                explanation.reason = Some(reason);
            }
        }
        self.explain_index(&contents, &manifest, &mut explanation).await;
        self.explain_cnab(&contents, view, &manifest, &mut explanation).await;
        Ok(explanation)
    }

    async fn explain_bundle(
        &self,
        contents: &Arc<Sources>,
        key: &RelocationKey,
        manifest: &Manifest,
        explanation: &mut Explanation,
    ) -> Result<(), Shown> {
        let limits = self.0.relocator.limits();
        let bundle = match inspect(contents, manifest, limits.max_layer_bytes).await? {
            Ok(bundle) => bundle,
            Err(reason) => {
                explanation.is_bundle = !reason.is_not_a_bundle();
                return Err(reason.into());
            }
        };
        explanation.is_bundle = true;
        let BundleLock { text, images: lock } = read_lock(contents, &bundle).await??;
        explanation.lock = Some(String::from_utf8_lossy(&text).into_owned());
        let sought = Sought::of(&lock, contents, key.from_origin).await;
        let verdict = verdict(contents, key.original, sought, limits.effort(), Extent::Whole).await;
        if let Some(count) = verdict.too_many() {
            return Err(Why::TooManyImages { count, limit: limits.max_images }.into());
        }
        let mut follower = Follower::new(contents, key, limits, manifest.digest);
        explanation.images = follower.images(contents, &lock, &verdict, 1).await;
        if !key.each
            && let Some((image, elsewhere)) = verdict.missing()
        {
            return Err(Why::Missing { image, elsewhere: elsewhere.to_vec() }.into());
        }
        if let Some(cause) = verdict.undecided() {
            return Err(cause.into());
        }
        let (target, colocated) = (key.target.clone(), verdict.clone());
        let text = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&text);
        let change: LockChange = Box::new(move |found| {
            let relocated =
                found.images.relocate_some(&target, |image| colocated.is_colocated(&image.reference.digest));
            let relocated = relocated.ok_or(Unchanged::NothingChanges)?;
            kept.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&relocated);
            Ok(relocated)
        });
        let layer = rewrite_layer(contents, &bundle, change).await??;
        let Answer::Relocated(Colocated { relocation, .. }) =
            assemble(manifest, &key.target, &bundle, Worked { layer, lock, verdict })?
        else {
            return Ok(());
        };
        let text = text.lock().unwrap_or_else(PoisonError::into_inner);
        explanation.relocated = Some(Relocated {
            manifest: relocation.manifest.digest,
            config: relocation.config.digest,
            layer: relocation.layer,
            patch_bytes: relocation.recipe.inline_bytes(),
            lock: String::from_utf8_lossy(&text).into_owned(),
        });
        Ok(())
    }

    /// Tells of an index whether there are bundles in it: what a tag names is then still the index, as it stands.
    async fn explain_index(&self, contents: &Sources, manifest: &Manifest, explanation: &mut Explanation) {
        let Ok(ManifestView::Index { manifests }) = manifest.view() else { return };
        for child in manifests.into_iter().take(MAX_CHILDREN) {
            let Ok((manifest, _)) = contents.manifest(&child.digest).await else { continue };
            let limit = self.0.relocator.limits().max_layer_bytes;
            let is_bundle = match inspect(contents, &manifest, limit).await {
                Ok(Ok(_)) => true,
                Ok(Err(reason)) => !reason.is_not_a_bundle(),
                Err(_) => false,
            };
            if is_bundle {
                let platform = child.platform.map(|platform| platform.to_string());
                explanation.bundles.push(ExplainedChild { digest: child.digest, platform });
            }
        }
        if !explanation.bundles.is_empty() {
            let reason = "it is an index, of bundles among others; an index passes as it stands, and so does what is pulled \
                          by the digests in it: give a bundle a tag of its own to have it relocated";
            explanation.reason = Some(reason.to_owned());
        }
    }
}

/// How an explanation ends early.
enum Shown {
    Original(String),
    Undecided(String),
}

impl From<Unchanged> for Shown {
    fn from(reason: Unchanged) -> Self {
        Self::Original(reason.to_string())
    }
}

impl From<Why> for Shown {
    fn from(why: Why) -> Self {
        Self::Original(why.to_string())
    }
}

impl From<Undecided> for Shown {
    fn from(cause: Undecided) -> Self {
        Self::Undecided(cause.to_string())
    }
}
