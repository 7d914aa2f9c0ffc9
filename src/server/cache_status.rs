//! `Cache-Status` (RFC 9211): what the cache had to do with an answer, told to whoever debugs one.
//!
//! It is on every answer, also on those that the RFC would let go without because no cache took part (section 2):
//! they have neither `hit` nor `fwd`, and the `detail` says why. Nothing in it is about a secret: a client learns
//! that somebody asked before, as it would from the time the answer takes.

use std::fmt::Write as _;

use http::header::{HeaderName, HeaderValue};

use super::conditional::text_value;
use crate::proxy::CacheStatus;

/// The header.
pub(super) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// Its value. `hit` and `fwd` exclude each other, and `fwd-status`, `stored` and `collapsed` mean something only
/// beside `fwd`.
pub(super) fn value(status: &CacheStatus) -> HeaderValue {
    let mut text = "colocate".to_owned();
    if status.is_hit() {
        text.push_str("; hit");
    }
    if let Some(forward) = status.forward {
        // Writing to a String does not fail.
        let _ = write!(text, "; fwd={}", forward.as_str());
        if let Some(upstream) = status.upstream {
            let _ = write!(text, "; fwd-status={}", upstream.as_u16());
        }
        if status.stored {
            text.push_str("; stored");
        }
        if status.collapsed {
            text.push_str("; collapsed");
        }
    }
    if let Some(ttl) = status.ttl {
        let _ = write!(text, "; ttl={ttl}");
    }
    let silent = status.forward.is_none() && !status.is_hit();
    let why = status.detail.or_else(|| silent.then(|| status.outcome.as_str()));
    // A token may hold a slash (RFC 8941, section 3.3.4), and nothing here needs more than letters beside it.
    let words: Vec<&str> = why.into_iter().chain(status.relocated.then_some("relocated")).collect();
    if !words.is_empty() {
        let _ = write!(text, "; detail={}", words.join("/"));
    }
    text_value(&text)
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::proxy::{Forward, Outcome};

    fn told(status: CacheStatus) -> String {
        value(&status).to_str().expect("text").to_owned()
    }

    #[test]
    fn every_word_as_it_is_told() {
        for (outcome, expected) in [
            (Outcome::Hit, "hit"),
            (Outcome::Miss, "fwd=uri-miss; fwd-status=200; stored"),
            (Outcome::Collapsed, "fwd=uri-miss; fwd-status=200; stored; collapsed"),
            (Outcome::Revalidated, "fwd=stale; fwd-status=200"),
            (Outcome::Stale, "hit"),
            (Outcome::Bypass, "fwd=bypass; fwd-status=200"),
            (Outcome::InPlace, "fwd=bypass; fwd-status=200; detail=in_place"),
            (Outcome::Relocated, "hit; detail=relocated"),
            (Outcome::NotFound, "fwd=uri-miss; fwd-status=404"),
            (Outcome::UpstreamError, "fwd=uri-miss"),
            (Outcome::InternalError, "detail=internal_error"),
            (Outcome::Refused, "detail=refused"),
            (Outcome::Local, "detail=local"),
        ] {
            assert_eq!(told(CacheStatus::from(outcome)), format!("colocate; {expected}"));
        }
    }

    #[test]
    fn a_stale_answer_says_since_when_and_why() {
        let stale = CacheStatus {
            age: Some(100),
            ttl: Some(-40),
            detail: Some("unavailable"),
            relocated: true,
            ..CacheStatus::from(Outcome::Stale)
        };
        assert_eq!(told(stale), "colocate; hit; ttl=-40; detail=unavailable/relocated");
        let upstream = Some(StatusCode::SERVICE_UNAVAILABLE);
        let asked = CacheStatus { forward: Some(Forward::Stale), upstream, collapsed: true, ..stale };
        let expected = "colocate; fwd=stale; fwd-status=503; collapsed; ttl=-40; detail=unavailable/relocated";
        assert_eq!(told(asked), expected);
    }
}
