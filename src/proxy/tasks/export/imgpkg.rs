//! The archive that `imgpkg copy --to-tar` would have made of the same.
//!
//! imgpkg describes an image twice that locks name in two ways; here it is described once, with both references. What is in
//! an index has its tag and labels, and is named as if it were in the index's repository, as imgpkg does it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde::Deserialize;

use super::plan::{Content, Entry, Refused, Root};
use crate::imgpkg::{
    DESCRIPTION_FILE, Described, DescribedConfig, DescribedImage, DescribedIndex, DescribedLayer, DescribedManifest,
    Labels, ROOT_BUNDLE_LABEL, description, has_bundle_label, layer_file,
};
use crate::oci::{Algorithm, Descriptor, Digest, ManifestView, MediaType};
use crate::proxy::tasks::findings::{Findings, Found, MAX_DESCRIBED_BYTES};

/// What a description takes beside the documents in it.
const OVERHEAD: usize = 1 << 10;

/// The files, in order: the description, then the layers by their digests.
pub(super) fn plan(roots: &[Root], findings: &Findings) -> Result<Vec<Entry>, Refused> {
    let mut archive = Archive { findings, layers: BTreeMap::new(), spent: 0 };
    let mut described = Vec::new();
    for (digest, named) in all(roots, findings) {
        let tags = if named.tags.is_empty() { BTreeSet::from([String::new()]) } else { named.tags };
        for tag in tags {
            let refs: Vec<String> = named.refs.iter().cloned().collect();
            let orig_ref = named.root.clone().or_else(|| refs.first().cloned()).unwrap_or_default();
            let labels = (named.root.is_some() && archive.is_bundle(&digest)).then(|| {
                let label = (ROOT_BUNDLE_LABEL.to_owned(), String::new());
                Labels::from([label])
            });
            described.push(archive.describe(&digest, Naming { refs, tag, orig_ref, labels })?);
        }
    }
    let first = roots.first().map(|root| root.digest);
    let description = description(described, MAX_DESCRIBED_BYTES)
        .map_err(|_| Refused::too_long(first.unwrap_or_else(|| Algorithm::Sha256.of_nothing())))?;
    let mut entries = vec![Entry::document(DESCRIPTION_FILE, description)];
    entries.extend(archive.layers.into_values());
    Ok(entries)
}

/// How an image is named by all who name it.
#[derive(Default)]
struct Named {
    refs: BTreeSet<String>,
    tags: BTreeSet<String>,
    /// The reference by which it was asked for.
    root: Option<String>,
}

/// What was asked for, and what locks name.
fn all(roots: &[Root], findings: &Findings) -> BTreeMap<Digest, Named> {
    let mut all: BTreeMap<Digest, Named> = BTreeMap::new();
    for Root { name, tag, digest } in roots {
        let named = all.entry(*digest).or_default();
        let reference = format!("{name}@{digest}");
        named.root.get_or_insert_with(|| reference.clone());
        named.refs.insert(reference);
        named.tags.extend(tag.clone());
    }
    for (digest, names) in &findings.names {
        all.entry(*digest).or_default().refs.extend(names.iter().map(ToString::to_string));
    }
    all
}

/// What an image is called in its description.
#[derive(Clone)]
struct Naming {
    refs: Vec<String>,
    tag: String,
    orig_ref: String,
    labels: Option<Labels>,
}

impl Naming {
    /// The same for what is in an index of this name.
    fn within(&self, child: &Digest) -> Self {
        let repository =
            self.refs.first().and_then(|name| name.split_once('@')).map_or("", |(repository, _)| repository);
        Self { refs: vec![format!("{repository}@{child}")], ..self.clone() }
    }
}

struct Archive<'a> {
    findings: &'a Findings,
    layers: BTreeMap<String, Entry>,
    /// Bytes of documents described so far; one may be described many times.
    spent: usize,
}

