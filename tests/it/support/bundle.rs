//! Bundles and images made in memory, by any of the writers that real ones are made with.

use std::io::Write;

use bytes::Bytes;
use colocate::oci::Digest;
use serde_json::{Value, json};

use super::layout::{Document, Layout};
use super::tarball::{LOCK_PATH, Tarball};

/// How a layer is compressed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Writer {
    /// Not at all: a plain tar.
    Plain,
    /// zlib at a level.
    Zlib(u32),
    /// libdeflate at a level.
    Libdeflate(i32),
    /// zopfli.
    Zopfli,
}

/// Whose media types a bundle has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavour {
    /// What imgpkg writes.
    Docker,
    /// What other tools write.
    Oci,
}

/// Describes a bundle. Entries come in the order in which they are added; the lock is one of them.
#[derive(Clone)]
pub(crate) struct BundleBuilder {
    tar: Tarball,
    raw_layer: Option<Bytes>,
    writer: Writer,
    flavour: Flavour,
    label: Option<String>,
    layer_annotations: Value,
    extra_layers: Vec<Bytes>,
}

/// A bundle, or any image of one manifest, with all that a registry needs.
#[derive(Clone, Debug)]
pub(crate) struct Bundle {
    pub(crate) manifest: Document,
    pub(crate) config: Bytes,
    /// The bundle's own layer first.
    pub(crate) layers: Vec<Bytes>,
    /// The first layer's content, not compressed.
    pub(crate) tar: Vec<u8>,
}

impl BundleBuilder {
    /// An empty bundle of imgpkg's kind: Docker media types, the label, zlib at level 6.
    pub(crate) fn new() -> Self {
        Self {
            tar: Tarball::new(),
            raw_layer: None,
            writer: Writer::Zlib(6),
            flavour: Flavour::Docker,
            label: Some("true".to_owned()),
            layer_annotations: Value::Null,
            extra_layers: Vec::new(),
        }
    }

    /// A bundle with just this lock.
    pub(crate) fn with_lock(lock: &str) -> Self {
        Self::new().directory(".imgpkg").lock(lock)
    }

    /// Adds `.imgpkg/images.yml`.
    pub(crate) fn lock(self, text: &str) -> Self {
        self.file(LOCK_PATH, text)
    }

    /// Adds a file.
    pub(crate) fn file(mut self, name: &str, content: impl AsRef<[u8]>) -> Self {
        self.tar.file(name, content.as_ref());
        self
    }

    /// Adds a directory.
    pub(crate) fn directory(mut self, name: &str) -> Self {
        self.tar.folder(name);
        self
    }

    /// Adds a symbolic link.
    pub(crate) fn symlink(mut self, name: &str, target: &str) -> Self {
        self.tar.symlink(name, target);
        self
    }

    /// Compresses with this writer.
    pub(crate) fn writer(mut self, writer: Writer) -> Self {
        self.writer = writer;
        self
    }

    /// Uses OCI's media types rather than Docker's.
    pub(crate) fn oci(mut self) -> Self {
        self.flavour = Flavour::Oci;
        self
    }

    /// Sets the label's value, or leaves the label out, which makes it an image like any other.
    pub(crate) fn label(mut self, value: Option<&str>) -> Self {
        self.label = value.map(str::to_owned);
        self
    }

    /// Annotates the first layer's descriptor.
    pub(crate) fn layer_annotation(mut self, key: &str, value: &str) -> Self {
        self.layer_annotations[key] = value.into();
        self
    }

    /// Uses these bytes as the layer, whatever they are, in place of the compressed entries.
    pub(crate) fn raw_layer(mut self, bytes: impl Into<Bytes>) -> Self {
        self.raw_layer = Some(bytes.into());
        self
    }

    /// Adds a layer after the bundle's own.
    pub(crate) fn extra_layer(mut self, bytes: impl Into<Bytes>) -> Self {
        self.extra_layers.push(bytes.into());
        self
    }

    /// Makes it.
    pub(crate) fn build(self) -> Bundle {
        let mut tar = self.tar;
        let tar = tar.finish().bytes.clone();
        let layer = self.raw_layer.unwrap_or_else(|| compress(self.writer, &tar));
        let layers: Vec<Bytes> = std::iter::once(layer).chain(self.extra_layers).collect();
        let diff_ids: Vec<_> =
            std::iter::once(Digest::of(&tar)).chain(layers[1..].iter().map(|layer| Digest::of(layer))).collect();
        let labels = self.label.map(|value| json!({ "dev.carvel.imgpkg.bundle": value }));
        let config = json!({
            "architecture": "", "created": "0001-01-01T00:00:00Z",
            "history": [{"author": "imgpkg", "created": "0001-01-01T00:00:00Z"}],
            "os": "", "rootfs": {"type": "layers", "diff_ids": diff_ids}, "config": {"Labels": labels},
        });
        let config = Bytes::from(serde_json::to_vec(&config).expect("JSON"));
        let types = self.flavour.media_types(self.writer);
        let mut descriptors: Vec<_> = layers.iter().map(|layer| descriptor(types.layer, layer)).collect();
        if !self.layer_annotations.is_null() {
            descriptors[0]["annotations"] = self.layer_annotations;
        }
        let manifest = json!({
            "schemaVersion": 2, "mediaType": types.manifest,
            "config": descriptor(types.config, &config), "layers": descriptors,
        });
        Bundle { manifest: document(types.manifest, &manifest), config, layers, tar }
    }
}

impl Bundle {
    /// An image that is no bundle, different for each name.
    pub(crate) fn image(name: &str) -> Self {
        BundleBuilder::new().label(None).file("name", name).build()
    }

