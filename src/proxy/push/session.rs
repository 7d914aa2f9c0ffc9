//! The names that uploads have here while they are under way.
//!
//! An upload goes on where its upstream says, which is nothing for a client to see or to choose. So the client gets a name that
//! holds it sealed, with whose it is and in which repository: nothing is kept here of uploads that may never go on, a forged
//! name opens nothing, and another repository or client has no use for one. The seal's key lies in the cache, so that uploads
//! outlive the process.
//!
//! Registries give an upload another place with each part, and some forget the one before. A client whose connection breaks has
//! only an older name: so where each goes on is remembered for a while, and an older name is as good as the newest.

use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::error::Unspecified;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use moka::policy::EvictionPolicy;
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;
use zeroize::Zeroizing;

use crate::cache::{Cache, RecordKey};
use crate::oci::Repository;
use crate::upstream::Upload;

/// The longest name that is opened; the upstream's part of it is bounded, too.
const MAX_NAME_BYTES: usize = 16 << 10;

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

/// Makes names, and opens them.
pub(in crate::proxy) struct Seal {
    cache: Cache,
    key: OnceCell<RandomizedNonceKey>,
    newest: moka::future::Cache<u128, (Upload, Option<u64>)>,
}

impl Seal {
    pub(in crate::proxy) fn new(cache: Cache) -> Self {
        let newest = moka::future::Cache::builder().max_capacity(MAX_REMEMBERED).time_to_idle(REMEMBERED_FOR);
        let newest = newest.eviction_policy(EvictionPolicy::lru()).build();
        Self { cache, key: OnceCell::new(), newest }
    }

    /// What a new upload is called in all its names.
    pub(super) fn id() -> std::io::Result<u128> {
        let mut bytes = [0; 16];
        aws_lc_rs::rand::fill(&mut bytes).map_err(unspecified)?;
        Ok(u128::from_le_bytes(bytes))
    }

    /// The name of a session, which goes on here from now on.
    pub(super) async fn name(&self, session: &Session) -> std::io::Result<String> {
        self.newest.insert(session.id, (session.upload.clone(), session.held)).await;
        let mut sealed = serde_json::to_vec(session)?;
        let key = self.key().await?;
        let nonce = key.seal_in_place_append_tag(Aad::empty(), &mut sealed).map_err(unspecified)?;
        Ok(URL_SAFE_NO_PAD.encode([nonce.as_ref().as_slice(), &sealed].concat()))
    }

    /// The session of a name; `None` for one that this proxy never gave, or gave for another repository or client.
    pub(super) async fn open(&self, name: &str, repository: &Repository, owner: Option<&str>) -> Option<Session> {
        let mut sealed = (name.len() <= MAX_NAME_BYTES).then(|| URL_SAFE_NO_PAD.decode(name).ok()).flatten()?;
        let (nonce, sealed) = sealed.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let opened = self.key().await.ok()?.open_in_place(nonce, Aad::empty(), sealed).ok()?;
        let session: Session = serde_json::from_slice(opened).ok()?;
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

    async fn key(&self) -> std::io::Result<&RandomizedNonceKey> {
        self.key.get_or_try_init(|| self.load()).await
    }

    /// The key that was made before, or a new one. A disk that keeps none is no reason to take no uploads.
    async fn load(&self) -> std::io::Result<RandomizedNonceKey> {
        let record = RecordKey::new(["uploads", "key"]);
        let known: Option<Zeroizing<String>> =
            self.cache.get::<String>(&record).await.unwrap_or_default().map(Into::into);
        let known = known.and_then(|text| URL_SAFE_NO_PAD.decode(text.as_str()).ok().map(Zeroizing::new));
        if let Some(key) = known.and_then(|key| RandomizedNonceKey::new(&AES_256_GCM, &key).ok()) {
            return Ok(key);
        }
        let mut bytes = Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(&mut *bytes).map_err(unspecified)?;
        let text = Zeroizing::new(URL_SAFE_NO_PAD.encode(*bytes));
        if let Err(error) = self.cache.put_record(&record, text.as_str()).await {
            tracing::warn!(%error, "the key of upload sessions could not be kept; they end with this process");
        }
        RandomizedNonceKey::new(&AES_256_GCM, &*bytes).map_err(unspecified)
    }
}

fn unspecified(_: Unspecified) -> std::io::Error {
    std::io::Error::other("an upload could not be given a name")
}
