//! The hot set: small content and records, kept in memory.

use bytes::Bytes;
use moka::future::Cache;

use super::key::RecordKey;
use crate::oci::Digest;

/// The largest entry that is kept: nearly every manifest, config and record is below it, and a handful of large
/// ones cannot push the many small ones out.
pub(super) const MAX_HOT_BYTES: u64 = 64 << 10;

/// What one weight unit stands for. moka weighs in `u32` and so not in bytes for all sizes; in KiB, a record of
/// 100 bytes would count tenfold.
const UNIT: usize = 64;
/// What an entry costs beside its bytes: moka's nodes and deques, the key, the `Bytes` header.
const OVERHEAD: usize = 320;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Content(Digest),
    Record(RecordKey),
}

impl Key {
    fn bytes(&self) -> usize {
        match self {
            Self::Content(_) => 0,
            Self::Record(key) => key.bytes(),
        }
    }
}

/// Small entries by least recent and frequent use, bounded by the bytes they take.
pub(super) struct Hot(Cache<Key, Bytes>);

impl Hot {
    pub(super) fn new(max_bytes: u64) -> Self {
        let weigher = |key: &Key, value: &Bytes| {
            u32::try_from((OVERHEAD + key.bytes() + value.len()).div_ceil(UNIT)).unwrap_or(u32::MAX)
        };
        Self(Cache::builder().weigher(weigher).max_capacity(max_bytes / UNIT as u64).build())
    }

    pub(super) async fn content(&self, digest: &Digest) -> Option<Bytes> {
        self.0.get(&Key::Content(*digest)).await
    }

    pub(super) async fn record(&self, key: &RecordKey) -> Option<Bytes> {
        self.0.get(&Key::Record(key.clone())).await
    }

    pub(super) async fn keep_content(&self, digest: Digest, bytes: &Bytes) {
        self.keep(Key::Content(digest), bytes).await;
    }

    pub(super) async fn keep_record(&self, key: RecordKey, bytes: &Bytes) {
        self.keep(Key::Record(key), bytes).await;
    }

    pub(super) async fn forget_content(&self, digest: &Digest) {
        self.0.invalidate(&Key::Content(*digest)).await;
    }

    pub(super) async fn forget_record(&self, key: &RecordKey) {
        self.0.invalidate(&Key::Record(key.clone())).await;
    }

    async fn keep(&self, key: Key, bytes: &Bytes) {
        if bytes.len() as u64 > MAX_HOT_BYTES {
            // An older value of the key must not stay either.
            self.0.invalidate(&key).await;
            return;
        }
        // Copied: a slice would keep the read buffer or network frame it was cut
        // from alive, and the weight would be a lie.
        self.0.insert(key, Bytes::copy_from_slice(bytes)).await;
        // moka evicts when it gets round to it and until then holds more than its bound. An insert here follows
        // a read or a sync of the disk, beside which this costs nothing.
        self.0.run_pending_tasks().await;
    }

    #[cfg(test)]
    fn weighted_bytes(&self) -> u64 {
        self.0.weighted_size() * UNIT as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn is_bounded_by_bytes_at_every_moment() {
        let hot = Hot::new(1 << 20);
        for number in 0..200_u32 {
            let bytes = Bytes::from(vec![7; 10_000 + number as usize]);
            hot.keep_content(Digest::of(&number.to_be_bytes()), &bytes).await;
            assert!(hot.weighted_bytes() <= 1 << 20);
        }
        assert!(hot.weighted_bytes() > 900 << 10);
    }

    #[tokio::test]
    async fn an_entry_that_grew_too_large_does_not_stay_with_its_old_value() {
        let hot = Hot::new(1 << 20);
        let key = RecordKey::new(["a"]);
        hot.keep_record(key.clone(), &Bytes::from_static(b"old")).await;
        assert_eq!(hot.record(&key).await.as_deref(), Some(&b"old"[..]));
        hot.keep_record(key.clone(), &Bytes::from(vec![0; MAX_HOT_BYTES as usize + 1])).await;
        assert_eq!(hot.record(&key).await, None);
    }
}
