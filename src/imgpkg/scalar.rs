//! What go-yaml v2 takes a plain scalar for, and how Go prints the result where a string is wanted.
//!
//! The writer asks the same question: a string that would be taken for something else is quoted.

/// A plain scalar's value. Timestamps stay strings when read (go-yaml keeps the text where nothing asks for a
/// time), but are quoted when written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Resolved {
    Text,
    Timestamp,
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    /// Not the same for all versions of Go and its libraries: `0x`, `0o` or `0b` and more than 64 bits is text for
    /// go-yaml 2.4, a number for later sigs.k8s.io/yaml; odd zones and long fractions of a second came and went.
    Varies,
}

/// Resolves a plain scalar by go-yaml's reading of YAML 1.1.
pub(super) fn resolve(text: &str) -> Resolved {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Resolved::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Resolved::Bool(true);
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Resolved::Bool(false);
        }
        ".nan" | ".NaN" | ".NAN" => return Resolved::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Resolved::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Resolved::Float(f64::NEG_INFINITY),
        _ => {}
    }
    match text.as_bytes()[0] {
        // Here go-yaml leaves underscores to Go's float parser, which has them only between digits.
        b'.' => {
            let digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_digit);
            let mut underscores = text.match_indices('_');
            let separators = underscores
                .all(|(at, _)| digit(text.as_bytes().get(at.wrapping_sub(1))) && digit(text.as_bytes().get(at + 1)));
            let float = if separators { decimal_float(&without_underscores(text)) } else { None };
            float.map_or(Resolved::Text, Resolved::Float)
        }
        b'+' | b'-' | b'0'..=b'9' => number(text),
        _ => Resolved::Text,
    }
}

fn number(text: &str) -> Resolved {
    if let Some(resolved) = timestamp(text.as_bytes()) {
        return resolved;
    }
    let plain = without_underscores(text);
    let (negative, digits) = match plain.as_bytes().first() {
        Some(b'-') => (true, &plain[1..]),
        Some(b'+') => (false, &plain[1..]),
        _ => (false, &plain[..]),
    };
    let signed = digits.len() != plain.len();
    let (prefixed, magnitude) = magnitude(digits);
    match magnitude {
        Magnitude::Value(value) => {
            let int = if negative { 0i64.checked_sub_unsigned(value) } else { i64::try_from(value).ok() };
            match int {
                Some(int) => return Resolved::Int(int),
                // Go's ParseUint takes no sign, so +18446744073709551615 goes on to be a float.
                None if !signed => return Resolved::Uint(value),
                None => {}
            }
        }
        Magnitude::Overflow if prefixed && !signed => return Resolved::Varies,
        Magnitude::Overflow | Magnitude::NotANumber => {}
    }
    if let Some(float) = decimal_float(&plain) {
        return Resolved::Float(float);
    }
    // A leftover of go-yaml's own binary parsing: the sign may stand after the prefix.
    if let Some(bits) = plain.strip_prefix("0b").filter(|bits| bits.starts_with(['+', '-']))
        && let Ok(int) = i64::from_str_radix(bits, 2)
    {
        return Resolved::Int(int);
    }
    Resolved::Text
}

fn without_underscores(text: &str) -> String {
    text.chars().filter(|c| *c != '_').collect()
}

enum Magnitude {
    Value(u64),
    Overflow,
    NotANumber,
}

