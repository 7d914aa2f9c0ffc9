//! What stands before a file's data in an archive that is written here.

use super::header::{BLOCK, NAME, plain, resize};

/// How long the end of an archive is: two blocks of zeros.
pub const END_BYTES: usize = 2 * BLOCK;
/// The longest file whose size fits into eleven octal digits.
const MAX_OCTAL: u64 = (1 << 33) - 1;
/// Where Go puts the name of an extended header.
const EXTENDED_FOLDER: &str = "PaxHeaders.0";

/// The header of a plain file that everybody may read, without a time, as Go's `archive/tar` writes it; before it an extended
/// one (PAX) if the name or the size does not fit. The name is ASCII, and its last part alone is too long if the whole is.
pub fn file_header(name: &str, size: u64) -> Vec<u8> {
    let (long, large) = (name.len() > NAME.len(), size > MAX_OCTAL);
    let mut blocks = Vec::with_capacity(BLOCK);
    if long || large {
        let mut records = String::new();
        // In the order of their keys.
        if long {
            records.push_str(&record("path", name));
        }
        if large {
            records.push_str(&record("size", &size.to_string()));
        }
        let extended = match name.rsplit_once('/') {
            Some((folder, file)) => format!("{folder}/{EXTENDED_FOLDER}/{file}"),
            None => format!("{EXTENDED_FOLDER}/{name}"),
        };
        blocks.extend_from_slice(&resize(&plain(shortened(&extended), 0, "x"), records.len() as u64));
        blocks.extend_from_slice(records.as_bytes());
        blocks.resize(blocks.len().next_multiple_of(BLOCK), 0);
    }
    let mut block = plain(shortened(name), 0o644, "0");
    for at in [329, 337] {
        block[at..at + 7].copy_from_slice(b"0000000");
    }
    blocks.extend_from_slice(&resize(&block, if large { 0 } else { size }));
    blocks
}

/// As much of a name as a header takes.
fn shortened(name: &str) -> &str {
    name.get(..NAME.len()).unwrap_or(name).trim_end_matches('/')
}

/// A record, which begins with its own length.
fn record(key: &str, value: &str) -> String {
    let rest = key.len() + value.len() + " =\n".len();
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    format!("{length} {key}={value}\n")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests {
    use super::*;
    use crate::oci::Digest;
    use crate::tar::{Scanner, Step};

    #[test]
    fn headers_are_go_s() {
        let (short, hex) =
            ("sha256-03cf22d3016c4fc8a0a9a0b0283ad6b6855cde343b078d7974bc33c21d449248.tar.gz", "0123456789");
        let hex512: String = hex.repeat(13).chars().take(128).collect();
        let (layer, blob) = (format!("sha512-{hex512}.tar.gz"), format!("blobs/sha512/{hex512}"));
        // Digests of what Go 1.19 writes for them.
        for (name, size, blocks, digest) in [
            ("manifest.json", 5662, 1, "744f8a36f676f634ed238ae1ecf2d55893e2c7402032d993d591fdbe51a87ada"),
            (short, MAX_OCTAL, 1, "f38f9b554956faf2b1a2f0b9a7c286ca31aff03b31c7ed4c1512e0d83bca63be"),
            (short, MAX_OCTAL + 1, 3, "2f227cfb744a7a0f5afcfb6ab6a9f4f17d2fa843f52c104f33579a5eb39fe83c"),
            (&layer, 4, 3, "c0b1e7f7d3f7f66541a066e86562aa5735ccfdab6a67c6426067291f78a16730"),
            (&blob, 4, 3, "b427ae6b406899564a26dcdbe8072ea8ea28abc31706323e28d56c16bee8925b"),
            (&blob, 1 << 40, 3, "1df5e8f2304652440247d49c13dab22d2fe611630b0e2ac8df1d6d31a8bdf759"),
        ] {
            let header = file_header(name, size);
            assert_eq!((header.len() / BLOCK, Digest::of(&header).hex().as_str()), (blocks, digest), "{name} {size}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let long = format!("blobs/sha512/{}", "ab".repeat(64));
        for (name, size) in
            [("manifest.json", 0), ("a/b", MAX_OCTAL), (&long, 1), ("x", MAX_OCTAL + 1), (&long, 1 << 40)]
        {
            let header = file_header(name, size);
            let (mut scanner, mut rest, mut found) = (Scanner::new(), header.as_slice(), None);
            while !rest.is_empty() {
                let taken = match scanner.push(rest).unwrap() {
                    Step::Partial(taken) | Step::Data(taken) => taken,
                    Step::Block(taken, entry) => {
                        found = entry;
                        taken
                    }
                };
                rest = &rest[taken..];
            }
            let found = found.unwrap();
            assert_eq!((found.name.as_slice(), found.size), (name.as_bytes(), size));
        }
    }
}
