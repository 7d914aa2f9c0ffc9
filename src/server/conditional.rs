//! Conditional requests (RFC 9110, section 13). The entity tag of everything here is its digest in quotes.

use http::HeaderMap;
use http::header::{HeaderValue, IF_NONE_MATCH, IF_RANGE};

use crate::oci::Digest;

/// The entity tag of content with this digest.
pub(super) fn entity_tag(digest: &Digest) -> HeaderValue {
    text_value(&format!("\"{digest}\""))
}

/// A header value of text that is known to be visible ASCII.
pub(super) fn text_value(text: &str) -> HeaderValue {
    #[expect(clippy::expect_used, reason = "digests, media types and links made here are visible ASCII")]
    HeaderValue::from_str(text).expect("visible ASCII")
}

/// Whether the client has this content already, so that 304 is the answer.
pub(super) fn client_has(headers: &HeaderMap, digest: &Digest) -> bool {
    let own = digest.to_string();
    let lists = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    // No entity tag made here holds a comma, so a list splits at every one; pieces of foreign tags match nothing.
    lists.flat_map(|list| list.split(',')).map(str::trim).any(|tag| {
        // Weak comparison: the mark does not matter.
        tag == "*" || unquoted(tag.strip_prefix("W/").unwrap_or(tag)) == Some(&own)
    })
}

/// Whether a `Range` may be answered as such: there is no `If-Range`, or it names exactly this content. A weak
/// tag or a date never does.
pub(super) fn range_holds(headers: &HeaderMap, digest: &Digest) -> bool {
    match headers.get(IF_RANGE) {
        None => true,
        Some(value) => value.to_str().ok().and_then(unquoted).is_some_and(|tag| tag == digest.to_string()),
    }
}

fn unquoted(tag: &str) -> Option<&str> {
    tag.trim().strip_prefix('"')?.strip_suffix('"')
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests {
    use super::*;

    #[test]
    fn lists_weak_tags_and_the_star() {
        let digest = Digest::of(b"");
        let own = format!("\"{digest}\"");
        let has = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(IF_NONE_MATCH, value.parse().unwrap());
            }
            client_has(&headers, &digest)
        };
        for yes in
            [&[own.as_str()][..], &["*"], &[&format!("W/{own}")], &["\"a,b\"", &own], &[&format!("\"a\" ,{own}")]]
        {
            assert!(has(yes), "{yes:?}");
        }
        for no in [&[][..], &["\"a\""], &["W/\"*\""], &[""], &[&own[..own.len() - 1]]] {
            assert!(!has(no), "{no:?}");
        }
        let range = |value: &str| range_holds(&HeaderMap::from_iter([(IF_RANGE, value.parse().unwrap())]), &digest);
        assert!(range(&own));
        for no in [&format!("W/{own}"), "Wed, 21 Oct 2015 07:28:00 GMT", "\"other\"", "*"] {
            assert!(!range(no), "{no}");
        }
    }
}
