//! What walks found, as far as an archive has to know it: manifests, configs where they are described, and how locks name
//! their images. All of it is in memory, and bounded; layers are not.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;

use super::event::ArchiveFormat;
use super::pull::Puller;
use crate::imgpkg::ImageReference;
use crate::oci::{Algorithm, Descriptor, Digest, Manifest, ManifestView, is_schema1};
use crate::rewrite::MAX_CONFIG_BYTES;

/// How much all manifests and configs of an archive may be: that of tens of thousands of images.
pub(super) const MAX_DESCRIBED_BYTES: usize = 64 << 20;

/// See the [module](self).
pub(super) struct Findings {
    format: ArchiveFormat,
    /// Every manifest, by its digest.
    pub(super) manifests: HashMap<Digest, Found>,
    /// Every config, in an archive that describes images by theirs.
    pub(super) configs: HashMap<Digest, Bytes>,
    /// How locks name images.
    pub(super) names: BTreeMap<Digest, BTreeSet<ImageReference>>,
    bytes: usize,
}

/// A manifest, and who pulls what it names.
pub(super) struct Found {
    pub(super) manifest: Manifest,
    pub(super) view: ManifestView,
    pub(super) puller: Arc<Puller>,
}

impl Findings {
    pub(super) fn new(format: ArchiveFormat) -> Self {
        let (manifests, configs) = (HashMap::new(), HashMap::new());
        Self { format, manifests, configs, names: BTreeMap::new(), bytes: 0 }
    }

    /// Whether there is no room for more.
    pub(super) fn is_full(&self) -> bool {
        self.bytes > MAX_DESCRIBED_BYTES
    }

    /// Whether a config is to be read.
    pub(super) fn wants_config(&self, config: &Descriptor) -> bool {
        self.format == ArchiveFormat::Imgpkg && !self.configs.contains_key(&config.digest)
    }

    /// Notes a manifest; says what is wrong with it.
    pub(super) fn found(&mut self, puller: &Arc<Puller>, manifest: &Manifest) -> Result<(), String> {
        if is_schema1(&manifest.media_type) {
            return Err("its digest is not that of its bytes (Docker schema 1), so it cannot be exported".to_owned());
        }
        // What cannot be read is told by whoever looks into it next.
        let Ok(view) = manifest.view() else { return Ok(()) };
        if view == ManifestView::Other {
            return Err("is of a kind of which it is not known what belongs to it, so it cannot be exported".to_owned());
        }
        if self.format == ArchiveFormat::Imgpkg {
            self.fits_imgpkg("manifest", &manifest.digest, &manifest.bytes)?;
        }
        if !self.manifests.contains_key(&manifest.digest) {
            self.take(manifest.bytes.len())?;
            let found = Found { manifest: manifest.clone(), view, puller: Arc::clone(puller) };
            self.manifests.insert(manifest.digest, found);
        }
        Ok(())
    }

    /// Notes a config; says what is wrong with it.
    pub(super) fn found_config(&mut self, digest: Digest, bytes: Bytes) -> Result<(), String> {
        self.fits_imgpkg("config", &digest, &bytes)?;
        self.take(bytes.len())?;
        self.configs.insert(digest, bytes);
        Ok(())
    }

    /// Notes how a lock names its images.
    pub(super) fn named(&mut self, references: Vec<ImageReference>) {
        for reference in references {
            self.names.entry(reference.digest).or_default().insert(reference);
        }
    }

    fn take(&mut self, bytes: usize) -> Result<(), String> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.is_full() {
            return Err(format!(
                "with it, the manifests and configs have more than {MAX_DESCRIBED_BYTES} bytes; export less at a time"
            ));
        }
        Ok(())
    }

    /// An archive of imgpkg's has documents as JSON strings, which are text, and knows one kind of digest.
    fn fits_imgpkg(&self, what: &str, digest: &Digest, bytes: &[u8]) -> Result<(), String> {
        if std::str::from_utf8(bytes).is_err() {
            return Err(format!("an imgpkg archive has no place for a {what} that is not UTF-8; use --format oci"));
        }
        if digest.algorithm() != Algorithm::Sha256 {
            return Err("an imgpkg archive has no place for digests other than SHA-256; use --format oci".to_owned());
        }
        Ok(())
    }
}

/// A config as large as any may be still leaves room for the rest.
const _: () = assert!(MAX_CONFIG_BYTES <= MAX_DESCRIBED_BYTES / 8);
