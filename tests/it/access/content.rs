//! What there is to be read.

use std::collections::HashSet;

use bytes::Bytes;
use colocate::oci::Digest;
use serde_json::{Value, json};

use crate::support::bundle::{Bundle, BundleBuilder, lock_of};
use crate::support::scripted::ScriptedUpstream;
use crate::support::seen::Pulled;

/// Alice's repository, upstream.
pub(super) const REPOSITORY: &str = "acme/app";
/// Bob's.
pub(super) const OTHERS: &str = "bob/app";
/// One that nobody has, with a name as long.
pub(super) const NOWHERE: &str = "void/app";

/// The tag of the bundle.
pub(super) const BUNDLE_TAG: &str = "v1";
const IMAGE_TAG: &str = "plain";
/// For the chunks that content is known by again.
const CHUNK: usize = 16;

/// How a thing is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Manifest,
    Blob,
    /// Always asked upstream.
    Tags,
    /// Likewise.
    Referrers,
}

/// Something to ask for.
#[derive(Clone, Debug)]
pub(super) struct Thing {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// The tag or digest by which it is asked for.
    pub(super) reference: String,
    /// The bytes that whoever may read it gets.
    pub(super) bytes: Bytes,
}

/// What is put into the registry behind.
pub(super) struct Content {
    bundle: Bundle,
    image: Bundle,
    images: Vec<Bundle>,
    locations: Bundle,
}

impl Thing {
    /// Where it is, in a repository.
    pub(super) fn path(&self, repository: &str) -> String {
        self.path_of(repository, &self.reference)
    }

    /// Where it would be if it were called so.
    pub(super) fn path_of(&self, repository: &str, reference: &str) -> String {
        match self.kind {
            Kind::Manifest => format!("/v2/{repository}/manifests/{reference}"),
            Kind::Blob => format!("/v2/{repository}/blobs/{reference}"),
            Kind::Tags => format!("/v2/{repository}/tags/list"),
            Kind::Referrers => format!("/v2/{repository}/referrers/{reference}"),
        }
    }

    /// A reference of the same kind and length to nothing at all.
    pub(super) fn absent(&self) -> String {
        match self.reference.split_once("sha256") {
            Some((before, after)) => {
                let (hex, rest) = after[1..].split_at(64);
                assert_ne!(hex, ABSENT);
                format!("{before}sha256{}{ABSENT}{rest}", &after[..1])
            }
            None => "x".repeat(self.reference.len()),
        }
    }

    /// Its digest.
    pub(super) fn digest(&self) -> Digest {
        Digest::of(&self.bytes)
    }

    /// What it would be known by to a client that has it.
    pub(super) fn entity_tag(&self) -> String {
        format!("\"{}\"", self.digest())
    }

    /// Whether there is some of it in `bytes`.
    pub(super) fn is_in(&self, bytes: &[u8]) -> bool {
        let chunks: HashSet<&[u8]> = self.bytes.windows(CHUNK).collect();
        bytes.windows(CHUNK).any(|window| chunks.contains(window))
    }
}

impl Content {
    pub(super) fn new() -> Self {
        let images: Vec<_> = ["one", "two"].map(Bundle::image).into();
        let references: Vec<_> = images.iter().map(|image| format!("origin.example/app@{}", image.digest())).collect();
        let bundle =
            BundleBuilder::new().directory(".imgpkg").lock(&lock_of(&references)).file("more", "x: y\n".repeat(500));
        let entries: String = references.iter().map(|image| format!("- image: {image}\n  isBundle: false\n")).collect();
        let list = format!("apiVersion: imgpkg.carvel.dev/v1alpha1\nkind: ImageLocations\nimages:\n{entries}");
        let locations = BundleBuilder::new().label(None).file("image-locations.yml", list).build();
        Self { bundle: bundle.build(), image: Bundle::image("an image like any other"), images, locations }
    }

    /// Puts all of it into both repositories' registry; Bob has an image of his own.
    pub(super) fn put(&self, upstream: &ScriptedUpstream) {
        upstream.put(REPOSITORY, &self.bundle.layout(Some(BUNDLE_TAG)));
        upstream.put(REPOSITORY, &self.image.layout(Some(IMAGE_TAG)));
        upstream.put(REPOSITORY, &self.locations.layout(Some(&self.locations_tag())));
        upstream.refer(REPOSITORY, &self.bundle.digest(), self.signature());
        self.images.iter().for_each(|image| upstream.put(REPOSITORY, &image.layout(None)));
        upstream.put(OTHERS, &Bundle::image("of bob").layout(Some("own")));
    }

    /// Puts the image into a repository.
    pub(super) fn put_as(&self, upstream: &ScriptedUpstream, repository: &str) {
        upstream.put(repository, &self.image.layout(Some(IMAGE_TAG)));
    }

    /// A blob and a manifest, by digest, each with the part of the API where it is.
    pub(super) fn two_originals(&self) -> [(Digest, &'static str); 2] {
        [(self.image.layer_digest(), "blobs"), (self.image.digest(), "manifests")]
    }

    /// How a list names what signs the bundle.
    fn signature(&self) -> Value {
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        json!({"mediaType": media_type, "digest": Digest::of(b"a signature"), "size": 11, "artifactType": "signature"})
    }

    fn locations_tag(&self) -> String {
        colocate::imgpkg::locations_tag(&self.bundle.digest())
    }

    /// Everything to ask for: what is there, and what a client that may read `repository` by that name found to be made
    /// of the bundle.
    pub(super) fn things(&self, repository: &str, relocated: &Pulled) -> Vec<Thing> {
        assert_ne!(relocated.digest, self.bundle.digest(), "it is relocated");
        let thing = |name, kind, reference: &str, bytes: &Bytes| {
            let (reference, bytes) = (reference.to_owned(), bytes.clone());
            Thing { name, kind, reference, bytes }
        };
        let by_digest = |name, kind, bytes: &Bytes| thing(name, kind, &Digest::of(bytes).to_string(), bytes);
        let original = &self.bundle.manifest.bytes;
        let tags = json!({"name": repository, "tags": [IMAGE_TAG, &self.locations_tag(), BUNDLE_TAG]}).to_string();
        let media_type = "application/vnd.oci.image.index.v1+json";
        let manifests = [self.signature()];
        let referrers = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": manifests}).to_string();
        vec![
            thing("an image", Kind::Manifest, IMAGE_TAG, &self.image.manifest.bytes),
            by_digest("the bundle as it was", Kind::Manifest, original),
            thing("the bundle's tag", Kind::Manifest, BUNDLE_TAG, &relocated.manifest),
            by_digest("the relocated bundle", Kind::Manifest, &relocated.manifest),
            by_digest("its config", Kind::Blob, &relocated.config),
            by_digest("its layer", Kind::Blob, &relocated.layer),
            by_digest("an image's layer", Kind::Blob, &self.image.layers[0]),
            thing("the locations", Kind::Manifest, &self.locations_tag(), &self.locations.manifest.bytes),
            thing("what refers to it", Kind::Referrers, &Digest::of(original).to_string(), &referrers.into()),
            thing("the tags", Kind::Tags, "list", &tags.into()),
        ]
    }
}

/// Of no content at all.
const ABSENT: &str = "abababababababababababababababababababababababababababababababab";
