//! What the cache had to do with an answer: one word for logs and metrics, and the rest that the client is told.

use std::fmt;

use http::StatusCode;

/// Where an answer came from, in one word. The same value is logged, counted and told.
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
    /// From the cache, though the upstream did not confirm it when it should have.
    Stale,
    /// From the upstream, and of a kind that is not kept.
    Bypass,
    /// Read where it lies, on this machine; nothing of it is kept a second time.
    InPlace,
    /// Made here: a part of a relocated bundle.
    Relocated,
    /// Not there.
    NotFound,
    /// The upstream failed, or could not be asked.
    UpstreamError,
    /// This program failed.
    InternalError,
    /// The request was refused before anything was looked up.
    Refused,
    /// Said by the server itself, with nothing to look up.
    Local,
    /// The client left before there was an answer.
    Unanswered,
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
            Self::InPlace => "in_place",
            Self::Relocated => "relocated",
            Self::NotFound => "not_found",
            Self::UpstreamError => "upstream_error",
            Self::InternalError => "internal_error",
            Self::Refused => "refused",
            Self::Local => "local",
            Self::Unanswered => "none",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a request went to the upstream; the words are RFC 9211's (section 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// Nothing was recorded under this name in this repository.
    UriMiss,
    /// What is recorded was believed for long enough.
    Stale,
    /// It is of a kind that is not kept.
    Bypass,
}

impl Forward {
    /// The token for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UriMiss => "uri-miss",
            Self::Stale => "stale",
            Self::Bypass => "bypass",
        }
    }
}

/// What the cache had to do with an answer, in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheStatus {
    /// The word for it.
    pub outcome: Outcome,
    /// Why the upstream was asked, if it was.
    pub forward: Option<Forward>,
    /// What it said to that, as far as there was an answer. A layout, which has no statuses, says 200.
    pub upstream: Option<StatusCode>,
    /// Whether what it sent is kept.
    pub stored: bool,
    /// Whether one question to the upstream was asked for several clients, of which this is not the first.
    pub collapsed: bool,
    /// The seconds since the upstream was last asked what the tag stands for; `None` if it was asked just now, and
    /// for what never changes.
    pub age: Option<u64>,
    /// The seconds for which that is still believed; negative once it should have been asked again.
    pub ttl: Option<i64>,
    /// Why the answer is what it is, in a word from a closed set.
    pub detail: Option<&'static str>,
    /// Whether the answer was made here.
    pub relocated: bool,
}

impl CacheStatus {
    /// Whether the answer is the cache's own, with the upstream not asked.
    pub fn is_hit(&self) -> bool {
        self.forward.is_none() && matches!(self.outcome, Outcome::Hit | Outcome::Stale | Outcome::Relocated)
    }

    /// Whether the cache had the answer's content, though perhaps the upstream was asked if it still holds.
    pub fn is_from_cache(&self) -> bool {
        let fetched = self.stored || self.forward == Some(Forward::Bypass);
        match self.outcome {
            Outcome::Hit | Outcome::Revalidated | Outcome::Stale => !fetched,
            // What was fetched for it need not have been kept.
            Outcome::Relocated | Outcome::Collapsed => !fetched && self.forward != Some(Forward::UriMiss),
            _ => false,
        }
    }

    /// The same for an answer whose content had to be got as well, though what it is was known: that it was fetched
    /// is what counts, unless it was known from long ago.
    pub(super) fn fetched(self, content: Outcome) -> Self {
        if content == Outcome::Hit || self.outcome == Outcome::Stale {
            return self;
        }
        let fetched = Self::from(content);
        Self { forward: self.forward.or(fetched.forward), age: self.age, ttl: self.ttl, ..fetched }
    }

    /// The same for what was made of that answer. A stale answer is still called so: that is what its reader has to
    /// know.
    pub(super) fn relocated(self) -> Self {
        let outcome = if self.outcome == Outcome::Stale { Outcome::Stale } else { Outcome::Relocated };
        Self { outcome, relocated: true, ..self }
    }
}

