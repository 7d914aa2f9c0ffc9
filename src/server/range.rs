//! The `Range` header (RFC 9110, section 14).

use std::ops::Range;

/// What a client wants of a representation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of it. Also for what this server does not understand or not do, such as several ranges at once: a
    /// server may ignore the header, and a whole answer is never wrong.
    Whole,
    /// These bytes.
    Part(Range<u64>),
    /// Bytes that are not there.
    Unsatisfiable,
}

/// Reads the header's value for a representation of `size` bytes.
pub(super) fn wanted(header: &str, size: u64) -> Wanted {
    let spec = header.trim().split_once('=').filter(|(unit, _)| unit.eq_ignore_ascii_case("bytes"));
    let Some((first, last)) = spec.and_then(|(_, spec)| spec.trim().split_once('-')) else { return Wanted::Whole };
    match (number(first), number(last)) {
        (Number::Absent, Number::Is(suffix)) => match suffix.min(size) {
            0 => Wanted::Unsatisfiable,
            length => Wanted::Part(size - length..size),
        },
        (Number::Is(first), Number::Is(last)) if last < first => Wanted::Whole,
        (Number::Is(first), _) if first >= size => match number(last) {
            Number::Bad => Wanted::Whole,
            _ => Wanted::Unsatisfiable,
        },
        (Number::Is(first), Number::Is(last)) => Wanted::Part(first..last.saturating_add(1).min(size)),
        (Number::Is(first), Number::Absent) => Wanted::Part(first..size),
        _ => Wanted::Whole,
    }
}

enum Number {
    Absent,
    Is(u64),
    Bad,
}

fn number(text: &str) -> Number {
    if text.is_empty() {
        return Number::Absent;
    }
    // `u64::from_str` takes a plus sign, the header does not. A comma, and so a second range, ends up here too.
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Number::Bad;
    }
    // A number beyond 64 bits is beyond every representation.
    Number::Is(text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        for (header, expected) in [
            ("bytes=0-0", Wanted::Part(0..1)),
            ("bytes=0-9", Wanted::Part(0..10)),
            ("bytes=0-99", Wanted::Part(0..10)),
            ("bytes=3-", Wanted::Part(3..10)),
            ("bytes=9-9", Wanted::Part(9..10)),
            ("Bytes=-4", Wanted::Part(6..10)),
            ("bytes=-99", Wanted::Part(0..10)),
            ("bytes=1-99999999999999999999999", Wanted::Part(1..10)),
            ("bytes=10-", Wanted::Unsatisfiable),
            ("bytes=10-12", Wanted::Unsatisfiable),
            ("bytes=99999999999999999999999-", Wanted::Unsatisfiable),
            ("bytes=-0", Wanted::Unsatisfiable),
            ("bytes=5-4", Wanted::Whole),
            ("bytes=-", Wanted::Whole),
            ("bytes=", Wanted::Whole),
            ("bytes=0-1,3-4", Wanted::Whole),
            ("bytes=a-b", Wanted::Whole),
            ("bytes=+1-2", Wanted::Whole),
            ("bytes=--2", Wanted::Whole),
            ("bytes=20-x", Wanted::Whole),
            ("lines=0-1", Wanted::Whole),
            ("0-1", Wanted::Whole),
            ("", Wanted::Whole),
        ] {
            assert_eq!(wanted(header, 10), expected, "{header}");
        }
        assert_eq!(wanted("bytes=0-", 0), Wanted::Unsatisfiable);
        assert_eq!(wanted("bytes=-5", 0), Wanted::Unsatisfiable);
    }
}
