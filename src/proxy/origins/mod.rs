//! Images at their origins: what can be pulled under a bundle's repository though it was never copied there.
//!
//! A lock is somebody's text, and this proxy has credentials and sees networks that its writer has not. So a lock never
//! decides where a request goes: an image's registry has to be configured, the pair of repositories allowed by
//! `relocation.from_origin`, and the origin itself has to give the image: to nobody in particular, unless the pair says
//! that credentials count.
//!
//! When a bundle is relocated with an image from its origin, that is written down as a *grant* (`grants`): under this
//! repository, that digest may be had from there. It says of a manifest's parts the same once the manifest was given out,
//! since they are what makes the image. A grant is a hint where to ask, not content: manifests and blobs are then those
//! of the origin repository, obtained from it or confirmed by it like any other ([`Contents`]), for a client that may
//! read that one, too. Nothing granted is ever recorded as the bundle's repository's own.
//!
//! A client that is not told apart by the upstream is judged by the rules ([`Rights`]); one that is, by the origin's
//! answer to its own credential, where that is for this registry, and to nobody's otherwise.

mod elsewhere;
mod grants;

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;

pub(super) use elsewhere::{Elsewhere, Obstacle};
use grants::Grant;
pub(super) use grants::Grants;

use super::contents::Contents;
use super::epoch::Epochs;
use super::error::ProxyError;
use super::reader::Reader;
use super::readers::{Probe, Readers};
use super::view::{Rights, View};
use crate::cache::Cache;
use crate::config::OriginRule;
use crate::imgpkg::ImageReference;
use crate::oci::{Digest, Manifest, RegistryName, Repository};
use crate::upstream::Upstream;

/// How many parts of one manifest are granted: more than any image has layers, or any index machines.
pub(super) const MAX_PARTS: usize = 512;

/// Which images may come from where.
#[derive(Clone, Debug, Default)]
pub struct OriginPolicy {
    /// The first pair that matches holds.
    pub rules: Vec<OriginRule>,
    /// Registries that see a certificate of the proxy's whoever asks, so that they never answer nobody.
    pub with_certificate: HashSet<RegistryName>,
}

impl OriginPolicy {
    /// The pairs for bundles in this repository, with their places in the list.
    pub fn about(&self, bundles: &Repository) -> impl Iterator<Item = (usize, &OriginRule)> {
        self.rules.iter().enumerate().filter(|(_, rule)| rule.bundles.matches(bundles))
    }
}

/// What the origins of all views have in common.
pub(super) struct OriginParts {
    pub(super) policy: OriginPolicy,
    pub(super) upstreams: Arc<HashMap<RegistryName, Arc<dyn Upstream>>>,
    pub(super) readers: Arc<Readers>,
    pub(super) cache: Cache,
    pub(super) deletions: Arc<Epochs>,
    grants: Arc<Grants>,
}

impl OriginParts {
    pub(super) fn new(
        policy: OriginPolicy,
        upstreams: Arc<HashMap<RegistryName, Arc<dyn Upstream>>>,
        readers: Arc<Readers>,
        cache: Cache,
        deletions: Arc<Epochs>,
        grants: Arc<Grants>,
    ) -> Self {
        Self { policy, upstreams, readers, grants, cache, deletions }
    }

    /// The bundle of the repository's own by whose lock `digest` is granted there.
    pub(super) async fn bundle_of(&self, repository: &Repository, digest: &Digest) -> Option<Digest> {
        self.grants.of(repository, digest).await.map(|grant| grant.bundle)
    }

    /// Takes back what is granted of `digest`: the repository has it itself.
    pub(super) async fn take_back(&self, repository: &Repository, digest: &Digest) -> io::Result<()> {
        self.grants.take_back(repository, digest).await
    }
}

/// The origins of the images that one client pulls under one repository.
pub(super) struct Origins {
    parts: Arc<OriginParts>,
    /// The bundles' repository.
    repository: Repository,
    reader: Option<Reader>,
    rights: Option<Rights>,
    /// Whether the names in this view's locks always lead back here.
    proxied: bool,
}

