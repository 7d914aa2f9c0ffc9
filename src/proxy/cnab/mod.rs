//! CNAB bundles. They pass byte for byte, since their clients name images by the repository that they asked; what is done
//! on top of that is here.
//!
//! `read` follows an index to its `bundle.json`. What that names by digest and the index does not list is looked for at its
//! origin and granted (`images`), by the rules for images of locks (`origins`): behind the answer when the index is pulled,
//! and when such a digest is asked for and unknown (`search`). The relocation map that clients make is made here, too, for
//! those that do not ([`RelocationMapArtifact`]). Whatever is odd about a bundle, its bytes pass, and only these things are
//! left out; why is told by `explain`, and in the log.

mod images;
mod looks;
mod odd;
mod read;

pub(super) use images::missing_from;
pub(super) use looks::Cnab;
pub(super) use odd::Odd;
pub(super) use read::read;

use std::sync::Arc;

use super::Proxy;
use super::error::ProxyError;
use super::made::RelocationMapArtifact;
use super::sources::Sources;
use super::undecided::Undecided;
use super::view::View;
use crate::cnab::{BundleFile, Index, RelocationMap};
use crate::imgpkg::Target;
use crate::oci::{Manifest, is_index};
use crate::telemetry::carry;

impl Proxy {
    /// Has the images looked for that a CNAB bundle names and does not list, behind the answer: its client will want them
    /// next. Where that is not done now, it is when one is asked for.
    pub(super) fn look_ahead(&self, contents: &Arc<Sources>, view: &View, manifest: &Manifest) {
        let wanted = view.target.is_some() && view.from_origin && !view.is_pushing && is_index(&manifest.media_type);
        if !wanted {
            return;
        }
        let Some(turn) = self.0.cnab.turn_ahead(contents, &manifest.digest) else { return };
        let (this, contents, manifest) = (self.clone(), Arc::clone(contents), manifest.clone());
        tokio::spawn(carry(async move {
            let Some(index) = Index::of(&manifest) else { return turn.settled() };
            let looked = async {
                match read(&contents, &index).await? {
                    Ok(file) => this.find_images(&contents, &manifest, &index, &file, turn).await.map_err(Into::into),
                    Err(odd) => {
                        turn.odd();
                        tell(&contents, &manifest, &odd);
                        Ok(())
                    }
                }
            };
            tokio::select! {
                looked = looked => if let Err::<(), ProxyError>(error) = looked {
                    tracing::debug!(repository = %contents.repository, digest = %manifest.digest, %error, "a CNAB bundle is not looked into");
                },
                () = contents.cache.clock().sleep(this.0.relocator.limits().deadline) => {}
            }
        }));
    }

    /// What a search does with a CNAB bundle that it finds: what its images are granted by is looked for, and its map made.
    pub(super) async fn found_cnab(
        &self,
        contents: &Arc<Sources>,
        view: &View,
        manifest: &Manifest,
        index: &Index,
    ) -> Result<(), Undecided> {
        let file = match read(contents, index).await.map_err(|error| undecided(error, "reading a CNAB bundle"))? {
            Ok(file) => file,
            Err(odd) => {
                tell(contents, manifest, &odd);
                return Ok(());
            }
        };
        if let Some(target) = &view.target {
            match self.map_of(contents, target, manifest, index, &file).await {
                Ok(Ok(_)) => {}
                Ok(Err(odd)) => tell(contents, manifest, &odd),
                Err(error) => return Err(undecided(error, "making a relocation map")),
            }
        }
        // By names that do not always lead here, none counts, and what is remembered is for all views.
        if !view.from_origin {
            return Ok(());
        }
        let Some(turn) = self.0.cnab.turn(contents, &manifest.digest).await else {
            return Err(Undecided::Internal("too many CNAB bundles are being looked into".to_owned()));
        };
        if let Some(looked) = turn.stands() {
            return looked;
        }
        self.find_images(contents, manifest, index, &file, turn).await
    }

    /// The relocation map of a manifest, if that is a CNAB bundle for which there is one.
    pub(super) async fn relocation_map(
        &self,
        contents: &Sources,
        target: &Target,
        manifest: &Manifest,
    ) -> Result<Option<RelocationMapArtifact>, ProxyError> {
        let Some(index) = Index::of(manifest) else { return Ok(None) };
        if let Some(map) = RelocationMapArtifact::recorded(contents, &manifest.digest, target).await {
            return Ok(Some(map));
        }
        let made = match read(contents, &index).await? {
            Ok(file) => self.map_of(contents, target, manifest, &index, &file).await?,
            Err(odd) => Err(odd),
        };
        Ok(made.inspect_err(|odd| tell(contents, manifest, odd)).ok())
    }

    async fn map_of(
        &self,
        contents: &Sources,
        target: &Target,
        manifest: &Manifest,
        index: &Index,
        file: &BundleFile,
    ) -> Result<Result<RelocationMapArtifact, Odd>, ProxyError> {
        if let Some(map) = RelocationMapArtifact::recorded(contents, &manifest.digest, target).await {
            return Ok(Ok(map));
        }
        let before = contents.deletions.of(&contents.repository).await;
        let map = match RelocationMap::new(index, file, &target.endpoint, &target.repository) {
            Ok(map) => map,
            Err(error) => return Ok(Err(error.into())),
        };
        let limit = self.0.relocator.limits().max_targets;
        if RelocationMapArtifact::others(contents, &manifest.digest, target).await? >= limit {
            return Ok(Err(Odd::TooManyTargets(limit)));
        }
        let artifact = RelocationMapArtifact::of(manifest, &map);
        // What was deleted meanwhile may be the bundle.
        if let Some(_still) = contents.deletions.still(&contents.repository, before).await {
            artifact.keep(contents, &manifest.digest, target).await?;
        }
        Ok(Ok(artifact))
    }
}

fn tell(contents: &Sources, manifest: &Manifest, odd: &Odd) {
    tracing::debug!(repository = %contents.repository, digest = %manifest.digest, %odd, "a CNAB bundle without a relocation map");
}

/// What it means for a search that something failed.
pub(super) fn undecided(error: ProxyError, what: &str) -> Undecided {
    match error {
        ProxyError::Undecided(cause) => cause,
        ProxyError::Upstream(error) => Undecided::Upstream { what: what.to_owned(), error },
        error => Undecided::Internal(error.to_string()),
    }
}
