//! Why a lock, or a locations list, is not taken.

/// Why a document is refused. Lines count from 1; `None` where the reader does not say.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    /// More than [`MAX_LOCK_BYTES`](super::MAX_LOCK_BYTES).
    #[error("the file has {bytes} bytes, more than the {limit} this program reads")]
    TooLarge {
        /// How many it has.
        bytes: usize,
        /// How many are read.
        limit: usize,
    },
    /// So many entries or such nesting that reading them would cost too much; aliases count as what they stand for.
    #[error("the file has more entries, or deeper nesting, than this program reads")]
    TooComplex,
    /// Neither UTF-8 nor UTF-16.
    #[error("the file is not valid UTF-8 or UTF-16 text")]
    NotText,
    /// The YAML does not parse.
    #[error("the file is not valid YAML: {0}")]
    NotYaml(String),
    /// A key stands twice in one map.
    #[error("key {key:?} is repeated{}", at(*.line))]
    DuplicateKey {
        /// The key.
        key: String,
        /// Where the second one stands.
        line: Option<usize>,
    },
    /// A key that this kind of document does not have.
    #[error("unknown field {key:?}{}", at(*.line))]
    UnknownField {
        /// The key.
        key: String,
        /// Where it stands.
        line: Option<usize>,
    },
    /// A value of another type than its field has.
    #[error("{field} must be {expected}{}", at(*.line))]
    WrongType {
        /// The field.
        field: &'static str,
        /// What it should hold.
        expected: &'static str,
        /// Where its key stands.
        line: Option<usize>,
    },
    /// A map key that no JSON object can have: null, a list, a map.
    #[error("a map key must be a string, number or boolean{}", at(*.line))]
    BadKey {
        /// Where the map's first key stands.
        line: Option<usize>,
    },
    /// `apiVersion` is not the one that imgpkg knows.
    #[error("apiVersion is {found:?}; imgpkg knows \"imgpkg.carvel.dev/v1alpha1\"")]
    UnknownVersion {
        /// What it is.
        found: String,
    },
    /// `kind` is not the one for this file.
    #[error("kind is {found:?}, not {expected:?}")]
    UnknownKind {
        /// What it is.
        found: String,
        /// What it should be.
        expected: &'static str,
    },
    /// An image without a digest, or not a reference at all.
    #[error("image {reference:?} is not in digest form (registry/repository@sha256:…)")]
    NotInDigestForm {
        /// The reference as written.
        reference: String,
    },
    /// A string that imgpkg reads but fails to write: its own output does not parse.
    #[error("imgpkg cannot write the annotation {key:?}: {reason}")]
    Unwritable {
        /// The annotation's key.
        key: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// What imgpkg makes of this depends on its version or on chance, or is not known for sure.
    #[error("what imgpkg makes of this is not certain: {construct}{}", at(*.line))]
    Unsure {
        /// What is in the way.
        construct: &'static str,
        /// Where it stands.
        line: Option<usize>,
    },
}

fn at(line: Option<usize>) -> String {
    line.map(|line| format!(" (line {line})")).unwrap_or_default()
}
