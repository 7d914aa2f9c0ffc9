//! Archives, read by other code than writes them.

use std::collections::BTreeMap;

use bytes::Bytes;
use colocate::oci::Digest;
use serde_json::Value;

use super::layout::{Document, Layout};

const BLOCK: usize = 512;

/// A file of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) data: Bytes,
    /// Where its header begins.
    pub(crate) start: usize,
    /// And the next one's.
    pub(crate) end: usize,
}

/// The files of a plain tar, which has to end as one does.
#[track_caller]
pub(crate) fn entries(tar: &[u8]) -> Vec<Entry> {
    let (mut entries, mut start) = (Vec::new(), 0);
    loop {
        let header = &tar[start..start + BLOCK];
        if header.iter().all(|byte| *byte == 0) {
            assert_eq!(&tar[start..], [0; 2 * BLOCK], "the end");
            return entries;
        }
        let text = |field: &[u8]| String::from_utf8(field.split(|byte| *byte == 0).next().unwrap_or_default().to_vec());
        let name = text(&header[..100]).expect("a name");
        let size = usize::from_str_radix(&text(&header[124..136]).expect("digits"), 8).expect("a size");
        let data = Bytes::copy_from_slice(&tar[start + BLOCK..start + BLOCK + size]);
        let end = start + BLOCK + size.next_multiple_of(BLOCK);
        entries.push(Entry { name, data, start, end });
        start = end;
    }
}

/// An OCI image layout in a tar.
#[derive(Debug)]
pub(crate) struct OciArchive {
    pub(crate) index: Value,
    blobs: BTreeMap<Digest, Bytes>,
}

impl OciArchive {
    /// Reads one whose every file is what it is called.
    #[track_caller]
    pub(crate) fn read(tar: &[u8]) -> Self {
        let entries = entries(tar);
        let names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names[..2], ["oci-layout", "index.json"]);
        assert_eq!(&entries[0].data[..], br#"{"imageLayoutVersion":"1.0.0"}"#);
        let mut blobs = BTreeMap::new();
        for entry in &entries[2..] {
            let digest = Digest::of(&entry.data);
            assert_eq!(entry.name, format!("blobs/sha256/{}", digest.hex()));
            assert!(blobs.insert(digest, entry.data.clone()).is_none(), "{} is there twice", entry.name);
        }
        assert!(names[2..].is_sorted(), "{names:?}");
        Self { index: serde_json::from_slice(&entries[1].data).expect("an index is JSON"), blobs }
    }

    /// What it lists, by name.
    pub(crate) fn names(&self) -> Vec<(String, Digest)> {
        let listed = self.index["manifests"].as_array().expect("a list").iter();
        let named = |listed: &Value| {
            let name = listed["annotations"]["org.opencontainers.image.ref.name"].as_str().expect("a name");
            (name.to_owned(), digest_of(listed))
        };
        listed.map(named).collect()
    }

    /// A blob or manifest.
    #[track_caller]
    pub(crate) fn blob(&self, digest: &Digest) -> &Bytes {
        self.blobs.get(digest).unwrap_or_else(|| panic!("no {digest}"))
    }

    /// Whether it has a blob or manifest.
    pub(crate) fn has(&self, digest: &Digest) -> bool {
        self.blobs.contains_key(digest)
    }

    /// How many blobs and manifests there are.
    pub(crate) fn len(&self) -> usize {
        self.blobs.len()
    }

    /// One of the images, with everything that is in it, as a repository has it.
    #[track_caller]
    pub(crate) fn layout(&self, listed: &Value) -> Layout {
        let mut layout = Layout::default();
        self.collect(listed, &mut layout);
        layout
    }

    fn collect(&self, descriptor: &Value, layout: &mut Layout) {
        let digest = digest_of(descriptor);
        let bytes = self.blob(&digest).clone();
        assert_eq!(descriptor["size"], bytes.len());
        let document: Value = serde_json::from_slice(&bytes).expect("a manifest is JSON");
        for child in document["manifests"].as_array().into_iter().flatten() {
            self.collect(child, layout);
        }
        for part in document.get("config").into_iter().chain(document["layers"].as_array().into_iter().flatten()) {
            let digest = digest_of(part);
            layout.blobs.push((digest, self.blob(&digest).clone()));
        }
        let media_type = descriptor["mediaType"].as_str().expect("a media type").to_owned();
        layout.manifests.push(Document { digest, media_type, bytes });
    }
}

fn digest_of(descriptor: &Value) -> Digest {
    descriptor["digest"].as_str().expect("a digest").parse().expect("a valid digest")
}

/// Everything in an archive of imgpkg's, as one repository has it: with the tags of what was asked for.
#[track_caller]
pub(crate) fn imgpkg_layout(tar: &[u8]) -> Layout {
    let entries = entries(tar);
    assert_eq!(entries[0].name, "manifest.json");
    let described: Value = serde_json::from_slice(&entries[0].data).expect("a description is JSON");
    let layers = entries[1..].iter().map(|entry| {
        let digest = Digest::of(&entry.data);
        assert_eq!(entry.name, format!("sha256-{}.tar.gz", digest.hex()));
        (digest, entry.data.clone())
    });
    let mut layout = Layout { blobs: layers.collect(), ..Layout::default() };
    for described in described.as_array().expect("a list") {
        let (image, index) = (&described["Image"], &described["ImageIndex"]);
        let digest = if image.is_null() { read_index(index, &mut layout) } else { read_image(image, &mut layout) };
        let tag = if image.is_null() { &index["Tag"] } else { &image["Tag"] };
        if tag != "" {
            layout.tags.push((tag.as_str().expect("a tag").to_owned(), digest));
        }
    }
    layout
}

fn read_index(index: &Value, layout: &mut Layout) -> Digest {
    for image in index["Images"].as_array().into_iter().flatten() {
        read_image(image, layout);
    }
    for index in index["Indexes"].as_array().into_iter().flatten() {
        read_index(index, layout);
    }
    read_manifest(index, layout)
}

fn read_image(image: &Value, layout: &mut Layout) -> Digest {
    let (digest, bytes) = read_raw(&image["Config"]);
    layout.blobs.push((digest, bytes));
    read_manifest(&image["Manifest"], layout)
}

fn read_manifest(described: &Value, layout: &mut Layout) -> Digest {
    let (digest, bytes) = read_raw(described);
    let media_type = described["MediaType"].as_str().expect("a media type").to_owned();
    layout.manifests.push(Document { digest, media_type, bytes });
    digest
}

/// The bytes of a document, which have to be what their digest says.
fn read_raw(described: &Value) -> (Digest, Bytes) {
    let bytes = Bytes::copy_from_slice(described["Raw"].as_str().expect("text").as_bytes());
    let digest = Digest::of(&bytes);
    assert_eq!(described["Digest"], digest.to_string());
    (digest, bytes)
}
