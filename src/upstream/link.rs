//! The `Link` to the next page (RFC 8288). It is never followed as it stands: only its query is taken, so that no
//! upstream decides what host or path is asked.

use http::HeaderMap;
use http::header::LINK;
use url::Url;

/// The query that leads to the next page; `base` is where this one was.
pub(super) fn next_query(headers: &HeaderMap, base: &Url) -> Option<String> {
    base.join(next(headers)?).ok()?.query().filter(|query| !query.is_empty()).map(str::to_owned)
}

/// The target of the link that says `rel=next`.
fn next(headers: &HeaderMap) -> Option<&str> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(line: &str) -> HeaderMap {
        HeaderMap::from_iter([(LINK, line.parse().expect("a header"))])
    }

    #[test]
    fn next_links() {
        for yes in [
            r#"</v2/a/tags/list?last=b&n=2>; rel="next""#,
            "</v2/a/tags/list?x=a;b>;REL=Next",
            r#"</x>; rel="prev", </y>; title="t"; rel="last next""#,
        ] {
            assert!(next(&headers(yes)).is_some(), "{yes}");
        }
        for no in ["", "next", r#"</next>; rel="prev""#, r#"<rel="next">"#, r#"</x>; rev="next""#] {
            assert!(next(&headers(no)).is_none(), "{no}");
        }
    }

    #[test]
    fn only_the_query_of_the_next_page_counts() {
        let base: Url = "https://host.example/v2/a/referrers/sha256:0".parse().expect("a URL");
        let next = |link: &str| next_query(&headers(link), &base);
        assert_eq!(next("<https://evil.example/x?page=2&a=b>; rel=\"next\""), Some("page=2&a=b".to_owned()));
        assert_eq!(next("</v2/x?p=2>; rel=next"), Some("p=2".to_owned()));
        for none in ["</v2/x>; rel=next", "</v2/x?>; rel=next", "</v2/x?p=1>; rel=prev", "x?p=1; rel=next", ""] {
            assert_eq!(next(none), None, "{none}");
        }
    }
}
