//! Small typed records: what must survive a restart beside content.
//!
//! A record is JSON under a [`RecordKey`]. One that cannot be read any more, from damage or an older version,
//! is absent: everything recorded can be found out again, so nothing here is worth an error.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::key::RecordKey;
use super::{Cache, Inner};
use crate::oci::{Digest, Repository};
use crate::telemetry::carry;

/// That a repository has some content: it was obtained through that repository, or that repository confirmed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// What the upstream said it is, where it said so: manifests have one, blobs need not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// Its length in bytes.
    pub size: u64,
}

impl Cache {
    /// The record under `key`.
    ///
    /// # Errors
    /// When the store cannot say. A record that does not parse is removed and absent.
    pub async fn get<T: DeserializeOwned>(&self, key: &RecordKey) -> io::Result<Option<T>> {
        let Some(bytes) = self.inner.record(key).await? else { return Ok(None) };
        match serde_json::from_slice(&bytes) {
            Ok(value) => Ok(Some(value)),
            Err(err) => {
                tracing::warn!(%key, %err, "removing a record that cannot be read");
                self.write(key, Change::DeleteIf(bytes)).await?;
                Ok(None)
            }
        }
    }

    /// Writes a record; when the future is done, it survives a crash, unless the disk is in trouble: then it is in
    /// memory only. Goes on when the future is dropped.
    ///
    /// # Errors
    /// When the value is not JSON, or the store cannot take it; the old record then stays.
    pub async fn put_record<T: Serialize + ?Sized>(&self, key: &RecordKey, value: &T) -> io::Result<()> {
        self.write(key, Change::Put(serde_json::to_vec(value)?.into())).await
    }

    /// Writes a record that is worth no wait: it is read from now on, and survives a crash a moment later.
    ///
    /// # Errors
    /// When the value is not JSON.
    pub async fn put_record_behind<T: Serialize + ?Sized>(&self, key: &RecordKey, value: &T) -> io::Result<()> {
        let (bytes, inner, key) = (Bytes::from(serde_json::to_vec(value)?), Arc::clone(&self.inner), key.clone());
        let turn = inner.record_turns.of(&key).await;
        if inner.is_written(&key, &bytes).await {
            return Ok(());
        }
        // Whoever misses it here waits for the turn.
        inner.hot.keep_record(key.clone(), &bytes).await;
        tokio::spawn(carry(async move {
            let written = inner.write_through(&key, &bytes).await;
            drop(turn);
            if let Err(err) = written {
                tracing::warn!(%key, %err, "a record cannot be written");
            }
        }));
        Ok(())
    }

    /// Removes a record. Not to find it is a success. Goes on when the future is dropped.
    ///
    /// # Errors
    /// When the store cannot.
    pub async fn delete(&self, key: &RecordKey) -> io::Result<()> {
        self.write(key, Change::Delete).await
    }

    /// The keys that begin with the components of `prefix` and go on, in order.
    ///
    /// # Errors
    /// When the store cannot say.
    pub async fn list(&self, prefix: &RecordKey) -> io::Result<Vec<RecordKey>> {
        self.inner.store.list_records(prefix).await
    }

    /// Records that `repository` has `digest`. A media type that is known stays when none is given.
    ///
    /// # Errors
    /// When the store cannot take it.
    pub async fn add_member(&self, repository: &Repository, digest: &Digest, mut member: Member) -> io::Result<()> {
        let known = self.member(repository, digest).await?;
        if member.media_type.is_none() {
            member.media_type = known.as_ref().and_then(|known| known.media_type.clone());
        }
        if known.as_ref() == Some(&member) {
            return Ok(());
        }
        self.put_record(&member_key(repository, digest), &member).await
    }

    /// The same, as [`put_record_behind`](Self::put_record_behind) does it.
    ///
    /// # Errors
    /// When the store cannot say what it knows.
    pub async fn add_member_behind(&self, repository: &Repository, digest: &Digest, member: Member) -> io::Result<()> {
        let known = self.member(repository, digest).await?;
        match known.as_ref() == Some(&member) {
            true => Ok(()),
            false => self.put_record_behind(&member_key(repository, digest), &member).await,
        }
    }

    /// What is recorded of `digest` in `repository`. Content may be served under a repository only if there is
    /// something: that a manifest names a digest, or that some other repository has it, proves nothing.
    ///
    /// # Errors
    /// When the store cannot say.
    pub async fn member(&self, repository: &Repository, digest: &Digest) -> io::Result<Option<Member>> {
        self.get(&member_key(repository, digest)).await
    }

    /// Forgets that `repository` has `digest`, because it says so no more.
    ///
    /// # Errors
    /// When the store cannot.
    pub async fn remove_member(&self, repository: &Repository, digest: &Digest) -> io::Result<()> {
        self.delete(&member_key(repository, digest)).await
    }

