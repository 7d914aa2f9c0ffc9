//! The answer to `tags/list`.

use http::HeaderMap;
use http::header::LINK;
use serde::Deserialize;

use super::TagList;
use super::error::UpstreamError;

/// The largest page that is taken in. Registries that do not paginate answer with all there is; a hundred
/// thousand tags of the longest kind do not fit, and nobody has them.
pub(super) const MAX_TAGS_BYTES: usize = 8 << 20;

#[derive(Deserialize)]
struct Document {
    // Go writes an empty slice as `null`, and so do registries for a repository without tags.
    tags: Option<Vec<String>>,
}

pub(super) fn read(headers: &HeaderMap, body: &[u8]) -> Result<TagList, UpstreamError> {
    let document: Document = serde_json::from_slice(body)
        .map_err(|_| UpstreamError::malformed("answered something that is no list of tags"))?;
    Ok(TagList { tags: document.tags.unwrap_or_default(), more: has_next(headers) })
}

/// Whether some `Link` says `rel=next` (RFC 8288). Its target is not used: the next page is asked for by the
/// last tag of this one, so no upstream decides what URL is asked.
fn has_next(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(LINK).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split('<').skip(1)).any(|link| {
        let parameters = link.split_once('>').map_or("", |(_, parameters)| parameters);
        parameters.split([';', ',']).any(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let mut relations = value.trim().trim_matches('"').split_ascii_whitespace();
            name.trim().eq_ignore_ascii_case("rel") && relations.any(|relation| relation.eq_ignore_ascii_case("next"))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(line: &'static str) -> bool {
        let mut headers = HeaderMap::new();
        headers.append(LINK, http::HeaderValue::from_static(line));
        has_next(&headers)
    }

    #[test]
    fn next_links() {
        for yes in [
            r#"</v2/a/tags/list?last=b&n=2>; rel="next""#,
            "</v2/a/tags/list?x=a;b>;REL=Next",
            r#"</x>; rel="prev", </y>; title="t"; rel="last next""#,
        ] {
            assert!(next(yes), "{yes}");
        }
        for no in ["", "next", r#"</next>; rel="prev""#, r#"<rel="next">"#, r#"</x>; rev="next""#] {
            assert!(!next(no), "{no}");
        }
    }

    #[test]
    fn null_is_an_empty_list() {
        let read = |body: &str| read(&HeaderMap::new(), body.as_bytes());
        assert_eq!(read(r#"{"name":"a","tags":null}"#).map(|list| list.tags).ok(), Some(Vec::new()));
        assert_eq!(read(r#"{"name":"a","tags":["b"]}"#).map(|list| list.tags).ok(), Some(vec!["b".to_owned()]));
        assert!(matches!(read("<html>"), Err(UpstreamError::Malformed { .. })));
    }
}
