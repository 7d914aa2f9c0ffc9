//! The golden bundles, and how OCI image layouts get into a registry with their exact bytes.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use colocate::oci::Digest;
use http::Method;
use serde_json::Value;

use super::access::Access;

/// A golden bundle: see `tests/fixtures/bundles/README.md`.
pub(crate) struct Golden {
    pub(crate) name: &'static str,
    /// Where it was colocated, without the registry.
    pub(crate) repository: String,
    /// The original's digest.
    pub(crate) digest: Digest,
    /// The lock as `imgpkg pull` wrote it.
    pub(crate) pulled: Vec<u8>,
    /// Everything that is in its repository.
    pub(crate) colocated: Layout,
    /// The layout that holds the bundle alone.
    pub(crate) origin: Layout,
}

impl Golden {
    /// The host and port that the golden locks name. It is only text: nothing listens there.
    pub(crate) const ENDPOINT: &'static str = "127.0.0.1:5900";
    /// The tag of every golden bundle.
    pub(crate) const TAG: &'static str = "v1.0.0";

    /// One by its name.
    pub(crate) fn read(name: &'static str) -> Self {
        let directory = super::fixture("bundles").join(name);
        let text = |file| fs::read_to_string(directory.join(file)).expect("a golden file").trim().to_owned();
        let target = text("target");
        let repository = target.strip_prefix(Self::ENDPOINT).and_then(|rest| rest.strip_prefix('/'));
        Self {
            name,
            repository: repository.expect("a target at the golden endpoint").to_owned(),
            digest: text("digest").parse().expect("a digest"),
            pulled: fs::read(directory.join("pulled-images.yml")).expect("a golden file"),
            colocated: Layout::read(&directory.join("colocated")),
            origin: Layout::read(&directory.join("origin")),
        }
    }

    /// All of them.
    pub(crate) fn all() -> Vec<Self> {
        ["simple-app", "nested-app", "multi-app", "wide-app"].map(Self::read).into()
    }
}

/// One manifest with what a registry needs to know of it.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    pub(crate) digest: Digest,
    pub(crate) media_type: String,
    pub(crate) bytes: Bytes,
}

/// What an OCI image layout holds, in the order in which a registry takes it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layout {
    /// Configs and layers.
    pub(crate) blobs: Vec<(Digest, Bytes)>,
    /// Manifests, children before the indexes that list them.
    pub(crate) manifests: Vec<Document>,
    /// Tags and what they point at.
    pub(crate) tags: Vec<(String, Digest)>,
}

impl Layout {
    /// Reads a layout directory whole.
    pub(crate) fn read(directory: &Path) -> Self {
        let index = fs::read(directory.join("index.json")).expect("a layout has an index");
        let index: Value = serde_json::from_slice(&index).expect("an index is JSON");
        let mut reading = Reading { directory: directory.to_owned(), seen: HashSet::new(), layout: Self::default() };
        for descriptor in index["manifests"].as_array().into_iter().flatten() {
            let digest = reading.manifest(descriptor);
            let name = descriptor["annotations"]["org.opencontainers.image.ref.name"].as_str().unwrap_or_default();
            if let Some(tag) = tag_of(name) {
                reading.layout.tags.push((tag.to_owned(), digest));
            }
        }
        reading.layout
    }

    /// A manifest by its digest.
    #[track_caller]
    pub(crate) fn manifest(&self, digest: &Digest) -> &Document {
        let found = self.manifests.iter().find(|document| document.digest == *digest);
        found.unwrap_or_else(|| panic!("no manifest {digest}"))
    }

    /// A blob by its digest.
    #[track_caller]
    pub(crate) fn blob(&self, digest: &Digest) -> &Bytes {
        let found = self.blobs.iter().find(|(candidate, _)| candidate == digest);
        found.map(|(_, bytes)| bytes).unwrap_or_else(|| panic!("no blob {digest}"))
    }

    /// Writes one image as the transport `dir:` of skopeo and podman has it, the only one that leaves every byte of
    /// Docker's kind of manifest alone.
    pub(crate) fn write_directory(&self, digest: &Digest, directory: &Path) {
        let write = |name: &str, bytes: &[u8]| fs::write(directory.join(name), bytes).expect("a file of the image");
        let manifest = &self.manifest(digest).bytes;
        write("version", b"Directory Transport Version: 1.1\n");
        write("manifest.json", manifest);
        let manifest: Value = serde_json::from_slice(manifest).expect("a manifest is JSON");
        let layers = manifest["layers"].as_array().expect("an image has layers");
        for part in std::iter::once(&manifest["config"]).chain(layers) {
            let digest: Digest = part["digest"].as_str().expect("a digest").parse().expect("a valid digest");
            write(&digest.hex(), self.blob(&digest));
        }
    }

