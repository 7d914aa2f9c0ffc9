//! What the operator's side tells about: the configuration that runs now, and the one that could not.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::cache::Cache;
use crate::oci::RegistryName;
use crate::proxy::{Proxy, ReadReference};

/// The configuration that runs, as far as operators ask about it.
#[derive(Clone)]
pub struct Site {
    /// What answers clients.
    pub proxy: Proxy,
    /// How references are read that name clients' hosts.
    pub read: ReadReference,
    /// The registries behind, and where they are.
    pub upstreams: Vec<(RegistryName, String)>,
    /// What is written into locks.
    pub endpoint: Option<String>,
    /// Where clients connect.
    pub listen: Vec<String>,
    /// Host names by which the status page may be opened.
    pub names: Vec<String>,
    /// The configuration's file, if it is from one.
    pub file: Option<String>,
    /// When it was taken.
    pub loaded: SystemTime,
}

/// A configuration that was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// When.
    pub at: SystemTime,
    /// What is wrong with it.
    pub problems: String,
}

/// Where it is written down; clones share it.
#[derive(Clone)]
pub struct Board(Arc<Mutex<Notes>>);

#[derive(Clone)]
pub(super) struct Notes {
    pub(super) site: Site,
    pub(super) refused: Option<Refused>,
    pub(super) cache: Cache,
}

impl Board {
    /// A board that tells about `site`, which keeps things in `cache`.
    pub fn new(site: Site, cache: Cache) -> Self {
        Self(Arc::new(Mutex::new(Notes { site, refused: None, cache })))
    }

    /// Another configuration runs.
    pub fn put(&self, site: Site) {
        let mut notes = self.lock();
        notes.site = site;
        notes.refused = None;
    }

    /// Another one could not, or, with `None`, is no longer there.
    pub fn refuse(&self, refused: Option<Refused>) {
        self.lock().refused = refused;
    }

    pub(super) fn read(&self) -> Notes {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Notes> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
