//! `bundle.json`: what a bundle is called, and which images it names (CNAB core 101, "The bundle.json File").

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::error::CnabError;
use super::json::{list, object, pick, string, unreadable};
use crate::oci::{Digest, Members, RegistryName, Repository};

/// Some hundred times what large bundles name.
const MAX_IMAGES: usize = 10_000;
/// Names of images are at most 255 bytes, a tag 128, a digest some more; what is longer names none.
const MAX_IMAGE_BYTES: usize = 4096;

/// Docker's name for its own registry, where a reference leaves it out.
const DOCKER_HUB: &str = "docker.io";

/// What `bundle.json` says, as far as locations go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BundleFile {
    /// What the bundle is called.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its invocation images; clients use the first.
    pub invocation_images: Vec<NamedImage>,
    /// The images of its components, by their names.
    pub images: BTreeMap<String, NamedImage>,
}

/// An image that `bundle.json` names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamedImage {
    /// Where it came from, as it is written. Any text.
    pub image: String,
    /// Its digest, as it is written; empty where it is not.
    pub content_digest: String,
}

/// What an image is to its bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role<'a> {
    /// It installs the bundle.
    Invocation,
    /// It is installed, by this name.
    Component(&'a str),
}

impl BundleFile {
    /// Reads `bundle.json`. It need not be canonical; what Go would read in some way of its own is refused.
    ///
    /// # Errors
    /// When it is not JSON, or odd.
    pub fn parse(bytes: &[u8]) -> Result<Self, CnabError> {
        let text = std::str::from_utf8(bytes).map_err(unreadable)?;
        let fields = pick(&object(text)?, ["name", "version", "invocationImages", "images"])?;
        let [name, version, invocation_images, images] = fields;
        let invocation_images = list(invocation_images)?;
        let images = images.map_or_else(|| Ok(Members::default()), |images| object(images.get()))?.0;
        if invocation_images.len() + images.len() > MAX_IMAGES {
            return Err(CnabError::TooManyImages { limit: MAX_IMAGES });
        }
        let mut components = BTreeMap::new();
        for (name, image) in images {
            let image = NamedImage::read(image)?;
            if components.contains_key(&name) {
                return Err(CnabError::DuplicateKey(super::error::shown(&name)));
            }
            components.insert(name, image);
        }
        Ok(Self {
            name: string(name)?,
            version: string(version)?,
            invocation_images: invocation_images.into_iter().map(NamedImage::read).collect::<Result<_, _>>()?,
            images: components,
        })
    }

    /// All images, invocation images first.
    pub fn all(&self) -> impl Iterator<Item = (Role<'_>, &NamedImage)> {
        let invocation = self.invocation_images.iter().map(|image| (Role::Invocation, image));
        invocation.chain(self.images.iter().map(|(name, image)| (Role::Component(name), image)))
    }
}

impl NamedImage {
    fn read(value: &RawValue) -> Result<Self, CnabError> {
        let [image, content_digest] = pick(&object(value.get())?, ["image", "contentDigest"])?;
        let read = Self { image: string(image)?, content_digest: string(content_digest)? };
        if read.image.len().max(read.content_digest.len()) > MAX_IMAGE_BYTES {
            return Err(CnabError::LongName { limit: MAX_IMAGE_BYTES });
        }
        Ok(read)
    }

    /// The digest that it is named by: its `contentDigest`, or else the one in its name. `None` of an image that a tag
    /// names, which may be another one tomorrow.
    pub fn digest(&self) -> Option<Digest> {
        match self.content_digest.as_str() {
            "" => self.image.split_once('@')?.1.parse().ok(),
            digest => digest.parse().ok(),
        }
    }

    /// The repository that its name means, by Docker's rules. `None` if it is no name of an image.
    pub fn repository(&self) -> Option<Repository> {
        let base = match self.image.split_once('@') {
            Some((base, digest)) => digest.parse::<Digest>().ok().map(|_| base)?,
            None => &self.image,
        };
        // A colon after the last slash starts a tag; before it, a port.
        let base = match base.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => tag.parse::<crate::oci::Tag>().ok().map(|_| name)?,
            _ => base,
        };
        let is_host = |first: &str| first.contains(['.', ':']) || first == "localhost" || first.to_lowercase() != first;
        let (registry, name) = base.split_once('/').filter(|(first, _)| is_host(first)).unwrap_or((DOCKER_HUB, base));
        Some(registry.parse::<RegistryName>().ok()?.repository(&name.parse().ok()?))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:146adb38e14044fb478a0cb1e4b3a908402165632f6944b59760d188da4dea90";

