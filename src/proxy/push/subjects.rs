//! Referrers in a registry that lists none: the index is kept under the tag that stands in for the list (distribution spec,
//! "Referrers Tag Schema").
//!
//! Clients keep it themselves where a registry does not list referrers. But this proxy always lists them, from that tag if need
//! be, so clients leave it to the registry, and so to the proxy. Two at the same index take turns here; with others, who keep
//! it past this proxy, the last one wins, as among clients.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use moka::future::Cache;
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;

use crate::oci::{Digest, MAX_MANIFEST_BYTES, Manifest, MediaType, Reference, Repository, Tag, referrer_of};
use crate::proxy::Proxy;
use crate::proxy::error::{ProxyError, Subject};
use crate::proxy::sources::Sources;
use crate::upstream::{Change, UpstreamError};

/// Lists that are kept at one time, and for longer than that takes.
const MAX_LISTS: u64 = 10_000;
const IDLE: Duration = Duration::from_secs(600);

/// Whose turn it is to keep a list.
pub(in crate::proxy) struct Lists(Cache<(Repository, Digest), Arc<Mutex<()>>>);

impl Lists {
    pub(in crate::proxy) fn new() -> Self {
        Self(Cache::builder().max_capacity(MAX_LISTS).time_to_idle(IDLE).build())
    }
}

/// What becomes of a list.
enum Edit {
    Add(Map<String, Value>),
    Remove(Digest),
}

impl Proxy {
    /// Lists a manifest that was put, if it has a subject and the upstream said nothing of it. Gives the subject of one that is
    /// listed.
    pub(super) async fn list_referrer(
        &self,
        contents: &Sources,
        manifest: &Manifest,
        said: Option<Digest>,
    ) -> Result<Option<Digest>, ProxyError> {
        if said.is_some() {
            return Ok(said);
        }
        let Some((subject, descriptor)) = referrer_of(manifest) else { return Ok(None) };
        self.edit(contents, subject, Edit::Add(descriptor)).await.map(|listed| listed.then_some(subject))
    }

    /// The same for one that is gone.
    pub(super) async fn unlist_referrer(&self, contents: &Sources, manifest: &Manifest) -> Result<(), ProxyError> {
        let Some((subject, _)) = referrer_of(manifest) else { return Ok(()) };
        self.edit(contents, subject, Edit::Remove(manifest.digest)).await.map(|_| ())
    }

    /// Edits the list of a subject, where the upstream does not keep it. Says whether that is kept so.
    async fn edit(&self, contents: &Sources, subject: Digest, edit: Edit) -> Result<bool, ProxyError> {
        let (upstream, repository) = (&contents.upstream, &contents.repository);
        if upstream.referrers(&repository.name, &subject, None).await?.is_some() {
            return Ok(false);
        }
        let turn = self.0.lists.0.get_with((repository.clone(), subject), async { Arc::default() }).await;
        let _turn = turn.lock().await;
        let reference = Reference::Tag(Tag::of_referrers(&subject));
        let before = match upstream.manifest(&repository.name, &reference).await {
            Ok(index) => Some(index),
            Err(UpstreamError::NotFound) => None,
            Err(error) => return Err(ProxyError::upstream(error, Subject::Manifest, &repository.name)),
        };
        let Some(after) = edited(before.as_ref(), edit) else {
            tracing::warn!(%repository, %subject, "the tag for a list of referrers is something else, or full; it stays");
            return Ok(false);
        };
        if before.is_none_or(|before| before.bytes != after) {
            let media_type = &MediaType::ImageIndex;
            self.change(contents, Change::Manifest { reference: &reference, media_type, bytes: after }).await?;
        }
        Ok(true)
    }
}

/// The list with one more, or less; `None` if it is no list, or would get too long. What else it says stays.
fn edited(before: Option<&Manifest>, edit: Edit) -> Option<Bytes> {
    let mut index = match before {
        None => json!({"schemaVersion": 2, "mediaType": MediaType::ImageIndex.as_ref(), "manifests": []}),
        Some(before) if before.media_type == MediaType::ImageIndex => serde_json::from_slice(&before.bytes).ok()?,
        Some(_) => return None,
    };
    let manifests = index.get_mut("manifests")?.as_array_mut()?;
    let is = |descriptor: &Value, digest: &str| descriptor.get("digest").and_then(Value::as_str) == Some(digest);
    match edit {
        Edit::Add(descriptor) => {
            let descriptor = Value::Object(descriptor);
            if !manifests.contains(&descriptor) {
                let digest = descriptor.get("digest").and_then(Value::as_str).unwrap_or_default().to_owned();
                manifests.retain(|other| !is(other, &digest));
                manifests.push(descriptor);
            }
        }
        Edit::Remove(digest) => manifests.retain(|other| !is(other, &digest.to_string())),
    }
    let after = Bytes::from(index.to_string());
    (after.len() <= MAX_MANIFEST_BYTES).then_some(after)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests {
    use super::*;

    fn descriptor(of: &str) -> Map<String, Value> {
        json!({"digest": Digest::of(of.as_bytes()).to_string(), "size": 1}).as_object().unwrap().clone()
    }

    fn index(bytes: Bytes) -> Manifest {
        Manifest { digest: Digest::of(&bytes), media_type: MediaType::ImageIndex, bytes }
    }

    #[test]
    fn lists_grow_and_shrink_and_keep_what_else_they_say() {
        let one = edited(None, Edit::Add(descriptor("a"))).unwrap();
        let two = edited(Some(&index(one.clone())), Edit::Add(descriptor("b"))).unwrap();
        let again = edited(Some(&index(two.clone())), Edit::Add(descriptor("a"))).unwrap();
        assert_eq!(again, two);
        let back = edited(Some(&index(two)), Edit::Remove(Digest::of(b"b"))).unwrap();
        assert_eq!(back, one);
        let annotated = Bytes::from(r#"{"annotations":{"x":"y"},"manifests":[],"schemaVersion":2}"#);
        let text = edited(Some(&index(annotated)), Edit::Add(descriptor("a"))).unwrap();
        assert!(text.starts_with(br#"{"annotations":{"x":"y"},"manifests":[{"digest""#));
    }

    #[test]
    fn what_is_no_list_stays() {
        let image = Manifest { media_type: MediaType::ImageManifest, ..index(Bytes::from_static(b"{}")) };
        for other in [image, index(Bytes::from_static(b"{}")), index(Bytes::from_static(b"x"))] {
            assert_eq!(edited(Some(&other), Edit::Add(descriptor("a"))), None);
        }
    }
}
