//! A client as the upstream sees it.

use std::fmt;

use crate::upstream::ClientCredential;

/// A client whose right to read the upstream judges.
#[derive(Clone)]
pub struct Reader {
    /// What tells its credential from all others; nothing that the credential could be found from.
    pub id: [u8; 32],
    /// What it shows to the upstream.
    pub credential: ClientCredential,
}

/// What tells readers apart: the credential, and whether it is passed on as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ReaderKey {
    id: [u8; 32],
    passed_on: bool,
}

impl fmt::Display for ReaderKey {
    /// A few bytes, to tell one from another.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = if self.passed_on { "as it is" } else { "exchanged" };
        self.id.iter().take(8).try_for_each(|byte| write!(f, "{byte:02x}"))?;
        write!(f, ", {way}")
    }
}

impl Reader {
    /// A client without any credential.
    pub(super) fn nobody() -> Self {
        Self { id: [0; 32], credential: ClientCredential::Exchanged(None) }
    }

    pub(super) fn key(&self) -> ReaderKey {
        ReaderKey { id: self.id, passed_on: matches!(self.credential, ClientCredential::PassedOn(_)) }
    }
}

impl PartialEq for Reader {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Reader {}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.credential.fmt(f)
    }
}
