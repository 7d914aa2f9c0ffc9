//! The answer to `tags/list`.

use http::HeaderMap;
use http::header::LINK;
use serde::Deserialize;
use url::form_urlencoded;

use super::error::UpstreamError;
use super::{MAX_LAST_BYTES, TagList, TagPage};

/// The largest page that is taken in. Registries that do not paginate answer with all there is; a hundred
/// thousand tags of the longest kind do not fit, and nobody has them.
pub(super) const MAX_TAGS_BYTES: usize = 8 << 20;

#[derive(Deserialize)]
struct Document {
    // Go writes an empty slice as `null`, and so do registries for a repository without tags.
    tags: Option<Vec<String>>,
}

/// Reads the answer to a request for `page`.
pub(super) fn read(headers: &HeaderMap, body: &[u8], page: &TagPage) -> Result<TagList, UpstreamError> {
    let document: Document = serde_json::from_slice(body)
        .map_err(|_| UpstreamError::malformed("answered something that is no list of tags"))?;
    let link = next_link(headers);
    let after = link.and_then(last_in);
    let mut list = TagList { tags: document.tags.unwrap_or_default(), more: link.is_some(), after };
    // An upstream that ignores `last` gives its first page again and again, and whoever follows never comes to an
    // end.
    list.more = list.next().is_some_and(|next| page.last.as_deref() != Some(next));
    Ok(list)
}

/// The target of the `Link` that says `rel=next` (RFC 8288). It is never followed: only its `last` is taken, so
/// that no upstream decides what URL is asked.
fn next_link(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(LINK).iter().filter_map(|line| line.to_str().ok());
    let mut links = lines.flat_map(|line| line.split('<').skip(1)).filter_map(|link| link.split_once('>'));
    let next = links.find(|(_, parameters)| {
        parameters.split([';', ',']).any(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let mut relations = value.trim().trim_matches('"').split_ascii_whitespace();
            name.trim().eq_ignore_ascii_case("rel") && relations.any(|relation| relation.eq_ignore_ascii_case("next"))
        })
    });
    next.map(|(target, _)| target)
}

/// The `last` of a link's target, unless no client could send it.
fn last_in(target: &str) -> Option<String> {
    let (_, query) = target.split_once('?')?;
    let (_, last) = form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == "last")?;
    let fits = !last.is_empty() && last.len() <= MAX_LAST_BYTES && !last.chars().any(char::is_control);
    fits.then(|| last.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(line: &'static str) -> bool {
        let mut headers = HeaderMap::new();
        headers.append(LINK, http::HeaderValue::from_static(line));
        next_link(&headers).is_some()
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
        let read = |body: &str| read(&HeaderMap::new(), body.as_bytes(), &TagPage::default());
        assert_eq!(read(r#"{"name":"a","tags":null}"#).map(|list| list.tags).ok(), Some(Vec::new()));
        assert_eq!(read(r#"{"name":"a","tags":["b"]}"#).map(|list| list.tags).ok(), Some(vec!["b".to_owned()]));
        assert!(matches!(read("<html>"), Err(UpstreamError::Malformed { .. })));
    }

    #[test]
    fn the_next_page_starts_where_the_upstream_says_and_never_where_this_one_did() {
        let next = |link: &'static str, tags: &str, last: Option<&str>| {
            let headers = HeaderMap::from_iter([(LINK, http::HeaderValue::from_static(link))]);
            let page = TagPage { n: Some(2), last: last.map(str::to_owned) };
            let list = read(&headers, format!(r#"{{"tags":{tags}}}"#).as_bytes(), &page).expect("a list");
            assert_eq!(list.more, list.next().is_some());
            list.next().map(str::to_owned)
        };
        let said = |last: &str| Some(last.to_owned());
        assert_eq!(next("</x?n=2&last=b%26c>; rel=next", r#"["a","b"]"#, None), said("b&c"));
        assert_eq!(next("</x?last=z>; rel=next", "[]", Some("b")), said("z"));
        assert_eq!(next("</x?next_page=gAAA>; rel=next", r#"["a","b"]"#, None), said("b"));
        assert_eq!(next("</x?last=%00>; rel=next", r#"["a","b"]"#, None), said("b"));
        assert_eq!(next("</x>; rel=next", "[]", None), None);
        // One that ignores `last`, with and without saying it.
        assert_eq!(next("</x?n=2&last=b>; rel=next", r#"["a","b"]"#, Some("b")), None);
        assert_eq!(next("</x?next_page=gAAA>; rel=next", r#"["a","b"]"#, Some("b")), None);
    }
}
