//! What can be asked for, and what is told of it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::piece;
use crate::oci::{Digest, Platform, Repository, Tag};

/// Something to be done with a cache. References read `[HOST/]REPOSITORY[:TAG|@DIGEST]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Task {
    /// Pulls images, and for bundles every image their locks name.
    Warm {
        /// What to pull.
        references: Vec<String>,
        /// Which images of an index; all without any.
        platforms: Vec<Platform>,
    },
    /// The same, and keeps them from being evicted.
    Pin {
        /// What to pull and pin.
        references: Vec<String>,
        /// Which images of an index; all without any.
        platforms: Vec<Platform>,
    },
    /// Makes an archive of images, and for bundles of every image their locks name.
    Export {
        /// What to put in.
        references: Vec<String>,
        /// Which images of an index; all without any.
        platforms: Vec<Platform>,
        /// Whose archive.
        format: ArchiveFormat,
        /// What whoever asks has of it already: the marks of its first entries, in order.
        kept: Vec<Digest>,
    },
    /// Takes pins back.
    Unpin {
        /// As they were pinned.
        references: Vec<String>,
    },
    /// Lists all content and all pins.
    List,
    /// Takes content out.
    Remove {
        /// Digests, which stand for themselves, and references, which stand for all that their manifest names.
        what: Vec<String>,
        /// Also what is pinned.
        force: bool,
    },
    /// Hashes all content, and takes out what is damaged.
    Verify,
    /// Tells how much there is.
    Stats,
}

impl Task {
    /// A word for the log: references are somebody else's text, and may hold what was never meant for it.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Warm { .. } => "warm",
            Self::Pin { .. } => "pin",
            Self::Export { .. } => "export",
            Self::Unpin { .. } => "unpin",
            Self::List => "list",
            Self::Remove { .. } => "remove",
            Self::Verify => "verify",
            Self::Stats => "stats",
        }
    }
}

/// Whose archive it is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArchiveFormat {
    /// What `imgpkg copy --to-tar` writes.
    Imgpkg,
    /// An OCI image layout in a tar.
    Oci,
}

/// What is told while a task runs; the last is [`Event::End`], and without one it was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// How far it is. What is known grows on the way.
    Progress(Progress),
    /// A reference and all that belongs to it was pulled, apart from the problems told before.
    Warmed(Warmed),
    /// It is pinned.
    Pinned {
        /// The repository.
        repository: Repository,
        /// The tag or digest.
        reference: String,
        /// How many manifests and blobs belong to it.
        contents: u64,
    },
    /// What an archive will be; its bytes follow.
    Planned {
        /// How many files are in it.
        entries: u64,
        /// How long it is.
        bytes: u64,
        /// How many of the files are kept of what is there.
        kept: u64,
        /// The length of these, at which the first piece goes on.
        kept_bytes: u64,
    },
    /// The next bytes of an archive.
    Piece {
        /// These.
        #[serde(with = "piece")]
        bytes: Bytes,
    },
    /// An archive is whole.
    Exported(Exported),
    /// It is pinned no more.
    Unpinned {
        /// The repository.
        repository: Repository,
        /// The tag or digest.
        reference: String,
    },
    /// Content that is there.
    Content(ListedContent),
    /// A tag's record is gone.
    Forgotten {
        /// The repository.
        repository: Repository,
        /// The tag.
        tag: Tag,
    },
    /// Content was taken out.
    Removed {
        /// Which.
        digest: Digest,
        /// Its length.
        bytes: u64,
    },
    /// Content was left, because something else that is pinned has it, too.
    Spared {
        /// Which.
        digest: Digest,
    },
    /// Content was damaged, and taken out.
    Damaged {
        /// Which.
        digest: Digest,
        /// Its length.
        bytes: u64,
    },
    /// All content was hashed.
    Verified {
        /// How many were right.
        contents: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// How much there is.
    Stats(Stats),
    /// Something could not be done; the rest goes on.
    Problem {
        /// With what.
        subject: String,
        /// Why.
        problem: String,
    },
    /// The task was done.
    End {
        /// How many problems were told, damage included.
        problems: u64,
    },
}

/// How far a task is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Manifests and blobs that are done, or files of an archive.
    pub done: u64,
    /// Those known so far.
    pub known: u64,
    /// Bytes that are there.
    pub done_bytes: u64,
    /// Those known so far.
    pub known_bytes: u64,
}

/// What became of a reference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warmed {
    /// The repository.
    pub repository: Repository,
    /// The tag or digest.
    pub reference: String,
    /// The original's digest.
    pub digest: Digest,
    /// Whether the registry could not be asked, so that this is what the tag stood for before.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub stale: bool,
    /// What a pull of the tag gives instead, if it is a bundle and relocated.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub relocated: Option<Digest>,
    /// Why it is not, if it is a bundle.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// Manifests, its own included.
    pub manifests: u64,
    /// Configs and layers.
    pub blobs: u64,
    /// The bytes of both.
    pub bytes: u64,
}

/// An archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exported {
    /// What was asked for.
    pub roots: Vec<ExportedRoot>,
    /// Manifests in it, indexes included.
    pub manifests: u64,
    /// How many files are in it.
    pub entries: u64,
    /// How long it is.
    pub bytes: u64,
}

/// A reference that is in an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportedRoot {
    /// What it is called there: `HOST/REPOSITORY`.
    pub name: String,
    /// The tag or digest.
    pub reference: String,
    /// Its digest.
    pub digest: Digest,
    /// Whether the registry could not be asked, so that this is what the tag stood for before.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub stale: bool,
}

/// Content that is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedContent {
    /// Which.
    pub digest: Digest,
    /// Its length.
    pub bytes: u64,
    /// When it was last used, in seconds since 1970.
    pub used: u64,
    /// What was pinned that it belongs to: `repository:tag` or `repository@digest`.
    pub pins: Vec<String>,
    /// Whether a relocated bundle is made of it, so that it is evicted last.
    pub kept: bool,
    /// Who has it.
    pub repositories: Vec<Repository>,
}

/// How much there is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// All content.
    pub contents: Amount,
    /// Bytes of content that is still arriving.
    pub arriving_bytes: u64,
    /// Content that is pinned.
    pub pinned: Amount,
    /// Content that relocated bundles are made of.
    pub kept: Amount,
    /// What the content may take; without, as much as the disk has.
    pub bound: Option<Bound>,
    /// Records, by their kind.
    pub records: std::collections::BTreeMap<String, u64>,
    /// The room of the file system, where that can be told.
    pub disk: Option<Disk>,
}

/// So many, and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// How many.
    pub count: u64,
    /// How long they are together.
    pub bytes: u64,
}

impl Amount {
    /// One more, of so many bytes.
    pub(super) fn add(&mut self, bytes: u64) {
        self.count += 1;
        self.add_bytes(bytes);
    }

    /// So many bytes, of what is counted already.
    pub(super) fn add_bytes(&mut self, bytes: u64) {
        // What a manifest says of its parts can be any number.
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// How much the content may take, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// At most.
    pub max: u64,
    /// Above this, content is evicted.
    pub high: u64,
    /// Down to this.
    pub low: u64,
}

/// The room of a file system, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// All of it.
    pub total: u64,
    /// What may still be written.
    pub free: u64,
}
