//! The relocation map: `relocation-mapping.json`.

use std::collections::BTreeMap;

use serde::Serialize as _;
use serde_json::ser::Serializer;

use super::bundle_file::{BundleFile, NamedImage};
use super::error::{CnabError, shown};
use super::index::{Index, Kind};
use crate::oci::{Digest, GoFormatter, MediaType, RegistryName, Repository, RepositoryName, is_index, is_manifest};

/// The largest map that is made: some thousand images.
const MAX_MAP_BYTES: usize = 1 << 20;

/// For each image's name in `bundle.json`, where it is: the map that cnab-to-oci's `GenerateRelocationMap` makes of the same
/// index and `bundle.json`, pulled from the same repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelocationMap<'a>(BTreeMap<&'a str, String>);

impl<'a> RelocationMap<'a> {
    /// The map of a bundle that is pulled from `repository` at `endpoint`. Only what the index lists is in it.
    ///
    /// # Errors
    /// When clients make no map of it either, or it would be too large.
    pub fn new(
        index: &Index,
        file: &'a BundleFile,
        endpoint: &str,
        repository: &RepositoryName,
    ) -> Result<Self, CnabError> {
        let (mut map, mut bytes) = (BTreeMap::new(), 0);
        for child in &index.children {
            let digest = child.digest.ok_or(CnabError::NoDigest)?;
            let media_type = MediaType::from(child.media_type.as_str());
            if !is_manifest(&media_type) && !is_index(&media_type) {
                return Err(CnabError::NotAManifest { digest, media_type: shown(&child.media_type) });
            }
            let image: &NamedImage = match &child.kind {
                Kind::Config => continue,
                Kind::Invocation => file.invocation_images.first().ok_or(CnabError::NoInvocationImage)?,
                Kind::Component(Some(name)) => {
                    file.images.get(name).ok_or_else(|| CnabError::UnknownComponent(shown(name)))?
                }
                Kind::Component(None) => return Err(CnabError::Unnamed(digest)),
                Kind::Other(kind) => return Err(CnabError::UnknownType { digest, kind: kind.clone() }),
                Kind::Unsaid => return Err(CnabError::Untyped(digest)),
            };
            let location = location(endpoint, repository, &digest);
            bytes += image.image.len() + location.len();
            if bytes > MAX_MAP_BYTES {
                return Err(CnabError::LargeMap { limit: MAX_MAP_BYTES });
            }
            map.insert(image.image.as_str(), location);
        }
        Ok(Self(map))
    }

    /// As Go's `encoding/json` writes a map of strings: in the order of the keys' bytes, in one line.
    pub fn to_json(&self) -> Vec<u8> {
        let mut json = Vec::new();
        // Text always has a form, and memory takes it.
        let _ = self.0.serialize(&mut Serializer::with_formatter(&mut json, GoFormatter));
        json
    }
}

