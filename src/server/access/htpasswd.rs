//! Users and passwords from a file, checked no more often than needed.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use moka::future::Cache;
use tokio::sync::OwnedMutexGuard;
use tokio::time::{Instant, timeout};

use super::attempts::Attempts;
use super::credential::Password;
use super::fingerprint::Fingerprint;
use super::password_file::HtpasswdError;
use super::password_hash::{self, PasswordHash};
use super::password_lines;
use super::workers::{Busy, Workers};
use crate::body::with_causes;
use crate::config::{SmallFile, Stamp};

/// Some sixteen thousand users.
const MAX_BYTES: u64 = 1 << 20;
/// How long a right password is known without bcrypt after it was last used: a pull is hundreds of requests, a node's day
/// thousands. Who works is known all day, and so not shut out when a flood of wrong passwords fills the queue.
const RIGHT_FOR: Duration = Duration::from_secs(3600);
/// How long a wrong one is: a client that repeats it costs nothing, and who is added to the file soon gets in.
const WRONG_FOR: Duration = Duration::from_secs(5);
/// Verdicts kept for [`WRONG_FOR`]. A flood of different passwords pushes out only others of its kind.
const MAX_RECENT: u64 = 10_000;
/// How often the file is looked at, while it is used.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a request waits for a look. A disk that takes longer is left alone for a while.
const LOOK_PATIENCE: Duration = Duration::from_secs(2);
const LOOK_LATER: Duration = Duration::from_secs(30);

/// Whether a password is the user's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verified {
    /// It is.
    Yes,
    /// It is not, or there is no such user: nobody is told which.
    No,
    /// Too many passwords wait to be checked.
    Busy,
}

/// The users of a password file in Apache's format, with bcrypt hashes.
///
/// The file is looked at when it is used, at most once a second, and read again when it changed; one that cannot be
/// used keeps the users of the last that could, and is told in the log, once. A clone is the same users.
#[derive(Clone)]
pub struct Htpasswd(Arc<Inner>);

struct Inner {
    path: PathBuf,
    state: Mutex<State>,
    /// Whoever looks at the file, or waits for that.
    looking: Arc<tokio::sync::Mutex<()>>,
    workers: Workers,
    attempts: Attempts,
}

struct State {
    users: Arc<Users>,
    /// When the file is looked at next.
    due: Instant,
    /// The file that was read last, unless it may have changed since without showing it.
    stamp: Option<Stamp>,
    /// What it held, whether it could be used or not.
    content: Fingerprint,
    /// What was wrong with reading it.
    unreadable: Option<String>,
}

/// The users of one state of the file, with what is known about their passwords: another state begins anew.
struct Users {
    by_name: HashMap<String, User>,
    /// The highest cost among their hashes, which is what a wrong password costs.
    cost: u32,
    recent: Cache<Fingerprint, Recent>,
}

struct User {
    hash: PasswordHash,
    /// The right password, since there is but one, and until when it is known unless it is used.
    right: Mutex<Option<(Fingerprint, Instant)>>,
}

#[derive(Clone, Copy)]
struct Recent {
    verdict: Verified,
    until: Instant,
}

impl Htpasswd {
    /// Reads the file. Blocks.
    ///
    /// # Errors
    /// When it cannot be read, has no users, or lines that cannot be used; then all of those.
    pub fn load(path: PathBuf) -> Result<Self, HtpasswdError> {
        let read = SmallFile::read(&path, MAX_BYTES)?;
        let state = State {
            users: Arc::new(Users::parse(&path, &read.bytes)?),
            due: Instant::now() + LOOK_EVERY,
            stamp: read.stamp,
            content: Fingerprint::of(&[&read.bytes]),
            unreadable: None,
        };
        Ok(Self(Arc::new(Inner {
            path,
            state: Mutex::new(state),
            looking: Arc::default(),
            workers: Workers::new(),
            attempts: Attempts::default(),
        })))
    }

    /// Whether this is the user's password.
    ///
    /// Requests with the same user and password share one run of bcrypt, and what it said is known for a while.
    pub(super) async fn verify(&self, user: &str, password: &Password) -> Verified {
        if self.0.is_due() {
            self.look().await;
        }
        if let Some(reason) = password_hash::unfit(password.expose()) {
            tracing::debug!(reason, "a password matches nobody's");
            return Verified::No;
        }
        let users = Arc::clone(&self.0.state().users);
        let fingerprint = Fingerprint::of(&[user.as_bytes(), password.expose().as_bytes()]);
        if users.by_name.get(user).is_some_and(|user| user.knows(&fingerprint)) {
            return Verified::Yes;
        }
        let run = async {
            let (known, name, password) = (Arc::clone(&users), user.to_owned(), password.clone());
            let check = move || {
                let user = known.by_name.get(&name);
                let right = password_hash::check(user.map(|user| &user.hash), password.expose(), known.cost);
                // Here, so that it is known even if the client that asked is gone by now.
                if let Some(user) = user.filter(|_| right) {
                    user.learn(fingerprint);
                }
                right
            };
            let checked = self.0.workers.run(check).await;
            let now = Instant::now();
            match checked {
                Ok(true) => Recent { verdict: Verified::Yes, until: now + WRONG_FOR },
                Ok(false) => Recent { verdict: Verified::No, until: now + WRONG_FOR },
                // Told to all who waited with this one, and to nobody after them.
                Err(Busy) => Recent { verdict: Verified::Busy, until: now },
            }
        };
        let over = |recent: &Recent| recent.until <= Instant::now();
        users.recent.entry(fingerprint).or_insert_with_if(run, over).await.into_value().verdict
    }

