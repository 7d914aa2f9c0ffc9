//! Referrers in a registry that lists none: the index is kept under the tag that stands in for the list (distribution spec,
//! "Referrers Tag Schema").
//!
//! Clients keep it themselves where a registry does not list referrers. But this proxy always lists them, from that tag if need
//! be, so clients leave it to the registry, and so to the proxy. Two at the same index take turns here; with others, who keep
//! it past this proxy, the last one wins, as among clients.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use moka::future::Cache;
use moka::policy::EvictionPolicy;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
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
pub(in crate::proxy) struct SubjectTurns(Cache<(Repository, Digest), Arc<Mutex<()>>>);

impl SubjectTurns {
    pub(in crate::proxy) fn new() -> Self {
        let turns = Cache::builder().max_capacity(MAX_LISTS).time_to_idle(IDLE);
        Self(turns.eviction_policy(EvictionPolicy::lru()).build())
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
        match self.edit(contents, subject, Edit::Add(descriptor)).await {
            Ok(listed) => Ok(listed.then_some(subject)),
            // It is worth sending again; what was put may be put twice.
            Err(error) if error.upstream_error().is_some_and(|error| error.is_transient() && !error.is_refusal()) => {
                Err(error)
            }
            Err(error) => {
                let repository = &contents.repository;
                tracing::warn!(%repository, %subject, %error, "a referrer could not be listed");
                Ok(None)
            }
        }
    }

    /// The same for one that is gone, which it is whatever becomes of the list.
    pub(super) async fn unlist_referrer(&self, contents: &Sources, manifest: &Manifest) {
        let Some((subject, _)) = referrer_of(manifest) else { return };
        if let Err(error) = self.edit(contents, subject, Edit::Remove(manifest.digest)).await {
            let repository = &contents.repository;
            tracing::warn!(%repository, %subject, %error, "a referrer that is gone is listed still");
        }
    }

