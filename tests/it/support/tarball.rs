//! Tars made by hand, with the lock's place known.

use std::fmt::Write as _;

pub(crate) const LOCK_PATH: &str = ".imgpkg/images.yml";

/// A tar, and where its lock's header block and data are.
#[derive(Clone, Default)]
pub(crate) struct Tarball {
    pub(crate) bytes: Vec<u8>,
    pub(crate) lock_start: usize,
    pub(crate) lock_end: usize,
    lock_size: usize,
}

impl Tarball {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn file(&mut self, name: &str, data: &[u8]) -> &mut Self {
        self.entry("", name, b'0', "", data)
    }

    pub(crate) fn folder(&mut self, name: &str) -> &mut Self {
        self.entry("", name, b'5', "", b"")
    }

    pub(crate) fn symlink(&mut self, name: &str, to: &str) -> &mut Self {
        self.entry("", name, b'2', to, b"")
    }

    pub(crate) fn hard_link(&mut self, name: &str, to: &str) -> &mut Self {
        self.entry("", name, b'1', to, b"")
    }

    pub(crate) fn lock(&mut self, text: &str) -> &mut Self {
        self.lock_named(LOCK_PATH, text)
    }

    pub(crate) fn lock_named(&mut self, name: &str, text: &str) -> &mut Self {
        self.lock_with_prefix("", name, text)
    }

    pub(crate) fn lock_with_prefix(&mut self, prefix: &str, name: &str, text: &str) -> &mut Self {
        self.lock_start = self.bytes.len();
        self.lock_size = text.len();
        self.entry(prefix, name, b'0', "", text.as_bytes());
        self.lock_end = self.bytes.len();
        self
    }

    pub(crate) fn pax(&mut self, records: &[(&str, &str)]) -> &mut Self {
        self.entry("", "PaxHeaders/x", b'x', "", &pax_records(records))
    }

    pub(crate) fn global_pax(&mut self, records: &[(&str, &str)]) -> &mut Self {
        self.entry("", "pax_global_header", b'g', "", &pax_records(records))
    }

    pub(crate) fn gnu_long_name(&mut self, name: &str) -> &mut Self {
        self.entry("", "././@LongLink", b'L', "", format!("{name}\0").as_bytes())
    }

    /// A file's header alone; its data is the caller's business.
    pub(crate) fn file_header(&mut self, name: &str, size: u64) -> &mut Self {
        self.bytes.extend(header("", name, b'0', "", size));
        self
    }

    /// Breaks the checksum of the first header.
    pub(crate) fn damage_checksum(&mut self) -> &mut Self {
        self.bytes[150] ^= 1;
        self
    }

    /// Adds the end marker.
    pub(crate) fn finish(&mut self) -> &mut Self {
        self.bytes.extend([0; 1024]);
        self
    }

    pub(crate) fn lock_data(&self) -> &[u8] {
        &self.bytes[self.lock_start + 512..self.lock_start + 512 + self.lock_size]
    }

    /// What the tar is once its lock is `text`: size and checksum of that one header differ, and its data.
    pub(crate) fn with_lock(&self, text: &str) -> Vec<u8> {
        let mut header: [u8; 512] = self.bytes[self.lock_start..self.lock_start + 512].try_into().expect("a block");
        header[124..135].copy_from_slice(format!("{:011o}", text.len()).as_bytes());
        checksum(&mut header);
        let mut data = text.as_bytes().to_vec();
        data.resize(data.len().next_multiple_of(512), 0);
        [&self.bytes[..self.lock_start], &header, &data, &self.bytes[self.lock_end..]].concat()
    }

    fn entry(&mut self, prefix: &str, name: &str, kind: u8, link: &str, data: &[u8]) -> &mut Self {
        self.bytes.extend(header(prefix, name, kind, link, data.len() as u64));
        self.bytes.extend(data);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        self
    }
}

fn header(prefix: &str, name: &str, kind: u8, link: &str, size: u64) -> [u8; 512] {
    let mut header = [0; 512];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{size:011o}\0"));
    put(136, "00000000000\0");
    put(157, link);
    put(257, "ustar\x0000");
    put(345, prefix);
    header[156] = kind;
    checksum(&mut header);
    header
}

fn checksum(header: &mut [u8; 512]) {
    header[148..156].fill(b' ');
    let sum: u64 = header.iter().map(|&byte| u64::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

fn pax_records(records: &[(&str, &str)]) -> Vec<u8> {
    let mut text = String::new();
    for (key, value) in records {
        let body = key.len() + value.len() + 3;
        let mut length = body;
        while length != body + length.to_string().len() {
            length = body + length.to_string().len();
        }
        writeln!(text, "{length} {key}={value}").expect("in memory");
    }
    text.into_bytes()
}

/// An ImagesLock of so many images.
pub(crate) fn lock_text(images: usize) -> String {
    let mut text = "apiVersion: imgpkg.carvel.dev/v1alpha1\nkind: ImagesLock\nimages:\n".to_owned();
    for index in 0..images {
        writeln!(text, "- image: registry.example.com/apps/app@sha256:{index:064x}").expect("in memory");
    }
    text
}

/// Bytes that compress as text does.
pub(crate) fn prose(seed: u64, size: usize) -> Vec<u8> {
    const WORDS: [&str; 16] = [
        "the ",
        "registry ",
        "serves ",
        "a ",
        "bundle ",
        "of ",
        "images ",
        "that ",
        "name ",
        "where ",
        "they ",
        "are: ",
        "apiVersion",
        "kind\n",
        "metadata ",
        "0123 ",
    ];
    let mut state = seed;
    let mut bytes = Vec::with_capacity(size + 16);
    while bytes.len() < size {
        bytes.extend(WORDS[(next(&mut state) >> 60) as usize].as_bytes());
        if next(&mut state) >> 58 == 0 {
            bytes.extend(next(&mut state).to_string().as_bytes());
        }
    }
    bytes.truncate(size);
    bytes
}

/// Bytes that do not compress.
pub(crate) fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(77).wrapping_add(5);
    (0..size).map(|_| (next(&mut state) >> 56) as u8).collect()
}

/// splitmix64.
pub(crate) fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
