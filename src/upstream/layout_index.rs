//! What an image layout holds, by repository: its `index.json`, and what the manifests named there reach.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

use super::error::UpstreamError;
use crate::oci::{Digest, Manifest, ManifestView, MediaType, RepositoryName, Tag};

/// Where image-spec puts a name (`annotations.md`): a tag, or, as most tools write it, a whole reference.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// Where containerd puts the whole reference, with only the tag in the former.
const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// How many manifests and blobs one repository may reach: far beyond any real one, and some 20 MB.
const MAX_PARTS: usize = 200_000;

/// `index.json`, sorted by repository.
#[derive(Debug)]
pub(super) struct LayoutIndex {
    repositories: BTreeMap<RepositoryName, Entries>,
}

/// What `index.json` lists for one repository.
#[derive(Debug, Default)]
pub(super) struct Entries {
    /// Tags in order, as they are listed to clients.
    pub(super) tags: BTreeMap<String, Digest>,
    /// Every manifest listed, with or without a tag, and what it is said to be.
    pub(super) roots: HashMap<Digest, Option<MediaType>>,
}

// Read by hand rather than with `oci-spec`: one entry in an algorithm that cannot be verified here must not
// hide the others.
#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    manifests: Vec<Listed>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    media_type: Option<String>,
    digest: String,
    #[serde(default)]
    annotations: Option<HashMap<String, String>>,
}

impl LayoutIndex {
    /// Reads an `index.json`. Entries without a repository in their name go to `default`.
    pub(super) fn read(bytes: &[u8], default: &RepositoryName) -> Result<Self, UpstreamError> {
        let document: Document = serde_json::from_slice(bytes)
            .map_err(|error| UpstreamError::malformed(format!("has an index.json that is not valid: {error}")))?;
        let mut repositories: BTreeMap<RepositoryName, Entries> = BTreeMap::new();
        for listed in document.manifests {
            let Ok(digest) = listed.digest.parse::<Digest>() else {
                tracing::warn!("the layout lists a manifest under a digest that cannot be verified; it is left out");
                continue;
            };
            let (repository, tag) = listed.name();
            let entries = repositories.entry(repository.unwrap_or_else(|| default.clone())).or_default();
            entries.roots.insert(digest, listed.media_type.as_deref().map(MediaType::from));
            let Some(tag) = tag else { continue };
            match entries.tags.entry(tag.as_str().to_owned()) {
                Entry::Vacant(free) => {
                    free.insert(digest);
                }
                Entry::Occupied(taken) if *taken.get() != digest => {
                    tracing::warn!(%tag, "the layout gives one tag to two manifests; the first one counts");
                }
                Entry::Occupied(_) => {}
            }
        }
        Ok(Self { repositories })
    }

    pub(super) fn repository(&self, name: &RepositoryName) -> Option<&Entries> {
        self.repositories.get(name)
    }

    pub(super) fn repositories(&self) -> impl Iterator<Item = &RepositoryName> {
        self.repositories.keys()
    }
}

impl Listed {
    fn name(&self) -> (Option<RepositoryName>, Option<Tag>) {
        let annotation = |key| self.annotations.as_ref().and_then(|annotations| annotations.get(key));
        let by_spec = annotation(REF_NAME).and_then(|text| read_name(text));
        let by_containerd = annotation(CONTAINERD_NAME).and_then(|text| read_name(text));
        match (by_spec, by_containerd) {
            (Some(spec @ (Some(_), _)), _) => spec,
            (_, Some(containerd @ (Some(_), _))) => containerd,
            (spec, _) => spec.unwrap_or_default(),
        }
    }
}

/// `[host[:port]/]repository[:tag][@digest]`, or only a tag. The digest is the entry's own and not read again.
fn read_name(text: &str) -> Option<(Option<RepositoryName>, Option<Tag>)> {
    if let Ok(tag) = text.parse::<Tag>() {
        return Some((None, Some(tag)));
    }
    let name = text.split_once('@').map_or(text, |(name, _)| name);
    let (path, tag) = match name.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, Some(tag.parse().ok()?)),
        _ => (name, None),
    };
    // Docker's rule for telling a host from the first part of a name.
    let is_host = |first: &str| {
        first == "localhost"
            || (first.contains(['.', ':']) && first.starts_with(|c: char| c == '[' || c.is_alphanumeric()))
    };
    let path = path.split_once('/').filter(|(first, _)| is_host(first)).map_or(path, |(_, rest)| rest);
    Some((Some(path.parse().ok()?), tag))
}

/// What a digest is to a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// A manifest, and what the one who names it says it is.
    Manifest(Option<MediaType>),
    /// A config or a layer.
    Blob,
}

/// Everything that `roots` name, and what those name in turn.
///
/// `read` gives a manifest's verified bytes, or nothing if they are missing or wrong; what it would have
/// named is then out of reach, as in a layout that was copied for one platform only.
pub(super) fn reach(
    roots: &HashMap<Digest, Option<MediaType>>,
    read: impl Fn(&Digest, Option<&MediaType>) -> Result<Option<Manifest>, UpstreamError>,
) -> Result<HashMap<Digest, Part>, UpstreamError> {
    let mut reached = Reached::default();
    for (digest, media_type) in roots {
        reached.find(*digest, Part::Manifest(media_type.clone()))?;
    }
    while let Some((digest, media_type)) = reached.unread.pop() {
        let Some(manifest) = read(&digest, media_type.as_ref())? else { continue };
        match manifest.view() {
            Ok(ManifestView::Image { config, layers }) => {
                for blob in layers.into_iter().chain([config]) {
                    reached.find(blob.digest, Part::Blob)?;
                }
            }
            Ok(ManifestView::Index { manifests }) => {
                for named in manifests {
                    let part = if named.is_manifest() { Part::Manifest(Some(named.media_type)) } else { Part::Blob };
                    reached.find(named.digest, part)?;
                }
            }
            Ok(ManifestView::Other) => {}
            Err(error) => tracing::warn!(%digest, %error, "the layout has a manifest that cannot be read"),
        }
    }
    Ok(reached.parts)
}

