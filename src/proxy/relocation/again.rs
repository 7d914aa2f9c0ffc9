//! A second look: whether the images of a relocated bundle are still where they were.

use std::sync::Arc;

use super::answer::{Answer, Colocated, Why};
use super::granting::grant;
use super::record::RelocationKey;
use super::verdict::{Extent, Sought, verdict};
use super::{LOOK_AGAIN_AFTER_TROUBLE, Relocator, Settled};
use crate::oci::Manifest;
use crate::proxy::flights::Flight;
use crate::proxy::origins::{Elsewhere, Obstacle};
use crate::proxy::sources::Sources;
use crate::proxy::undecided::Undecided;
use crate::upstream::UpstreamError;

impl Relocator {
    /// Looks whether the images of a relocated bundle are still there; only an image confirmed gone changes the
    /// answer. Whoever waits for it gets that one.
    pub(super) fn look_again(
        self: &Arc<Self>,
        contents: &Arc<Sources>,
        key: &RelocationKey,
        manifest: &Manifest,
        colocated: &Colocated,
    ) -> Flight<Settled> {
        let this = Arc::clone(self);
        let (contents, colocated) = (Arc::clone(contents), colocated.clone());
        let (own_key, manifest) = (key.clone(), manifest.clone());
        self.flights.join(key, self.clock.now(), None, |_| async move {
            let before = contents.deletions.of(&own_key.repository).await;
            let looked = this.look(&contents, &own_key, &manifest, &colocated).await;
            let (settled, recorded) = match looked {
                Ok(Looked::Gone(why)) => {
                    tracing::info!(repository = %own_key.repository, original = %own_key.original, %why, "no longer relocated");
                    this.metrics.answer_changed("relocated_to_original");
                    let hold = this.limits.negative_ttl;
                    let recorded = this.memory.withdraw(&own_key, contents.reader, &why, hold).await;
                    (Answer::Original(why), recorded)
                }
                Ok(Looked::There(colocated)) => {
                    let recorded = match contents.deletions.still(&own_key.repository, before).await {
                        Some(_still) => this.memory.seen(&own_key, &colocated).await,
                        // Whether it still stands is found out by the next.
                        None => Ok(()),
                    };
                    (Answer::Relocated(colocated), recorded)
                }
                // Not with the next request again: an upstream in trouble is not helped by that.
                Err(_) => {
                    let answer = Answer::Relocated(colocated);
                    this.memory.hold(&own_key, contents.reader, &answer, LOOK_AGAIN_AFTER_TROUBLE);
                    (answer, Ok(()))
                }
            };
            if let Err(error) = recorded {
                tracing::warn!(%error, "a relocation could not be recorded");
            }
            Ok(settled)
        })
    }

    async fn look(
        &self,
        contents: &Arc<Sources>,
        key: &RelocationKey,
        manifest: &Manifest,
        colocated: &Colocated,
    ) -> Result<Looked, Undecided> {
        let (original, effort) = (manifest.digest, self.limits.effort());
        let first = verdict(contents, original, Sought::again(colocated), effort, Extent::UntilMissing).await;
        if first.missing().is_none() {
            return first.undecided().map_or_else(|| Ok(Looked::There(colocated.clone())), Err);
        }
        // The lock may know other places for it.
        let Ok(lock) = self.lock_of(contents, manifest).await? else {
            return Err(Undecided::Internal("the bundle's lock can no longer be read".to_owned()));
        };
        let images = Sought::of(&lock, contents, key.from_origin).await;
        let second = verdict(contents, original, images, effort, Extent::Whole).await;
        let Some((image, elsewhere)) = second.missing() else {
            if let Some(cause) = second.undecided() {
                return Err(cause);
            }
            let colocated = Colocated { origins: second.at_origins(), ..colocated.clone() };
            grant(contents, &original, &colocated.origins).await;
            return Ok(Looked::There(colocated));
        };
        if elsewhere.iter().any(|elsewhere| elsewhere.problem == Obstacle::Refused) && contents.reader.is_some() {
            // Which is about the client that it was asked for.
            let what = format!("looking for the image {image}");
            return Err(Undecided::Upstream { what, error: UpstreamError::Denied });
        }
        if let Some(origins) = &contents.origins {
            for Elsewhere { place, .. } in elsewhere.iter().filter(|it| it.problem == Obstacle::NotPublic) {
                if let Ok(origin) = place.parse() {
                    origins.revoke(&origin).await;
                }
            }
        }
        Ok(Looked::Gone(Why::Missing { image, elsewhere: elsewhere.to_vec() }))
    }
}

/// What a second look finds.
enum Looked {
    /// All of them, perhaps at other places.
    There(Colocated),
    /// Not all.
    Gone(Why),
}
