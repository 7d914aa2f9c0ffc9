//! `colocate verify`: it passes for what a Colocate makes, fails for anything else, and says where.

#![expect(clippy::unwrap_used, reason = "a test that fails panics")]

mod golden;
mod hosts;
mod layers;
mod tampered;

use std::io::Write as _;

use bytes::Bytes;
use colocate::imgpkg::{ImagesLock, Target};
use colocate::oci::{Algorithm, Digest};
use colocate::rewrite::{LayerRewriter, Replacement, Segment, relocate_config, relocate_manifest};
use serde_json::Value;

use crate::support::bundle::{Bundle, BundleBuilder, lock_of};
use crate::support::colocate::colocate;
use crate::support::layout::{Document, Layout};
use crate::support::process::Finished;
use crate::support::scripted::ScriptedUpstream;
use crate::support::tarball::Tarball;

const REPOSITORY: &str = "acme/app";
/// How clients are told to name the bundle; nothing listens there.
const TARGET: &str = "proxy.example:5000/acme/app";
/// Images as the original's lock has them.
const IMAGES: [(&str, &str); 3] = [("ghcr.io/acme/one", "1"), ("ghcr.io/acme/two", "2"), ("quay.io/three", "3")];

/// An original, and what should be served for it, as parts to tamper with.
struct World {
    original: Bundle,
    tar: Tarball,
    /// The lock as it should be served.
    lock: String,
}

/// What a proxy serves.
struct Fake {
    layer: Bytes,
    config: String,
    manifest: String,
}

impl World {
    fn new() -> Self {
        Self::of(BundleBuilder::new())
    }

    /// Made by another writer, or of other types.
    fn of(builder: BundleBuilder) -> Self {
        let notes = "  annotations:\n    note: mine\n";
        let images: Vec<String> = IMAGES.iter().map(|(name, hex)| format!("{name}@{}", digest(hex))).collect();
        // The last one's.
        let text = lock_of(&images) + notes;
        let mut tar = Tarball::new();
        tar.folder(".imgpkg").file("config/app.yml", b"a: 1\n").lock(&text).file("run.sh", b"#!/bin/sh\n").finish();
        let builder = builder.directory(".imgpkg").file("config/app.yml", b"a: 1\n").lock(&text);
        let original = builder.file("run.sh", b"#!/bin/sh\n").build();
        assert_eq!(original.tar, tar.bytes);
        let (endpoint, repository) = TARGET.split_once('/').unwrap();
        let target = Target { endpoint: endpoint.into(), repository: repository.parse().unwrap() };
        let lock = ImagesLock::parse(text.as_bytes()).unwrap().relocate(&target).unwrap();
        Self { original, tar, lock: String::from_utf8(lock).unwrap() }
    }

    /// What a Colocate serves.
    fn right(&self) -> Fake {
        let lock = self.lock.clone().into_bytes();
        let sha = Algorithm::Sha256;
        let mut rewriter = LayerRewriter::new(sha, sha, Box::new(|_| Ok(lock)));
        rewriter.push(&self.original.layers[0]).unwrap();
        let relocated = rewriter.finish().unwrap();
        let mut layer = Vec::new();
        for segment in relocated.recipe.slice(0..u64::MAX) {
            match segment {
                Segment::Original(range) => {
                    let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
                    layer.extend_from_slice(&self.original.layers[0][range]);
                }
                Segment::Inline(bytes) => layer.extend_from_slice(&bytes),
            }
        }
        self.with_layer(layer.into(), &relocated.diff_id)
    }

    /// The right one, and one more layer, which clients extract over it.
    fn two_layers(&self) -> Fake {
        let fake = self.right();
        let manifest: Value = serde_json::from_str(&fake.manifest).unwrap();
        let layer = manifest["layers"][0].to_string();
        let end = fake.manifest.rfind(']').unwrap();
        let manifest = format!("{},{layer}{}", &fake.manifest[..end], &fake.manifest[end..]);
        Fake { manifest, ..fake }
    }

    /// Another lock in place of the relocated one, and all that hashes over it right.
    fn with_lock(&self, lock: &str) -> Fake {
        self.with_tar(&self.tar.with_lock(lock))
    }

