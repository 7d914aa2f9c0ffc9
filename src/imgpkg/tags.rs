//! Tags that imgpkg derives from digests.

use crate::oci::{Digest, Tag};

/// What a tag is for whose name is made of a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DerivedTag {
    /// `sha256-<hex>.image-locations.imgpkg`: where the images of that bundle are.
    Locations(Digest),
    /// `sha256-<hex>.imgpkg`: that very digest, kept from a registry's garbage collection.
    Keep(Digest),
}

impl DerivedTag {
    /// Reads a tag; `None` for one that people gave.
    pub fn parse(tag: &Tag) -> Option<Self> {
        let name = tag.as_str().strip_suffix(".imgpkg")?;
        let (name, is_locations) = match name.strip_suffix(".image-locations") {
            Some(name) => (name, true),
            None => (name, false),
        };
        let digest = name.replacen('-', ":", 1).parse().ok()?;
        Some(if is_locations { Self::Locations(digest) } else { Self::Keep(digest) })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests {
    use super::*;
    use crate::imgpkg::locations_tag;

    #[test]
    fn derived_tags() {
        let digest = Digest::of(b"");
        let parse = |tag: &str| DerivedTag::parse(&tag.parse().unwrap());
        assert_eq!(parse(&locations_tag(&digest)), Some(DerivedTag::Locations(digest)));
        let keep = format!("sha256-{}.imgpkg", digest.hex());
        assert_eq!(parse(&keep), Some(DerivedTag::Keep(digest)));
        for other in ["v1", "v1.imgpkg", "sha256-00.imgpkg", &keep.replace("imgpkg", "sig"), &keep.to_uppercase()] {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}
