//! Sums over everything, for who wants to draw a line rather than ask for all of it by label.

use std::sync::atomic::{AtomicU64, Ordering};

/// What there was since the process began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests that are over.
    pub requests: u64,
    /// Of these, those that were answered from the cache, with no content fetched for them.
    pub hits: u64,
    /// Of these, those that were answered with a status of 500 and more.
    pub errors: u64,
    /// Bytes of bodies sent to clients.
    pub served_bytes: u64,
    /// Bytes of bodies received from the registries behind.
    pub received_bytes: u64,
}

/// The same while it grows.
#[derive(Debug, Default)]
pub(super) struct Running {
    requests: AtomicU64,
    hits: AtomicU64,
    errors: AtomicU64,
    served_bytes: AtomicU64,
    received_bytes: AtomicU64,
}

impl Running {
    pub(super) fn request(&self, hit: bool, status: Option<u16>, bytes: u64) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.served_bytes.fetch_add(bytes, Ordering::Relaxed);
        if hit {
            self.hits.fetch_add(1, Ordering::Relaxed);
        }
        if status.is_some_and(|status| status >= 500) {
            self.errors.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn received(&self, bytes: u64) {
        self.received_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> Totals {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        Totals {
            requests: read(&self.requests),
            hits: read(&self.hits),
            errors: read(&self.errors),
            served_bytes: read(&self.served_bytes),
            received_bytes: read(&self.received_bytes),
        }
    }
}
