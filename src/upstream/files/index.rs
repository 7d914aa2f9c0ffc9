//! What a layout or an archive holds, by repository: its index, and what the manifests named there reach.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

use crate::config::Called;
use crate::oci::{Digest, Manifest, ManifestView, MediaType, RepositoryName, Tag, referrer_of};
use crate::upstream::{Referrer, UpstreamError};

/// Where image-spec puts a name (`annotations.md`): a tag, or, as most tools write it, a whole reference.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// Where containerd puts the whole reference, with only the tag in the former.
const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// How many manifests and blobs one repository may reach: far beyond any real one, and some 20 MB.
const MAX_PARTS: usize = 200_000;
/// What an image is called that has no tag, and is alone in its repository or the only one there that was asked for.
const LONELY_TAG: &str = "latest";

/// An index, sorted by repository.
#[derive(Debug, Default)]
pub(super) struct Index {
    repositories: BTreeMap<RepositoryName, Entries>,
}

/// What an index lists for one repository.
#[derive(Debug, Default)]
pub(super) struct Entries {
    /// Tags in order, as they are listed to clients.
    pub(super) tags: BTreeMap<String, Digest>,
    /// Every manifest listed, with or without a tag.
    pub(super) roots: HashMap<Digest, Root>,
}

/// A manifest that an index lists.
#[derive(Debug)]
pub(super) struct Root {
    /// What it is said to be.
    pub(super) media_type: Option<MediaType>,
    /// What its repository was called where it came from.
    pub(super) original: String,
    /// Whether it was asked for by itself, and is not only there because something else names it.
    is_asked_for: bool,
}

/// A manifest in an index, under one of its names.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) digest: Digest,
    pub(super) media_type: Option<MediaType>,
    pub(super) name: Option<Name>,
    pub(super) tag: Option<Tag>,
    /// Whether it was asked for by itself, and is not only there because something else names it.
    pub(super) is_asked_for: bool,
}

/// A repository, as an index names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    /// With its host, if it has one.
    pub(super) original: String,
    /// Without.
    pub(super) repository: RepositoryName,
}

// Read by hand rather than with `oci-spec`: one entry in an algorithm that cannot be verified here must not
// hide the others.
#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    manifests: Vec<DocumentEntry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DocumentEntry {
    media_type: Option<String>,
    digest: String,
    #[serde(default)]
    annotations: Option<HashMap<String, String>>,
}

/// Reads an `index.json`.
pub(super) fn read_index(bytes: &[u8]) -> Result<Vec<Listed>, UpstreamError> {
    let document: Document = serde_json::from_slice(bytes)
        .map_err(|error| UpstreamError::malformed(format!("has an index.json that is not valid: {error}")))?;
    let listed = document.manifests.into_iter().filter_map(|entry| {
        let Ok(digest) = entry.digest.parse::<Digest>() else {
            tracing::warn!("the layout lists a manifest under a digest that cannot be verified; it is left out");
            return None;
        };
        let ReadName { name, tag } = entry.name();
        let media_type = entry.media_type.as_deref().map(MediaType::from);
        Some(Listed { digest, media_type, is_asked_for: tag.is_some(), name, tag })
    });
    Ok(listed.collect())
}

impl Index {
    /// Sorts what is listed. Without a name it is in the repository `default`; if the operator has called it something, all
    /// of it is in that one.
    ///
    /// # Errors
    /// When one tag is wanted for several images.
    pub(super) fn new(
        mut listed: Vec<Listed>,
        default: &RepositoryName,
        called: Option<&Called>,
    ) -> Result<Self, UpstreamError> {
        if let Some(called) = called {
            rename(&mut listed, called)?;
        }
        let mut index = Self::default();
        for Listed { digest, media_type, name, tag, is_asked_for } in listed {
            let Name { original, repository } =
                name.unwrap_or_else(|| Name { original: default.to_string(), repository: default.clone() });
            let entries = index.repositories.entry(repository).or_default();
            let root = entries.roots.entry(digest).or_insert(Root { media_type, original, is_asked_for });
            root.is_asked_for |= is_asked_for;
            let Some(tag) = tag else { continue };
            match entries.tags.entry(tag.as_str().to_owned()) {
                Entry::Vacant(free) => {
                    free.insert(digest);
                }
                Entry::Occupied(taken) if *taken.get() != digest => {
                    let first = taken.get();
                    tracing::warn!(%tag, %first, other = %digest, "two images have one name; the first counts, the other is there by its digest");
                }
                Entry::Occupied(_) => {}
            }
        }
        for entries in index.repositories.values_mut() {
            let lonely = if entries.tags.is_empty() { entries.lonely() } else { None };
            entries.tags.extend(lonely.map(|lonely| (LONELY_TAG.to_owned(), lonely)));
        }
        Ok(index)
    }

