//! The files that a private registry and whoever trusts it need.

use std::path::{Path, PathBuf};

use crate::support::certificates::Authority;

/// Files in PEM.
pub(super) struct Certificates {
    pub(super) authority: PathBuf,
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

/// Makes an authority and a certificate for `localhost`.
pub(super) fn make(directory: &Path) -> Certificates {
    let authority = Authority::new(directory);
    let server = authority.server(&[]);
    Certificates { authority: authority.file().to_owned(), certificate: server.certificate, key: server.key }
}
