//! A small file that is read again when it changes.

use std::fs::{self, File, Metadata};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout};

use super::error::CredentialError;

/// How often is looked at most.
const EVERY: Duration = Duration::from_secs(1);
/// How long a look may take, on a file system that does not answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a file's bytes mean, or what is wrong with them.
type Meaning<T> = Box<dyn Fn(&[u8]) -> Result<T, String> + Send + Sync>;

/// A file, and what its bytes mean.
pub(super) struct WatchedFile<T> {
    path: PathBuf,
    cap: u64,
    meaning: Meaning<T>,
    known: Mutex<Option<Known<T>>>,
}

struct Known<T> {
    looked: Instant,
    // None when it could not be read, so that the next look reads it again.
    stamp: Option<Stamp>,
    outcome: Result<Arc<T>, CredentialError>,
}

/// What changes with a file's content: also a file put in the place of another, of the same time and length.
#[derive(Clone, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

impl<T> WatchedFile<T> {
    pub(super) fn new(
        path: PathBuf,
        cap: u64,
        meaning: impl Fn(&[u8]) -> Result<T, String> + Send + Sync + 'static,
    ) -> Self {
        Self { path, cap, meaning: Box::new(meaning), known: Mutex::new(None) }
    }

    /// What it says, as of at most a second ago.
    ///
    /// # Errors
    /// When it cannot be read, or means nothing.
    pub(super) async fn current(&self) -> Result<Arc<T>, CredentialError> {
        self.look(EVERY).await
    }

    /// What it says now.
    ///
    /// # Errors
    /// As [`current`](Self::current).
    pub(super) async fn again(&self) -> Result<Arc<T>, CredentialError> {
        self.look(Duration::ZERO).await
    }

    async fn look(&self, every: Duration) -> Result<Arc<T>, CredentialError> {
        let asked = Instant::now();
        let mut known = self.known.lock().await;
        // What someone else found while this one waited is news, too.
        if let Some(known) = known.as_ref().filter(|known| known.looked > asked || known.looked.elapsed() < every) {
            return known.outcome.clone();
        }
        let (path, cap) = (self.path.clone(), self.cap);
        let last = known.as_ref().and_then(|known| known.stamp.clone());
        let read = spawn_blocking(move || read(&path, cap, last.as_ref()));
        let read = match timeout(PATIENCE, read).await {
            Ok(Ok(read)) => read,
            Ok(Err(_)) => Err("could not be read: the program is stopping".to_owned()),
            Err(_) => Err(format!("could not be read within {PATIENCE:?}")),
        };
        let (stamp, outcome) = match read {
            Ok(None) => match known.take() {
                Some(known) => (known.stamp, known.outcome),
                None => (None, Err(self.error("changed while it was read".to_owned()))),
            },
            Ok(Some((stamp, bytes))) => match (self.meaning)(&bytes) {
                Ok(meaning) => (Some(stamp), Ok(Arc::new(meaning))),
                Err(what) => (None, Err(self.error(what))),
            },
            Err(what) => (None, Err(self.error(what))),
        };
        *known = Some(Known { looked: Instant::now(), stamp, outcome: outcome.clone() });
        outcome
    }

    /// An error about this file.
    pub(super) fn error(&self, what: String) -> CredentialError {
        CredentialError::File { path: self.path.clone(), what }
    }
}

/// The file's bytes, unless it is as it was at `last`.
fn read(path: &Path, cap: u64, last: Option<&Stamp>) -> Result<Option<(Stamp, Vec<u8>)>, String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    // Before it is opened: opening a pipe waits for someone to write.
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err("is no regular file".to_owned());
    }
    if last == Some(&Stamp::of(&metadata)) {
        return Ok(None);
    }
    let file = File::open(path).map_err(unreadable)?;
    // Of what was opened, which may be newer than what was looked at.
    let stamp = Stamp::of(&file.metadata().map_err(unreadable)?);
    let mut bytes = Vec::new();
    file.take(cap + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > cap {
        return Err(format!("has more than the {cap} bytes that are read"));
    }
    Ok(Some((stamp, bytes)))
}