    /// Another tar, and all that hashes over it right.
    fn with_tar(&self, tar: &[u8]) -> Fake {
        self.with_layer(gzip(tar, 9), &Digest::of(tar))
    }

    fn with_layer(&self, layer: Bytes, diff_id: &Digest) -> Fake {
        let config = relocate_config(&self.original.config, diff_id).unwrap();
        self.with_config(layer, String::from_utf8(config).unwrap())
    }

    fn with_config(&self, layer: Bytes, config: String) -> Fake {
        let replacement = |bytes: &[u8]| (Digest::of(bytes), bytes.len() as u64);
        let ((digest, size), (layer_digest, layer_size)) = (replacement(config.as_bytes()), replacement(&layer));
        let manifest = relocate_manifest(
            &self.original.manifest.bytes,
            Replacement { digest, size, content: Some(config.as_bytes()) },
            Replacement { digest: layer_digest, size: layer_size, content: None },
        );
        Fake { layer, config, manifest: String::from_utf8(manifest.unwrap()).unwrap() }
    }

    /// A proxy that serves a fake by tag and the original by digest.
    async fn serve(&self, fake: &Fake) -> ScriptedUpstream {
        let proxy = ScriptedUpstream::start().await;
        proxy.put(REPOSITORY, &self.original.layout(None));
        proxy.put(REPOSITORY, &fake.layout());
        proxy
    }

    /// Verifies what `proxy` serves against the original's digest.
    async fn verify(&self, proxy: &ScriptedUpstream, more: &[&str]) -> Finished {
        let (reference, original) = (reference(proxy), self.original.digest().to_string());
        let arguments = ["verify", &reference, "--original", &original, "--target", TARGET];
        colocate(&[&arguments, more].concat()).await
    }

    /// The report on a fake, which has to fail.
    async fn report(&self, fake: &Fake) -> Value {
        let proxy = self.serve(fake).await;
        let finished = self.verify(&proxy, &["--json"]).await;
        assert_eq!(finished.status.code(), Some(1), "{finished:?}");
        assert!(finished.stderr.contains("it is not proven"), "{finished:?}");
        let report = json(&finished);
        let people = self.verify(&proxy, &[]).await;
        assert_eq!(people.status.code(), Some(1), "{people:?}");
        assert!(people.stdout.contains("\nNOT PROVEN"), "{people:?}");
        report
    }

    /// The differences of a fake, each as `part at aspect kind`, found in this order.
    async fn differences(&self, fake: &Fake) -> Vec<String> {
        let report = self.report(fake).await;
        let differences = report["differences"].as_array().unwrap().iter();
        let told = differences.map(|difference| {
            let words = ["part", "at", "aspect", "kind"].map(|key| difference[key].as_str().unwrap_or("-"));
            words.join(" ")
        });
        told.collect()
    }
}

impl Fake {
    fn layout(&self) -> Layout {
        let (config, bytes) = (Bytes::from(self.config.clone()), Bytes::from(self.manifest.clone()));
        let media_type =
            serde_json::from_str::<Value>(&self.manifest).unwrap()["mediaType"].as_str().unwrap().to_owned();
        let document = Document { digest: Digest::of(&bytes), media_type, bytes };
        Layout {
            blobs: vec![(Digest::of(&config), config), (Digest::of(&self.layer), self.layer.clone())],
            tags: vec![("v1".to_owned(), document.digest)],
            manifests: vec![document],
        }
    }
}

fn reference(proxy: &ScriptedUpstream) -> String {
    format!("{}/{REPOSITORY}:v1", proxy.authority())
}

#[track_caller]
fn json(finished: &Finished) -> Value {
    serde_json::from_str(&finished.stdout).unwrap_or_else(|error| panic!("{error}: {finished:?}"))
}

/// A digest of one digit.
fn digest(hex: &str) -> String {
    format!("sha256:{}", hex.repeat(64))
}

fn gzip(tar: &[u8], level: u32) -> Bytes {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(level));
    encoder.write_all(tar).unwrap();
    encoder.finish().unwrap().into()
}
