//! The order in which go-yaml v2 writes the keys of a map: runs of digits count as numbers, letters come last.

use std::cmp::Ordering;
use std::collections::BTreeMap;

/// Above this, keys with digits are not compared pair by pair.
const MAX_COMPARED_KEYS: usize = 64;

/// The entries in go-yaml's order; only for keys that [`is_settled`] knows.
pub(super) fn sorted(entries: &BTreeMap<String, String>) -> Vec<(&str, &str)> {
    let mut sorted: Vec<_> = entries.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    sorted.sort_by(|a, b| compare(a.0, b.0));
    sorted
}

/// Whether these keys have one order.
///
/// They need not: `1a` < `9` < `10` < `1a`, so go-yaml's result would vary with Go's random map iteration. Without
/// digits there are no circles. And letters and digits outside the common scripts are not certain: the Unicode
/// tables of Go and Rust are of different versions, and differ at the edges in what they call one.
pub(super) fn is_settled(entries: &BTreeMap<String, String>) -> bool {
    if entries.len() < 2 {
        return true;
    }
    if !entries.keys().all(|key| key.chars().all(is_certain)) {
        return false;
    }
    if !entries.keys().any(|key| key.contains(is_digit)) {
        return true;
    }
    if entries.len() > MAX_COMPARED_KEYS {
        return false;
    }
    // Where there is no circle, each key has a place of its own: the number of keys before it.
    let mut places = 0u64;
    for key in entries.keys() {
        let before = entries.keys().filter(|other| compare(other, key) == Ordering::Less).count();
        places |= 1 << before;
    }
    places.count_ones() as usize == entries.len()
}

fn compare(a: &str, b: &str) -> Ordering {
    let common = a.chars().zip(b.chars()).take_while(|(a, b)| a == b);
    let (start, tens) = common.fold((0, false), |(at, tens), (c, _)| {
        // Whether the run of digits just before the difference has one above zero.
        (at + c.len_utf8(), is_digit(c) && (tens || c != '0'))
    });
    let (rest_a, rest_b) = (&a[start..], &b[start..]);
    let (Some(first_a), Some(first_b)) = (rest_a.chars().next(), rest_b.chars().next()) else {
        return rest_a.len().cmp(&rest_b.len());
    };
    match (first_a.is_alphabetic(), first_b.is_alphabetic()) {
        (true, true) => return first_a.cmp(&first_b),
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        (false, false) => {}
    }
    // `10` against `1!`: the zero would otherwise count as nothing.
    let tens = i64::from(tens && (first_a == '0' || first_b == '0'));
    let (value_a, digits_a) = leading_number(rest_a, tens);
    let (value_b, digits_b) = leading_number(rest_b, tens);
    value_a.cmp(&value_b).then(digits_a.cmp(&digits_b)).then(first_a.cmp(&first_b))
}

fn leading_number(text: &str, start: i64) -> (i64, usize) {
    text.chars().take_while(|c| is_digit(*c)).fold((start, 0), |(value, digits), c| {
        let digit = i64::from(u32::from(c)) - i64::from(u32::from('0'));
        // Go's integers wrap.
        (value.wrapping_mul(10).wrapping_add(digit), digits + 1)
    })
}

/// Other scripts have digits, too, but those are not certain.
fn is_digit(c: char) -> bool {
    c.is_ascii_digit()
}

/// ASCII, and the letters of Latin, Greek and Cyrillic, kana, Han and Hangul.
fn is_certain(c: char) -> bool {
    c.is_ascii()
        || (c.is_alphabetic()
            && matches!(c,
                '\u{C0}'..='\u{24F}' | '\u{370}'..='\u{481}' | '\u{48A}'..='\u{52F}' | '\u{3041}'..='\u{3096}'
                | '\u{30A1}'..='\u{30FA}' | '\u{4E00}'..='\u{9FA5}' | '\u{AC00}'..='\u{D7A3}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn natural_order() {
        let keys = [
            "", "-", ".", "1", "1!", "01", "2", "9", "10", "100", "A", "a", "a-b", "a.b", "a0", "a1", "a2", "a10", "aa",
        ];
        for (i, a) in keys.iter().enumerate() {
            for b in &keys[i + 1..] {
                assert_eq!(compare(a, b), Ordering::Less, "{a} {b}");
                assert_eq!(compare(b, a), Ordering::Greater, "{b} {a}");
            }
        }
    }

    #[test]
    fn circles_are_found() {
        let map = |keys: &[&str]| keys.iter().map(|key| ((*key).to_owned(), String::new())).collect::<BTreeMap<_, _>>();
        assert!(is_settled(&map(&["v1", "v2", "v10", "a", "b"])));
        assert!(is_settled(&map(&["1a"])));
        assert!(is_settled(&map(&["é", "ü", "界"])));
        assert!(!is_settled(&map(&["v1a", "v9", "v10"])));
        assert!(!is_settled(&map(&["a", "\u{661}"])));
        let many: BTreeMap<String, String> = (0..64).map(|n| (format!("k{n}"), String::new())).collect();
        assert!(is_settled(&many));
        let keys: Vec<String> = sorted(&many).into_iter().map(|(key, _)| key.to_owned()).collect();
        assert_eq!(keys, (0..64).map(|n| format!("k{n}")).collect::<Vec<_>>());
    }
}