#[derive(Default)]
struct Reached {
    parts: HashMap<Digest, Part>,
    unread: Vec<(Digest, Option<MediaType>)>,
}

impl Reached {
    fn find(&mut self, digest: Digest, part: Part) -> Result<(), UpstreamError> {
        match (self.parts.get(&digest), &part) {
            // Once a manifest, always one: a layer of the same bytes changes nothing, and circles end here.
            (Some(Part::Manifest(_)), _) | (Some(Part::Blob), Part::Blob) => return Ok(()),
            (_, Part::Manifest(media_type)) => self.unread.push((digest, media_type.clone())),
            (None, Part::Blob) => {}
        }
        self.parts.insert(digest, part);
        if self.parts.len() > MAX_PARTS {
            return Err(UpstreamError::malformed("is a layout with more parts than are taken in"));
        }
        Ok(())
    }
}

/// A directory's name as a repository's: what does not fit becomes `-`.
pub(super) fn repository_from(directory: &str) -> Option<RepositoryName> {
    let lower = directory.to_lowercase();
    let words = lower.split(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit() && c != '.' && c != '_');
    let words: Vec<&str> = words.map(|word| word.trim_matches(['.', '_'])).filter(|word| !word.is_empty()).collect();
    words.join("-").parse().ok()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn names_in_annotations() {
        let read = |text: &str| {
            let (repository, tag) = read_name(text)?;
            Some((
                repository.map_or_else(String::new, |r| r.to_string()),
                tag.map_or_else(String::new, |t| t.to_string()),
            ))
        };
        let is = |text: &str, repository: &str, tag: &str| {
            assert_eq!(read(text), Some((repository.to_owned(), tag.to_owned())), "{text}");
        };
        is("v1", "", "v1");
        is("127.0.0.1:5900/mirror2/simple-app:v1.0.0", "mirror2/simple-app", "v1.0.0");
        is("ghcr.io/acme/app:v1", "acme/app", "v1");
        is("localhost/app:v1", "app", "v1");
        is("acme/app:v1", "acme/app", "v1");
        is("app:v1", "app", "v1");
        is("ghcr.io/acme/app", "acme/app", "");
        is(&format!("ghcr.io/acme/app:v1@sha256:{}", "0".repeat(64)), "acme/app", "v1");
        is(&format!("host:5000/acme/app@sha256:{}", "0".repeat(64)), "acme/app", "");
        for bad in ["", "v1+build", "../x:v1", "host:5000/../x:v1", "A/b:v1", "a:b:c/", "/etc/passwd"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn repositories_from_directories() {
        let from = |text: &str| repository_from(text).map(|name| name.to_string());
        assert_eq!(from("Simple App (1)"), Some("simple-app-1".to_owned()));
        assert_eq!(from("multi-app_v1.0"), Some("multi-app_v1.0".to_owned()));
        assert_eq!(from("..."), None);
        assert_eq!(from("日本"), None);
    }

    #[test]
    fn odd_entries_do_not_hide_the_others() {
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        let index = format!(
            r#"{{"manifests":[
                {{"digest":"blake3:00","annotations":null}},
                {{"digest":"{a}","annotations":{{"{REF_NAME}":"v1"}}}},
                {{"digest":"{b}","annotations":{{"{REF_NAME}":"v1"}}}},
                {{"digest":"{b}","annotations":{{"{REF_NAME}":"v2","{CONTAINERD_NAME}":"docker.io/library/b:v2"}}}}
            ]}}"#
        );
        let default: RepositoryName = "default".parse().expect("a name");
        let index = LayoutIndex::read(index.as_bytes(), &default).expect("an index");
        let entries = index.repository(&default).expect("the default repository");
        assert_eq!(entries.tags, BTreeMap::from([("v1".to_owned(), a)]));
        assert_eq!(entries.roots.len(), 2);
        let other = index.repository(&"library/b".parse().expect("a name")).expect("containerd's name");
        assert_eq!(other.tags, BTreeMap::from([("v2".to_owned(), b)]));
        assert!(LayoutIndex::read(b"<html>", &default).is_err());
    }

    #[test]
    fn circles_end() {
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        let index = |names: Digest| {
            let bytes = format!(
                r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{}","digest":"{names}","size":1}}]}}"#,
                MediaType::ImageIndex
            );
            // No digest can really be reached from itself; the reader stands in for a broken hash.
            Manifest { bytes: Bytes::from(bytes), digest: names, media_type: MediaType::ImageIndex }
        };
        let parts = reach(&HashMap::from([(a, None)]), |digest, _| Ok(Some(index(if *digest == a { b } else { a }))));
        assert_eq!(parts.expect("an end").len(), 2);
    }
}
