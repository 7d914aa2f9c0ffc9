//! Taking content out of a cache.

use std::collections::{HashMap, HashSet};
use std::io;

use super::event::Event;
use super::teller::Teller;
use super::{Means, Wanted};
use crate::oci::{Digest, ManifestView, Reference, Repository};
use crate::proxy::contents::cached_manifest;
use crate::proxy::tag;

/// Which content was pinned, and by what names.
type Pins = HashMap<Digest, Vec<String>>;

impl Means {
    /// Takes out what digests and references name.
    pub(super) async fn remove(&self, what: &[String], force: bool, teller: &Teller) {
        let pins = match self.pins().await {
            Ok(pins) => pins,
            // Without them, what is pinned would go.
            Err(error) => return teller.failed("the pins", &error).await,
        };
        for text in what {
            let done = match text.parse::<Digest>() {
                Ok(digest) => self.remove_digest(&digest, &pins, force, teller).await,
                Err(_) => {
                    let Some(wanted) = self.wanted(text, teller).await else { continue };
                    self.remove_reference(text, &wanted, &pins, force, teller).await
                }
            };
            if let Err(error) = done {
                teller.failed(text, &error).await;
            }
        }
    }

    async fn remove_digest(&self, digest: &Digest, pins: &Pins, force: bool, teller: &Teller) -> io::Result<()> {
        if let Some(problem) = self.pinned(digest, pins).filter(|_| !force) {
            teller.problem(digest, problem).await;
        } else if !self.take_out(digest, teller).await? {
            teller.problem(digest, NOT_THERE).await;
        }
        Ok(())
    }

    /// Takes out a manifest and what it names, and forgets the tag if it was named by one. What is shared with
    /// something that is pinned stays.
    async fn remove_reference(
        &self,
        text: &str,
        wanted: &Wanted,
        pins: &Pins,
        force: bool,
        teller: &Teller,
    ) -> io::Result<()> {
        let (repository, reference) = (&wanted.view.repository, &wanted.reference);
        let manifest = match reference {
            Reference::Digest(digest) => Some(*digest),
            Reference::Tag(tag) => tag::known(&self.cache, repository, tag).await?,
        };
        let Some(manifest) = manifest else {
            teller.problem(text, NOT_THERE).await;
            return Ok(());
        };
        if let Some(problem) = self.pinned(&manifest, pins).filter(|_| !force) {
            teller.problem(text, problem).await;
            return Ok(());
        }
        // Looked up before anything goes: what they name is in the manifests.
        let digests = self.named(repository, manifest).await?;
        let mut removed = 0;
        if let Reference::Tag(tag) = reference {
            self.cache.delete(&tag::key(repository, tag)).await?;
            teller.tell(Event::Forgotten { repository: repository.clone(), tag: tag.clone() }).await;
            removed += 1;
        }
        for digest in digests {
            if !force && self.pinned(&digest, pins).is_some() {
                teller.tell(Event::Spared { digest }).await;
            } else {
                removed += usize::from(self.take_out(&digest, teller).await?);
            }
        }
        if removed == 0 {
            teller.problem(text, NOT_THERE).await;
        }
        Ok(())
    }

    /// A manifest with all that it names, as far as that is in the cache: an index's images, a config and layers.
    /// Not the images of a lock, which are images of their own.
    async fn named(&self, repository: &Repository, manifest: Digest) -> io::Result<Vec<Digest>> {
        let (mut named, mut seen, mut open) = (Vec::new(), HashSet::from([manifest]), vec![manifest]);
        while let Some(digest) = open.pop() {
            named.push(digest);
            let Some(manifest) = cached_manifest(&self.cache, repository, &digest).await? else { continue };
            match manifest.view() {
                Ok(ManifestView::Index { manifests }) => {
                    open.extend(manifests.iter().map(|child| child.digest).filter(|child| seen.insert(*child)));
                }
                Ok(ManifestView::Image { config, layers }) => {
                    let parts = [config].into_iter().chain(layers).map(|part| part.digest);
                    named.extend(parts.filter(|part| seen.insert(*part)));
                }
                Ok(ManifestView::Other) | Err(_) => {}
            }
        }
        Ok(named)
    }

    async fn take_out(&self, digest: &Digest, teller: &Teller) -> io::Result<bool> {
        let Some(bytes) = self.cache.content(digest).await.map(|reader| reader.size()) else { return Ok(false) };
        self.cache.remove(digest).await?;
        teller.tell(Event::Removed { digest: *digest, bytes }).await;
        Ok(true)
    }

    /// Why content is not to go, if it is pinned.
    fn pinned(&self, digest: &Digest, pins: &Pins) -> Option<String> {
        match pins.get(digest) {
            Some(names) => Some(format!("is pinned as {}; unpin it first, or force it", names.join(" and "))),
            // Held by something that is being pulled.
            None => self.cache.is_pinned(digest).then(|| "is in use by another task; force it, or wait".to_owned()),
        }
    }
}

const NOT_THERE: &str = "is not in the cache";