    pub(super) fn repository(&self, name: &RepositoryName) -> Option<&Entries> {
        self.repositories.get(name)
    }

    pub(super) fn repositories(&self) -> impl Iterator<Item = (&RepositoryName, &Entries)> {
        self.repositories.iter()
    }
}

impl Entries {
    /// The one that is meant by the repository's name alone.
    fn lonely(&self) -> Option<Digest> {
        let asked_for: Vec<&Digest> =
            self.roots.iter().filter(|(_, root)| root.is_asked_for).map(|(digest, _)| digest).collect();
        match asked_for.as_slice() {
            [only] => Some(**only),
            _ if self.roots.len() == 1 => self.roots.keys().next().copied(),
            _ => None,
        }
    }
}

/// Puts all of it under one name, and what was asked for under one tag.
fn rename(listed: &mut [Listed], called: &Called) -> Result<(), UpstreamError> {
    let is_asked_for = |one: &&mut Listed| one.is_asked_for;
    let nobody_asked = !listed.iter().any(|one| one.is_asked_for);
    for one in listed.iter_mut() {
        one.name = Some(Name { original: called.repository.to_string(), repository: called.repository.clone() });
    }
    let Some(tag) = &called.tag else { return Ok(()) };
    let mut renamed: Option<Digest> = None;
    for one in listed.iter_mut().filter(|one| nobody_asked || is_asked_for(one)) {
        if renamed.replace(one.digest).is_some_and(|other| other != one.digest) {
            return Err(UpstreamError::malformed(format!(
                "holds several images, which cannot all be called {tag}; leave the tag out, and they keep their own"
            )));
        }
        one.tag = Some(tag.clone());
    }
    Ok(())
}

/// A name as it was read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ReadName {
    pub(super) name: Option<Name>,
    pub(super) tag: Option<Tag>,
}

impl DocumentEntry {
    fn name(&self) -> ReadName {
        let annotation = |key| self.annotations.as_ref().and_then(|annotations| annotations.get(key));
        let by_spec = annotation(REF_NAME).and_then(|text| read_name(text));
        let by_containerd = annotation(CONTAINERD_NAME).and_then(|text| read_name(text));
        match (by_spec, by_containerd) {
            (Some(spec @ ReadName { name: Some(_), .. }), _) => spec,
            (_, Some(containerd @ ReadName { name: Some(_), .. })) => containerd,
            (spec, _) => spec.unwrap_or_default(),
        }
    }
}

