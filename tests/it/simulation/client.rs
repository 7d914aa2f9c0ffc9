//! What clients do, and what they may see.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use colocate::oci::{Digest, Manifest, Reference};
use colocate::proxy::{Proxy, ProxyError};
use http_body_util::BodyExt as _;
use tokio::time::timeout;

use super::content::{APP, OTHER, content, named, view};
use super::upstream::Upstream;
use crate::support::chance::Chance;

/// Longer than anything may take, on a clock that costs nothing.
const FOR_EVER: Duration = Duration::from_secs(4 * 3600);

pub(super) const TAGS: [&str; 2] = ["v1", "v2"];

pub(super) struct Client {
    pub(super) proxy: Proxy,
    pub(super) upstream: Arc<Upstream>,
    pub(super) chance: Chance,
    /// Never leaves before the end.
    pub(super) patient: bool,
}

/// How an answer ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Whole,
    Left,
    Broken,
    Refused(String),
}

impl Client {
    pub(super) async fn act(mut self) {
        let content = content();
        let digests: Vec<Digest> = content.blobs.keys().copied().collect();
        match self.chance.within(0, 12) {
            0..6 => {
                let repository = if self.chance.once_in(4) { OTHER } else { APP };
                let digest = *self.chance.pick(&digests);
                self.blob(repository, &digest).await;
            }
            6 => {
                let digest = *self.chance.pick(&digests);
                self.head(&digest).await;
            }
            7..11 => {
                let tag = *self.chance.pick(&TAGS);
                let _ = self.tag(tag).await;
            }
            _ => {
                let manifests: Vec<Digest> = content.manifests.keys().copied().collect();
                let digest = *self.chance.pick(&manifests);
                let _ = self.manifest(&Reference::Digest(digest)).await;
            }
        }
    }

    /// Pulls what a tag gives, and what that names.
    pub(super) async fn tag(&mut self, tag: &str) -> Result<(), ProxyError> {
        let manifest = self.manifest(&Reference::Tag(tag.parse().unwrap())).await?;
        for digest in named(&manifest) {
            let ended = self.blob(APP, &digest).await;
            assert!(!matches!(&ended, Ended::Refused(why) if why.contains("no such")), "{digest} of {tag}: {ended:?}");
        }
        Ok(())
    }

    pub(super) async fn manifest(&mut self, reference: &Reference) -> Result<Manifest, ProxyError> {
        let view = view(APP);
        let answer = timeout(FOR_EVER, self.proxy.manifest(&view, reference)).await;
        let manifest = answer.unwrap_or_else(|_| panic!("nobody answers for {reference}"))?.manifest;
        let known =
            content().manifests.get(&manifest.digest).unwrap_or_else(|| panic!("{} is unheard of", manifest.digest));
        assert_eq!(manifest.bytes, known.bytes);
        if let Reference::Digest(digest) = reference {
            assert_eq!(manifest.digest, *digest);
        }
        Ok(manifest)
    }

    async fn head(&mut self, digest: &Digest) {
        let view = view(APP);
        let head = timeout(FOR_EVER, self.proxy.blob_head(&view, digest)).await;
        if let Ok(head) = head.unwrap_or_else(|_| panic!("nobody answers for {digest}")) {
            assert_eq!(head.size, content().blobs[digest].len() as u64);
        }
    }

    /// Pulls a blob, or a part, or leaves on the way.
    pub(super) async fn blob(&mut self, name: &str, digest: &Digest) -> Ended {
        let bytes = &content().blobs[digest];
        let view = view(name);
        let blob = timeout(FOR_EVER, self.proxy.blob(&view, digest)).await;
        let blob = match blob.unwrap_or_else(|_| panic!("nobody answers for {digest}")) {
            Ok(blob) => blob,
            Err(error) => {
                let there = self.upstream.has(name, digest);
                assert!(!there || !matches!(error, ProxyError::NotFound { .. }), "{digest} is there");
                return Ended::Refused(error.to_string());
            }
        };
        assert!(name == APP || self.upstream.has(name, digest), "{digest} is nothing of {name}");
        assert_eq!(blob.size, bytes.len() as u64);
        let mut range = 0..blob.size;
        if blob.size > 0 && self.chance.once_in(3) {
            range.start = self.chance.within(0, blob.size);
            range.end = self.chance.within(range.start, blob.size) + 1;
        }
        let leaves = (!self.patient && self.chance.once_in(4))
            .then(|| self.chance.within(0, range.end - range.start + 1) as usize);
        let mut body = blob.body(range.clone());
        drop(blob);
        let mut got = BytesMut::new();
        loop {
            if leaves.is_some_and(|after| got.len() >= after) {
                return Ended::Left;
            }
            let frame = timeout(FOR_EVER, body.frame()).await;
            match frame.unwrap_or_else(|_| panic!("{digest} stands still after {} bytes", got.len())) {
                Some(Ok(frame)) => got.extend_from_slice(&frame.into_data().unwrap()),
                Some(Err(_)) => return Ended::Broken,
                None => break,
            }
            if self.chance.once_in(3) {
                tokio::time::sleep(Duration::from_millis(self.chance.within(0, 2_000))).await;
            }
        }
        assert!(got == bytes[range.start as usize..range.end as usize], "{range:?} of {digest} is wrong");
        Ended::Whole
    }
}