impl Origins {
    /// As `view` has them; none in the exact view.
    pub(super) fn of(parts: &Arc<OriginParts>, view: &View) -> Option<Self> {
        let View { repository, reader, rights, target, from_origin, .. } = view;
        target.is_some().then(|| Self {
            parts: Arc::clone(parts),
            repository: repository.clone(),
            reader: reader.clone(),
            rights: rights.clone(),
            proxied: *from_origin,
        })
    }

    /// The repository that a lock means, if its images may count; `None` for the bundle's own.
    pub(super) fn candidate(&self, reference: &ImageReference) -> Option<Result<Repository, Elsewhere>> {
        let elsewhere = |problem| {
            let place = format!("{}/{}", reference.registry, reference.repository);
            Some(Err(Elsewhere { place, problem }))
        };
        // Names that only imgpkg takes for names are none that any registry could be asked for.
        let (Ok(registry), Ok(name)) = (reference.registry.parse::<RegistryName>(), reference.repository.parse())
        else {
            return elsewhere(Obstacle::NotBehind);
        };
        let origin = registry.repository(&name);
        if origin == self.repository {
            return None;
        }
        if !self.parts.upstreams.contains_key(&registry) {
            return elsewhere(Obstacle::NotBehind);
        }
        Some(self.allowed(origin))
    }

    /// The repositories in files that have these images, wherever those came from.
    pub(super) async fn in_files(&self, images: &[Digest]) -> Vec<(Digest, Result<Repository, Elsewhere>)> {
        let mut found = Vec::new();
        for (registry, upstream) in self.parts.upstreams.iter().filter(|(_, upstream)| upstream.is_in_place()) {
            for (image, names) in upstream.holders(images).await {
                let origins = names.iter().map(|name| registry.repository(name));
                let origins = origins.filter(|origin| *origin != self.repository);
                found.extend(origins.map(|origin| (image, self.allowed(origin))));
            }
        }
        // Those that count first, and in the same order everywhere.
        found.sort_by_cached_key(|(image, origin)| match origin {
            Ok(origin) => (*image, false, origin.to_string()),
            Err(elsewhere) => (*image, true, elsewhere.place.clone()),
        });
        found
    }

    /// Whether a repository is one of files.
    pub(super) fn is_in_files(&self, repository: &Repository) -> bool {
        self.parts.upstreams.get(&repository.registry).is_some_and(|upstream| upstream.is_in_place())
    }

    /// An origin behind this proxy, if its images may count.
    fn allowed(&self, origin: Repository) -> Result<Repository, Elsewhere> {
        let problem = match self.rule(&origin) {
            None => Obstacle::NotAllowed,
            Some(rule) if !rule.credentials && self.parts.policy.with_certificate.contains(&origin.registry) => {
                Obstacle::Certificate
            }
            Some(_) if !self.proxied => Obstacle::NotProxied,
            Some(_) => return Ok(origin),
        };
        Err(Elsewhere { place: origin.to_string(), problem })
    }

    /// What a refusal by an origin means, as far as its registry was asked with the credentials there are.
    pub(super) fn refused(&self, origin: &Repository) -> Obstacle {
        let with_credentials = self.rule(origin).is_some_and(|rule| rule.credentials);
        if with_credentials { Obstacle::Refused } else { Obstacle::NotPublic }
    }

    /// An origin as it may be asked, whoever wants to know; `None` if it may not.
    pub(super) async fn open(&self, origin: &Repository) -> Option<Arc<Contents>> {
        let rule = self.rule(origin).filter(|_| self.proxied)?;
        let upstream = self.parts.upstreams.get(&origin.registry)?;
        if !rule.credentials && self.parts.policy.with_certificate.contains(&origin.registry) {
            return None;
        }
        let reader = self.reader_at(origin, rule);
        let face = match &reader {
            None => Some(Arc::clone(upstream)),
            Some(reader) => self.parts.readers.face(reader, &origin.registry, upstream).await,
        };
        // Files have no clients to tell apart, and no credentials either.
        let face = face.or_else(|| self.reader.is_none().then(|| Arc::clone(upstream)))?;
        Some(Arc::new(Contents {
            upstream: face,
            repository: origin.clone(),
            reader: reader.as_ref().map(Reader::key),
            payer: None,
            cache: self.parts.cache.clone(),
            deletions: Arc::clone(&self.parts.deletions),
        }))
    }

