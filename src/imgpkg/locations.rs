//! The locations list: which images imgpkg copied beside a bundle, and which of them are bundles themselves.

use super::LockError;
use super::document::{Document, Value};
use super::emit::Emitter;
use super::lock::{API_VERSION, Unknown, fields, list, pick, string, wrong_type};
use crate::oci::Digest;

/// The file's name in the locations image, whose only layer has nothing else.
pub const LOCATIONS_FILE: &str = "image-locations.yml";
const KIND: &str = "ImageLocations";

/// The tag under which imgpkg looks for the locations of a bundle.
pub fn locations_tag(bundle: &Digest) -> String {
    format!("{}-{}.image-locations.imgpkg", bundle.algorithm().name(), bundle.hex())
}

/// What [`LOCATIONS_FILE`] says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageLocations {
    images: Vec<ImageLocation>,
}

/// One image beside the bundle.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImageLocation {
    /// As the bundle's lock has it.
    pub image: String,
    /// Whether it is a bundle.
    pub is_bundle: bool,
}

impl ImageLocations {
    /// A list of these, each once, sorted as imgpkg sorts them: by image.
    pub fn new(images: impl IntoIterator<Item = ImageLocation>) -> Self {
        let mut images: Vec<_> = images.into_iter().collect();
        images.sort();
        images.dedup_by(|a, b| a.image == b.image);
        Self { images }
    }

    /// Reads a list. imgpkg is not strict here, so unknown fields pass; repeated ones do not, which it lets pass.
    pub fn parse(bytes: &[u8]) -> Result<Self, LockError> {
        let document = Document::parse(bytes)?;
        let [images] = fields(&document, KIND, ["images"], Unknown::Ignored)?;
        let images = list(&document, images, "images")?.iter().map(|node| {
            let entries = match &node.value {
                Value::Map(map) => document.entries(map)?,
                Value::Null => Vec::new(),
                _ => return Err(wrong_type("images", "a list of maps", document.line(node))),
            };
            let [image, is_bundle] = pick(entries, ["image", "isBundle"], Unknown::Ignored)?;
            let image = match image {
                None => String::new(),
                Some((node, line)) => {
                    string(&node.value).ok_or_else(|| wrong_type("image", "a string", line))?.into_owned()
                }
            };
            let is_bundle = match is_bundle.map(|(node, line)| (&node.value, line)) {
                None | Some((Value::Null, _)) => false,
                Some((Value::Bool(is_bundle), _)) => *is_bundle,
                Some((_, line)) => return Err(wrong_type("isBundle", "true or false", line)),
            };
            Ok(ImageLocation { image, is_bundle })
        });
        Ok(Self { images: images.collect::<Result<_, _>>()? })
    }

    /// The images, in the order of the file.
    pub fn images(&self) -> impl ExactSizeIterator<Item = &ImageLocation> {
        self.images.iter()
    }

    /// The file as imgpkg writes it.
    pub fn to_yaml(&self) -> Vec<u8> {
        let mut out = Emitter::new();
        out.key("apiVersion");
        out.string(API_VERSION);
        out.key("images");
        if self.images.is_empty() {
            // Go's nil slice.
            out.word("null");
        }
        for image in &self.images {
            out.item();
            out.nested(|out| {
                out.key("image");
                out.string(&image.image);
                out.key("isBundle");
                out.word(if image.is_bundle { "true" } else { "false" });
            });
        }
        out.key("kind");
        out.string(KIND);
        out.finish()
    }
}
