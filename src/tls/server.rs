//! TLS towards clients, with files that change while it is spoken.
//!
//! The files are looked at every few seconds, by their bytes: times are coarse on some file systems and wrong on
//! others, a mounted secret changes by a symbolic link some directories up, and all of them together are a few
//! KiB. A change is taken in whole or not at all, since whoever renews a certificate writes one file after the
//! other. Connections keep what they began with.

use std::collections::HashSet;
use std::error::Error;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;

use super::files::{Checked, Fingerprint, Material, ServerTlsError, TlsFiles};
use super::names::Summary;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long before its end a certificate is worth a warning: whatever renews it should have done so by then.
const EXPIRES_SOON: Duration = Duration::from_secs(7 * 24 * 3600);

/// What clients are served with: TLS 1.2 and 1.3, HTTP/2 before HTTP/1.1. Clones share it.
#[derive(Clone)]
pub struct ServerTls(Arc<Inner>);

struct Inner {
    files: TlsFiles,
    current: RwLock<Serving>,
    look: Mutex<Look>,
}

/// What connections begin with. Apart from the look, which may take as long as a disk does.
#[derive(Clone)]
struct Serving {
    config: Arc<ServerConfig>,
    not_after: Option<SystemTime>,
}

/// What was seen so far.
#[derive(Default)]
struct Look {
    serving: Fingerprint,
    /// Bytes that were no good, which will be no better at the next look.
    refused: Option<Fingerprint>,
    /// What was complained of since the files were last in order: the texts of errors, of which there are few.
    told: HashSet<String>,
    not_after: Option<SystemTime>,
    expiry_told: Expiry,
}

/// How a certificate stands in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Expiry {
    #[default]
    Far,
    Soon,
    Past,
}

/// What came of looking at the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// They are what is served with.
    Unchanged,
    /// They have changed, and new connections are served with them.
    Reloaded,
    /// They have changed and cannot be used, or not yet: it stays with what was there.
    Kept,
}

impl ServerTls {
    /// Loads the files.
    ///
    /// # Errors
    /// When they cannot be served with.
    pub fn load(files: TlsFiles) -> Result<Self, ServerTlsError> {
        let material = Material::read(&files)?;
        let checked = material.check(&files)?;
        let path = files.certificate.clone();
        let tls = Self::new(files, material.fingerprint(), checked);
        tls.look().tell_expiry(SystemTime::now(), &path);
        Ok(tls)
    }

    fn new(files: TlsFiles, serving: Fingerprint, checked: Checked) -> Self {
        let mut look = Look { serving, ..Look::default() };
        look.certificate(checked.certificate.as_ref());
        let current = Serving { config: checked.config, not_after: look.not_after };
        Self(Arc::new(Inner { files, current: RwLock::new(current), look: Mutex::new(look) }))
    }

    /// Whether both are the same, clones of each other.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// What the next connection is served with.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.serving().config
    }

    /// When the certificate that is served with ends, as far as that can be read.
    pub fn expires(&self) -> Option<SystemTime> {
        self.serving().not_after
    }

    /// Looks at the files now, and takes them if they have changed and go together. Blocks while it reads them.
    pub fn reload(&self) -> Reload {
        let files = &self.0.files;
        let mut look = self.look();
        let result = look.at(files, &self.0.current);
        look.tell_expiry(SystemTime::now(), &files.certificate);
        result
    }

    /// Looks at the files every few seconds, for ever.
    pub async fn keep_fresh(self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let tls = self.clone();
            // A disk that hangs takes a thread of its own with it, and no connection.
            let _ = tokio::task::spawn_blocking(move || tls.reload()).await;
        }
    }

    fn serving(&self) -> Serving {
        self.0.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Nothing in here panics while it holds a lock.
    fn look(&self) -> MutexGuard<'_, Look> {
        self.0.look.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Only which files: what is behind the configuration has the key in it.
impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ServerTls").field(&self.0.files).finish()
    }
}

impl Look {
    fn at(&mut self, files: &TlsFiles, current: &RwLock<Serving>) -> Reload {
        let material = match Material::read(files) {
            Ok(material) => material,
            Err(error) => return self.keep(None, &error),
        };
        let seen = material.fingerprint();
        if seen == self.serving {
            self.settled(seen);
            return Reload::Unchanged;
        }
        if self.refused == Some(seen) {
            return Reload::Kept;
        }
        match material.check(files) {
            Err(error) => self.keep(Some(seen), &error),
            Ok(Checked { config, certificate }) => {
                self.settled(seen);
                self.certificate(certificate.as_ref());
                let serving = Serving { config, not_after: self.not_after };
                *current.write().unwrap_or_else(PoisonError::into_inner) = serving;
                let names = certificate.as_ref().map(|certificate| certificate.names.label());
                let expires = self.not_after.map(timestamp);
                tracing::info!(certificate = names, expires, "new connections are served with the changed TLS files");
                Reload::Reloaded
            }
        }
    }

    fn settled(&mut self, serving: Fingerprint) {
        self.serving = serving;
        self.refused = None;
        self.told.clear();
    }

    fn keep(&mut self, refused: Option<Fingerprint>, error: &ServerTlsError) -> Reload {
        self.refused = refused;
        if self.told.insert(error.to_string()) {
            let error = error as &(dyn Error + 'static);
            tracing::warn!(error, "the TLS files cannot be used; clients are served with those read before");
        }
        Reload::Kept
    }

    fn certificate(&mut self, certificate: Option<&Summary>) {
        self.not_after = certificate.map(|certificate| certificate.not_after);
        self.expiry_told = Expiry::Far;
    }

    /// A certificate that nobody renews is told of at seven days, and again when it is over.
    fn tell_expiry(&mut self, now: SystemTime, path: &Path) {
        let Some(not_after) = self.not_after else { return };
        let expiry = expiry(not_after, now);
        if expiry <= self.expiry_told {
            return;
        }
        self.expiry_told = expiry;
        let (path, expires) = (path.display(), timestamp(not_after));
        match expiry {
            Expiry::Far => {}
            Expiry::Soon => tracing::warn!(%path, expires, "the certificate for clients expires within 7 days"),
            Expiry::Past => tracing::warn!(%path, expires, "the certificate for clients has expired"),
        }
    }
}

fn expiry(not_after: SystemTime, now: SystemTime) -> Expiry {
    match not_after.duration_since(now) {
        Err(_) => Expiry::Past,
        Ok(left) if left <= EXPIRES_SOON => Expiry::Soon,
        Ok(_) => Expiry::Far,
    }
}

fn timestamp(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_week_before_its_end_and_at_its_end() {
        let now = SystemTime::now();
        let second = Duration::from_secs(1);
        for (not_after, expected) in [
            (now + EXPIRES_SOON + second, Expiry::Far),
            (now + EXPIRES_SOON, Expiry::Soon),
            (now, Expiry::Soon),
            (now - second, Expiry::Past),
        ] {
            assert_eq!(expiry(not_after, now), expected);
        }
    }
}
