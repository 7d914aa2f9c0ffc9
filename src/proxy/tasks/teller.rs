//! How a task tells what it does.

use std::collections::HashMap;
use std::error::Error;
use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;

use super::event::{Amount, Event, Progress};
use crate::body::{Clock, with_causes};
use crate::cache::Reader;
use crate::oci::Digest;

/// How often progress is told: what a person sees as moving, and nothing beside what a pull costs.
const TOLD_EVERY: Duration = Duration::from_millis(200);

/// Where a task's events go.
pub(super) struct Teller {
    events: mpsc::Sender<Event>,
    problems: AtomicU64,
    tally: Mutex<Tally>,
}

/// What is known and what is done.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) known: Amount,
    pub(super) done: Amount,
    arriving: HashMap<Digest, Reader>,
}

impl Tally {
    fn progress(&self) -> Progress {
        let arrived = self.arriving.values().map(Reader::arrived).fold(0, u64::saturating_add);
        Progress {
            done: self.done.count,
            known: self.known.count,
            done_bytes: self.done.bytes.saturating_add(arrived),
            known_bytes: self.known.bytes,
        }
    }
}

impl Teller {
    pub(super) fn new(events: mpsc::Sender<Event>) -> Self {
        Self { events, problems: AtomicU64::new(0), tally: Mutex::default() }
    }

    /// Tells an event. Waits for whoever listens; if nobody does, the task is about to be dropped.
    pub(super) async fn tell(&self, event: Event) {
        if matches!(event, Event::Problem { .. } | Event::Damaged { .. }) {
            self.problems.fetch_add(1, Ordering::Relaxed);
        }
        let _ = self.events.send(event).await;
    }

    /// How many problems were told.
    pub(super) fn problems(&self) -> u64 {
        self.problems.load(Ordering::Relaxed)
    }

    /// Tells that something could not be done.
    pub(super) async fn problem(&self, subject: impl Display, problem: impl Display) {
        self.tell(Event::Problem { subject: subject.to_string(), problem: problem.to_string() }).await;
    }

    /// The same for an error, with its causes.
    pub(super) async fn failed(&self, subject: impl Display, error: &(dyn Error + Send + Sync + 'static)) {
        self.problem(subject, with_causes(error)).await;
    }

    pub(super) fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts what `reader` brings as done while it arrives, until the guard goes.
    pub(super) fn arriving(&self, reader: &Reader) -> Arriving<'_> {
        self.tally().arriving.insert(*reader.digest(), reader.bystander());
        Arriving { teller: self, digest: *reader.digest() }
    }

    /// Tells progress whenever there is some; never ends.
    pub(super) async fn tell_progress(&self, clock: &dyn Clock) {
        let mut told = Progress::default();
        loop {
            clock.sleep(TOLD_EVERY).await;
            self.tell_if_new(&mut told).await;
        }
    }

    async fn tell_if_new(&self, told: &mut Progress) {
        let progress = self.tally().progress();
        if progress != *told {
            *told = progress;
            self.tell(Event::Progress(progress)).await;
        }
    }

    /// Tells how it all ended.
    pub(super) async fn end(&self) {
        self.tell_if_new(&mut Progress::default()).await;
        self.tell(Event::End { problems: self.problems() }).await;
    }
}

/// See [`Teller::arriving`].
pub(super) struct Arriving<'a> {
    teller: &'a Teller,
    digest: Digest,
}

impl Drop for Arriving<'_> {
    fn drop(&mut self) {
        // Taken out first: a reader that goes may run code that locks.
        let reader = self.teller.tally().arriving.remove(&self.digest);
        drop(reader);
    }
}
