//! A bcrypt hash, and the work of holding a password against it.

use std::fmt;
use std::hint::black_box;
use std::ops::Range;

use zeroize::Zeroizing;

/// Each step doubles the work. At this one a password takes a core about a second, and anyone can ask for that.
pub(super) const MAX_COST: u32 = 14;
/// bcrypt's own lower bound.
const MIN_COST: u32 = 4;
/// bcrypt looks at no more of a password.
const MAX_PASSWORD_BYTES: usize = 72;

/// A user's password as `htpasswd -B` writes it.
pub(super) struct PasswordHash {
    text: Zeroizing<String>,
    cost: u32,
}

/// Why a text is no hash to check passwords with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HashFault {
    /// Another kind: MD5, SHA-1, crypt, plain text.
    Kind,
    /// It begins like bcrypt and does not go on so.
    Broken,
    /// A cost that bcrypt does not have, or that is too much work.
    Cost(u32),
}

impl PasswordHash {
    pub(super) fn parse(text: &str) -> Result<Self, HashFault> {
        // `$2x$` marks hashes of a bug in one implementation; nothing makes them any more.
        if !["$2y$", "$2a$", "$2b$"].iter().any(|kind| text.starts_with(kind)) {
            return Err(HashFault::Kind);
        }
        let parts: bcrypt::HashParts = text.parse().map_err(|_| HashFault::Broken)?;
        let cost = parts.get_cost();
        if !(MIN_COST..=MAX_COST).contains(&cost) {
            return Err(HashFault::Cost(cost));
        }
        Ok(Self { text: Zeroizing::new(text.to_owned()), cost })
    }

    pub(super) fn cost(&self) -> u32 {
        self.cost
    }

    /// Whether this is the password. Compares in constant time, after 2^cost rounds.
    fn verify(&self, password: &str) -> bool {
        bcrypt::verify(password, &self.text).unwrap_or(false)
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordHash").field("cost", &self.cost).finish_non_exhaustive()
    }
}

/// What keeps a password from being held against any hash: it would match by a part of it.
pub(super) fn unfit(password: &str) -> Option<&'static str> {
    if password.len() > MAX_PASSWORD_BYTES {
        return Some("the password is longer than 72 bytes, of which bcrypt looks at no more");
    }
    password.contains('\0').then_some("the password holds a NUL byte, where C programs see its end")
}

/// Whether `password` is the one that `hash` was made of. A no takes 2^`highest` rounds whoever the user is, so
/// that its time tells neither whether there is such a user nor what their hash costs. Blocks.
pub(super) fn check(hash: Option<&PasswordHash>, password: &str, highest: u32) -> bool {
    let right = hash.is_some_and(|hash| hash.verify(password));
    if !right {
        left_over(hash.map(PasswordHash::cost), highest).for_each(|cost| spend(password, cost));
    }
    right
}

/// The costs that, after a hash of cost `spent`, make up 2^`highest` rounds:
/// 2^spent + 2^spent + 2^(spent + 1) + … + 2^(highest - 1).
fn left_over(spent: Option<u32>, highest: u32) -> Range<u32> {
    spent.map_or(highest..highest + 1, |spent| spent..highest)
}

/// The work of one comparison, for nothing.
fn spend(password: &str, cost: u32) {
    const SALT: [u8; 16] = *b"nobody's own one";
    drop(black_box(bcrypt::hash_with_salt(password, cost, SALT)));
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests {
    use super::*;

    /// `htpasswd -nbB -C 4 alice secret`
    const BY_HTPASSWD: &str = "$2y$04$p8kK8mJRTFKw3DlKy4rIJ.B313Tjwsjns/ReXJClmiya7iiu0N6yC";

    fn hash(password: &str, cost: u32) -> PasswordHash {
        PasswordHash::parse(&bcrypt::hash(password, cost).unwrap()).unwrap()
    }

    #[test]
    fn what_htpasswd_writes_is_checked() {
        for kind in ["$2y$", "$2a$", "$2b$"] {
            let hash = PasswordHash::parse(&BY_HTPASSWD.replacen("$2y$", kind, 1)).unwrap();
            for (password, expected) in [("secret", true), ("Secret", false), ("secret ", false), ("", false)] {
                assert_eq!(check(Some(&hash), password, 5), expected, "{kind} {password:?}");
            }
        }
    }

    #[test]
    fn other_texts_are_told_for_what_they_are() {
        let cost = |cost: &str| format!("$2y${cost}{}", &BY_HTPASSWD[6..]);
        for (text, expected) in [
            ("", HashFault::Kind),
            ("secret", HashFault::Kind),
            ("$apr1$abcdefgh$ABCDEFGHIJKLMNOPQRSTU/", HashFault::Kind),
            ("{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", HashFault::Kind),
            ("$2x$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK", HashFault::Kind),
            ("$2y$", HashFault::Broken),
            (&BY_HTPASSWD[..59], HashFault::Broken),
            (&format!("{BY_HTPASSWD}x"), HashFault::Broken),
            (&format!("{}!{}", &BY_HTPASSWD[..20], &BY_HTPASSWD[21..]), HashFault::Broken),
            (&format!("{}\u{e9}", &BY_HTPASSWD[..58]), HashFault::Broken),
            (&cost("03"), HashFault::Cost(3)),
            (&cost("15"), HashFault::Cost(15)),
            (&cost("31"), HashFault::Cost(31)),
            (&cost("99"), HashFault::Cost(99)),
        ] {
            assert_eq!(PasswordHash::parse(text).unwrap_err(), expected, "{text}");
        }
        assert_eq!(PasswordHash::parse(&cost("14")).unwrap().cost(), 14);
    }

    #[test]
    fn every_no_takes_the_same_rounds() {
        let rounds = |cost: u32| 1_u64 << cost;
        for highest in MIN_COST..=MAX_COST {
            for spent in (MIN_COST..=highest).map(Some).chain([None]) {
                let total = spent.map_or(0, rounds) + left_over(spent, highest).map(rounds).sum::<u64>();
                assert_eq!(total, rounds(highest), "{spent:?} of {highest}");
            }
        }
    }

    #[test]
    fn passwords_of_which_a_part_would_do_are_unfit() {
        let longest = "x".repeat(72);
        assert_eq!(unfit(&longest), None);
        assert!(check(Some(&hash(&longest, 4)), &longest, 4));
        let longer = format!("{longest}y");
        assert!(check(Some(&hash(&longest, 4)), &longer, 4), "bcrypt looks further than it did");
        assert!(unfit(&longer).is_some() && unfit("a\0b").is_some());
        assert_eq!(unfit(""), None);
    }

    #[test]
    fn debug_shows_no_hash() {
        assert_eq!(format!("{:?}", PasswordHash::parse(BY_HTPASSWD).unwrap()), "PasswordHash { cost: 4, .. }");
    }
}
