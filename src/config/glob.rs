//! Patterns over repository and host names.

use std::fmt;

/// A pattern: `*` stands for any characters except `/`, `**` for any characters at all, everything else for
/// itself. There is no way to write a literal star, which no name holds.
#[derive(Clone, PartialEq, Eq)]
pub struct Glob(String);

impl Glob {
    /// A pattern; `None` for one that could match nothing, being empty.
    pub fn new(pattern: &str) -> Option<Self> {
        (!pattern.is_empty()).then(|| Self(pattern.to_owned()))
    }

    /// Matches every name.
    pub fn any() -> Self {
        Self("**".to_owned())
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the whole of `name` matches.
    ///
    /// The time is bounded by the product of both lengths: the names come from clients, and a backtracking
    /// matcher takes exponential time on a pattern with many stars.
    pub fn matches(&self, name: &str) -> bool {
        let name = name.as_bytes();
        // reached[i]: the pattern so far matches the first i bytes of the name.
        let mut reached = vec![false; name.len() + 1];
        reached[0] = true;
        let mut pattern = self.0.as_bytes();
        while let Some((&first, rest)) = pattern.split_first() {
            pattern = rest;
            if first != b'*' {
                for at in (0..name.len()).rev() {
                    reached[at + 1] = reached[at] && name[at] == first;
                }
                reached[0] = false;
                continue;
            }
            let across = pattern.first() == Some(&b'*');
            while pattern.first() == Some(&b'*') {
                pattern = &pattern[1..];
            }
            for at in 0..name.len() {
                reached[at + 1] |= reached[at] && (across || name[at] != b'/');
            }
        }
        reached[name.len()]
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests {
    use super::*;

    #[test]
    fn matches_whole_names() {
        for (pattern, name, expected) in [
            ("acme/app", "acme/app", true),
            ("acme/app", "acme/app2", false),
            ("acme/*", "acme/app", true),
            ("acme/*", "acme/team/app", false),
            ("acme/*", "acme/", true),
            ("acme/**", "acme/team/app", true),
            ("**", "", true),
            ("**", "a/b/c", true),
            ("*", "a/b", false),
            ("*/app", "acme/app", true),
            ("**/app", "a/b/app", true),
            ("**/app", "app", false),
            ("a*c*e", "abcde", true),
            ("a*c*e", "abcdef", false),
            ("a***b", "a/x/b", true),
            ("*.example:5000", "pull.example:5000", true),
            ("a", "", false),
        ] {
            assert_eq!(Glob::new(pattern).unwrap().matches(name), expected, "{pattern} on {name}");
        }
        assert_eq!(Glob::new(""), None);
    }

    #[test]
    fn many_stars_cost_no_more_than_their_product() {
        let name = format!("{}b", "a".repeat(254));
        let pattern = format!("{}c", "a*".repeat(100));
        assert!(!Glob::new(&pattern).unwrap().matches(&name));
    }
}