/// `[host[:port]/]repository[:tag][@digest]`, or only a tag. The digest is the entry's own and not read again.
pub(super) fn read_name(text: &str) -> Option<ReadName> {
    if let Ok(tag) = text.parse::<Tag>() {
        return Some(ReadName { name: None, tag: Some(tag) });
    }
    let name = text.split_once('@').map_or(text, |(name, _)| name);
    let (original, tag) = match name.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, Some(tag.parse().ok()?)),
        _ => (name, None),
    };
    // Docker's rule for telling a host from the first part of a name.
    let is_host = |first: &str| {
        first == "localhost"
            || (first.contains(['.', ':']) && first.starts_with(|c: char| c == '[' || c.is_alphanumeric()))
    };
    let path = original.split_once('/').filter(|(first, _)| is_host(first)).map_or(original, |(_, rest)| rest);
    Some(ReadName { name: Some(Name { original: original.to_owned(), repository: path.parse().ok()? }), tag })
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
/// `read` gives a manifest's verified bytes. What one would have named that is missing or wrong is out of reach, as in a
/// layout that was copied for one platform only.
pub(super) fn reach(
    roots: &HashMap<Digest, Root>,
    read: impl Fn(&Digest, Option<&MediaType>) -> Result<Manifest, UpstreamError>,
) -> Result<Reached, UpstreamError> {
    let (mut reached, mut unread) = (Reached { is_whole: true, ..Reached::default() }, Vec::new());
    // In the same order everywhere: of two that say different things of one, the same counts.
    let sorted: BTreeMap<&Digest, &Root> = roots.iter().collect();
    for (digest, Root { media_type, .. }) in sorted {
        reached.find(*digest, Part::Manifest(media_type.clone()), &mut unread)?;
    }
    while let Some((digest, media_type)) = unread.pop() {
        let manifest = match read(&digest, media_type.as_ref()) {
            Ok(manifest) => manifest,
            Err(error) => {
                reached.is_whole = false;
                if matches!(error, UpstreamError::Io { .. }) {
                    reached.trouble.get_or_insert(error);
                }
                continue;
            }
        };
        if let Some((subject, descriptor)) = referrer_of(&manifest) {
            reached.referrers.entry(subject).or_default().push(Referrer(descriptor));
        }
        match manifest.view() {
            Ok(ManifestView::Image { config, layers }) => {
                for blob in layers.into_iter().chain([config]) {
                    reached.find(blob.digest, Part::Blob, &mut unread)?;
                }
            }
            Ok(ManifestView::Index { manifests }) => {
                for named in manifests {
                    let part = if named.is_manifest() { Part::Manifest(Some(named.media_type)) } else { Part::Blob };
                    reached.find(named.digest, part, &mut unread)?;
                }
            }
            Ok(ManifestView::Other) => {}
            Err(error) => tracing::warn!(%digest, %error, "a manifest cannot be read"),
        }
    }
    Ok(reached)
}

/// What a repository has.
#[derive(Debug, Default)]
pub(super) struct Reached {
    pub(super) parts: HashMap<Digest, Part>,
    /// What says of itself that it refers to something, by what that is.
    pub(super) referrers: HashMap<Digest, Vec<Referrer>>,
    /// Whether all manifests could be read.
    pub(super) is_whole: bool,
    /// Why one could not, if that says nothing of what is there.
    pub(super) trouble: Option<UpstreamError>,
}

type Unread = Vec<(Digest, Option<MediaType>)>;

impl Reached {
    fn find(&mut self, digest: Digest, part: Part, unread: &mut Unread) -> Result<(), UpstreamError> {
        match (self.parts.get(&digest), &part) {
            // Once a manifest, always one: a layer of the same bytes changes nothing, and circles end here.
            (Some(Part::Manifest(_)), _) | (Some(Part::Blob), Part::Blob) => return Ok(()),
            (_, Part::Manifest(media_type)) => unread.push((digest, media_type.clone())),
            (None, Part::Blob) => {}
        }
        self.parts.insert(digest, part);
        if self.parts.len() > MAX_PARTS {
            return Err(UpstreamError::malformed("is a layout with more parts than are taken in"));
        }
        Ok(())
    }
}

/// A file's name as a repository's: what does not fit becomes `-`.
pub(super) fn repository_from(file: &str) -> Option<RepositoryName> {
    let lower = file.to_lowercase();
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
            let ReadName { name, tag } = read_name(text)?;
            Some((
                name.map_or_else(String::new, |name| name.repository.to_string()),
                tag.map_or_else(String::new, |tag| tag.to_string()),
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
        let index = Index::new(read_index(index.as_bytes()).expect("an index"), &default, None).expect("an index");
        let entries = index.repository(&default).expect("the default repository");
        assert_eq!(entries.tags, BTreeMap::from([("v1".to_owned(), a)]));
        assert_eq!(entries.roots.len(), 2);
        let other = index.repository(&"library/b".parse().expect("a name")).expect("containerd's name");
        assert_eq!(other.tags, BTreeMap::from([("v2".to_owned(), b)]));
        assert!(read_index(b"<html>").is_err());
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
        let roots = HashMap::from([(a, Root { media_type: None, original: String::new(), is_asked_for: true })]);
        let reached = reach(&roots, |digest, _| Ok(index(if *digest == a { b } else { a })));
        assert_eq!(reached.expect("an end").parts.len(), 2);
    }
}