impl Archive<'_> {
    fn describe(&mut self, digest: &Digest, naming: Naming) -> Result<Described, Refused> {
        match &self.found(digest)?.view {
            ManifestView::Index { .. } => Ok(Described { image_index: Some(self.index(digest, naming)?), image: None }),
            _ => Ok(Described { image_index: None, image: Some(self.image(digest, naming)?) }),
        }
    }

    fn index(&mut self, digest: &Digest, naming: Naming) -> Result<DescribedIndex, Refused> {
        let Found { manifest, view, .. } = self.found(digest)?;
        let raw = self.text(digest, &manifest.bytes)?;
        let (mut images, mut indexes) = (Vec::new(), Vec::new());
        if let ManifestView::Index { manifests } = view {
            for child in manifests {
                let within = naming.within(&child.digest);
                match &self.found(&child.digest)?.view {
                    ManifestView::Index { .. } => indexes.push(self.index(&child.digest, within)?),
                    _ => images.push(self.image(&child.digest, within)?),
                }
            }
        }
        let Naming { refs, tag, orig_ref, labels } = naming;
        Ok(DescribedIndex {
            refs,
            images: some(images),
            indexes: some(indexes),
            media_type: manifest.media_type.to_string(),
            digest: digest.to_string(),
            raw,
            tag,
            orig_ref,
            labels,
        })
    }

    fn image(&mut self, digest: &Digest, naming: Naming) -> Result<DescribedImage, Refused> {
        let Found { manifest, view, puller } = self.found(digest)?;
        let ManifestView::Image { config, layers } = view else {
            return Err(Refused::new(*digest, "is no image"));
        };
        let raw_config = self.findings.configs.get(&config.digest);
        let raw_config = raw_config.ok_or_else(|| Refused::new(config.digest, "was not found"))?;
        let diff_ids = diff_ids(digest, layers, raw_config)?;
        let layers = layers.iter().zip(diff_ids).map(|(layer, diff_id)| {
            if !layer.is_non_distributable() {
                self.layers.entry(layer_file(&layer.digest)).or_insert_with_key(|name| Entry {
                    name: name.clone(),
                    size: layer.size,
                    digest: layer.digest,
                    content: Content::Blob(Arc::clone(puller)),
                });
            }
            DescribedLayer {
                media_type: layer.media_type.to_string(),
                digest: layer.digest.to_string(),
                diff_id,
                size: layer.size,
            }
        });
        let layers = some(layers.collect());
        let Naming { refs, tag, orig_ref, labels } = naming;
        Ok(DescribedImage {
            refs,
            layers,
            config: DescribedConfig { digest: config.digest.to_string(), raw: self.text(&config.digest, raw_config)? },
            manifest: DescribedManifest {
                media_type: manifest.media_type.to_string(),
                digest: digest.to_string(),
                raw: self.text(digest, &manifest.bytes)?,
            },
            tag,
            orig_ref,
            labels,
        })
    }

    fn text(&mut self, digest: &Digest, bytes: &[u8]) -> Result<String, Refused> {
        self.spent += bytes.len() + OVERHEAD;
        if self.spent > MAX_DESCRIBED_BYTES {
            return Err(Refused::too_long(*digest));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| Refused::new(*digest, "is not UTF-8"))?;
        Ok(text.to_owned())
    }
}

impl<'a> Archive<'a> {
    fn found(&self, digest: &Digest) -> Result<&'a Found, Refused> {
        self.findings.manifests.get(digest).ok_or_else(|| Refused::new(*digest, "was not found"))
    }

    fn is_bundle(&self, digest: &Digest) -> bool {
        let config = match self.findings.manifests.get(digest).map(|found| &found.view) {
            Some(ManifestView::Image { config, .. }) => self.findings.configs.get(&config.digest),
            _ => None,
        };
        config.is_some_and(|config| has_bundle_label(config))
    }
}

/// Go's empty list is `null`.
fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

/// The digests of what is in the layers, as the config has them; nothing for layers that are no file systems.
fn diff_ids(image: &Digest, layers: &[Descriptor], config: &[u8]) -> Result<Vec<String>, Refused> {
    let no_image = || {
        let problem = "its config is no image's, and an imgpkg archive has no place for that; use --format oci";
        Refused::new(*image, problem)
    };
    let known = serde_json::from_slice::<Config>(config).ok().map(|config| config.rootfs.diff_ids);
    if known.is_none() && layers.is_empty() {
        return Err(no_image());
    }
    // Of layers that are the same, imgpkg looks at the first.
    let mut first = HashMap::new();
    for (at, layer) in layers.iter().enumerate() {
        first.entry(layer.digest).or_insert(at);
    }
    let diff_id = |layer: &Descriptor| {
        if !is_file_system(&layer.media_type) {
            return Ok(String::new());
        }
        let at = first.get(&layer.digest).copied().unwrap_or_default();
        known.as_ref().and_then(|known| known.get(at)).map(ToString::to_string).ok_or_else(no_image)
    };
    layers.iter().map(diff_id).collect()
}

#[derive(Deserialize)]
struct Config {
    rootfs: RootFileSystem,
}

#[derive(Deserialize)]
struct RootFileSystem {
    diff_ids: Vec<Digest>,
}

/// What go-containerregistry takes for layers (`MediaType.IsLayer`).
fn is_file_system(media_type: &MediaType) -> bool {
    let name = media_type.as_ref();
    let docker = name.strip_prefix("application/vnd.docker.image.rootfs.");
    let oci = name.strip_prefix("application/vnd.oci.image.layer.");
    docker.is_some_and(|kind| matches!(kind, "diff.tar.gzip" | "diff.tar" | "foreign.diff.tar.gzip"))
        || oci.is_some_and(|kind| {
            let kind = kind.strip_prefix("nondistributable.").unwrap_or(kind);
            matches!(kind, "v1.tar" | "v1.tar+gzip" | "v1.tar+zstd")
        })
}