    /// Takes a tag out, so that what it points at is found by digest only.
    pub(crate) fn untag(&mut self, ending: &str) -> bool {
        let before = self.tags.len();
        self.tags.retain(|(tag, _)| !tag.ends_with(ending));
        self.tags.len() < before
    }

    /// Takes a manifest out, and its tags.
    pub(crate) fn remove(&mut self, digest: &Digest) -> Option<Document> {
        self.tags.retain(|(_, target)| target != digest);
        let at = self.manifests.iter().position(|document| document.digest == *digest)?;
        Some(self.manifests.remove(at))
    }

    /// Puts everything into a repository of a registry.
    pub(crate) async fn push(&self, registry: &str, repository: &str) {
        self.push_as(&Access::anonymous(), registry, repository).await;
    }

    /// Puts everything into a repository of a registry that does not take it from anybody.
    pub(crate) async fn push_as(&self, access: &Access, registry: &str, repository: &str) {
        for (digest, bytes) in &self.blobs {
            push_blob(access, registry, repository, digest, bytes).await;
        }
        for document in &self.manifests {
            push_manifest_as(access, registry, repository, &document.digest.to_string(), document).await;
        }
        for (tag, digest) in &self.tags {
            push_manifest_as(access, registry, repository, tag, self.manifest(digest)).await;
        }
    }
}

struct Reading {
    directory: PathBuf,
    seen: HashSet<Digest>,
    layout: Layout,
}

impl Reading {
    fn manifest(&mut self, descriptor: &Value) -> Digest {
        let (digest, bytes) = self.content(descriptor);
        if !self.seen.insert(digest) {
            return digest;
        }
        let document: Value = serde_json::from_slice(&bytes).expect("a manifest is JSON");
        for child in document["manifests"].as_array().into_iter().flatten() {
            self.manifest(child);
        }
        let layers = document["layers"].as_array().into_iter().flatten();
        for part in document.get("config").into_iter().chain(layers) {
            let (digest, bytes) = self.content(part);
            if self.seen.insert(digest) {
                self.layout.blobs.push((digest, bytes));
            }
        }
        let media_type = descriptor["mediaType"].as_str().expect("a media type").to_owned();
        self.layout.manifests.push(Document { digest, media_type, bytes });
        digest
    }

    fn content(&self, descriptor: &Value) -> (Digest, Bytes) {
        let digest: Digest = descriptor["digest"].as_str().expect("a digest").parse().expect("a valid digest");
        let file = self.directory.join("blobs").join(digest.algorithm().name()).join(digest.hex());
        let bytes = fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        assert_eq!(Digest::of(&bytes), digest, "a damaged fixture");
        (digest, bytes.into())
    }
}

/// The tag in a full reference, such as `127.0.0.1:5900/apps/one:v1`.
fn tag_of(reference: &str) -> Option<&str> {
    let name = reference.rsplit('/').next()?;
    name.split_once(':').map(|(_, tag)| tag)
}

/// Puts a blob into a repository: one POST, one PUT, as the distribution spec has it.
async fn push_blob(access: &Access, registry: &str, repository: &str, digest: &Digest, bytes: &Bytes) {
    let blob = format!("{registry}/v2/{repository}/blobs/{digest}");
    if access.send(Method::HEAD, &blob, &[], "").await.status == 200 {
        return;
    }
    let start = format!("{registry}/v2/{repository}/blobs/uploads/");
    let session = access.send(Method::POST, &start, &[("content-length", "0")], "").await.expect(202);
    let location = session.header("location").expect("an upload session has a location");
    let location = if location.starts_with('/') { format!("{registry}{location}") } else { location.to_owned() };
    let separator = if location.contains('?') { '&' } else { '?' };
    let url = format!("{location}{separator}digest={digest}");
    access.send(Method::PUT, &url, &[("content-type", "application/octet-stream")], bytes.clone()).await.expect(201);
}

/// Puts a manifest under a tag or its digest; the registry must find the same digest.
pub(crate) async fn push_manifest(registry: &str, repository: &str, reference: &str, document: &Document) {
    push_manifest_as(&Access::anonymous(), registry, repository, reference, document).await;
}

async fn push_manifest_as(access: &Access, registry: &str, repository: &str, reference: &str, document: &Document) {
    let url = format!("{registry}/v2/{repository}/manifests/{reference}");
    let headers = [("content-type", document.media_type.as_str())];
    let answer = access.send(Method::PUT, &url, &headers, document.bytes.clone()).await.expect(201);
    assert_eq!(answer.digest(), document.digest);
}
