//! A second look: whether the images of a relocated bundle are still where they were.

use std::sync::Arc;

use super::answer::{Answer, Colocated, Why};
use super::record::{Relocation, RelocationKey};
use super::verdict::{Extent, Sought, verdict};
use super::{LOOK_AGAIN_AFTER_TROUBLE, Relocator};
use crate::oci::{Digest, Manifest};
use crate::proxy::contents::Contents;
use crate::proxy::origins::{Elsewhere, Obstacle};
use crate::proxy::undecided::Undecided;
use crate::upstream::UpstreamError;

impl Relocator {
    /// Looks whether the images of a relocated bundle are still there; only an image confirmed gone changes the
    /// answer.
    pub(super) fn look_again(
        self: &Arc<Self>,
        contents: &Arc<Contents>,
        key: &RelocationKey,
        manifest: &Manifest,
        colocated: &Colocated,
    ) {
        let this = Arc::clone(self);
        let (contents, colocated) = (Arc::clone(contents), colocated.clone());
        let (own_key, original) = (key.clone(), manifest.digest);
        self.flights.join(key, self.clock.now(), None, |_| async move {
            let gone = this.gone(&contents, original, &own_key, &colocated.relocation).await;
            let recorded = match &gone {
                Ok(Some(why)) => {
                    tracing::info!(repository = %own_key.repository, original = %own_key.original, %why, "no longer relocated");
                    this.metrics.answer_changed("relocated_to_original");
                    this.memory.withdraw(&own_key, contents.reader, why, this.limits.negative_ttl).await
                }
                Ok(None) => this.memory.seen(&own_key, &colocated).await,
                // Not with the next request again: an upstream in trouble is not helped by that.
                Err(_) => {
                    let answer = Answer::Relocated(colocated.clone());
                    this.memory.hold(&own_key, contents.reader, &answer, LOOK_AGAIN_AFTER_TROUBLE);
                    Ok(())
                }
            };
            if let Err(error) = recorded {
                tracing::warn!(%error, "a relocation could not be recorded");
            }
            match gone {
                Ok(Some(why)) => Ok(Answer::Original(why)),
                Ok(None) | Err(_) => Ok(Answer::Relocated(colocated)),
            }
        });
    }

    async fn gone(
        &self,
        contents: &Arc<Contents>,
        original: Digest,
        key: &RelocationKey,
        relocation: &Relocation,
    ) -> Result<Option<Why>, Undecided> {
        let mut images = Vec::with_capacity(relocation.images.len());
        for image in &relocation.images {
            images.push(Sought::again(*image, contents, key.from_origin).await);
        }
        let verdict = verdict(contents, original, images, self.limits.effort(), Extent::UntilMissing).await;
        let Some((image, elsewhere)) = verdict.missing() else { return verdict.undecided().map_or(Ok(None), Err) };
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
        Ok(Some(Why::Missing { image, elsewhere: elsewhere.to_vec() }))
    }
}
