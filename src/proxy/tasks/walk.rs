//! All that belongs to a reference, found while it is pulled.
//!
//! A list of work that grows while it is done: a manifest leads to blobs or to the manifests of an index, and a
//! bundle's lock to more manifests. Each digest is worked on once, so what is shared, or leads back, costs nothing.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use tokio::task::JoinSet;

use super::event::Amount;
use super::findings::Findings;
use super::pull::{Fate, Images, Job, Original, Pulled, Puller};
use crate::cache::Hold;
use crate::cnab::Index;
use crate::oci::{Descriptor, Digest, Manifest, ManifestView, Platform};

/// Manifests and blobs worked on at one time. Enough to keep a registry's latency from counting; how many requests
/// it gets at one time, this and those of clients, is `upstream.concurrency`'s to bound.
const CONCURRENT_JOBS: usize = 8;
/// How deep indexes and bundles may nest. imgpkg's own bundles of bundles have two or three levels.
const MAX_DEPTH: u32 = 8;

/// The work on one reference.
pub(super) struct Walk<'a> {
    puller: Arc<Puller>,
    platforms: &'a [Platform],
    pub(super) hold: Hold,
    pub(super) manifests: HashSet<Digest>,
    pub(super) blobs: HashSet<Digest>,
    /// Manifests that were read, and should have been kept.
    read: Vec<Digest>,
    pub(super) pulled: Amount,
    pub(super) fate: Fate,
    /// Where what is found goes, if it is not to be pulled into the cache.
    findings: Option<&'a mut Findings>,
    /// Manifests, which tell how much there is, go before what they name.
    first: VecDeque<Job>,
    waiting: VecDeque<Job>,
}

impl<'a> Walk<'a> {
    /// A walk from what was asked for, through images for these platforms, or all. Blobs are pulled into the cache.
    pub(super) fn new(puller: &Arc<Puller>, platforms: &'a [Platform], original: Original) -> Self {
        let digest = original.manifest.digest;
        puller.teller.tally().known.count += 1;
        // What was just pulled must not make room for the rest: it would be called warm and not be there.
        let mut hold = puller.contents.cache.hold();
        hold.add([digest]);
        Self {
            puller: Arc::clone(puller),
            platforms,
            hold,
            manifests: HashSet::from([digest]),
            blobs: HashSet::new(),
            read: Vec::new(),
            pulled: Amount::default(),
            fate: Fate::default(),
            findings: None,
            waiting: VecDeque::new(),
            first: VecDeque::from([Job::Known(original)]),
        }
    }

    /// Leaves blobs where they are, and tells what there is.
    pub(super) fn finding(self, findings: &'a mut Findings) -> Self {
        Self { findings: Some(findings), ..self }
    }

    /// Goes all the way.
    pub(super) async fn run(&mut self) {
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
            Pulled::Manifest { manifest, depth, key, is_kept } => {
                if is_kept {
                    self.read.push(manifest.digest);
                }
                let bytes = manifest.bytes.len() as u64;
                self.puller.teller.tally().known.add_bytes(bytes);
                self.count(bytes);
                if let Some(findings) = &mut self.findings
                    && let Err(problem) = findings.found(&self.puller, &manifest)
                {
                    return self.refuse(&manifest.digest, problem).await;
                }
                match manifest.view() {
                    Ok(ManifestView::Image { config, layers }) => {
                        self.add_parts(config, layers);
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
            Pulled::Images { images: Images { digests, references }, depth, fate } => {
                if depth == 0 {
                    self.fate = fate;
                }
                if let Some(findings) = &mut self.findings {
                    findings.named(references);
                }
                self.add_manifests(digests, depth + 1).await;
            }
            Pulled::Blob { size } => self.count(size),
            Pulled::Config { digest, bytes } => {
                self.count(bytes.len() as u64);
                if let Some(findings) = &mut self.findings
                    && let Err(problem) = findings.found_config(digest, bytes)
                {
                    self.refuse(&digest, problem).await;
                }
            }
        }
    }

    /// Tells of manifests that are only in memory, which a disk without room does to them and which nobody waited for.
    pub(super) async fn look_for_manifests(&self) {
        let cache = &self.puller.contents.cache;
        cache.settled().await;
        let stored: HashSet<Digest> = cache.entries().into_iter().map(|entry| entry.digest).collect();
        for digest in self.read.iter().filter(|digest| !stored.contains(digest)) {
            self.puller.problem(digest, "was pulled, but the cache could not keep it").await;
        }
    }

    /// Tells what is wrong with a finding, and ends the walk where there can be no more of them.
    async fn refuse(&mut self, digest: &Digest, problem: String) {
        if self.findings.as_ref().is_some_and(|findings| findings.is_full()) {
            self.first.clear();
            self.waiting.clear();
        }
        self.puller.problem(digest, problem).await;
    }

    fn count(&mut self, bytes: u64) {
        self.pulled.add(bytes);
        self.puller.teller.tally().done.add(bytes);
    }

    fn add_parts(&mut self, config: Descriptor, layers: Vec<Descriptor>) {
        match &self.findings {
            None => self.add_blobs([config].into_iter().chain(layers)),
            Some(findings) if findings.wants_config(&config) && self.blobs.insert(config.digest) => {
                self.puller.teller.tally().known.add(config.size);
                self.waiting.push_back(Job::Config(config));
            }
            Some(_) => {}
        }
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
