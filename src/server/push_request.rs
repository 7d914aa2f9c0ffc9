//! What a request that changes something says in its query and headers.

use http::HeaderMap;
use http::header::CONTENT_RANGE;
use url::form_urlencoded;

use crate::oci::DigestError;

/// Why a push says nothing that can be passed on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadPush {
    #[error("Content-Range reads FIRST-LAST, the numbers of a chunk's first and last byte")]
    Range,
    #[error(transparent)]
    Digest(#[from] DigestError),
}

/// What the query says by this name, once.
pub(super) fn query(query: Option<&str>, name: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// `0-9`, as the distribution spec has it, or `bytes 0-9/*` as RFC 9110 does.
pub(super) fn content_range(headers: &HeaderMap) -> Result<Option<(u64, u64)>, BadPush> {
    let Some(value) = headers.get(CONTENT_RANGE) else { return Ok(None) };
    let range = value.to_str().ok().and_then(|text| {
        let text = text.trim().strip_prefix("bytes").map_or(text, |rest| rest.trim_start_matches([' ', '=']));
        let (first, last) = text.split('/').next()?.trim().split_once('-')?;
        Some((first.parse().ok()?, last.parse().ok()?))
    });
    let range: (u64, u64) = range.filter(|(first, last)| first <= last).ok_or(BadPush::Range)?;
    Ok(Some(range))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests {
    use super::*;

    #[test]
    fn content_ranges() {
        let read = |text: &str| content_range(&HeaderMap::from_iter([(CONTENT_RANGE, text.parse().unwrap())]));
        assert_eq!(content_range(&HeaderMap::new()), Ok(None));
        for good in ["5-9", "bytes 5-9/*", "bytes=5-9", "bytes 5-9/10"] {
            assert_eq!(read(good), Ok(Some((5, 9))), "{good}");
        }
        for bad in ["", "5", "9-5", "a-b", "-5", "5-", "bytes */10"] {
            assert_eq!(read(bad), Err(BadPush::Range), "{bad}");
        }
    }
}
