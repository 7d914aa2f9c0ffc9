//! Clients whose right to read is for the upstream to judge: what they are to it, and what it said.
//!
//! The proxy asks for such a client with that client's own credential, never with one of its own. What needs no asking,
//! because it is in the cache or was made here, is given only after the upstream has said that this client may read the
//! repository: it let that same credential see what was asked for, or, for what was made here, the original that was
//! made of. That word holds for a while, for this credential and this repository. What it denies is denied for less.
//!
//! Left out: what a credential looks like in a request, which is the server's.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use moka::future::Cache;

use super::contents::Contents;
use super::error::{ProxyError, Subject};
use super::reader::{Reader, ReaderKey};
use crate::body::Clock;
use crate::oci::{Digest, Reference, RegistryName, Repository};
use crate::upstream::{ListPage, Upstream, UpstreamError};

/// How long "no" is believed: a right that was just given should show, and a client that asks again and again should
/// not cost a question each time.
const DENIED_FOR: Duration = Duration::from_secs(5);
/// Clients that an upstream is spoken to as, with their tokens, and what each was asked to wait for. Anybody can say that
/// they are somebody, and each takes some 50 KiB without any token.
const MAX_FACES: u64 = 1_000;
/// For how long a client's tokens are kept that asks for nothing.
const FACE_IDLE: Duration = Duration::from_secs(600);
/// Clients and repositories of which it is known whether one may read the other.
const MAX_VERDICTS: u64 = 20_000;

/// What is asked for, to find out whether a client may read it.
#[derive(Clone, Debug)]
pub(super) enum Probe {
    Manifest(Reference),
    Blob(Digest),
    /// The original of what was made here. Where it is not there for this client, it is the thing that was asked for
    /// of which that is said, in the same words as of one that nobody has made.
    Original {
        digest: Digest,
        asked: Subject,
    },
}

/// What the upstream lets clients read. See the [module](self).
pub(super) struct Readers {
    clock: Arc<dyn Clock>,
    allowed_for: Duration,
    faces: Cache<(ReaderKey, RegistryName), Option<Arc<dyn Upstream>>>,
    verdicts: Cache<(ReaderKey, Repository), Verdict>,
}

#[derive(Clone)]
struct Verdict {
    said: Result<(), ProxyError>,
    since: SystemTime,
    holds: Duration,
}

impl Verdict {
    fn holds(&self, now: SystemTime) -> bool {
        // A clock that was set back ends it.
        now.duration_since(self.since).is_ok_and(|age| age < self.holds)
    }
}

impl Readers {
    /// A right to read is believed for `allowed_for`.
    pub(super) fn new(clock: Arc<dyn Clock>, allowed_for: Duration) -> Self {
        let verdicts = Cache::builder().max_capacity(MAX_VERDICTS).time_to_live(allowed_for.max(DENIED_FOR)).build();
        let faces = Cache::builder().max_capacity(MAX_FACES).time_to_idle(FACE_IDLE).build();
        Self { clock, allowed_for, faces, verdicts }
    }

    /// The upstream as `reader` asks it; `None` for one that cannot tell clients apart.
    pub(super) async fn face(
        &self,
        reader: &Reader,
        registry: &RegistryName,
        upstream: &Arc<dyn Upstream>,
    ) -> Option<Arc<dyn Upstream>> {
        let made = async { upstream.for_client(&reader.credential) };
        self.faces.get_with((reader.key(), registry.clone()), made).await
    }

    /// Forgets what is known of a client and a repository: it has just pushed there, and perhaps made it.
    pub(super) async fn forget(&self, reader: &Reader, repository: &Repository) {
        self.verdicts.invalidate(&(reader.key(), repository.clone())).await;
    }

    /// Whether the upstream lets `reader` read the contents' repository; asked by `probe`, unless it is known.
    ///
    /// # Errors
    /// What the upstream says to this client, or why it cannot be asked.
    pub(super) async fn admit(
        &self,
        contents: &Contents,
        reader: &Reader,
        probe: impl Future<Output = Probe>,
    ) -> Result<(), ProxyError> {
        let key = (reader.key(), contents.repository.clone());
        let now = self.clock.now();
        if let Some(verdict) = self.verdicts.get(&key).await.filter(|verdict| verdict.holds(now)) {
            return verdict.said;
        }
        // Whoever comes first asks, the others wait for the answer.
        let probe = probe.await;
        let mut asked = false;
        let ask = async {
            asked = true;
            let Answer { said, about_all } = ask_upstream(contents, &probe).await;
            let holds = match &said {
                Ok(()) => self.allowed_for,
                Err(_) if about_all => DENIED_FOR,
                // No verdict: that this is not to be had, or that nobody answers, says nothing of the repository.
                Err(_) => Duration::ZERO,
            };
            Verdict { said, since: self.clock.now(), holds }
        };
        let stale = |verdict: &Verdict| !verdict.holds(self.clock.now());
        let verdict = self.verdicts.entry(key).or_insert_with_if(ask, stale).await.into_value();
        match verdict.said {
            // Which is about what another request asked for.
            Err(_) if !asked && verdict.holds.is_zero() => ask_upstream(contents, &probe).await.said,
            said => said,
        }
    }
}

/// What came of asking.
struct Answer {
    said: Result<(), ProxyError>,
    /// Whether a refusal is about the repository and not about what was asked for alone.
    about_all: bool,
}

/// Asks for what the client wants. That it is not there, or that this one thing is refused, does not say whether the
/// client may read the repository; that its tags may be listed does.
async fn ask_upstream(contents: &Contents, probe: &Probe) -> Answer {
    let (upstream, name) = (&contents.upstream, &contents.repository.name);
    let (subject, answer) = match probe {
        Probe::Manifest(reference) => (Subject::Manifest, upstream.manifest_head(name, reference).await.map(|_| ())),
        Probe::Blob(digest) => (Subject::Blob, upstream.blob_head(name, digest).await.map(|_| ())),
        Probe::Original { digest, asked } => {
            (*asked, upstream.manifest_head(name, &Reference::Digest(*digest)).await.map(|_| ()))
        }
    };
    let error = match answer {
        Ok(()) => return Answer { said: Ok(()), about_all: true },
        // Whoever this is, it is nobody.
        Err(error @ UpstreamError::Unauthorized { .. }) => {
            return Answer { said: Err(error.into()), about_all: true };
        }
        Err(error @ (UpstreamError::NotFound | UpstreamError::Denied)) => error,
        Err(error) => return Answer { said: Err(error.into()), about_all: false },
    };
    let page = ListPage { n: Some(1), last: None };
    let listed = upstream.tags(name, &page).await;
    match (error, listed) {
        (UpstreamError::NotFound, Ok(_)) => Answer { said: Ok(()), about_all: true },
        (UpstreamError::NotFound, Err(trouble)) if trouble.is_transient() => {
            Answer { said: Err(trouble.into()), about_all: false }
        }
        (error, listed) => {
            let about_all = listed.is_err_and(|error| error.is_forbidden());
            Answer {
                about_all: about_all && error.is_forbidden(),
                said: Err(ProxyError::upstream(error, subject, name)),
            }
        }
    }
}
