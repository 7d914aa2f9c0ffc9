//! Pulling a reference with all that belongs to it.

use std::sync::Arc;

use super::event::{Event, Warmed};
use super::pull::{Fate, Puller};
use super::teller::Teller;
use super::walk::Walk;
use super::{Wanted, full_name};
use crate::cache::{Cache, Pin};
use crate::oci::{Digest, Platform, Repository};
use crate::proxy::Proxy;

/// Pulls what is wanted, and pins it where that is asked for.
pub(super) async fn warm(proxy: &Proxy, wanted: &Wanted, platforms: &[Platform], pin: bool, teller: &Arc<Teller>) {
    let puller = match Puller::new(proxy, &wanted.view, Arc::clone(teller)).await {
        Ok(puller) => puller,
        Err(error) => return teller.failed(wanted.name(), &error).await,
    };
    let original = match puller.original(wanted).await {
        Ok(found) => found,
        Err(error) => return teller.failed(wanted.name(), &error).await,
    };
    let (digest, stale, problems_before) = (original.manifest.digest, original.stale, teller.problems());
    let cache = &proxy.0.cache;
    let mut walk = Walk::new(&Arc::new(puller), platforms, original);
    walk.run().await;
    walk.look_for_manifests().await;

    let (repository, reference) = (wanted.view.repository.clone(), wanted.reference.to_string());
    let Fate { relocated, reason } = walk.fate;
    let (manifests, blobs, bytes) = (walk.manifests.len() as u64, walk.blobs.len() as u64, walk.pulled.bytes);
    let warmed = Warmed {
        repository: repository.clone(),
        reference: reference.clone(),
        digest,
        stale,
        relocated,
        reason,
        manifests,
        blobs,
        bytes,
    };
    teller.tell(Event::Warmed(warmed)).await;
    if pin {
        let mut digests = walk.hold.digests();
        if teller.problems() > problems_before {
            // What was pinned by this name before may be all that there is of it.
            digests.extend(pinned_before(cache, &repository, &reference).await);
            digests.sort_unstable();
            digests.dedup();
        }
        let contents = digests.len() as u64;
        match cache.pin(&Pin { repository: repository.clone(), reference: reference.clone(), digests }).await {
            Ok(()) => teller.tell(Event::Pinned { repository, reference, contents }).await,
            Err(error) => teller.failed(full_name(&repository, &reference), &error).await,
        }
    }
}

/// What is pinned by this name.
async fn pinned_before(cache: &Cache, repository: &Repository, reference: &str) -> Vec<Digest> {
    let pins = cache.pins().await.unwrap_or_default().into_iter();
    let own = |pin: &Pin| pin.repository == *repository && pin.reference == reference;
    pins.filter(own).flat_map(|pin| pin.digests).collect()
}
