//! What checks settings, and how the common kinds read.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::Endpoint;
use super::error::Problem;
use super::glob::Glob;
use super::values;

/// The largest certificate, key or password file.
pub(super) const MAX_FILE_BYTES: u64 = 1 << 20;

/// Goes on after a problem with whatever default stands in, so that all are found; a configuration made with
/// any problem is thrown away.
#[derive(Default)]
pub(super) struct Checker {
    problems: Vec<Problem>,
}

impl Checker {
    /// What was made, if there is nothing wrong.
    pub(super) fn done<T>(self, made: T) -> Result<T, Vec<Problem>> {
        if self.problems.is_empty() { Ok(made) } else { Err(self.problems) }
    }

    /// One setting. The default is written as in the file and read by the same function.
    pub(super) fn setting<T>(
        &mut self,
        path: &str,
        raw: Option<String>,
        default: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> T {
        let text = raw.unwrap_or_else(|| default.to_owned());
        read(&text).unwrap_or_else(|message| {
            self.problem(path, message);
            #[expect(clippy::expect_used, reason = "defaults are literals of this file, held by a test")]
            read(default).expect("a default is valid")
        })
    }

    pub(super) fn optional<T>(
        &mut self,
        path: &str,
        raw: Option<String>,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = raw?;
        read(&text).map_err(|message| self.problem(path, message)).ok()
    }

    pub(super) fn list<T>(
        &mut self,
        path: &str,
        raw: Option<Vec<String>>,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        let items = raw.unwrap_or_default().into_iter().enumerate();
        items.filter_map(|(index, item)| self.optional(&format!("{path}[{index}]"), Some(item), &read)).collect()
    }

    pub(super) fn problem(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.problems.push(Problem::new(path, message));
    }
}

pub(super) fn address(text: &str) -> Result<std::net::SocketAddr, String> {
    text.parse().map_err(|_| format!("`{text}` is not an address and port, such as 127.0.0.1:8080 or [::]:8080"))
}

pub(super) fn endpoint(text: &str) -> Result<Endpoint, String> {
    Endpoint::from_str(text).map_err(|err| format!("`{text}` {err}"))
}

pub(super) fn glob(text: &str) -> Result<Glob, String> {
    Glob::new(text).ok_or_else(|| "an empty pattern matches nothing; write ** for everything".to_owned())
}

pub(super) fn directory(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("is empty; write a directory".to_owned()) } else { Ok(PathBuf::from(text)) }
}

/// A timeout; zero would refuse everything.
pub(super) fn positive(text: &str) -> Result<Duration, String> {
    match values::duration(text)? {
        Duration::ZERO => Err("zero would leave no time at all; write more, such as 30s".to_owned()),
        duration => Ok(duration),
    }
}

pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = values::read_file(path, MAX_FILE_BYTES)?;
    let chain = CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|err| format!("{} is not PEM: {err}", path.display()))?;
    if chain.is_empty() { Err(format!("{} holds no certificate", path.display())) } else { Ok(chain) }
}

pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let text = values::read_file(path, MAX_FILE_BYTES)?;
    let key = PrivateKeyDer::from_pem_slice(text.as_bytes());
    key.map_err(|err| format!("{} has no private key: {err}", path.display()))
}