    /// Whether this client may read what an origin has. `probe` is what it wants there.
    ///
    /// # Errors
    /// When the origin cannot say now.
    pub(super) async fn may_read(&self, contents: &Contents, probe: Probe) -> Result<bool, ProxyError> {
        let origin = &contents.repository;
        if self.rights.as_ref().is_some_and(|rights| !rights.may_read(origin)) {
            return Ok(false);
        }
        if self.reader.is_none() {
            return Ok(true);
        }
        let Some(reader) = self.rule(origin).and_then(|rule| self.reader_at(origin, rule)) else { return Ok(false) };
        match self.parts.readers.admit(contents, &reader, async { probe }).await {
            Ok(()) => Ok(true),
            Err(error) if error.upstream_error().is_none_or(|error| error.is_refusal()) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Who may give `digest` in place of the bundles' repository, to this client.
    pub(super) async fn granted(&self, digest: &Digest, probe: Probe) -> Result<Option<Granted>, ProxyError> {
        let Some(Grant { bundle, origins }) = self.parts.grants.of(&self.repository, digest).await else {
            return Ok(None);
        };
        let (mut holders, mut trouble) = (Vec::new(), None);
        for origin in &origins {
            let Some(contents) = self.open(origin).await else { continue };
            match self.may_read(&contents, probe.clone()).await {
                Ok(true) => holders.push(contents),
                Ok(false) => {}
                Err(error) => trouble = Some(error),
            }
        }
        match trouble {
            Some(error) if holders.is_empty() => Err(error),
            _ => Ok((!holders.is_empty()).then_some(Granted { bundle, holders })),
        }
    }

    /// Where `digest` may be had, whoever wants to know.
    pub(super) async fn known(&self, digest: &Digest) -> Vec<Repository> {
        self.parts.grants.of(&self.repository, digest).await.map(|grant| grant.origins).unwrap_or_default()
    }

    /// The bundle of the repository's own by whose lock `digest` is there; itself, if it is not there by a grant.
    pub(super) async fn root(&self, digest: &Digest) -> Digest {
        self.parts.grants.of(&self.repository, digest).await.map_or(*digest, |grant| grant.bundle)
    }

    /// Grants an image that the lock of `bundle` names.
    pub(super) async fn grant(&self, image: &Digest, bundle: &Digest, origin: &Repository) -> io::Result<()> {
        let bundle = self.root(bundle).await;
        self.parts.grants.add(&self.repository, image, &bundle, origin).await
    }

    /// Grants what a granted manifest is made of.
    pub(super) async fn grant_parts(&self, manifest: &Manifest, bundle: &Digest, origin: &Repository) {
        for part in manifest.named().iter().take(MAX_PARTS) {
            if let Err(error) = self.parts.grants.add(&self.repository, &part.digest, bundle, origin).await {
                tracing::warn!(repository = %self.repository, digest = %part.digest, %error, "a grant could not be recorded");
            }
        }
    }

    /// Takes back all that was granted from an origin that is no longer for its readers.
    pub(super) async fn revoke(&self, origin: &Repository) {
        tracing::info!(repository = %self.repository, %origin, "an origin is no longer to be read; its grants are revoked");
        if let Err(error) = self.parts.grants.revoke(&self.repository, origin).await {
            tracing::warn!(repository = %self.repository, %origin, %error, "grants could not be revoked");
        }
    }

    fn rule(&self, origin: &Repository) -> Option<&OriginRule> {
        let mut about = self.parts.policy.about(&self.repository);
        about.find_map(|(_, rule)| rule.origins.matches(origin).then_some(rule))
    }

    /// As whom an origin is asked; `None` is the proxy itself.
    fn reader_at(&self, origin: &Repository, rule: &OriginRule) -> Option<Reader> {
        match &self.reader {
            None if rule.credentials => None,
            Some(reader) if rule.credentials && origin.registry == self.repository.registry => Some(reader.clone()),
            _ => Some(Reader::nobody()),
        }
    }
}

/// Who gives what the bundles' repository has not.
pub(super) struct Granted {
    /// By whose lock, of the repository's own bundles.
    pub(super) bundle: Digest,
    /// At least one, in the order in which they are asked.
    pub(super) holders: Vec<Arc<Contents>>,
}
