//! Archives of images made by hand: image layouts in a tar, and what `imgpkg copy --to-tar` writes.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use colocate::oci::Digest;
use serde_json::{Value, json};

use super::bundle::Bundle;
use super::layout::Document;
use super::tarball::Tarball;

/// Where image-spec has names.
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// Where containerd has them.
pub(crate) const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// A golden archive, as imgpkg made it.
pub(crate) fn golden_tar(bundle: &str) -> PathBuf {
    super::fixture("tars").join(format!("{bundle}.tar"))
}

/// A blob's entry in a tar of a layout.
pub(crate) fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

/// A tar of an image layout in the making.
#[derive(Clone, Default)]
pub(crate) struct LayoutTar {
    blobs: Vec<(String, Bytes)>,
    listed: Vec<Value>,
}

impl LayoutTar {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// One image, by this name.
    pub(crate) fn of(image: &Bundle, name: &str) -> Self {
        Self::new().image(image, Some(name))
    }

    /// Adds an image, and lists it, by this name if it has one.
    pub(crate) fn image(self, image: &Bundle, name: Option<&str>) -> Self {
        let annotations = name.map_or(Value::Null, |name| json!({ REF_NAME: name }));
        self.content(image).list(&image.manifest, annotations)
    }

    /// Adds what an image is made of.
    pub(crate) fn content(self, image: &Bundle) -> Self {
        let Bundle { manifest, config, layers, .. } = image;
        let parts = [config, &manifest.bytes].into_iter().chain(layers);
        parts.fold(self, |tar, part| tar.blob(part))
    }

    /// Adds a blob, by its digest.
    pub(crate) fn blob(self, bytes: &Bytes) -> Self {
        self.lie(&Digest::of(bytes), bytes)
    }

    /// Adds a blob, by whatever digest; in place of the one that is there by it.
    pub(crate) fn lie(mut self, digest: &Digest, bytes: impl AsRef<[u8]>) -> Self {
        let (name, bytes) = (blob_name(digest), Bytes::copy_from_slice(bytes.as_ref()));
        self.blobs.retain(|(other, _)| *other != name);
        self.blobs.push((name, bytes));
        self
    }

    /// Lists a manifest, with these annotations unless they are null.
    pub(crate) fn list(mut self, document: &Document, annotations: Value) -> Self {
        let mut entry = json!({
            "mediaType": document.media_type, "digest": document.digest, "size": document.bytes.len(),
        });
        if !annotations.is_null() {
            entry["annotations"] = annotations;
        }
        self.listed.push(entry);
        self
    }

    /// The entries in the order of skopeo: blobs, then what says what they are.
    pub(crate) fn entries(&self) -> Vec<(String, Bytes)> {
        let index = json!({"schemaVersion": 2, "manifests": self.listed});
        let mut entries = self.blobs.clone();
        entries.push(("oci-layout".to_owned(), Bytes::from_static(br#"{"imageLayoutVersion":"1.0.0"}"#)));
        entries.push(("index.json".to_owned(), index.to_string().into()));
        entries
    }

    /// The tar.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        tar_of(&self.entries())
    }

    /// Writes the tar.
    pub(crate) fn write(&self, path: &Path) -> PathBuf {
        write(path, &self.bytes())
    }
}

/// A tar of imgpkg's in the making.
#[derive(Clone, Default)]
pub(crate) struct ImgpkgTar {
    described: Vec<Value>,
    layers: Vec<(String, Bytes)>,
}

impl ImgpkgTar {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds an image that only a lock names, found at `REGISTRY/REPOSITORY`.
    pub(crate) fn image(self, image: &Bundle, place: &str) -> Self {
        self.add(image, place, "", Value::Null)
    }

    /// Adds a bundle that was asked for.
    pub(crate) fn root(self, bundle: &Bundle, place: &str, tag: &str) -> Self {
        self.add(bundle, place, tag, json!({"dev.carvel.imgpkg.copy.root-bundle": ""}))
    }

    fn add(mut self, image: &Bundle, place: &str, tag: &str, labels: Value) -> Self {
        let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).expect("JSON is text");
        let Bundle { manifest, config, layers, .. } = image;
        let found = format!("{place}@{}", manifest.digest);
        let layer = |layer: &Bytes| {
            json!({
                "MediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
                "Digest": Digest::of(layer), "DiffID": "", "Size": layer.len(),
            })
        };
        self.described.push(json!({"ImageIndex": null, "Image": {
            "Refs": [found], "Layers": layers.iter().map(layer).collect::<Vec<_>>(),
            "Config": {"Digest": Digest::of(config), "Raw": text(config)},
            "Manifest": {
                "MediaType": manifest.media_type, "Digest": manifest.digest, "Raw": text(&manifest.bytes),
            },
            "Tag": tag, "OrigRef": found, "Labels": labels,
        }}));
        for layer in layers {
            let digest = Digest::of(layer);
            self.layers.push((format!("sha256-{}.tar.gz", digest.hex()), layer.clone()));
        }
        self
    }

    /// Changes what the description says.
    pub(crate) fn describe(mut self, change: impl Fn(&mut Value)) -> Self {
        self.described.iter_mut().for_each(change);
        self
    }

    /// The tar: the description, then each layer once.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut entries = vec![("manifest.json".to_owned(), Bytes::from(json!(self.described).to_string()))];
        for layer in &self.layers {
            if !entries.contains(layer) {
                entries.push(layer.clone());
            }
        }
        tar_of(&entries)
    }

    /// Writes the tar.
    pub(crate) fn write(&self, path: &Path) -> PathBuf {
        write(path, &self.bytes())
    }
}

/// A tar of these files.
pub(crate) fn tar_of(entries: &[(String, Bytes)]) -> Vec<u8> {
    let mut tar = Tarball::new();
    for (name, bytes) in entries {
        tar.file(name, bytes);
    }
    tar.finish().bytes.clone()
}

fn write(path: &Path, bytes: &[u8]) -> PathBuf {
    std::fs::write(path, bytes).expect("a writable place");
    path.to_owned()
}
