//! What the proxy makes of a reference, told to a person.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use super::Proxy;
use super::contents::Contents;
use super::error::ProxyError;
use super::relocation::{
    Answer, Extent, Found, RelocationKey, Verdict, Why, Worked, assemble, inspect, read_lock, rewrite_layer, verdict,
};
use super::tag::Demand;
use super::undecided::Undecided;
use super::view::View;
use crate::imgpkg::LockedImage;
use crate::oci::{Digest, Manifest, Reference};
use crate::rewrite::{LockChange, Unchanged};

/// Everything about a reference that decides what a client gets.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// What was asked for: `repository:tag` or `repository@digest`.
    pub reference: String,
    /// The registry behind.
    pub upstream: String,
    /// The original's digest.
    pub original: Digest,
    /// Its media type.
    pub media_type: String,
    /// Whether it is an imgpkg bundle.
    pub is_bundle: bool,
    /// What references would name; `None` in the exact view.
    pub target: Option<String>,
    /// `relocated`, `original` or `undecided`: what a pull of the tag gives.
    pub outcome: &'static str,
    /// Why it is not relocated.
    pub reason: Option<String>,
    /// The images its lock names, in order.
    pub images: Vec<ExplainedImage>,
    /// The relocated bundle.
    pub relocated: Option<Relocated>,
}

/// One image of a lock.
#[derive(Clone, Debug, Serialize)]
pub struct ExplainedImage {
    /// The reference as the lock has it.
    pub image: String,
    /// `locations image`, `repository`, `missing` or `undecided`.
    pub found: &'static str,
    /// Why it is undecided.
    pub error: Option<String>,
    /// The reference in the relocated lock.
    pub relocated: String,
}

/// What a relocated bundle consists of.
#[derive(Clone, Debug, Serialize)]
pub struct Relocated {
    /// The manifest's digest.
    pub manifest: Digest,
    /// The config's digest.
    pub config: Digest,
    /// The layer's digest.
    pub layer: Digest,
    /// Bytes of the layer that are not the original's.
    pub patch_bytes: u64,
    /// The lock.
    pub lock: String,
}

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
            relocated: None,
        };
        let Some(key) = RelocationKey::new(view, manifest.digest) else {
            explanation.reason = Some("this endpoint gives the exact view of this repository".to_owned());
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
        Ok(explanation)
    }

    async fn explain_bundle(
        &self,
        contents: &Arc<Contents>,
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
        let lock = read_lock(contents, &bundle).await??;
        let digests = lock.images().map(|image| image.reference.digest);
        let verdict = verdict(contents, key.original, digests, limits.concurrency, Extent::Whole).await;
        explanation.images = lock.images().map(|image| explain_image(key, image, &verdict)).collect();
        if !key.each
            && let Some(missing) = verdict.missing()
        {
            return Err(Why::Missing(missing).into());
        }
        if let Some(cause) = verdict.undecided() {
            return Err(cause.into());
        }
        let (target, colocated) = (key.target.clone(), verdict.clone());
        let text = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&text);
        let change: LockChange = Box::new(move |lock| {
            let relocated = lock.relocate_some(&target, |image| colocated.is_colocated(&image.reference.digest));
            let relocated = relocated.ok_or(Unchanged::NothingChanges)?;
            kept.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&relocated);
            Ok(relocated)
        });
        let layer = rewrite_layer(contents, &bundle, change).await??;
        let Answer::Relocated(relocation) = assemble(manifest, &bundle, Worked { layer, lock, verdict })? else {
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
}

fn explain_image(key: &RelocationKey, image: &LockedImage, verdict: &Verdict) -> ExplainedImage {
    let digest = image.reference.digest;
    let (found, error) = match verdict.found(&digest) {
        Some(Found::Locations) => ("locations image", None),
        Some(Found::Repository) => ("repository", None),
        Some(Found::Missing) => ("missing", None),
        Some(Found::Undecided(error)) => ("undecided", Some(error.to_string())),
        None => ("undecided", None),
    };
    ExplainedImage { image: image.written.clone(), found, error, relocated: format!("{}@{digest}", key.target) }
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

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} at {}", self.reference, self.upstream)?;
        writeln!(f, "  original   {}", self.original)?;
        writeln!(f, "  type       {}", self.media_type)?;
        writeln!(f, "  bundle     {}", if self.is_bundle { "yes" } else { "no" })?;
        if let Some(target) = &self.target {
            writeln!(f, "  target     {target}")?;
        }
        for image in &self.images {
            writeln!(f, "  image      {}", image.image)?;
            match (image.found, &image.error) {
                ("missing", _) => writeln!(f, "             not in the bundle's repository")?,
                ("undecided", Some(error)) => writeln!(f, "             undecided: {error}")?,
                ("undecided", None) => writeln!(f, "             undecided")?,
                (found, _) => writeln!(f, "             colocated ({found}): {}", image.relocated)?,
            }
        }
        writeln!(
            f,
            "  a tag gives {}",
            match self.outcome {
                "relocated" => "the relocated bundle",
                "undecided" => "503 for now, or the original where relocation.undecided says so",
                _ => "the original",
            }
        )?;
        if let Some(reason) = &self.reason {
            writeln!(f, "  because    {reason}")?;
        }
        if let Some(relocated) = &self.relocated {
            writeln!(f, "  relocated  {}", relocated.manifest)?;
            writeln!(f, "  config     {}", relocated.config)?;
            writeln!(f, "  layer      {} ({} bytes of its own)", relocated.layer, relocated.patch_bytes)?;
            writeln!(f, "  its lock:")?;
            for line in relocated.lock.lines() {
                writeln!(f, "    {line}")?;
            }
        }
        Ok(())
    }
}
