//! CNAB bundles: the golden one, and ones made in memory, also such as nobody should make.

use std::fs;

use bytes::Bytes;
use colocate::oci::Digest;
use serde_json::{Map, Value, json};

use super::bundle::Bundle;
use super::layout::{Document, Layout};

pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// What cnab-to-oci calls `bundle.json` first of all.
pub(crate) const CONFIG: &str = "application/vnd.cnab.config.v1+json";

/// A bundle with all that is in its repository.
#[derive(Clone, Debug)]
pub(crate) struct Cnab {
    pub(crate) index: Document,
    pub(crate) config: Document,
    /// `bundle.json`.
    pub(crate) file: Bytes,
    /// All of it, without a tag.
    pub(crate) layout: Layout,
}

impl Cnab {
    /// The golden one, as cnab-to-oci pushes it where it may.
    pub(crate) fn golden() -> Self {
        Self::read("index.json", INDEX, "config-manifest.json", MANIFEST)
    }

    /// The same as it is pushed to a registry that knows Docker's media types alone.
    pub(crate) fn fallback() -> Self {
        let config = "dockerfallback.config-manifest.json";
        Self::read("dockerfallback.list.json", DOCKER_LIST, config, DOCKER_MANIFEST)
    }

    fn read(index: &str, index_type: &str, config: &str, config_type: &str) -> Self {
        let read = |name: &str| Bytes::from(fs::read(super::fixture("cnab").join(name)).expect("a golden file"));
        let (file, config) = (read("bundle.json"), document(config_type, read(config)));
        let index = document(index_type, read(index));
        let mut layout = Layout { blobs: vec![(Digest::of(&file), file.clone())], ..Layout::default() };
        for image in ["invocation", "web"] {
            for blob in [read(&format!("{image}.config.json")), read(&format!("{image}.layer.tgz"))] {
                layout.blobs.push((Digest::of(&blob), blob));
            }
            layout.manifests.push(document(DOCKER_MANIFEST, read(&format!("{image}.manifest.json"))));
        }
        layout.manifests.extend([config.clone(), index.clone()]);
        Self { index, config, file, layout }
    }

    /// One of this `bundle.json`, and of what lists these descriptors after that of the config manifest.
    pub(crate) fn of(file: impl Into<Bytes>, children: &[Value]) -> Self {
        let file = file.into();
        let config = config_manifest(CONFIG, &file);
        let listed = [vec![listed(&config, "config", None)], children.to_vec()].concat();
        Self::with(file, config, index(&listed))
    }

    /// One of these documents.
    pub(crate) fn with(file: Bytes, config: Document, index: Document) -> Self {
        let blobs = vec![(Digest::of(&file), file.clone())];
        let layout = Layout { blobs, manifests: vec![config.clone(), index.clone()], tags: Vec::new() };
        Self { index, config, file, layout }
    }

    /// Everything under a tag.
    pub(crate) fn tagged(&self, tag: &str) -> Layout {
        Layout { tags: vec![(tag.to_owned(), self.index.digest)], ..self.layout.clone() }
    }
}

/// The manifest that leads to a `bundle.json` of this type.
pub(crate) fn config_manifest(config_type: &str, file: &Bytes) -> Document {
    let config = json!({"mediaType": config_type, "digest": Digest::of(file), "size": file.len()});
    document(MANIFEST, json!({"schemaVersion": 2, "config": config, "layers": null}).to_string())
}

/// A descriptor in an index.
pub(crate) fn listed(document: &Document, kind: &str, component: Option<&str>) -> Value {
    let mut annotations = Map::new();
    annotations.insert("io.cnab.manifest.type".to_owned(), kind.into());
    component.map(|name| annotations.insert("io.cnab.component.name".to_owned(), name.into()));
    let Document { media_type, digest, bytes } = document;
    json!({"mediaType": media_type, "digest": digest, "size": bytes.len(), "annotations": annotations})
}

/// An index of these descriptors, marked as a CNAB bundle's.
pub(crate) fn index(children: &[Value]) -> Document {
    let annotations = json!({"org.opencontainers.artifactType": "application/vnd.cnab.manifest.v1"});
    document(INDEX, json!({"schemaVersion": 2, "manifests": children, "annotations": annotations}).to_string())
}

/// A `bundle.json` of an invocation image and components; of each its name, and its digest if that is to be there.
pub(crate) fn bundle_file(invocation: &str, components: &[(&str, &str, Option<&Bundle>)]) -> String {
    let image = |(name, image, bundle): &(&str, &str, Option<&Bundle>)| {
        let mut named = json!({"image": image, "imageType": "docker"});
        if let Some(bundle) = bundle {
            named["contentDigest"] = bundle.digest().to_string().into();
        }
        ((*name).to_owned(), named)
    };
    let images: Map<String, Value> = components.iter().map(image).collect();
    json!({"schemaVersion": "1.2.0", "name": "thing", "version": "0.1.0", "images": images,
        "invocationImages": [{"image": invocation, "imageType": "docker"}]})
    .to_string()
}

/// A manifest of these bytes.
pub(crate) fn document(media_type: &str, bytes: impl Into<Bytes>) -> Document {
    let bytes = bytes.into();
    Document { digest: Digest::of(&bytes), media_type: media_type.to_owned(), bytes }
}
