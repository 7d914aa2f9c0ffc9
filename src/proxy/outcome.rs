//! Where an answer came from, in one word.

use std::fmt;

/// Where an answer came from. The same value is logged, counted and told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// From the cache, without asking.
    Hit,
    /// From the upstream.
    Miss,
    /// From the upstream, for somebody else who asked first.
    Collapsed,
    /// From the cache, after the upstream confirmed it.
    Revalidated,
    /// From the cache, though the upstream could not be asked.
    Stale,
    /// From the upstream, and not kept.
    Bypass,
    /// Made here: a part of a relocated bundle.
    Relocated,
}

impl Outcome {
    /// A word for metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Collapsed => "collapsed",
            Self::Revalidated => "revalidated",
            Self::Stale => "stale",
            Self::Bypass => "bypass",
            Self::Relocated => "relocated",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
