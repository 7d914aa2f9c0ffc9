//! Bounds on work that keeps a processor busy: how much at one time, and how much waits.

use std::sync::Arc;
#[cfg(test)]
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Jobs at one time: a proxy that checks passwords must go on serving.
pub(super) const AT_ONCE: usize = 2;
/// Jobs that wait for their turn.
pub(super) const WAITING: usize = 64;
/// How long one waits; most clients give up on an answer soon after.
const PATIENCE: Duration = Duration::from_secs(15);

/// There is no room for another job, or none was made in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Busy;

/// Runs jobs on tokio's blocking threads, a few at a time.
pub(super) struct Workers {
    places: Arc<Semaphore>,
    turns: Arc<Semaphore>,
    #[cfg(test)]
    begun: AtomicU64,
}

impl Workers {
    pub(super) fn new() -> Self {
        Self {
            places: Arc::new(Semaphore::new(AT_ONCE + WAITING)),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            #[cfg(test)]
            begun: AtomicU64::new(0),
        }
    }

    /// Jobs that were begun so far.
    #[cfg(test)]
    pub(super) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    /// Runs `job` when it is its turn. Who drops this while it waits leaves the queue; a job that runs cannot be
    /// stopped, and counts until its end.
    pub(super) async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Result<T, Busy> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| Busy)?;
        let turn = timeout(PATIENCE, Arc::clone(&self.turns).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return Err(Busy) };
        #[cfg(test)]
        self.begun.fetch_add(1, Ordering::Relaxed);
        let done = tokio::task::spawn_blocking(move || {
            let done = job();
            drop((turn, place));
            done
        });
        done.await.map_err(|err| {
            tracing::error!(%err, "a password could not be checked");
            Busy
        })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Jobs that end when told to, one for each message.
    fn gate() -> (mpsc::Sender<()>, impl Fn() -> Box<dyn FnOnce() + Send>) {
        let (open, opened) = mpsc::channel();
        let opened = Arc::new(std::sync::Mutex::new(opened));
        let job = move || -> Box<dyn FnOnce() + Send> {
            let opened = Arc::clone(&opened);
            Box::new(move || opened.lock().unwrap().recv().unwrap())
        };
        (open, job)
    }

    /// Until everything that can go on has done so.
    async fn settle() {
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn so_many_run_so_many_wait_and_the_rest_is_turned_away() {
        let workers = Arc::new(Workers::new());
        let (open, job) = gate();
        let mut running = Vec::new();
        for _ in 0..AT_ONCE + WAITING {
            let (workers, job) = (Arc::clone(&workers), job());
            running.push(tokio::spawn(async move { workers.run(job).await }));
        }
        settle().await;
        assert_eq!(workers.begun(), AT_ONCE as u64);
        assert_eq!(workers.run(job()).await, Err(Busy));
        // One that leaves makes room for another.
        let last = running.pop().unwrap();
        last.abort();
        assert!(last.await.unwrap_err().is_cancelled());
        let (another, own) = (Arc::clone(&workers), job());
        running.push(tokio::spawn(async move { another.run(own).await }));
        settle().await;
        assert_eq!(workers.run(job()).await, Err(Busy));
        for _ in 0..AT_ONCE + WAITING {
            open.send(()).unwrap();
        }
        for job in running {
            assert_eq!(job.await.unwrap(), Ok(()));
        }
        assert_eq!(workers.begun(), (AT_ONCE + WAITING) as u64);
        assert_eq!(workers.run(|| 7).await, Ok(7));
    }

    #[tokio::test]
    async fn a_job_counts_until_its_end_even_if_nobody_waits() {
        let workers = Arc::new(Workers::new());
        let (open, job) = gate();
        for _ in 0..AT_ONCE {
            let (workers, job) = (Arc::clone(&workers), job());
            let left = tokio::spawn(async move { workers.run(job).await });
            settle().await;
            left.abort();
            assert!(left.await.unwrap_err().is_cancelled());
        }
        assert_eq!(workers.begun(), AT_ONCE as u64);
        let (waiting, own) = (Arc::clone(&workers), job());
        let waiting = tokio::spawn(async move { waiting.run(own).await });
        settle().await;
        assert_eq!(workers.begun(), AT_ONCE as u64);
        for _ in 0..=AT_ONCE {
            open.send(()).unwrap();
        }
        assert_eq!(waiting.await.unwrap(), Ok(()));
    }

    #[tokio::test]
    async fn a_job_that_panics_gives_its_turn_back() {
        let workers = Workers::new();
        for _ in 0..=AT_ONCE {
            assert_eq!(workers.run(|| panic!("as a test wants it")).await, Err::<(), _>(Busy));
        }
        assert_eq!(workers.run(|| 7).await, Ok(7));
    }
}