/// An image as Docker's clients name it there: they leave out their own registry, and `library/` in it.
pub fn location(endpoint: &str, repository: &RepositoryName, digest: &Digest) -> String {
    let hub = endpoint.parse::<RegistryName>().ok().filter(RegistryName::is_docker_hub);
    // By yet another name its repositories are not known to them as that.
    match hub.filter(|_| endpoint != "registry-1.docker.io") {
        None => format!("{endpoint}/{repository}@{digest}"),
        Some(hub) => {
            let Repository { name, .. } = hub.repository(repository);
            let name = name.as_str();
            let familiar = name.strip_prefix("library/").filter(|rest| !rest.contains('/')).unwrap_or(name);
            format!("{familiar}@{digest}")
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::oci::Manifest;

    #[test]
    fn names_as_docker_shortens_them() {
        let digest = Digest::of(b"");
        for (endpoint, repository, named) in [
            ("proxy.example:8443", "acme/app", "proxy.example:8443/acme/app"),
            ("proxy.example", "library/app", "proxy.example/library/app"),
            ("docker.io", "acme/app", "acme/app"),
            ("index.docker.io", "library/app", "app"),
            ("docker.io", "app", "app"),
            ("docker.io", "library/a/b", "library/a/b"),
            ("registry-1.docker.io", "app", "registry-1.docker.io/app"),
        ] {
            assert_eq!(location(endpoint, &repository.parse().unwrap(), &digest), format!("{named}@{digest}"));
        }
    }

    const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";

    fn index(children: &[(&str, Option<&str>, Option<&str>)]) -> Index {
        let children: Vec<_> = (children.iter().enumerate())
            .map(|(at, (media_type, kind, name))| {
                let mut annotations = serde_json::Map::new();
                kind.map(|kind| annotations.insert("io.cnab.manifest.type".to_owned(), kind.into()));
                name.map(|name| annotations.insert("io.cnab.component.name".to_owned(), name.into()));
                json!({"mediaType": media_type, "digest": Digest::of(&[at as u8]), "size": 1, "annotations": annotations})
            })
            .collect();
        let marks = json!({"org.opencontainers.artifactType": "application/vnd.cnab.manifest.v1"});
        let bytes = json!({"schemaVersion": 2, "manifests": children, "annotations": marks}).to_string();
        let digest = Digest::of(bytes.as_bytes());
        Index::of(&Manifest { bytes: bytes.into(), digest, media_type: MediaType::ImageIndex }).unwrap()
    }

    fn map(children: &[(&str, Option<&str>, Option<&str>)], file: &str) -> Result<String, CnabError> {
        let file = BundleFile::parse(file.as_bytes()).unwrap();
        let map = RelocationMap::new(&index(children), &file, "p", &"r".parse().unwrap())?;
        Ok(String::from_utf8(map.to_json()).unwrap())
    }

    #[test]
    fn what_the_index_lists_is_in_it() {
        let config = (IMAGE, Some("config"), None);
        let at = |at: u8| format!("p/r@{}", Digest::of(&[at]));
        let file =
            r#"{"invocationImages":[{"image":"z"},{"image":"y"}],"images":{"b":{"image":"c"},"c":{"image":"a"}}}"#;
        let web = |name| (IMAGE, Some("component"), Some(name));
        let all = [config, (IMAGE, Some("invocation"), None), web("b"), web("c"), config];
        assert_eq!(map(&all, file).unwrap(), format!(r#"{{"a":"{}","c":"{}","z":"{}"}}"#, at(3), at(2), at(1)));
        assert_eq!(map(&[config], file).unwrap(), "{}");
        // Of one name twice, the last counts.
        let same = r#"{"images":{"b":{"image":"x"},"c":{"image":"x"}}}"#;
        assert_eq!(map(&[web("c"), web("b")], same).unwrap(), format!(r#"{{"x":"{}"}}"#, at(1)));
    }

    #[test]
    fn what_clients_refuse_has_none() {
        let digest = Digest::of(&[0]);
        let file = r#"{"images":{"b":{"image":"c"}}}"#;
        let media_type = "text/plain".to_owned();
        for (child, error) in [
            (("text/plain", Some("config"), None), CnabError::NotAManifest { digest, media_type }),
            ((IMAGE, None, None), CnabError::Untyped(digest)),
            ((IMAGE, Some("x"), None), CnabError::UnknownType { digest, kind: "x".to_owned() }),
            ((IMAGE, Some("component"), None), CnabError::Unnamed(digest)),
            ((IMAGE, Some("component"), Some("d")), CnabError::UnknownComponent("d".to_owned())),
            ((IMAGE, Some("invocation"), None), CnabError::NoInvocationImage),
        ] {
            assert_eq!(map(&[child], file), Err(error));
        }
        assert_eq!(index(&[(IMAGE, Some("invocation"), None)]).config(), Err(CnabError::NoConfig));
        let long = format!(r#"{{"images":{{"b":{{"image":"{}"}}}}}}"#, "c".repeat(4000));
        let many = vec![(IMAGE, Some("component"), Some("b")); 300];
        assert_eq!(map(&many, &long), Err(CnabError::LargeMap { limit: MAX_MAP_BYTES }));
    }
}
