//! Texts that clients carry and do not read: what they are given comes back as it was, or not at all.
//!
//! The key lies in the cache, so that what was given out before a restart is good after it. Another cache has another key.

use std::io;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::error::Unspecified;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::sync::OnceCell;
use zeroize::Zeroizing;

use crate::cache::{Cache, RecordKey};

/// The longest text that is opened, as it is given out.
const MAX_SEALED_BYTES: usize = 16 << 10;

/// What a text is for. One that was sealed for something else is none.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    /// To go on with an upload.
    Upload,
    /// To go on with the list of repositories.
    Catalog,
}

impl Purpose {
    fn label(self) -> &'static [u8] {
        match self {
            Self::Upload => b"upload",
            Self::Catalog => b"catalog",
        }
    }
}

/// Seals texts, and opens them.
pub(super) struct Seal {
    cache: Cache,
    key: OnceCell<RandomizedNonceKey>,
}

impl Seal {
    pub(super) fn new(cache: Cache) -> Self {
        Self { cache, key: OnceCell::new() }
    }

    /// `text`, sealed: letters, digits, `-` and `_`, a third longer than it is, and 38 more.
    pub(super) async fn close(&self, purpose: Purpose, text: Vec<u8>) -> io::Result<String> {
        let mut sealed = text;
        let key = self.key().await?;
        let nonce = key.seal_in_place_append_tag(Aad::from(purpose.label()), &mut sealed).map_err(unspecified)?;
        Ok(URL_SAFE_NO_PAD.encode([nonce.as_ref().as_slice(), &sealed].concat()))
    }

    /// What was sealed; `None` of what this proxy never gave out for that.
    pub(super) async fn open(&self, purpose: Purpose, sealed: &str) -> Option<Vec<u8>> {
        let mut sealed = (sealed.len() <= MAX_SEALED_BYTES).then(|| URL_SAFE_NO_PAD.decode(sealed).ok()).flatten()?;
        let (nonce, sealed) = sealed.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let opened = self.key().await.ok()?.open_in_place(nonce, Aad::from(purpose.label()), sealed);
        opened.ok().map(|opened| opened.to_vec())
    }

    async fn key(&self) -> io::Result<&RandomizedNonceKey> {
        self.key.get_or_try_init(|| self.load()).await
    }

    /// The key that was made before, or a new one. A disk that keeps none is no reason to do without.
    async fn load(&self) -> io::Result<RandomizedNonceKey> {
        let record = RecordKey::new(["seal", "key"]);
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
            tracing::warn!(%error, "the key that uploads are named with could not be kept; they end with this process");
        }
        RandomizedNonceKey::new(&AES_256_GCM, &*bytes).map_err(unspecified)
    }
}

fn unspecified(_: Unspecified) -> io::Error {
    io::Error::other("a text could not be sealed")
}
