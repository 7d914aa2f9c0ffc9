//! Finding again what nobody here remembers: a digest that another replica made, or that was granted before the cache was
//! lost.
//!
//! Everything made here can be made again from the bundles in the repository, and everything granted follows from their
//! locks. So before such a digest is answered with 404, the repository's bundles are relocated for this client, the
//! bundles that these name too, and what the images they name are made of is granted again. That is dear: it is done once
//! for a repository and target, and then not again for a while, whoever asks.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use super::Proxy;
use super::contents::Contents;
use super::error::ProxyError;
use super::relocation::{Answer, Colocated, MAX_NESTING, RelocationKey, glance, unreadable};
use super::tag::Demand;
use super::undecided::Undecided;
use super::view::View;
use crate::oci::{Digest, Manifest, ManifestView};

/// How many images are looked into for one search. What the locks of a repository name beyond that is found again when
/// its bundle is pulled.
const MAX_FOLLOWED: usize = 2000;

/// What a search is to look into.
#[derive(Default)]
struct Trail {
    seen: HashSet<Digest>,
    waiting: VecDeque<(Digest, u32)>,
}

impl Trail {
    fn add(&mut self, images: &[Digest], depth: u32) {
        for image in images {
            if self.seen.len() < MAX_FOLLOWED && self.seen.insert(*image) {
                self.waiting.push_back((*image, depth));
            }
        }
    }
}

impl Proxy {
    /// Looks for what the repository's bundles lead to. Gives what kept it from finding all there is, as the answer for a
    /// digest that is still not known.
    pub(super) async fn search(&self, contents: &Arc<Contents>, view: &View) -> Option<ProxyError> {
        let (target, repository) = (view.target.as_ref()?, &view.repository);
        let relocator = &self.0.relocator;
        let search = async {
            let (mut undecided, mut trail) = (None, Trail::default());
            for digest in relocator.known_originals(repository).await {
                let original = contents.manifest(&digest).await.map(|(manifest, _)| manifest);
                let relocated = self.relocate_found(contents, view, original, &mut trail, 1).await;
                undecided = undecided.or(relocated.err());
            }
            let tags = match relocator.candidate_tags(contents).await {
                Ok(tags) => tags,
                Err(error) => return Some(Undecided::Upstream { what: "listing the tags".to_owned(), error }),
            };
            for tag in tags {
                // Asked anew: a tag that has moved may be what the digest was made of.
                let original = self.original(contents, &tag, Demand::Asked).await.map(|(manifest, _)| manifest);
                let relocated = self.relocate_found(contents, view, original, &mut trail, 1).await;
                undecided = undecided.or(relocated.err());
            }
            while let Some((image, depth)) = trail.waiting.pop_front() {
                let followed = self.follow(contents, view, &image, &mut trail, depth).await;
                undecided = undecided.or(followed.err());
            }
            undecided
        };
        relocator.search(contents, target, search).await.map(ProxyError::from)
    }

    /// Relocates what a search found, and makes what belongs to it; the images it names are looked into next.
    async fn relocate_found(
        &self,
        contents: &Arc<Contents>,
        view: &View,
        original: Result<Manifest, ProxyError>,
        trail: &mut Trail,
        depth: u32,
    ) -> Result<(), Undecided> {
        let manifest = match original {
            Ok(manifest) => manifest,
            Err(ProxyError::NotFound { .. }) => return Ok(()),
            Err(ProxyError::Upstream(error)) => {
                return Err(Undecided::Upstream { what: "searching the repository".to_owned(), error });
            }
            Err(error) => return Err(Undecided::Internal(error.to_string())),
        };
        let Some(key) = RelocationKey::new(view, manifest.digest) else { return Ok(()) };
        let Answer::Relocated(colocated) = self.0.relocator.answer(contents, &key, &manifest).await? else {
            return Ok(());
        };
        self.0.relocator.grant_again(contents, &manifest, &colocated).await?;
        let Colocated { relocation, .. } = &colocated;
        trail.add(&relocation.images, depth);
        if relocation.complete {
            self.make_both_locations(contents, manifest, &colocated).await.map_err(unreadable)?;
        }
        self.provenance(contents, relocation).await.map_err(unreadable)?;
        Ok(())
    }

    /// Looks into an image that a lock names: what it is made of is granted as it is read, and if it is a bundle, it is
    /// relocated likewise.
    async fn follow(
        &self,
        contents: &Arc<Contents>,
        view: &View,
        image: &Digest,
        trail: &mut Trail,
        depth: u32,
    ) -> Result<(), Undecided> {
        let manifest = match contents.manifest(image).await {
            Ok((manifest, _)) => manifest,
            Err(ProxyError::NotFound { .. }) => return Ok(()),
            Err(error) => return Err(unreadable(error)),
        };
        if depth > MAX_NESTING {
            return Ok(());
        }
        match manifest.view() {
            Ok(ManifestView::Index { manifests }) => {
                let children: Vec<Digest> = manifests.iter().map(|child| child.digest).collect();
                trail.add(&children, depth + 1);
                Ok(())
            }
            _ if glance(&manifest).is_ok() => self.relocate_found(contents, view, Ok(manifest), trail, depth + 1).await,
            _ => Ok(()),
        }
    }
}