impl From<Outcome> for CacheStatus {
    /// What the word says by itself.
    fn from(outcome: Outcome) -> Self {
        let (forward, upstream) = match outcome {
            Outcome::Miss | Outcome::Collapsed => (Some(Forward::UriMiss), Some(StatusCode::OK)),
            Outcome::Revalidated => (Some(Forward::Stale), Some(StatusCode::OK)),
            Outcome::Bypass | Outcome::InPlace => (Some(Forward::Bypass), Some(StatusCode::OK)),
            Outcome::NotFound => (Some(Forward::UriMiss), Some(StatusCode::NOT_FOUND)),
            Outcome::UpstreamError => (Some(Forward::UriMiss), None),
            Outcome::Hit
            | Outcome::Stale
            | Outcome::Relocated
            | Outcome::InternalError
            | Outcome::Refused
            | Outcome::Local
            | Outcome::Unanswered => (None, None),
        };
        Self {
            outcome,
            forward,
            upstream,
            stored: matches!(outcome, Outcome::Miss | Outcome::Collapsed),
            collapsed: outcome == Outcome::Collapsed,
            age: None,
            ttl: None,
            detail: (outcome == Outcome::InPlace).then_some("in_place"),
            relocated: outcome == Outcome::Relocated,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hit_was_not_forwarded_and_what_was_forwarded_is_no_hit() {
        for outcome in [Outcome::Hit, Outcome::Relocated, Outcome::Stale] {
            let status = CacheStatus::from(outcome);
            assert!(status.is_hit() && !status.stored, "{outcome}");
            assert!(!CacheStatus { forward: Some(Forward::Stale), ..status }.is_hit(), "{outcome}");
        }
        for outcome in [Outcome::Miss, Outcome::Collapsed, Outcome::Revalidated, Outcome::Bypass, Outcome::InPlace] {
            assert!(!CacheStatus::from(outcome).is_hit() && CacheStatus::from(outcome).forward.is_some(), "{outcome}");
        }
        for outcome in [Outcome::Refused, Outcome::Local, Outcome::InternalError] {
            assert!(!CacheStatus::from(outcome).is_hit() && CacheStatus::from(outcome).forward.is_none(), "{outcome}");
        }
    }

    #[test]
    fn content_that_was_fetched_is_not_from_the_cache() {
        let unkept = CacheStatus { stored: false, ..Outcome::Miss.into() };
        let moved = CacheStatus { forward: Some(Forward::Stale), ..CacheStatus::from(Outcome::Miss) };
        for fetched in [Outcome::Miss.into(), Outcome::Collapsed.into(), Outcome::Bypass.into(), moved, unkept] {
            assert!(!fetched.is_from_cache() && !fetched.relocated().is_from_cache(), "{fetched:?}");
        }
        let waited = CacheStatus { outcome: Outcome::Collapsed, collapsed: true, ..Outcome::Revalidated.into() };
        let confirmed = CacheStatus { forward: Some(Forward::UriMiss), ..Outcome::Revalidated.into() };
        for kept in [Outcome::Hit.into(), Outcome::Revalidated.into(), Outcome::Stale.into(), waited, confirmed] {
            assert!(kept.is_from_cache(), "{kept:?}");
        }
        for kept in [Outcome::Hit, Outcome::Revalidated, Outcome::Stale] {
            assert!(CacheStatus::from(kept).relocated().is_from_cache(), "{kept}");
        }
        for other in [Outcome::Local, Outcome::Refused, Outcome::NotFound, Outcome::InPlace, Outcome::Unanswered] {
            assert!(!CacheStatus::from(other).is_from_cache(), "{other}");
        }
    }

    #[test]
    fn what_is_made_of_a_stale_answer_is_stale() {
        assert_eq!(CacheStatus::from(Outcome::Revalidated).relocated().outcome, Outcome::Relocated);
        let stale = CacheStatus::from(Outcome::Stale).relocated();
        assert!(stale.outcome == Outcome::Stale && stale.relocated);
    }
}
