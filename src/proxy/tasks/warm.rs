//! Pulling a reference with all that belongs to it.
//!
//! A list of work that grows while it is done: a manifest leads to blobs or to the manifests of an index, and a
//! bundle's lock to more manifests. Each digest is worked on once, so what is shared, or leads back, costs nothing.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use tokio::task::JoinSet;

use super::event::{Amount, Event, Warmed};
use super::pull::{Fate, Job, Original, Pulled, Puller};
use super::teller::Teller;
use super::{Wanted, full_name};
use crate::cache::{Cache, Hold, Pin};
use crate::cnab::Index;
use crate::oci::{Descriptor, Digest, Manifest, ManifestView, Platform, Repository, is_schema1};
use crate::proxy::Proxy;

/// Manifests and blobs worked on at one time. Enough to keep a registry's latency from counting; how many requests
/// it gets at one time, this and those of clients, is `upstream.concurrency`'s to bound.
const CONCURRENT_JOBS: usize = 8;
/// How deep indexes and bundles may nest. imgpkg's own bundles of bundles have two or three levels.
const MAX_DEPTH: u32 = 8;

/// Pulls what is wanted, and pins it where that is asked for.
pub(super) async fn warm(proxy: &Proxy, wanted: &Wanted, platforms: &[Platform], pin: bool, teller: &Arc<Teller>) {
    let puller = match Puller::new(proxy, &wanted.view, Arc::clone(teller)).await {
        Ok(puller) => puller,
        Err(error) => return teller.failed(wanted.name(), &error).await,
    };
    let Original { manifest, key, stale } = match puller.original(wanted).await {
        Ok(found) => found,
        Err(error) => return teller.failed(wanted.name(), &error).await,
    };
    let (digest, problems_before) = (manifest.digest, teller.problems());
    let cache = &proxy.0.cache;
    let mut walk = Walk {
        puller: Arc::new(puller),
        platforms,
        // What was just pulled must not make room for the rest: it would be called warm and not be there.
        hold: cache.hold(),
        manifests: HashSet::from([digest]),
        blobs: HashSet::new(),
        read: Vec::new(),
        pulled: Amount::default(),
        fate: Fate::default(),
        waiting: VecDeque::new(),
        first: VecDeque::new(),
    };
    teller.tally().known.count += 1;
    walk.hold.add([digest]);
    walk.first.push_back(Job::Known { manifest, key });
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

/// The work on one reference.
struct Walk<'a> {
    puller: Arc<Puller>,
    platforms: &'a [Platform],
    hold: Hold,
    manifests: HashSet<Digest>,
    blobs: HashSet<Digest>,
    /// Manifests that were read, and should have been kept.
    read: Vec<Digest>,
    pulled: Amount,
    fate: Fate,
    /// Manifests, which tell how much there is, go before what they name.
    first: VecDeque<Job>,
    waiting: VecDeque<Job>,
}

impl Walk<'_> {
    async fn run(&mut self) {
        let mut jobs = JoinSet::new();
        loop {
            while jobs.len() < CONCURRENT_JOBS
                && let Some(job) = self.first.pop_front().or_else(|| self.waiting.pop_front())
            {
                let puller = Arc::clone(&self.puller);
                jobs.spawn(async move { puller.run(job).await });
            }
            match jobs.join_next().await {
                None => return,
                Some(Ok(None)) => {}
                Some(Ok(Some(pulled))) => self.take(pulled).await,
                Some(Err(_)) => {
                    self.puller.teller.problem(&self.puller.contents.repository, "the work on a part crashed").await
                }
            }
        }
    }

    async fn take(&mut self, pulled: Pulled) {
        match pulled {
            Pulled::Manifest { manifest, depth, key } => {
                if !is_schema1(&manifest.media_type) {
                    self.read.push(manifest.digest);
                }
                let bytes = manifest.bytes.len() as u64;
                self.puller.teller.tally().known.add_bytes(bytes);
                self.count(bytes);
                match manifest.view() {
                    Ok(ManifestView::Image { config, layers }) => {
                        self.add_blobs([config].into_iter().chain(layers));
                        // Next, since it has the whole manifest in memory.
                        self.first.push_front(Job::Images { manifest, depth, key });
                    }
                    Ok(ManifestView::Index { manifests }) => {
                        self.add_children(&manifest, manifests, depth).await;
                        // A CNAB bundle may name images that it does not list.
                        if Index::of(&manifest).is_some() {
                            self.waiting.push_back(Job::Images { manifest, depth, key });
                        }
                    }
                    Ok(ManifestView::Other) => {}
                    Err(error) => self.puller.failed(&manifest.digest, &error).await,
                }
            }
            Pulled::Images { images, depth, fate } => {
                if depth == 0 {
                    self.fate = fate;
                }
                self.add_manifests(images, depth + 1).await;
            }
            Pulled::Blob { size } => self.count(size),
        }
    }

    /// Tells of manifests that are only in memory, which a disk without room does to them and which nobody waited for.
    async fn look_for_manifests(&self) {
        let cache = &self.puller.contents.cache;
        cache.settled().await;
        let stored: HashSet<Digest> = cache.entries().into_iter().map(|entry| entry.digest).collect();
        for digest in self.read.iter().filter(|digest| !stored.contains(digest)) {
            self.puller.problem(digest, "was pulled, but the cache could not keep it").await;
        }
    }

    fn count(&mut self, bytes: u64) {
        self.pulled.add(bytes);
        self.puller.teller.tally().done.add(bytes);
    }

    fn add_blobs(&mut self, descriptors: impl Iterator<Item = Descriptor>) {
        let new: Vec<Descriptor> = descriptors.filter(|descriptor| self.blobs.insert(descriptor.digest)).collect();
        // All at once: each time, all that is held is gone through.
        self.hold.add(new.iter().map(|descriptor| descriptor.digest));
        for descriptor in new {
            self.puller.teller.tally().known.add(descriptor.size);
            self.waiting.push_back(Job::Blob(descriptor));
        }
    }

    async fn add_children(&mut self, index: &Manifest, children: Vec<Descriptor>, depth: u32) {
        // Without a platform it is an index within, or an image for any machine.
        let is_for =
            |child: &Descriptor, wanted: &Platform| child.platform.as_ref().is_none_or(|platform| platform.is(wanted));
        for wanted in self.platforms.iter().filter(|_| !children.is_empty()) {
            if !children.iter().any(|child| is_for(child, wanted)) {
                self.puller.problem(&index.digest, format!("it has no image for {wanted}")).await;
            }
        }
        let asked_for = |child: &Descriptor| self.platforms.iter().any(|wanted| is_for(child, wanted));
        let digests: Vec<Digest> = children
            .iter()
            .filter(|child| self.platforms.is_empty() || asked_for(child))
            .map(|child| child.digest)
            .collect();
        self.add_manifests(digests, depth + 1).await;
    }

    async fn add_manifests(&mut self, digests: Vec<Digest>, depth: u32) {
        let new: Vec<Digest> = digests.into_iter().filter(|digest| self.manifests.insert(*digest)).collect();
        if depth > MAX_DEPTH {
            for digest in new {
                self.puller.problem(&digest, format!("is nested more than {MAX_DEPTH} deep, and was not pulled")).await;
            }
            return;
        }
        self.hold.add(new.iter().copied());
        // How long they are shows when they are read.
        self.puller.teller.tally().known.count += new.len() as u64;
        self.first.extend(new.into_iter().map(|digest| Job::Manifest { digest, depth }));
    }
}