    #[test]
    fn names_by_the_rules_of_docker() {
        for (image, meant) in [
            ("ubuntu", "docker.io/library/ubuntu"),
            ("ubuntu:22.04", "docker.io/library/ubuntu"),
            ("index.docker.io/acme/app", "docker.io/acme/app"),
            ("acme/app", "docker.io/acme/app"),
            ("localhost/app", "localhost/app"),
            ("localhost:5000/app:v1", "localhost:5000/app"),
            ("HOST/app", "host/app"),
            ("ghcr.io/acme/a/b:v1@DIGEST", "ghcr.io/acme/a/b"),
            ("", ""),
            ("Upper", ""),
            ("a b", ""),
            ("ghcr.io/", ""),
            ("ghcr.io/app:", ""),
            ("ghcr.io/app@sha256:beef", ""),
            ("https://ghcr.io/app", ""),
        ] {
            let named = NamedImage { image: image.replace("DIGEST", DIGEST), content_digest: String::new() };
            assert_eq!(named.repository().map(|found| found.to_string()).unwrap_or_default(), meant, "{image}");
        }
    }

    #[test]
    fn the_digest_is_the_one_of_its_own_field_first() {
        let other = format!("sha256:{}", "0".repeat(64));
        let named = |image: &str, digest: &str| {
            let named = NamedImage { image: image.to_owned(), content_digest: digest.to_owned() };
            named.digest().map(|digest| digest.to_string())
        };
        assert_eq!(named("a:v1", DIGEST), Some(DIGEST.to_owned()));
        assert_eq!(named(&format!("a@{other}"), DIGEST), Some(DIGEST.to_owned()));
        assert_eq!(named(&format!("a@{DIGEST}"), ""), Some(DIGEST.to_owned()));
        assert_eq!(named("a:v1", ""), None);
        assert_eq!(named(&format!("a@{DIGEST}"), "sha256:beef"), None);
    }

    #[test]
    fn odd_files() {
        let error = |text: &str| BundleFile::parse(text.as_bytes()).unwrap_err();
        assert_eq!(error(r#"{"images":{},"images":{}}"#), CnabError::DuplicateKey("images".to_owned()));
        assert_eq!(error(r#"{"images":{"a":{},"a":{}}}"#), CnabError::DuplicateKey("a".to_owned()));
        assert_eq!(error(r#"{"images":{"a":{"image":"","image":""}}}"#), CnabError::DuplicateKey("image".to_owned()));
        assert_eq!(error(r#"{"Images":{}}"#), CnabError::OddKey("Images".to_owned()));
        assert_eq!(error("{\"image\u{17f}\":{}}"), CnabError::OddKey("image\u{17f}".to_owned()));
        let long = format!(r#"{{"images":{{"a":{{"image":"{}"}}}}}}"#, "a".repeat(MAX_IMAGE_BYTES + 1));
        assert_eq!(error(&long), CnabError::LongName { limit: MAX_IMAGE_BYTES });
        let many = format!(r#"{{"invocationImages":[{}null]}}"#, "null,".repeat(MAX_IMAGES));
        assert_eq!(error(&many), CnabError::TooManyImages { limit: MAX_IMAGES });
        for broken in ["", "<html>", "[]", "{", r#"{"name":1}"#, r#"{"images":[]}"#, r#"{"images":{"a":"b"}}"#, "{} {}"]
        {
            assert!(matches!(error(broken), CnabError::Json(_)), "{broken}");
        }
        assert!(matches!(BundleFile::parse(b"{\"name\":\"\xff\"}"), Err(CnabError::Json(_))));
    }

    #[test]
    fn what_is_left_out_is_empty() {
        for text in ["null", "{}", r#"{"images":null,"invocationImages":null,"name":null,"custom":{"a":1,"a":2}}"#] {
            assert_eq!(BundleFile::parse(text.as_bytes()), Ok(BundleFile::default()), "{text}");
        }
        let file =
            BundleFile::parse(br#"{ "invocationImages" : [null, {"image":"a"}], "images":{"b":null} }"#).unwrap();
        assert_eq!(file.all().map(|(_, image)| image.image.as_str()).collect::<Vec<_>>(), ["", "a", ""]);
    }
}
