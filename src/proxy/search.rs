//! Finding again what nobody here remembers: a digest that another replica made, or that was granted before the cache was
//! lost.
//!
//! Everything made here can be made again from the bundles in the repository, and everything granted follows from their
//! locks. So before such a digest is answered with 404, the repository's bundles are relocated for this client; and if
//! that was not it, the bundles that these name are, too, what their images are made of is granted again, and what belongs
//! to bundles is made. For CNAB bundles, what is granted and made follows from their indexes likewise. That is dear: each is done once for a repository and target, and then not again for a while, whoever
//! asks.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use super::Proxy;
use super::by_digest::{ABlob, AManifest};
use super::cnab::undecided;
use super::error::ProxyError;
use super::made::Kinds;
use super::relocation::{Answer, Colocated, Depth, MAX_NESTING, MAX_TAGS, RelocationKey, grant};
use super::sources::Sources;
use super::tag::Demand;
use super::undecided::Undecided;
use super::view::View;
use crate::cnab::Index;
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
    /// Looks for `digest` in what the repository's bundles lead to. Gives what kept it from finding all there is, as the
    /// answer for a digest that is still not known.
    pub(super) async fn search(&self, view: &View, digest: &Digest) -> Option<ProxyError> {
        let (target, relocator) = (view.target.as_ref()?, &self.0.relocator);
        // Everybody profits from it, and serves nobody by itself: what may be served is judged afterwards.
        let view = &View { rights: None, ..view.clone() };
        let contents = &self.contents(view).await.ok()?;
        let near = relocator.search(contents, target, Depth::Bundles, self.relocate_all(contents, view)).await;
        if self.is_found(contents, view, digest).await {
            return None;
        }
        let far = relocator.search(contents, target, Depth::Images, self.follow_all(contents, view)).await;
        near.or(far).map(ProxyError::from)
    }

    /// Whether a search has made it, or granted it.
    async fn is_found(&self, contents: &Sources, view: &View, digest: &Digest) -> bool {
        self.part::<AManifest>(view, digest).await.is_some()
            || self.part::<ABlob>(view, digest).await.is_some()
            || match &contents.origins {
                Some(origins) => !origins.known(digest).await.is_empty(),
                None => false,
            }
    }

    /// Relocates the repository's bundles: those that were before, and those behind its tags.
    async fn relocate_all(&self, contents: &Arc<Sources>, view: &View) -> Option<Undecided> {
        let (relocator, mut undecided) = (&self.0.relocator, None);
        for digest in relocator.known_originals(&view.repository).await {
            let original = contents.manifest(&digest).await.map(|(manifest, _)| manifest);
            undecided = undecided.or(self.relocate_found(contents, view, original).await.err());
        }
        let tags = match relocator.candidate_tags(contents).await {
            Ok(tags) => tags,
            Err(error) => return Some(Undecided::Upstream { what: "listing the tags".to_owned(), error }),
        };
        for tag in tags {
            // Asked anew: a tag that has moved may be what the digest was made of.
            let original = self.original(contents, &tag, Demand::Asked).await.map(|(manifest, _)| manifest);
            undecided = undecided.or(self.relocate_found(contents, view, original).await.err());
        }
        undecided
    }

    /// Looks into what the bundles name that were relocated, and makes what belongs to them.
    async fn follow_all(&self, contents: &Arc<Sources>, view: &View) -> Option<Undecided> {
        let (mut undecided, mut trail) = (None, Trail::default());
        for digest in self.0.relocator.known_originals(&view.repository).await {
            let original = contents.manifest(&digest).await.map(|(manifest, _)| manifest);
            undecided = undecided.or(self.follow_bundle(contents, view, original, &mut trail, 1).await.err());
        }
        trail.add(&self.0.cnab.all_granted(&view.repository, MAX_TAGS).await, 1);
        while let Some((image, depth)) = trail.waiting.pop_front() {
            if let Err(error) = self.follow(contents, view, &image, &mut trail, depth).await {
                // Whatever is the matter with it, it is with this one.
                tracing::debug!(repository = %view.repository, %image, %error, "an image is not looked into");
            }
        }
        undecided
    }

    /// Relocates what a search found, and has its images granted again if that is lost.
    async fn relocate_found(
        &self,
        contents: &Arc<Sources>,
        view: &View,
        original: Result<Manifest, ProxyError>,
    ) -> Result<Option<(Manifest, Colocated)>, Undecided> {
        let manifest = match original {
            Ok(manifest) => manifest,
            Err(ProxyError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(undecided(error, "searching the repository")),
        };
        if let Some(index) = Index::of(&manifest) {
            return self.found_cnab(contents, view, &manifest, &index).await.map(|()| None);
        }
        let Some(key) = RelocationKey::new(view, manifest.digest) else { return Ok(None) };
        let Answer::Relocated(colocated) = self.0.relocator.answer(contents, &key, &manifest).await? else {
            return Ok(None);
        };
        grant(contents, &manifest.digest, &colocated.origins).await;
        Ok(Some((manifest, colocated)))
    }

    /// Makes what belongs to a bundle; the images it names are looked into next.
    async fn follow_bundle(
        &self,
        contents: &Arc<Sources>,
        view: &View,
        original: Result<Manifest, ProxyError>,
        trail: &mut Trail,
        depth: u32,
    ) -> Result<(), Undecided> {
        let Some((manifest, colocated)) = self.relocate_found(contents, view, original).await? else { return Ok(()) };
        let relocation = Arc::clone(&colocated.relocation);
        // What the repository itself has needs nobody to say what it is made of.
        let mut images: Vec<Digest> = colocated.origins.iter().flat_map(|origin| origin.images.clone()).collect();
        let original = manifest.digest;
        if relocation.complete
            && (!images.is_empty() || Kinds::recorded(&contents.cache, &view.repository, &original).await.is_some())
            && let Err(error) = self.make_both_locations(contents, manifest, &colocated).await
        {
            // Which says nothing of any other digest.
            tracing::debug!(repository = %view.repository, %original, %error, "no locations image is made");
        }
        if let Err(error) = self.provenance(contents, &relocation).await {
            tracing::debug!(repository = %view.repository, %original, %error, "what it was made of is not told");
        }
        if let Some(kinds) = Kinds::recorded(&contents.cache, &view.repository, &original).await {
            images.extend(relocation.images.iter().filter(|image| kinds.is_bundle(image)));
        }
        trail.add(&images, depth);
        Ok(())
    }

    /// Looks into an image that a lock names: what it is made of is granted as it is read, and if it is a bundle, it is
    /// relocated likewise.
    async fn follow(
        &self,
        contents: &Arc<Sources>,
        view: &View,
        image: &Digest,
        trail: &mut Trail,
        depth: u32,
    ) -> Result<(), ProxyError> {
        let (manifest, _) = contents.manifest(image).await?;
        if depth > MAX_NESTING {
            return Ok(());
        }
        match manifest.view() {
            Ok(ManifestView::Index { manifests }) => {
                let children: Vec<Digest> = manifests.iter().map(|child| child.digest).collect();
                trail.add(&children, depth + 1);
                Ok(())
            }
            // For most images that is settled by a glance.
            _ => Ok(self.follow_bundle(contents, view, Ok(manifest), trail, depth + 1).await?),
        }
    }
}