    /// Which repositories have what, for all content that was ever recorded.
    ///
    /// # Errors
    /// When the store cannot say.
    pub async fn members(&self) -> io::Result<HashMap<Digest, Vec<Repository>>> {
        let mut members: HashMap<Digest, Vec<Repository>> = HashMap::new();
        for key in self.list(&RecordKey::new(["members"])).await? {
            let mut components = key.components().skip(1);
            let parsed = components.next().zip(components.next());
            if let Some((Ok(repository), Ok(digest))) = parsed.map(|(name, digest)| (name.parse(), digest.parse())) {
                members.entry(digest).or_default().push(repository);
            }
        }
        Ok(members)
    }

    /// How many records there are of each kind: the first components of their keys.
    ///
    /// # Errors
    /// When the store cannot say.
    pub async fn record_counts(&self) -> io::Result<BTreeMap<String, u64>> {
        let mut counts = BTreeMap::new();
        for key in self.list(&RecordKey::new([""; 0])).await? {
            if let Some(kind) = key.components().next() {
                *counts.entry(kind.to_owned()).or_default() += 1;
            }
        }
        Ok(counts)
    }

    async fn write(&self, key: &RecordKey, change: Change) -> io::Result<()> {
        let (inner, key) = (Arc::clone(&self.inner), key.clone());
        // A task of its own: cancelled between the store and the hot set, they would tell different things.
        let write = tokio::spawn(carry(async move { inner.write(key, change).await }));
        write.await.unwrap_or_else(|gone| Err(io::Error::other(gone)))
    }
}

fn member_key(repository: &Repository, digest: &Digest) -> RecordKey {
    RecordKey::new(["members", &repository.to_string(), &digest.to_string()])
}

enum Change {
    Put(Bytes),
    Delete,
    /// Unless it was replaced meanwhile.
    DeleteIf(Bytes),
}

impl Inner {
    async fn record(&self, key: &RecordKey) -> io::Result<Option<Bytes>> {
        if let Some(bytes) = self.hot.record(key).await {
            return Ok(Some(bytes));
        }
        // What was read before a write must not go into the hot set after it.
        let _turn = self.record_turns.of(key).await;
        self.load_record(key).await
    }

    async fn load_record(&self, key: &RecordKey) -> io::Result<Option<Bytes>> {
        if let Some(bytes) = self.hot.record(key).await {
            return Ok(Some(bytes));
        }
        let bytes = match self.store.record(key).await {
            Ok(bytes) => bytes,
            Err(err) => {
                self.trouble.note(self, "read a record", &err);
                return Err(err);
            }
        };
        if let Some(bytes) = &bytes {
            self.hot.keep_record(key.clone(), bytes).await;
        }
        Ok(bytes)
    }

    async fn write(&self, key: RecordKey, change: Change) -> io::Result<()> {
        let _turn = self.record_turns.of(&key).await;
        match change {
            Change::Put(bytes) => {
                if self.is_written(&key, &bytes).await {
                    return Ok(());
                }
                self.hot.forget_record(&key).await;
                self.write_through(&key, &bytes).await?;
                self.hot.keep_record(key, &bytes).await;
            }
            Change::DeleteIf(seen) => {
                if self.load_record(&key).await? == Some(seen) {
                    self.remove_record(&key).await?;
                }
            }
            Change::Delete => self.remove_record(&key).await?,
        }
        Ok(())
    }

    /// Whether the store has this record: the hot set only ever has what the store has, but for what it refused.
    async fn is_written(&self, key: &RecordKey, bytes: &Bytes) -> bool {
        self.hot.record(key).await.as_ref() == Some(bytes) && !self.trouble.was_refused(key)
    }

    /// Writes a record to the store; a disk in trouble is no error.
    async fn write_through(&self, key: &RecordKey, bytes: &Bytes) -> io::Result<()> {
        let mut stored = self.store.put_record(key, bytes.clone()).await;
        if let Err(err) = &stored
            && self.reclaim(err).await
        {
            stored = self.store.put_record(key, bytes.clone()).await;
        }
        match stored {
            Err(err) if matches!(err.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::FileTooLarge) => Err(err),
            // Remembered for as long as memory has room for it: better than a pull that fails.
            Err(err) => {
                self.trouble.note(self, "write a record", &err);
                self.trouble.refused(key);
                Ok(())
            }
            Ok(()) => {
                self.trouble.taken(key);
                Ok(())
            }
        }
    }

    async fn remove_record(&self, key: &RecordKey) -> io::Result<()> {
        self.hot.forget_record(key).await;
        self.store.delete_record(key).await
    }
}
