//! The sample bundle: an OCI image layout inside the binary. `config/sample/README.md` tells how it was made.

use std::path::Path;
use std::{fs, io};

use serde_json::Value;

use crate::oci::{Digest, RepositoryName, Tag};

/// The repository the sample is in.
pub(super) const REPOSITORY: &str = "samples/guestbook";
/// The bundle's tag.
pub(super) const TAG: &str = "v1.0.0";

const INDEX: &str = include_str!("../../../config/sample/index.json");
const MARKER: &str = include_str!("../../../config/sample/oci-layout");

macro_rules! blob {
    ($hex:literal) => {
        ($hex, include_bytes!(concat!("../../../config/sample/blobs/sha256/", $hex)).as_slice())
    };
}

/// Every blob, by the hexadecimal of its SHA-256.
const BLOBS: [(&str, &[u8]); 18] = [
    blob!("03cf22d3016c4fc8a0a9a0b0283ad6b6855cde343b078d7974bc33c21d449248"),
    blob!("0b27c53b3d7907f7abb76e7f20f015ca2d308e4b5cbeac2e1ee3fd5793e0b190"),
    blob!("28fd65173af82fd98d2f3cb029b3bed9049481e6b58aa4cd0a31124561dc2272"),
    blob!("4330cc441e7ecdbabf6b66d6eec77607fecd2d5ac1c5cf114e5fc1821a0c2b06"),
    blob!("4a9ce47821fbebf20234b01a4fce75bb8c6c842de6a16578a34a81e0a05eb6fd"),
    blob!("61b353a5689cbeeba870565ffcf2113aee5af8f6c828837546d01b8afc888699"),
    blob!("690f3d51efecb6e8689732055e86cb647ce973ce04bc47652bbd84d66e192e46"),
    blob!("7825fc52e96cdac282ddc3dbf27981f811ad4b29686bffac1a8812813f77db0f"),
    blob!("78da8c4f761b8b3203ca1f1e3ca1c45e22a57102783c388180e82bd88fe33826"),
    blob!("7d2809174638462a54a6e10504aef1ddd4cc1e0d58828012326833e88e630871"),
    blob!("8f639d86e12667050faa806645cfc0e03cdfae02dd0c978fc969c828b68373ae"),
    blob!("905851392cc623ef5895cb7457bde6d2653f8668a824606889315b7a008326a8"),
    blob!("ade4380b71e86a70475b44f3f576a60121edc0d304858edac330018ef8b32761"),
    blob!("aebfaabaf7019e5411218b5eca174dcc1342dd4fc4ae9aee7cdaee163014cb06"),
    blob!("bbe536aaad025a927a1e1a693a9161761c1f00243875dc5665ea0bec57824e9f"),
    blob!("d26ad37bf3969cc8780993e15d0ebf3466e1cacae9eae50560f515f4b9356448"),
    blob!("dc19907b797175f9d0b53487631ced34d3657a32f964f55cfc9d13b0904536f2"),
    blob!("de229a78a0cf016c6b95a4a092093e092f1b3d478d52ff7e42358a77c087d7a5"),
];

/// Writes the layout into `directory`, as a registry behind would have it.
pub(super) fn write(directory: &Path) -> io::Result<()> {
    let blobs = directory.join("blobs").join("sha256");
    fs::create_dir_all(&blobs)?;
    fs::write(directory.join("oci-layout"), MARKER)?;
    fs::write(directory.join("index.json"), INDEX)?;
    BLOBS.iter().try_for_each(|(hex, bytes)| fs::write(blobs.join(hex), bytes))
}

/// The bundle's name, tag and digest as it was pushed.
pub(super) fn bundle() -> Option<(RepositoryName, Tag, Digest)> {
    let index: Value = serde_json::from_str(INDEX).ok()?;
    let name = format!("{REPOSITORY}:{TAG}");
    let entries = index.get("manifests")?.as_array()?;
    let entry = entries.iter().find(|entry| {
        let own = entry.pointer("/annotations/org.opencontainers.image.ref.name");
        own.and_then(Value::as_str) == Some(&name)
    })?;
    Some((REPOSITORY.parse().ok()?, TAG.parse().ok()?, entry.get("digest")?.as_str()?.parse().ok()?))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_file_of_the_layout_is_inside_and_is_what_its_name_says() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/sample/blobs/sha256");
        let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let listed = BLOBS.iter().map(|(hex, _)| (*hex).to_owned());
        assert_eq!(files.collect::<BTreeSet<_>>(), listed.collect::<BTreeSet<_>>());
        for (hex, bytes) in BLOBS {
            assert_eq!(Digest::of(bytes).hex(), hex);
        }
        assert!(bundle().is_some());
    }
}
