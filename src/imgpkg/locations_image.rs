//! The locations image, as bytes.

use crc32fast::hash;

use super::locations::{ImageLocations, LOCATIONS_FILE};
use crate::gzip::{BitWriter, encode, trailer};
use crate::oci::Digest;
use crate::tar::{BLOCK, header, padded};

/// A gzip header that says nothing: no name, no time, no system.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// Two empty blocks end a tar.
const END_BYTES: usize = 2 * BLOCK;

/// The image that imgpkg leaves beside a bundle whose images it copied: one layer of one file.
///
/// The layer's content and the config are what imgpkg makes. The layer is compressed by the frozen encoder, so that the
/// image has one digest for one list, whoever makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocationsImage {
    /// The manifest.
    pub manifest: Vec<u8>,
    /// Its config.
    pub config: Vec<u8>,
    /// Its layer.
    pub layer: Vec<u8>,
}

impl LocationsImage {
    /// The media type of the manifest, which is Docker's: imgpkg reads no layer of another kind.
    pub const MEDIA_TYPE: &str = "application/vnd.docker.distribution.manifest.v2+json";

    /// The image of a list.
    pub fn of(locations: &ImageLocations) -> Self {
        let list = locations.to_yaml();
        let mut tar = Vec::new();
        tar.extend_from_slice(&header(".", true, 0));
        tar.extend_from_slice(&header(LOCATIONS_FILE, false, list.len() as u64));
        tar.extend_from_slice(&list);
        // The cast holds: the list is in memory.
        tar.resize(2 * BLOCK + padded(list.len() as u64) as usize + END_BYTES, 0);
        let layer = gzip(&tar);
        let config = format!(
            "{{\"architecture\":\"\",\"created\":\"0001-01-01T00:00:00Z\",\"history\":[{{\"author\":\"imgpkg\",\
             \"created\":\"0001-01-01T00:00:00Z\",\"created_by\":\"imgpkg\"}}],\"os\":\"\",\"rootfs\":{{\"type\":\"layers\",\
             \"diff_ids\":[\"{}\"]}},\"config\":{{}}}}",
            Digest::of(&tar)
        );
        let descriptor = |media_type: &str, bytes: &[u8]| {
            format!("{{\"mediaType\":\"{media_type}\",\"size\":{},\"digest\":\"{}\"}}", bytes.len(), Digest::of(bytes))
        };
        let config = config.into_bytes();
        // By hand: the order of fields is in the digest, and no library promises one.
        let manifest = format!(
            "{{\"schemaVersion\":2,\"mediaType\":\"{}\",\"config\":{},\"layers\":[{}]}}",
            Self::MEDIA_TYPE,
            descriptor("application/vnd.docker.container.image.v1+json", &config),
            descriptor("application/vnd.docker.image.rootfs.diff.tar.gzip", &layer),
        );
        Self { manifest: manifest.into_bytes(), config, layer }
    }
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut bits = BitWriter::new();
    encode(data, &mut bits, true);
    let mut member = GZIP_HEADER.to_vec();
    member.extend_from_slice(&bits.finish().0);
    member.extend_from_slice(&trailer(hash(data), data.len() as u64));
    member
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests {
    use std::io::Read as _;

    use super::*;
    use crate::imgpkg::ImageLocation;

    const IMAGE: &str =
        "127.0.0.1:5900/apps/one@sha256:7825fc52e96cdac282ddc3dbf27981f811ad4b29686bffac1a8812813f77db0f";

    #[test]
    fn its_content_is_imgpkg_s_own() {
        let image =
            LocationsImage::of(&ImageLocations::new([ImageLocation { image: IMAGE.to_owned(), is_bundle: false }]));
        // As `imgpkg copy` wrote it for tests/fixtures/bundles/simple-app.
        assert_eq!(
            Digest::of(&image.config).to_string(),
            "sha256:ade4380b71e86a70475b44f3f576a60121edc0d304858edac330018ef8b32761"
        );
        let mut tar = Vec::new();
        flate2::read::GzDecoder::new(image.layer.as_slice()).read_to_end(&mut tar).unwrap();
        assert_eq!(
            Digest::of(&tar).to_string(),
            "sha256:e06be3740ae18a87a7c67166c30e8fe4feb2d3a49cb6f96b05dbeb24ebde88b1"
        );
    }

    /// A change here changes what clients have pulled before.
    #[test]
    fn one_list_has_one_digest() {
        let image =
            LocationsImage::of(&ImageLocations::new([ImageLocation { image: IMAGE.to_owned(), is_bundle: true }]));
        assert_eq!(
            Digest::of(&image.manifest).to_string(),
            "sha256:eb60f46fdc80047e6039e0d5f172de4573a9916987d674a2c4174f0e449a1705"
        );
    }
}
