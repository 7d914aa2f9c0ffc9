//! The names that uploads have here while they are under way.
//!
//! An upload goes on where its upstream says, which is nothing for a client to see or to choose. So the client gets a name that
//! holds it sealed, with whose it is and in which repository: nothing is kept here of uploads that may never go on, a forged
//! name opens nothing, and another repository or client has no use for one.
//!
//! Registries give an upload another place with each part, and some forget the one before. A client whose connection breaks has
//! only an older name: so where each goes on is remembered for a while, and an older name is as good as the newest.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use moka::policy::EvictionPolicy;
use serde::{Deserialize, Serialize};

use crate::oci::Repository;
use crate::proxy::seal::{Purpose, Seal};
use crate::upstream::Upload;

/// Uploads of which it is remembered where they go on, and for how long after the last part.
const MAX_REMEMBERED: u64 = 10_000;
const REMEMBERED_FOR: Duration = Duration::from_secs(3600);

/// An upload under way.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Session {
    /// What it is from its beginning to its end.
    pub(super) id: u128,
    pub(super) repository: Repository,
    /// Whose it is, where the proxy tells clients apart.
    pub(super) owner: Option<String>,
    /// Where it goes on.
    pub(super) upload: Upload,
    /// How many bytes the upstream has, if that is known.
    pub(super) held: Option<u64>,
    /// Whether the client knows of all that came of it.
    #[serde(skip)]
    pub(super) is_newest: bool,
}

/// Names uploads, and knows them by their names.
pub(in crate::proxy) struct Sessions {
    seal: Arc<Seal>,
    newest: Cache<u128, (Upload, Option<u64>)>,
}

impl Sessions {
    pub(in crate::proxy) fn new(seal: Arc<Seal>) -> Self {
        let newest = Cache::builder().max_capacity(MAX_REMEMBERED).time_to_idle(REMEMBERED_FOR);
        Self { seal, newest: newest.eviction_policy(EvictionPolicy::lru()).build() }
    }

    /// What a new upload is called in all its names.
    pub(super) fn id() -> io::Result<u128> {
        let mut bytes = [0; 16];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| io::Error::other("an upload could not be given a name"))?;
        Ok(u128::from_le_bytes(bytes))
    }

    /// The name of a session, which goes on here from now on.
    pub(super) async fn name(&self, session: &Session) -> io::Result<String> {
        self.newest.insert(session.id, (session.upload.clone(), session.held)).await;
        self.seal.close(Purpose::Upload, serde_json::to_vec(session)?).await
    }

    /// The session of a name; `None` for one that this proxy never gave, or gave for another repository or client.
    pub(super) async fn open(&self, name: &str, repository: &Repository, owner: Option<&str>) -> Option<Session> {
        let session: Session = serde_json::from_slice(&self.seal.open(Purpose::Upload, name).await?).ok()?;
        if session.repository != *repository || session.owner.as_deref() != owner {
            return None;
        }
        Some(match self.newest.get(&session.id).await {
            Some((upload, held)) => {
                Session { is_newest: upload == session.upload && held == session.held, upload, held, ..session }
            }
            None => Session { is_newest: true, ..session },
        })
    }

    /// An upload is at its end.
    pub(super) async fn forget(&self, session: &Session) {
        self.newest.invalidate(&session.id).await;
    }
}