/// Go's ParseUint with base 0; the flag says whether the base was written as `0x`, `0o` or `0b`.
fn magnitude(digits: &str) -> (bool, Magnitude) {
    let lower = digits.get(..2).map(str::to_ascii_lowercase);
    let (radix, prefixed, digits) = match lower.as_deref() {
        Some("0x") => (16, true, &digits[2..]),
        Some("0o") => (8, true, &digits[2..]),
        Some("0b") => (2, true, &digits[2..]),
        _ if digits.len() > 1 && digits.starts_with('0') => (8, false, &digits[1..]),
        _ => (10, false, digits),
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return (prefixed, Magnitude::NotANumber);
    }
    let value = u64::from_str_radix(digits, radix);
    (prefixed, value.map_or(Magnitude::Overflow, Magnitude::Value))
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`, if it does not overflow.
fn decimal_float(text: &str) -> Option<f64> {
    // Rust's grammar is the same one, but for words (inf, nan), which hold other letters.
    if !text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b)) {
        return None;
    }
    text.parse().ok().filter(|float: &f64| float.is_finite())
}

/// Whether go-yaml takes the text for a timestamp: Go's `time.Parse` with `2006-1-2`, alone or followed by a time,
/// with a zone after `T` or `t`, without one after spaces.
fn timestamp(text: &[u8]) -> Option<Resolved> {
    let (year, rest) = text.split_at_checked(4)?;
    let year = year.iter().try_fold(0u32, |year, b| b.is_ascii_digit().then(|| year * 10 + u32::from(b - b'0')))?;
    let (month, rest) = one_or_two_digits(rest.strip_prefix(b"-")?)?;
    let (day, rest) = one_or_two_digits(rest.strip_prefix(b"-")?)?;
    let days = match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=days).contains(&day) {
        return None;
    }
    let (separator, rest) = match rest.split_first() {
        None => return Some(Resolved::Timestamp),
        Some((separator, rest)) => (*separator, rest),
    };
    let rest = match separator {
        b'T' | b't' => rest,
        b' ' => &rest[rest.iter().take_while(|b| **b == b' ').count()..],
        _ => return None,
    };
    let (hour, rest) = one_or_two_digits(rest)?;
    let (minute, rest) = one_or_two_digits(rest.strip_prefix(b":")?)?;
    let (second, rest) = one_or_two_digits(rest.strip_prefix(b":")?)?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (fraction, rest) = match rest {
        [b'.' | b',', fraction @ ..] if fraction.first().is_some_and(u8::is_ascii_digit) => {
            fraction.split_at(fraction.iter().take_while(|b| b.is_ascii_digit()).count())
        }
        _ => rest.split_at(0),
    };
    let zone_in_range = match (separator, rest) {
        (b' ', []) | (b'T' | b't', b"Z") => true,
        (b'T' | b't', [b'+' | b'-', zone @ ..]) => {
            let [h1 @ b'0'..=b'9', h2 @ b'0'..=b'9', b':', m1 @ b'0'..=b'9', m2 @ b'0'..=b'9'] = zone else {
                return None;
            };
            (h1 - b'0') * 10 + (h2 - b'0') < 24 && (m1 - b'0') * 10 + (m2 - b'0') < 60
        }
        _ => return None,
    };
    Some(if zone_in_range && fraction.len() <= 9 { Resolved::Timestamp } else { Resolved::Varies })
}

fn one_or_two_digits(text: &[u8]) -> Option<(u32, &[u8])> {
    match text {
        [a, b, rest @ ..] if a.is_ascii_digit() && b.is_ascii_digit() => {
            Some((u32::from(a - b'0') * 10 + u32::from(b - b'0'), rest))
        }
        [a, rest @ ..] if a.is_ascii_digit() => Some((u32::from(a - b'0'), rest)),
        _ => None,
    }
}

/// `[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?`: go-yaml does not read these as numbers, but quotes them for the
/// sake of readers that do.
pub(super) fn is_base60(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digits_or_underscores = |part: &str| part.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    let mut parts = whole.split(':');
    let first = parts.next().unwrap_or_default();
    let mut sixties = parts.peekable();
    digits_or_underscores(fraction)
        && first.starts_with(|c: char| c.is_ascii_digit())
        && digits_or_underscores(first)
        && sixties.peek().is_some()
        && sixties.all(|part| match part.as_bytes() {
            [a] => a.is_ascii_digit(),
            [a, b] => (b'0'..=b'5').contains(a) && b.is_ascii_digit(),
            _ => false,
        })
}

/// A float as Go's `FormatFloat(value, 'g', -1, 32)` prints it: sigs.k8s.io/yaml asks for 32 bits.
pub(super) fn go_float(value: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "what Go does here: 0.1234567891 prints as 0.12345679")]
    let value = value as f32;
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    // `1.2345e-7`: Rust and Go agree on the shortest digits that read back as the same number.
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    // For the shortest form, 'g' decides as if six digits were asked for.
    if !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.abs());
    }
    format!("{value}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars() {
        use Resolved::{Bool, Float, Int, Null, Text, Timestamp, Uint, Varies};
        for (text, resolved) in [
            ("", Null),
            ("~", Null),
            ("nUll", Text),
            ("yes", Bool(true)),
            ("yEs", Text),
            ("OFF", Bool(false)),
            ("n", Bool(false)),
            ("0", Int(0)),
            ("-0", Int(0)),
            ("012", Int(10)),
            ("-012", Int(-10)),
            ("08", Float(8.0)),
            ("0o17", Int(15)),
            ("0X1f", Int(31)),
            ("0b101", Int(5)),
            ("0b-101", Int(-5)),
            ("1_000", Int(1000)),
            ("+1", Int(1)),
            ("+", Text),
            ("0x", Text),
            ("9223372036854775808", Uint(9_223_372_036_854_775_808)),
            ("-9223372036854775808", Int(i64::MIN)),
            ("0xFFFFFFFFFFFFFFFFF", Varies),
            ("-0xFFFFFFFFFFFFFFFFF", Text),
            ("1e3", Float(1000.0)),
            ("1.", Float(1.0)),
            (".5", Float(0.5)),
            (".5_0", Float(0.5)),
            (".5_", Text),
            ("._5", Text),
            (".", Text),
            ("1e400", Text),
            ("1:30", Text),
            ("<<", Text),
            ("2001-1-2", Timestamp),
            ("2001-02-29", Text),
            ("2000-02-29", Timestamp),
            ("2001-01-01T1:2:3Z", Timestamp),
            ("2001-01-01t01:02:03.5+02:00", Timestamp),
            ("2001-01-01T01:02:03", Text),
            ("2001-01-01   01:02:03,123456789", Timestamp),
            ("2001-01-01 01:02:03.1234567890", Varies),
            ("2001-01-01T01:02:03+23:59", Timestamp),
            ("2001-01-01T01:02:03+25:00", Varies),
            ("2001-01-01T01:02:03+0100", Text),
            ("2001-01-01 01:02:03Z", Text),
        ] {
            assert_eq!(resolve(text), resolved, "{text}");
        }
        assert!(matches!(resolve("1e-1"), Float(_)));
        assert!(matches!(resolve(".nan"), Float(value) if value.is_nan()));
    }

    #[test]
    fn floats_as_go_prints_them() {
        for (value, text) in [
            (1.0, "1"),
            (1.5, "1.5"),
            (-0.0, "-0"),
            (100_000.0, "100000"),
            (1_000_000.0, "1e+06"),
            (1_234_567.0, "1.234567e+06"),
            (0.000_1, "0.0001"),
            (0.000_01, "1e-05"),
            (1e300, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
            (0.123_456_789_1, "0.12345679"),
        ] {
            assert_eq!(go_float(value), text, "{value}");
        }
    }

    #[test]
    fn base60() {
        for yes in ["1:30", "+1:30", "-190:20:30.15", "1_0:59", "1:2:3."] {
            assert!(is_base60(yes), "{yes}");
        }
        for no in ["1", "", ":30", "1:60", "1:300", "a:30", "1:30:", "1:3_0", "_1:30", "1:30.x"] {
            assert!(!is_base60(no), "{no}");
        }
    }
}
