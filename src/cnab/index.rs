//! The index that a CNAB bundle is in a registry (cnab-to-oci, `converter/convert.go`; CNAB registries 201).

use std::collections::HashMap;

use serde::Deserialize;

use super::error::{CnabError, shown};
use crate::oci::{Digest, Manifest, is_index};

/// Marks an index: this annotation with this value.
const ARTIFACT_TYPE: (&str, &str) = ("org.opencontainers.artifactType", "application/vnd.cnab.manifest.v1");
/// What a descriptor is to the bundle.
const MANIFEST_TYPE: &str = "io.cnab.manifest.type";
/// Of a component, its name.
const COMPONENT_NAME: &str = "io.cnab.component.name";
const TITLE: &str = "org.opencontainers.image.title";
const VERSION: &str = "org.opencontainers.image.version";

/// The index of a CNAB bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// What the bundle is called, by its annotations.
    pub name: String,
    /// Its version, by its annotations.
    pub version: String,
    /// What it lists.
    pub children: Vec<Child>,
}

/// A descriptor in the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    /// As the descriptor says.
    pub media_type: String,
    /// `None` if it cannot be verified.
    pub digest: Option<Digest>,
    /// What it is to the bundle.
    pub kind: Kind,
}

/// What a descriptor is to the bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The manifest whose config is `bundle.json`.
    Config,
    /// The invocation image.
    Invocation,
    /// The image of a component, and its name.
    Component(Option<String>),
    /// Something else, in short.
    Other(String),
    /// It does not say.
    Unsaid,
}

#[derive(Deserialize)]
struct Document {
    manifests: Option<Vec<Descriptor>>,
    annotations: Option<Annotations>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: Option<String>,
    digest: Option<String>,
    annotations: Option<Annotations>,
}

#[derive(Default, Deserialize)]
struct Annotations(HashMap<String, Option<String>>);

impl Annotations {
    fn take(&mut self, key: &str) -> Option<String> {
        self.0.remove(key).map(Option::unwrap_or_default)
    }
}

impl Index {
    /// The index that a manifest is, if that is a CNAB bundle's: by its own annotation, or by that of a descriptor that leads
    /// to `bundle.json`, which is what clients go by.
    pub fn of(manifest: &Manifest) -> Option<Self> {
        if !is_index(&manifest.media_type) {
            return None;
        }
        let document: Document = serde_json::from_slice(&manifest.bytes).ok()?;
        let mut annotations = document.annotations.unwrap_or_default();
        let children: Vec<Child> = document.manifests.unwrap_or_default().into_iter().map(Child::from).collect();
        let is_marked = annotations.take(ARTIFACT_TYPE.0).is_some_and(|value| value == ARTIFACT_TYPE.1);
        let has_config = || children.iter().any(|child| child.kind == Kind::Config);
        (is_marked || has_config()).then(|| Self {
            name: annotations.take(TITLE).unwrap_or_default(),
            version: annotations.take(VERSION).unwrap_or_default(),
            children,
        })
    }

    /// The manifest whose config is `bundle.json`. Of several, the first: that is the one that clients take.
    ///
    /// # Errors
    /// When there is none.
    pub fn config(&self) -> Result<Digest, CnabError> {
        let config = self.children.iter().find(|child| child.kind == Kind::Config).ok_or(CnabError::NoConfig)?;
        config.digest.ok_or(CnabError::NoDigest)
    }

    /// Whether it lists this digest, as whatever.
    pub fn lists(&self, digest: &Digest) -> bool {
        self.children.iter().any(|child| child.digest.as_ref() == Some(digest))
    }
}

impl From<Descriptor> for Child {
    fn from(descriptor: Descriptor) -> Self {
        let mut annotations = descriptor.annotations.unwrap_or_default();
        let kind = match annotations.take(MANIFEST_TYPE).as_deref() {
            None => Kind::Unsaid,
            Some("config") => Kind::Config,
            Some("invocation") => Kind::Invocation,
            Some("component") => Kind::Component(annotations.take(COMPONENT_NAME)),
            Some(other) => Kind::Other(shown(other)),
        };
        let digest = descriptor.digest.and_then(|digest| digest.parse().ok());
        Self { media_type: descriptor.media_type.unwrap_or_default(), digest, kind }
    }
}