    /// Edits the list of a subject, where the upstream does not keep it. Says whether that is kept so.
    async fn edit(&self, contents: &Sources, subject: Digest, edit: Edit) -> Result<bool, ProxyError> {
        let (upstream, repository) = (&contents.upstream, &contents.repository);
        if upstream.referrers(&repository.name, &subject, None).await?.is_some() {
            return Ok(false);
        }
        let turn =
            self.0.shared.subject_turns.0.get_with((repository.clone(), subject), async { Arc::default() }).await;
        let _turn = turn.lock().await;
        let tag = Tag::of_referrers(&subject);
        let reference = Reference::Tag(tag.clone());
        let before = match upstream.manifest(&repository.name, &reference).await {
            Ok(index) => Some(index),
            Err(UpstreamError::NotFound) => None,
            Err(error) => return Err(ProxyError::upstream(error, Subject::Manifest, &repository.name)),
        };
        match edited(before.as_ref(), edit) {
            Edited::Same => {}
            Edited::Changed(after) => {
                let (media_type, bytes) = (&MediaType::ImageIndex, Bytes::from(after));
                self.change(contents, Change::Manifest { reference: &reference, media_type, bytes }).await?;
                self.0.tags.changed(repository, Some(&tag)).await;
            }
            Edited::Not => {
                tracing::warn!(%repository, %subject, "the tag for a list of referrers is something else, or full; it stays");
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// What an edit comes to.
#[derive(Debug, PartialEq, Eq)]
enum Edited {
    /// It is so already.
    Same,
    /// The list is this now.
    Changed(String),
    /// It is no list, or would get too long.
    Not,
}

#[derive(Deserialize)]
struct Index<'a> {
    #[serde(borrow)]
    manifests: &'a RawValue,
}

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    digest: Cow<'a, str>,
}

/// Edits a list in its own text: what else it says stays as it is written.
fn edited(before: Option<&Manifest>, edit: Edit) -> Edited {
    let empty = format!(r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[]}}"#, MediaType::ImageIndex.as_ref());
    let text = match before {
        None => Some(empty.as_str()),
        Some(before) if before.media_type == MediaType::ImageIndex => std::str::from_utf8(&before.bytes).ok(),
        Some(_) => None,
    };
    let Some((text, index)) = text.and_then(|text| Some((text, serde_json::from_str::<Index<'_>>(text).ok()?))) else {
        return Edited::Not;
    };
    // Go writes an empty slice as `null`.
    let listed = serde_json::from_str::<Option<Vec<&RawValue>>>(index.manifests.get());
    let Ok(listed) = listed.map(Option::unwrap_or_default) else { return Edited::Not };
    let (digest, added) = match edit {
        Edit::Add(descriptor) => {
            let digest = descriptor.get("digest").and_then(Value::as_str).unwrap_or_default().to_owned();
            (digest, Some(Value::Object(descriptor)))
        }
        Edit::Remove(digest) => (digest.to_string(), None),
    };
    let is_it =
        |raw: &&RawValue| serde_json::from_str::<Named<'_>>(raw.get()).is_ok_and(|named| named.digest == digest);
    let same = match (listed.iter().copied().find(is_it), &added) {
        (Some(listed), Some(added)) => serde_json::from_str::<Value>(listed.get()).is_ok_and(|listed| listed == *added),
        (None, None) => true,
        _ => false,
    };
    if same {
        return Edited::Same;
    }
    let mut entries: Vec<String> =
        listed.into_iter().filter(|raw| !is_it(raw)).map(|raw| raw.get().to_owned()).collect();
    entries.extend(added.map(|added| added.to_string()));
    // Both borrow from one text, so the distance of their addresses is an offset in it.
    let at = index.manifests.get().as_ptr() as usize - text.as_ptr() as usize;
    let (head, tail) = (&text[..at], &text[at + index.manifests.get().len()..]);
    let after = format!("{head}[{}]{tail}", entries.join(","));
    if after.len() <= MAX_MANIFEST_BYTES { Edited::Changed(after) } else { Edited::Not }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests {
    use serde_json::json;

    use super::*;

    fn descriptor(of: &str) -> Map<String, Value> {
        json!({"digest": Digest::of(of.as_bytes()).to_string(), "size": 1}).as_object().unwrap().clone()
    }

    fn index(text: &str) -> Manifest {
        let bytes = Bytes::from(text.to_owned());
        Manifest { digest: Digest::of(&bytes), media_type: MediaType::ImageIndex, bytes }
    }

    fn changed(edited: Edited) -> String {
        let Edited::Changed(text) = edited else { panic!("{edited:?}") };
        text
    }

    #[test]
    fn lists_grow_and_shrink() {
        let one = changed(edited(None, Edit::Add(descriptor("a"))));
        let two = changed(edited(Some(&index(&one)), Edit::Add(descriptor("b"))));
        assert_eq!(edited(Some(&index(&two)), Edit::Add(descriptor("a"))), Edited::Same);
        assert_eq!(changed(edited(Some(&index(&two)), Edit::Remove(Digest::of(b"b")))), one);
        assert_eq!(edited(Some(&index(&one)), Edit::Remove(Digest::of(b"b"))), Edited::Same);
        assert_eq!(edited(None, Edit::Remove(Digest::of(b"b"))), Edited::Same);
        let newer = json!({"digest": Digest::of(b"a").to_string(), "size": 2}).as_object().unwrap().clone();
        let text = changed(edited(Some(&index(&one)), Edit::Add(newer)));
        assert!(text.contains(r#""size":2"#) && !text.contains(r#""size":1"#), "{text}");
    }

    #[test]
    fn what_else_it_says_stays_as_it_is_written() {
        let kept = r#" {"z": 1.0, "manifests" : [ {"size":  7, "digest":"x"} ] , "a": {"\u0041": null}}"#;
        let text = changed(edited(Some(&index(kept)), Edit::Add(descriptor("a"))));
        let (head, tail) = kept.split_once(r#"[ {"size":  7, "digest":"x"} ]"#).unwrap();
        assert!(
            text.starts_with(&format!(r#"{head}[{{"size":  7, "digest":"x"}},{{"#)) && text.ends_with(tail),
            "{text}"
        );
        let null = changed(edited(Some(&index(r#"{"manifests":null}"#)), Edit::Add(descriptor("a"))));
        assert!(null.starts_with(r#"{"manifests":[{"digest""#), "{null}");
    }

    #[test]
    fn what_is_no_list_stays() {
        let image = Manifest { media_type: MediaType::ImageManifest, ..index("{}") };
        for other in [image, index("{}"), index("x"), index(r#"{"manifests":{}}"#)] {
            assert_eq!(edited(Some(&other), Edit::Add(descriptor("a"))), Edited::Not);
        }
    }
}
