//! What stands for a secret where the secret itself must not be kept.

use std::fmt;
use std::sync::LazyLock;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;

/// HMAC-SHA-256 under a key that this process drew and never shows, so that whoever gets hold of fingerprints can
/// neither try passwords against them nor compare them with another process's.
///
/// As nobody outside can compute one, comparing them with `==` tells nothing by its time.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::server) struct Fingerprint([u8; 32]);

static KEY: LazyLock<hmac::Key> = LazyLock::new(|| {
    // Without random numbers there is no TLS either, and a fixed key must not stand in.
    hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).expect("the system has random numbers")
});

impl Fingerprint {
    /// As bytes, to be kept.
    pub(in crate::server) fn bytes(self) -> [u8; 32] {
        self.0
    }

    /// Of these parts in this order. Each goes in with its length, so what is cut differently is something else.
    pub(super) fn of(parts: &[&[u8]]) -> Self {
        let mut context = hmac::Context::with_key(&KEY);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut bytes = [0; 32];
        bytes.copy_from_slice(context.sign().as_ref());
        Self(bytes)
    }
}

impl fmt::Debug for Fingerprint {
    /// A few bytes, to tell one from another.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "Fingerprint({a:02x}{b:02x}{c:02x}{d:02x}…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depends_on_every_byte_and_every_cut() {
        let parts: [&[&[u8]]; 7] = [&[], &[b""], &[b"", b""], &[b"ab"], &[b"a", b"b"], &[b"", b"ab"], &[b"ac"]];
        for (at, one) in parts.iter().enumerate() {
            for (other_at, other) in parts.iter().enumerate() {
                assert_eq!(Fingerprint::of(one) == Fingerprint::of(other), at == other_at, "{one:?} {other:?}");
            }
        }
    }

    #[test]
    fn debug_shows_too_little_to_go_by() {
        assert_eq!(format!("{:?}", Fingerprint([0xab; 32])), "Fingerprint(abababab…)");
    }
}