    /// The manifest's digest.
    pub(crate) fn digest(&self) -> Digest {
        self.manifest.digest
    }

    /// The config's digest.
    pub(crate) fn config_digest(&self) -> Digest {
        Digest::of(&self.config)
    }

    /// The first layer's digest.
    pub(crate) fn layer_digest(&self) -> Digest {
        Digest::of(&self.layers[0])
    }

    /// Everything as the content of a repository, tagged or not.
    pub(crate) fn layout(&self, tag: Option<&str>) -> Layout {
        let blobs = std::iter::once(&self.config).chain(&self.layers);
        Layout {
            blobs: blobs.map(|blob| (Digest::of(blob), blob.clone())).collect(),
            manifests: vec![self.manifest.clone()],
            tags: tag.map(|tag| (tag.to_owned(), self.digest())).into_iter().collect(),
        }
    }
}

/// An OCI index over these images, for the places where a lock names one. Its children are to be pushed first.
pub(crate) fn index(images: &[&Bundle]) -> Document {
    let manifests: Vec<_> =
        images.iter().map(|image| descriptor(&image.manifest.media_type, &image.manifest.bytes)).collect();
    let media_type = "application/vnd.oci.image.index.v1+json";
    document(media_type, &json!({"schemaVersion": 2, "mediaType": media_type, "manifests": manifests}))
}

/// An ImagesLock of these references, as a person would write it.
pub(crate) fn lock_of<S: AsRef<str>>(references: &[S]) -> String {
    let images: String = references.iter().map(|image| format!("- image: {}\n", image.as_ref())).collect();
    format!("apiVersion: imgpkg.carvel.dev/v1alpha1\nkind: ImagesLock\nimages:\n{images}")
}

/// The file `.imgpkg/images.yml` in a tar, found by GNU-style names only.
#[track_caller]
pub(crate) fn lock_in(tar: &[u8]) -> Vec<u8> {
    let mut at = 0;
    while let Some(header) = tar.get(at..at + 512).filter(|header| header[0] != 0) {
        let name: Vec<u8> = header[..100].iter().copied().take_while(|&byte| byte != 0).collect();
        let size = std::str::from_utf8(&header[124..135]).expect("an octal size");
        let size = usize::from_str_radix(size, 8).expect("an octal size");
        if name == LOCK_PATH.as_bytes() {
            return tar[at + 512..at + 512 + size].to_vec();
        }
        at += 512 + size.next_multiple_of(512);
    }
    panic!("no lock in this tar")
}

/// What a gzip file holds, by a decoder that is not under test.
#[track_caller]
pub(crate) fn gunzip(layer: &[u8]) -> Vec<u8> {
    let mut tar = Vec::new();
    let mut decoder = flate2::read::MultiGzDecoder::new(layer);
    std::io::Read::read_to_end(&mut decoder, &mut tar).expect("a gzip file");
    tar
}

struct MediaTypes {
    manifest: &'static str,
    config: &'static str,
    layer: &'static str,
}

impl Flavour {
    fn media_types(self, writer: Writer) -> MediaTypes {
        let plain = matches!(writer, Writer::Plain);
        match self {
            Self::Docker => MediaTypes {
                manifest: "application/vnd.docker.distribution.manifest.v2+json",
                config: "application/vnd.docker.container.image.v1+json",
                layer: if plain {
                    "application/vnd.docker.image.rootfs.diff.tar"
                } else {
                    "application/vnd.docker.image.rootfs.diff.tar.gzip"
                },
            },
            Self::Oci => MediaTypes {
                manifest: "application/vnd.oci.image.manifest.v1+json",
                config: "application/vnd.oci.image.config.v1+json",
                layer: if plain {
                    "application/vnd.oci.image.layer.v1.tar"
                } else {
                    "application/vnd.oci.image.layer.v1.tar+gzip"
                },
            },
        }
    }
}

fn document(media_type: &str, value: &Value) -> Document {
    let bytes = Bytes::from(serde_json::to_vec(value).expect("JSON"));
    Document { digest: Digest::of(&bytes), media_type: media_type.to_owned(), bytes }
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "size": bytes.len(), "digest": Digest::of(bytes)})
}

fn compress(writer: Writer, tar: &[u8]) -> Bytes {
    match writer {
        Writer::Plain => tar.to_vec().into(),
        Writer::Zlib(level) => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(level));
            encoder.write_all(tar).expect("memory");
            encoder.finish().expect("memory").into()
        }
        Writer::Libdeflate(level) => {
            let level = libdeflater::CompressionLvl::new(level).expect("a level libdeflate has");
            let mut compressor = libdeflater::Compressor::new(level);
            let mut out = vec![0; compressor.gzip_compress_bound(tar.len())];
            let length = compressor.gzip_compress(tar, &mut out).expect("room enough");
            out.truncate(length);
            out.into()
        }
        Writer::Zopfli => {
            let mut out = Vec::new();
            zopfli::compress(zopfli::Options::default(), zopfli::Format::Gzip, tar, &mut out).expect("memory");
            out.into()
        }
    }
}

#[test]
fn tar_reads_what_the_builder_writes() {
    for writer in [Writer::Plain, Writer::Zlib(9), Writer::Libdeflate(12), Writer::Zopfli] {
        let builder = BundleBuilder::new().file("big", vec![7; 1000]).directory(".imgpkg").lock("kind: ImagesLock\n");
        let bundle = builder.symlink("link", "big").writer(writer).build();
        let tar = if matches!(writer, Writer::Plain) { bundle.layers[0].to_vec() } else { gunzip(&bundle.layers[0]) };
        assert_eq!(tar, bundle.tar);
        assert_eq!(lock_in(&tar), b"kind: ImagesLock\n");
    }
}
