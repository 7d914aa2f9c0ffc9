//! What is remembered of relocated bundles: small, and never evicted by size.

use serde::{Deserialize, Serialize};

use crate::cache::RecordKey;
use crate::imgpkg::Target;
use crate::oci::{Digest, Repository};
use crate::proxy::view::View;
use crate::rewrite::Recipe;

/// One bundle for one kind of client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::proxy) struct RelocationKey {
    /// The bundle's repository, as the upstream names it.
    pub(in crate::proxy) repository: Repository,
    /// The original's digest (`D`).
    pub(in crate::proxy) original: Digest,
    /// What references name.
    pub(in crate::proxy) target: Target,
    /// Whether each image counts for itself rather than all together.
    pub(in crate::proxy) each: bool,
    /// Whether images count that are at their origins.
    pub(in crate::proxy) from_origin: bool,
}

impl RelocationKey {
    /// The bundle `original` for those who see its repository so; `None` in the exact view.
    pub(in crate::proxy) fn new(view: &View, original: Digest) -> Option<Self> {
        let target = view.target.clone()?;
        Some(Self {
            repository: view.repository.clone(),
            original,
            target,
            each: view.each,
            from_origin: view.from_origin,
        })
    }

    /// The same for those who may not read the origins: only what is beside the bundle counts.
    pub(super) fn beside(&self) -> Self {
        Self { from_origin: false, ..self.clone() }
    }

    /// Where the answer is recorded.
    pub(super) fn record(&self) -> RecordKey {
        let mode = match (self.each, self.from_origin) {
            (false, true) => "all",
            (true, true) => "each",
            (false, false) => "all-beside",
            (true, false) => "each-beside",
        };
        let (repository, target) = (self.repository.to_string(), self.target.to_string());
        RecordKey::new(["answers", &repository, &self.original.to_string(), &target, mode])
    }

    /// What the answers for all bundles of a repository are recorded under.
    pub(super) fn originals(repository: &Repository) -> RecordKey {
        RecordKey::new(["answers", &repository.to_string()])
    }

    /// What the answers for all targets are recorded under.
    pub(super) fn siblings(&self) -> RecordKey {
        RecordKey::new(["answers", &self.repository.to_string(), &self.original.to_string()])
    }
}

/// What a bundle was answered with, and stays so.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum AnswerRecord {
    /// With a relocated bundle.
    Relocated {
        /// Its manifest's digest (`D'`).
        manifest: Digest,
        /// Seconds since 1970 at which its images were last seen.
        seen: u64,
        /// Which of them are elsewhere.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        origins: Vec<AtOrigin>,
    },
    /// As it stands, for a reason that lies in its own bytes.
    Unchanged {
        /// The sentence.
        reason: String,
        /// Whether it is a bundle at all; records of earlier versions do not say.
        #[serde(default = "yes")]
        is_bundle: bool,
    },
}

fn yes() -> bool {
    true
}

/// An origin, and which images of a bundle are there and not beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::proxy) struct AtOrigin {
    /// The origin.
    pub(in crate::proxy) repository: Repository,
    /// The images; at least one, by which it shows whether a client may read the origin.
    pub(in crate::proxy) images: Vec<Digest>,
}

/// A relocated bundle: its two documents, and how to make its layer. Never changed once it is recorded.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::proxy) struct Relocation {
    /// The original's digest (`D`).
    pub(in crate::proxy) original: Digest,
    /// The manifest (`D'`).
    pub(in crate::proxy) manifest: Document,
    /// Its media type.
    pub(in crate::proxy) media_type: String,
    /// What its lock names in place of where the images were; records of earlier versions do not say.
    #[serde(default)]
    pub(in crate::proxy) target: String,
    /// The config (`C'`).
    pub(in crate::proxy) config: Document,
    /// The layer (`L'`).
    pub(in crate::proxy) layer: Digest,
    /// The original's layer, of which the relocated one is made.
    pub(in crate::proxy) original_layer: Digest,
    /// How.
    pub(in crate::proxy) recipe: Recipe,
    /// The images whose references were rewritten.
    pub(in crate::proxy) images: Vec<Digest>,
    /// Whether these are all that the lock names.
    pub(in crate::proxy) complete: bool,
}

/// A document and its digest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::proxy) struct Document {
    /// The digest.
    pub(in crate::proxy) digest: Digest,
    /// The text, which JSON always is.
    pub(in crate::proxy) text: String,
}

impl Relocation {
    /// Where the relocated bundle with the manifest `digest` is recorded.
    pub(super) fn record(repository: &Repository, digest: &Digest) -> RecordKey {
        RecordKey::new(["relocations", &repository.to_string(), &digest.to_string()])
    }

    /// Where all relocated bundles of a repository are recorded.
    pub(super) fn all(repository: &Repository) -> RecordKey {
        RecordKey::new(["relocations", &repository.to_string()])
    }

    /// Where it is recorded which relocated bundle the config or layer `digest` belongs to.
    pub(super) fn part_record(repository: &Repository, digest: &Digest) -> RecordKey {
        RecordKey::new(["parts", &repository.to_string(), &digest.to_string()])
    }

    /// A weight for caches: about the bytes it has in memory, in KiB.
    pub(super) fn weight(&self) -> u32 {
        let bytes = self.manifest.text.len() as u64 + self.config.text.len() as u64 + self.recipe.inline_bytes();
        u32::try_from(bytes / 1024 + 1).unwrap_or(u32::MAX)
    }
}
