//! What an operator has done with a cache, beside serving from it: filling it before anybody asks, keeping things in
//! it, looking into it, taking things out.
//!
//! A [`Task`] goes in, a stream of [`Event`]s comes out, both plain values: the command line runs tasks itself where
//! it has the cache directory for itself, and else has the process do it that serves from there (`admin::control`).
//! `warm` pulls a reference and, for a bundle, every image its lock names, by the same paths as clients do, so that
//! what a client finds afterwards is what it would have made itself; `pull` is the work on one manifest or blob.
//! `export` goes the same ways (`walk`), notes what it finds (`findings`), and tells an archive of it piece by piece.
//! `remove` and `inventory` only look at the cache. `teller` carries the events.
//!
//! What cannot be done is told as a problem and the rest goes on. A task is dropped when nobody listens any more;
//! downloads it began go on by the cache's own rules.

mod event;
mod export;
mod findings;
mod inventory;
mod piece;
mod pull;
mod remove;
mod teller;
mod walk;
mod warm;

use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::mpsc;

pub use event::{
    Amount, ArchiveFormat, Bound, Disk, Event, Exported, ExportedRoot, ListedContent, Progress, Stats, Task, Warmed,
};
pub use export::EntryMark;
use teller::Teller;

use super::Proxy;
use super::view::View;
use crate::cache::Cache;
use crate::oci::{Platform, Reference, Repository};

/// How many events wait for whoever listens.
const QUEUED_EVENTS: usize = 64;

/// What a reference is about.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// How the clients it is meant for see its repository.
    pub view: View,
    /// The tag or digest.
    pub reference: Reference,
}

impl Wanted {
    /// `repository:tag` or `repository@digest`.
    fn name(&self) -> String {
        full_name(&self.view.repository, &self.reference.to_string())
    }
}

/// Reads `[HOST/]REPOSITORY[:TAG|@DIGEST]`, or says why it is none. Which hosts there are is not known here.
pub type ReadReference = Arc<dyn Fn(&str) -> Result<Wanted, String> + Send + Sync>;

/// Runs tasks on a cache; clones share it.
#[derive(Clone)]
pub struct Tasks(Arc<Inner>);

struct Inner {
    cache: Cache,
    means: RwLock<Means>,
}

/// What tasks work with. A task keeps what it began with.
#[derive(Clone)]
struct Means {
    cache: Cache,
    /// What can pull; without, only what is there can be dealt with.
    proxy: Option<Proxy>,
    read: ReadReference,
}

/// What a task tells. It is stopped when this is dropped.
pub struct Events(mpsc::Receiver<Event>);

impl Events {
    /// The next event; `None` after the last.
    pub async fn next(&mut self) -> Option<Event> {
        self.0.recv().await
    }
}

impl Tasks {
    /// Tasks on `cache`, which is the one that `proxy` keeps things in. Tasks that pull need a proxy.
    pub fn new(cache: Cache, proxy: Option<Proxy>, read: ReadReference) -> Self {
        let means = RwLock::new(Means { cache: cache.clone(), proxy, read });
        Self(Arc::new(Inner { cache, means }))
    }

    /// Tasks that are started from now on pull with this proxy, over the same cache.
    pub fn switch(&self, proxy: Proxy, read: ReadReference) {
        let mut means = self.0.means.write().unwrap_or_else(PoisonError::into_inner);
        means.proxy = Some(proxy);
        means.read = read;
    }

    /// Starts `task`.
    pub fn run(&self, task: Task) -> Events {
        let (events, told) = mpsc::channel(QUEUED_EVENTS);
        let (inner, teller) = (Arc::clone(&self.0), Arc::new(Teller::new(events.clone())));
        let means = inner.means.read().unwrap_or_else(PoisonError::into_inner).clone();
        tokio::spawn(async move {
            let work = async {
                tokio::select! {
                    () = means.run(task, &teller) => {}
                    () = teller.tell_progress(&**inner.cache.clock()) => {}
                }
                // Some of it was written behind the answers, and the process may end with the task.
                inner.cache.settled().await;
                teller.end().await;
            };
            tokio::select! {
                () = work => {}
                () = events.closed() => {}
            }
        });
        Events(told)
    }
}

impl Means {
    async fn run(&self, task: Task, teller: &Arc<Teller>) {
        // A process that has just started may not know yet.
        if let Err(error) = self.cache.take_stock().await {
            return teller.failed("the cache", &error).await;
        }
        match task {
            Task::Warm { references, platforms } => self.warm(&references, platforms.into(), false, teller).await,
            Task::Pin { references, platforms } => self.warm(&references, platforms.into(), true, teller).await,
            Task::Export { references, platforms, format, kept } => {
                self.export(&references, export::Wish { platforms, format, kept }, teller).await;
            }
            Task::Unpin { references } => self.unpin(&references, teller).await,
            Task::List => self.list(teller).await,
            Task::Remove { what, force } => self.remove(&what, force, teller).await,
            Task::Verify => self.verify(teller).await,
            Task::Stats => self.stats(teller).await,
        }
    }

    async fn warm(&self, references: &[String], platforms: Arc<[Platform]>, pin: bool, teller: &Arc<Teller>) {
        let Some(proxy) = &self.proxy else {
            teller.problem("warm", "there is no registry to pull from").await;
            return;
        };
        for text in references {
            let Some(wanted) = self.wanted(text, teller).await else { continue };
            warm::warm(proxy, &wanted, &platforms, pin, teller).await;
        }
    }

    async fn export(&self, references: &[String], wish: export::Wish, teller: &Arc<Teller>) {
        let Some(proxy) = &self.proxy else {
            teller.problem("export", "there is no registry to pull from").await;
            return;
        };
        let mut all = Vec::new();
        for text in references {
            all.extend(self.wanted(text, teller).await);
        }
        if teller.problems() == 0 {
            export::export(proxy, &all, &wish, teller).await;
        }
    }

    async fn unpin(&self, references: &[String], teller: &Teller) {
        for text in references {
            let Some(wanted) = self.wanted(text, teller).await else { continue };
            let (repository, reference) = (wanted.view.repository, wanted.reference.to_string());
            match self.cache.unpin(&repository, &reference).await {
                Ok(true) => teller.tell(Event::Unpinned { repository, reference }).await,
                Ok(false) => teller.problem(text, "is not pinned").await,
                Err(error) => teller.failed(text, &error).await,
            }
        }
    }

    /// Reads a reference; tells if it is none.
    async fn wanted(&self, text: &str, teller: &Teller) -> Option<Wanted> {
        match (self.read)(text) {
            Ok(wanted) => Some(wanted),
            Err(problem) => {
                teller.problem(text, problem).await;
                None
            }
        }
    }
}

/// `repository:tag` or `repository@digest`.
fn full_name(repository: &Repository, reference: &str) -> String {
    // A tag has no colon, and a digest always does.
    let separator = if reference.contains(':') { '@' } else { ':' };
    format!("{repository}{separator}{reference}")
}