    /// Attempts that failed, for the log.
    pub(super) fn attempts(&self) -> &Attempts {
        &self.0.attempts
    }

    /// Looks at the file, unless somebody else just did. Everyone waits for that: who was removed from the file an
    /// hour ago must not be the one that gets in meanwhile.
    async fn look(&self) {
        let look = async {
            let turn = Arc::clone(&self.0.looking).lock_owned().await;
            if self.0.is_due() {
                let inner = Arc::clone(&self.0);
                // One that fails has said so; the users stay as they are.
                drop(tokio::task::spawn_blocking(move || inner.look(turn)).await);
            }
        };
        if timeout(LOOK_PATIENCE, look).await.is_err() && self.0.put_off() {
            let path = self.0.path.display();
            tracing::error!(%path, "the password file takes too long to be read; the users that are known stay");
        }
    }
}

impl std::fmt::Debug for Htpasswd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Htpasswd").field("path", &self.0.path).finish_non_exhaustive()
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_due(&self) -> bool {
        self.state().due <= Instant::now()
    }

    /// Lets requests go on without a look for a while; `false` when that was said already.
    fn put_off(&self) -> bool {
        let now = Instant::now();
        let mut state = self.state();
        let first = state.due <= now;
        state.due = now + LOOK_LATER;
        first
    }

    /// Reads the file if it changed. Blocks. One at a time, which the turn is for: it is kept even if nobody waits
    /// any more, so that a disk that hangs holds one thread and not one each second.
    fn look(&self, turn: OwnedMutexGuard<()>) {
        self.refresh();
        self.state().due = Instant::now() + LOOK_EVERY;
        drop(turn);
    }

    fn refresh(&self) {
        let seen = self.state().stamp;
        let path = self.path.display();
        let read = match SmallFile::read_changed(&self.path, MAX_BYTES, seen) {
            Ok(None) => return,
            Ok(Some(read)) => read,
            Err(err) => {
                let told = with_causes(&HtpasswdError::from(err));
                let mut state = self.state();
                state.stamp = None;
                if state.unreadable.as_ref() != Some(&told) {
                    state.unreadable = Some(told.clone());
                    drop(state);
                    tracing::error!(error = %told, "the users that are known stay");
                }
                return;
            }
        };
        let content = Fingerprint::of(&[&read.bytes]);
        let mut state = self.state();
        state.stamp = read.stamp;
        let was_unreadable = state.unreadable.take().is_some();
        if content == state.content {
            drop(state);
            if was_unreadable {
                tracing::info!(%path, "the password file can be read again, and holds what it held");
            }
            return;
        }
        state.content = content;
        drop(state);
        match Users::parse(&self.path, &read.bytes) {
            Ok(users) => {
                let count = users.by_name.len();
                self.state().users = Arc::new(users);
                tracing::info!(%path, users = count, "the password file changed and was read");
            }
            Err(err) => {
                tracing::error!(error = with_causes(&err), "the password file changed; the users that are known stay");
            }
        }
    }
}

impl Users {
    fn parse(path: &Path, content: &[u8]) -> Result<Self, HtpasswdError> {
        let path = || path.to_owned();
        let hashes =
            password_lines::parse(content).map_err(|problems| HtpasswdError::Lines { path: path(), problems })?;
        let cost =
            hashes.values().map(PasswordHash::cost).max().ok_or_else(|| HtpasswdError::Empty { path: path() })?;
        let user = |(name, hash)| (name, User { hash, right: Mutex::new(None) });
        // They are over sooner, by the clock of `Recent`; this only gives the memory back.
        let recent = Cache::builder().max_capacity(MAX_RECENT).time_to_live(2 * WRONG_FOR).build();
        Ok(Self { by_name: hashes.into_iter().map(user).collect(), cost, recent })
    }
}

impl User {
    /// Whether this is what is known to be right, which it then stays for as long again.
    fn knows(&self, fingerprint: &Fingerprint) -> bool {
        let now = Instant::now();
        let mut right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        let known = right.as_mut().filter(|(known, until)| known == fingerprint && now < *until);
        known.map(|(_, until)| *until = now + RIGHT_FOR).is_some()
    }

    fn learn(&self, fingerprint: Fingerprint) {
        let until = Instant::now() + RIGHT_FOR;
        *self.right.lock().unwrap_or_else(PoisonError::into_inner) = Some((fingerprint, until));
    }
}

#[cfg(test)]
mod tests;
