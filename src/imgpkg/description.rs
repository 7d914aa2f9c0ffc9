//! The `manifest.json` of an archive as imgpkg writes it: Go's `encoding/json`, byte for byte.

use std::io;

use serde::Serialize;
use serde_json::ser::Serializer;

use super::archive::Described;
use crate::oci::GoFormatter;

/// Why a description cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("the description of the images is longer than {cap} bytes")]
pub struct DescriptionTooLong {
    /// How long it may be.
    pub cap: usize,
}

/// Writes a description of at most `cap` bytes, in the order that imgpkg gives it: by digest. What stands twice under one
/// digest keeps its order.
///
/// # Errors
/// When it is longer.
pub fn description(mut described: Vec<Described>, cap: usize) -> Result<Vec<u8>, DescriptionTooLong> {
    described.sort_by_cached_key(sort_key);
    let mut out = Capped { bytes: Vec::new(), cap };
    // Nothing else can fail: all of it is structs, text and numbers.
    described
        .serialize(&mut Serializer::with_formatter(&mut out, GoFormatter))
        .map_err(|_| DescriptionTooLong { cap })?;
    Ok(out.bytes)
}

fn sort_key(described: &Described) -> String {
    match described {
        Described { image_index: Some(index), .. } => index.digest.clone(),
        Described { image: Some(image), .. } => format!("{}/{}", image.manifest.digest, image.config.digest),
        Described { image_index: None, image: None } => String::new(),
    }
}

struct Capped {
    bytes: Vec<u8>,
    cap: usize,
}

impl io::Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.cap - self.bytes.len() {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests {
    use super::*;
    use crate::imgpkg::{DescribedConfig, DescribedImage, DescribedIndex, DescribedManifest};

    fn image(manifest: &str, config: &str) -> Described {
        let image = DescribedImage {
            manifest: DescribedManifest { digest: manifest.to_owned(), ..DescribedManifest::default() },
            config: DescribedConfig { digest: "c".to_owned(), raw: config.to_owned() },
            ..DescribedImage::default()
        };
        Described { image: Some(image), image_index: None }
    }

    #[test]
    fn strings_are_escaped_as_go_does() {
        let mut text: String = (0..0x20).map(char::from).collect();
        text.push_str("\u{7f}<>&\u{2028}\u{2029}\u{2027}é😀\"\\/'\u{85}\u{feff}\u{fffd}a<b<");
        let written = description(vec![image("m", &text)], 10_000).unwrap();
        let expected = concat!(
            r#""Raw":"\u0000\u0001\u0002\u0003\u0004\u0005\u0006\u0007\b\t\n\u000b\f\r\u000e\u000f\u0010\u0011\u0012\u0013"#,
            r#"\u0014\u0015\u0016\u0017\u0018\u0019\u001a\u001b\u001c\u001d\u001e\u001f"#,
            "\u{7f}",
            r#"\u003c\u003e\u0026\u2028\u2029"#,
            "\u{2027}é😀",
            r#"\"\\/'"#,
            "\u{85}\u{feff}\u{fffd}",
            r#"a\u003cb\u003c"}"#,
        );
        let found = String::from_utf8(written.clone()).unwrap();
        assert!(found.contains(expected), "{found}");
        // And it reads back.
        let read: Vec<Described> = serde_json::from_slice(&written).unwrap();
        assert_eq!(read, [image("m", &text)]);
    }

    #[test]
    fn it_is_in_order_and_has_a_bound() {
        let index = DescribedIndex { digest: "b".to_owned(), ..DescribedIndex::default() };
        let index = Described { image_index: Some(index), image: None };
        let all = || vec![image("c", ""), index.clone(), image("a", "2"), image("a", "1")];
        let written = description(all(), 10_000).unwrap();
        let read: Vec<Described> = serde_json::from_slice(&written).unwrap();
        assert_eq!(read, [image("a", "2"), image("a", "1"), index.clone(), image("c", "")]);
        assert_eq!(description(all(), written.len()).unwrap(), written);
        assert!(description(all(), written.len() - 1).is_err());
        assert_eq!(description(Vec::new(), 2).unwrap(), b"[]");
    }
}
