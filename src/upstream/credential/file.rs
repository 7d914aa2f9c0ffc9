//! A small file that is read again when it changes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout};

use super::error::CredentialError;
use crate::config::{FileError, SmallFile, Stamp};

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
    /// Held by the thread that reads.
    reading: Arc<Mutex<()>>,
}

struct Known<T> {
    looked: Instant,
    /// `None` when it could not be read, or may still change without showing it: the next look reads it again.
    stamp: Option<Stamp>,
    /// Whether it took too long to be read.
    given_up: bool,
    outcome: Result<Arc<T>, CredentialError>,
}

impl<T> WatchedFile<T> {
    pub(super) fn new(
        path: PathBuf,
        cap: u64,
        meaning: impl Fn(&[u8]) -> Result<T, String> + Send + Sync + 'static,
    ) -> Self {
        Self { path, cap, meaning: Box::new(meaning), known: Mutex::new(None), reading: Arc::default() }
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
        // The read that was given up then goes on still.
        if let Some(known) = known.as_ref().filter(|known| known.given_up && self.reading.try_lock().is_err()) {
            return known.outcome.clone();
        }
        let read = timeout(PATIENCE, self.read(known.as_ref().and_then(|known| known.stamp))).await;
        let given_up = read.is_err();
        let (stamp, outcome) = match read {
            Ok(Ok(None)) => match known.take() {
                Some(known) => (known.stamp, known.outcome),
                None => (None, Err(self.error("changed while it was read".to_owned()))),
            },
            Ok(Ok(Some(file))) => match (self.meaning)(&file.bytes) {
                Ok(meaning) => (file.stamp, Ok(Arc::new(meaning))),
                Err(what) => (None, Err(self.error(what))),
            },
            Ok(Err(what)) => (None, Err(self.error(what))),
            Err(_) => (None, Err(self.error(format!("could not be read within {PATIENCE:?}")))),
        };
        *known = Some(Known { looked: Instant::now(), stamp, given_up, outcome: outcome.clone() });
        outcome
    }

    /// Reads the file unless it is as it was at `last`. One at a time, which the turn is for: it is kept even if nobody
    /// waits any more, so that a disk that hangs holds one thread and not one for each look.
    async fn read(&self, last: Option<Stamp>) -> Result<Option<SmallFile>, String> {
        let turn = Arc::clone(&self.reading).lock_owned().await;
        let (path, cap) = (self.path.clone(), self.cap);
        let read = spawn_blocking(move || {
            let read = SmallFile::read_changed(&path, cap, last);
            drop(turn);
            read
        });
        let read = read.await.map_err(|_| "could not be read: the program is stopping".to_owned())?;
        read.map_err(|error| match error {
            FileError::Read { source, .. } => format!("cannot be read: {source}"),
            FileError::Irregular(_) => "is no regular file".to_owned(),
            FileError::TooLarge { cap, .. } => format!("has more than the {cap} bytes that are read"),
        })
    }

    /// An error about this file.
    pub(super) fn error(&self, what: String) -> CredentialError {
        CredentialError::File { path: self.path.clone(), what }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_disk_that_hangs_is_waited_for_once_and_holds_one_thread() {
        let mut content = tempfile::NamedTempFile::new().expect("a file");
        let file = WatchedFile::new(content.path().to_owned(), 16, |bytes| Ok(bytes.to_vec()));
        // As a read that does not end.
        let hanging = Arc::clone(&file.reading).lock_owned().await;
        for patience in [PATIENCE, Duration::ZERO] {
            let begun = Instant::now();
            let error = file.again().await.expect_err("nothing was read").to_string();
            assert!(error.contains("could not be read within"), "{error}");
            assert_eq!(begun.elapsed().as_secs(), patience.as_secs());
        }
        content.write_all(b"new").expect("written");
        drop(hanging);
        assert_eq!(*file.again().await.expect("read"), b"new");
        // Too young for its times to be believed.
        content.write_all(b"er").expect("written");
        assert_eq!(*file.again().await.expect("read"), b"newer");
    }

    #[tokio::test]
    async fn a_client_that_leaves_holds_up_nobody() {
        let content = tempfile::NamedTempFile::new().expect("a file");
        let file = WatchedFile::new(content.path().to_owned(), 16, |bytes| Ok(bytes.len()));
        {
            let mut leaving = std::pin::pin!(file.again());
            std::future::poll_fn(|context| {
                assert!(leaving.as_mut().poll(context).is_pending());
                std::task::Poll::Ready(())
            })
            .await;
        }
        assert_eq!(*file.again().await.expect("read"), 0);
    }
}
