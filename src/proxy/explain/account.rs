//! What an explanation says, as values and as text.

use std::fmt;

use serde::Serialize;

use super::cnab_account::ExplainedCnab;
use crate::oci::Digest;

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
    /// Of an index, the images in it that are bundles.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bundles: Vec<ExplainedChild>,
    /// Of an index that is a CNAB bundle, what its clients see.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cnab: Option<ExplainedCnab>,
    /// The bundle's lock as it stands upstream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lock: Option<String>,
    /// The relocated bundle.
    pub relocated: Option<Relocated>,
}

/// One image of a lock.
#[derive(Clone, Debug, Serialize)]
pub struct ExplainedImage {
    /// The reference as the lock has it.
    pub image: String,
    /// `locations image`, `repository`, `origin`, `missing` or `undecided`.
    pub found: &'static str,
    /// The repository that has it, if that is not the bundle's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// Why it is undecided.
    pub error: Option<String>,
    /// Why it is not taken from where the lock says it is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub elsewhere: Vec<String>,
    /// The reference in the relocated lock.
    pub relocated: String,
    /// What is inside, if it is a bundle itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nested: Option<Nested>,
}

/// A bundle that a lock names. Its digest stays, and so does its lock; whoever pulls it finds its images likewise.
#[derive(Clone, Debug, Serialize)]
pub struct Nested {
    /// The images its lock names, in order.
    pub images: Vec<ExplainedImage>,
    /// Why they are not told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// An image of an index.
#[derive(Clone, Debug, Serialize)]
pub struct ExplainedChild {
    /// Its digest.
    pub digest: Digest,
    /// What the index says it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
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

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} at {}", self.reference, self.upstream)?;
        writeln!(f, "  original   {}", self.original)?;
        writeln!(f, "  type       {}", self.media_type)?;
        writeln!(f, "  bundle     {}", if self.is_bundle { "yes" } else { "no" })?;
        if let Some(target) = &self.target {
            writeln!(f, "  target     {target}")?;
        }
        self.images.iter().try_for_each(|image| image.write(f, "  "))?;
        for child in &self.bundles {
            let platform = child.platform.as_ref().map(|platform| format!(" ({platform})")).unwrap_or_default();
            writeln!(f, "  in it      a bundle: {}{platform}", child.digest)?;
        }
        if let Some(cnab) = &self.cnab {
            cnab.write(f)?;
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

impl ExplainedImage {
    /// About how many bytes it has in memory.
    pub(in crate::proxy) fn weight(&self) -> usize {
        let error = self.error.as_ref().map_or(0, String::len) + self.origin.as_ref().map_or(0, String::len);
        let elsewhere: usize = self.elsewhere.iter().map(String::len).sum();
        size_of::<Self>() + self.image.len() + self.relocated.len() + error + elsewhere
    }

    /// `indent` stands before each line; nested images stand further in.
    fn write(&self, f: &mut fmt::Formatter<'_>, indent: &str) -> fmt::Result {
        writeln!(f, "{indent}image      {}", self.image)?;
        match (self.found, &self.origin, &self.error) {
            ("missing", ..) => writeln!(f, "{indent}           not in the bundle's repository")?,
            ("undecided", _, Some(error)) => writeln!(f, "{indent}           undecided: {error}")?,
            ("undecided", _, None) => writeln!(f, "{indent}           undecided")?,
            (_, Some(origin), _) => {
                writeln!(f, "{indent}           colocated (from its origin, {origin}): {}", self.relocated)?;
            }
            (found, ..) => writeln!(f, "{indent}           colocated ({found}): {}", self.relocated)?,
        }
        self.elsewhere.iter().try_for_each(|elsewhere| writeln!(f, "{indent}           at {elsewhere}"))?;
        let Some(nested) = &self.nested else { return Ok(()) };
        writeln!(f, "{indent}           is a bundle itself, of {} images", nested.images.len())?;
        if let Some(reason) = &nested.reason {
            writeln!(f, "{indent}           which are not told: {reason}")?;
        }
        let indent = format!("{indent}    ");
        nested.images.iter().try_for_each(|image| image.write(f, &indent))
    }
}
