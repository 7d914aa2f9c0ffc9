//! A list of names as a registry gives it, page by page: a repository's tags, or the repositories.

use bytes::Bytes;
use http::HeaderMap;
use serde::Deserialize;
use url::{Url, form_urlencoded};

use super::error::UpstreamError;
use super::link::next_query;
use super::{ListPage, MAX_LAST_BYTES, NameList};

/// How much of a list is taken in, all pages together. Registries that do not paginate answer with all there is; a
/// hundred thousand tags of some length do not fit, and nobody has them.
pub(super) const MAX_LIST_BYTES: usize = 8 << 20;

#[derive(Deserialize)]
struct Document {
    // Go writes an empty slice as `null`, and so do registries for a repository without tags.
    #[serde(alias = "repositories")]
    tags: Option<Vec<String>>,
}

/// One answer, which may be anything but the page that was asked for.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) names: Vec<String>,
    /// The query that leads to the next page, if there is one.
    pub(super) next: Option<String>,
    /// How long it was, in bytes.
    pub(super) bytes: usize,
}

/// Reads an answer; `url` is what was asked.
pub(super) fn read(headers: &HeaderMap, body: &Bytes, url: &Url) -> Result<Answered, UpstreamError> {
    let document: Document = serde_json::from_slice(body)
        .map_err(|_| UpstreamError::malformed("answered something that is no list of names"))?;
    Ok(Answered { names: document.tags.unwrap_or_default(), next: next_query(headers, url), bytes: body.len() })
}

impl Answered {
    /// The name that the next page starts after, if the upstream says it by one, and a client could send it. Others page
    /// by a token of their own, which means nothing to anyone else.
    fn after(&self) -> Option<String> {
        let query = self.next.as_ref()?;
        let (_, last) = form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == "last")?;
        let fits = !last.is_empty() && last.len() <= MAX_LAST_BYTES && !last.chars().any(char::is_control);
        fits.then(|| last.into_owned())
    }

    /// Whether there is nothing behind it: no next page, and not as many names as were asked for, behind which registries
    /// that give no links may well have more.
    pub(super) fn is_the_end(&self, page: &ListPage) -> bool {
        self.next.is_none() && page.n != Some(self.names.len())
    }

    /// Whether it can be a page of a list in lexical order: that order, nothing twice, nothing of the pages before, and the
    /// next page behind this one.
    pub(super) fn is_in_order(&self, page: &ListPage) -> bool {
        let (first, last) = (self.names.first(), self.names.last());
        let begins = page.last.as_ref().is_none_or(|last| first.is_none_or(|first| first > last));
        let goes_on = || match (self.after(), last) {
            (Some(after), Some(last)) => after >= *last,
            (Some(after), None) => page.last.as_ref().is_none_or(|last| after > *last),
            (None, _) => false,
        };
        begins && self.names.is_sorted_by(|one, other| one < other) && (self.next.is_none() || goes_on())
    }

    /// The page as it is told, of a list in order.
    pub(super) fn into_page(self, page: &ListPage) -> NameList {
        let after = self.after();
        let mut list = NameList { names: self.names, more: after.is_some(), after };
        if let Some(n) = page.n.filter(|n| *n < list.names.len()) {
            list.names.truncate(n);
            (list.more, list.after) = (n > 0, None);
        }
        list
    }
}

impl ListPage {
    /// As a query says it.
    pub(super) fn query(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(self.n.map(|n| ("n", n.to_string())));
        query.extend_pairs(self.last.as_ref().map(|last| ("last", last)));
        query.finish()
    }
}

impl NameList {
    /// The page of a whole list, which is in lexical order, and has nothing twice.
    pub(super) fn of_whole<'a>(names: impl IntoIterator<Item = &'a str>, page: &ListPage) -> Self {
        let behind = |name: &&str| page.last.as_deref().is_none_or(|last| *name > last);
        let mut left = names.into_iter().filter(behind);
        let names: Vec<String> = left.by_ref().take(page.n.unwrap_or(usize::MAX)).map(str::to_owned).collect();
        Self { more: !names.is_empty() && left.next().is_some(), names, after: None }
    }

    /// The [`ListPage::last`] of the next page, if there is one: what the upstream said, or the last of these names.
    pub fn next(&self) -> Option<&str> {
        let last = self.after.as_deref().or(self.names.last().map(String::as_str));
        last.filter(|_| self.more)
    }
}

#[cfg(test)]
mod tests {
    use http::header::LINK;

    use super::*;

    fn answered(link: &'static str, names: &[&str]) -> Answered {
        let headers = HeaderMap::from_iter([(LINK, http::HeaderValue::from_static(link))]);
        let body = serde_json::json!({ "tags": names }).to_string().into();
        read(&headers, &body, &"https://a.example/v2/a/tags/list".parse().expect("a URL")).expect("a list")
    }

    fn page(n: Option<usize>, last: Option<&str>) -> ListPage {
        ListPage { n, last: last.map(str::to_owned) }
    }

    #[test]
    fn null_is_an_empty_list() {
        let url = "https://a.example/".parse().expect("a URL");
        let read = |body: &'static str| read(&HeaderMap::new(), &Bytes::from_static(body.as_bytes()), &url);
        let names = |body| read(body).map(|list| list.names).ok();
        assert_eq!(names(r#"{"name":"a","tags":null}"#), Some(Vec::new()));
        assert_eq!(names(r#"{"name":"a","tags":["b"]}"#), Some(vec!["b".to_owned()]));
        assert_eq!(names(r#"{"repositories":["b"]}"#), Some(vec!["b".to_owned()]));
        assert!(matches!(read("<html>"), Err(UpstreamError::Malformed { .. })));
    }

    #[test]
    fn what_can_be_a_page_of_a_list_in_order() {
        for (link, names, last, expected) in [
            ("", &["a", "b"][..], None, true),
            ("", &[], Some("x"), true),
            ("</x?n=2&last=b%26c>; rel=next", &["a", "b"], None, true),
            ("</x?last=z>; rel=next", &[], Some("b"), true),
            ("", &["b", "a"], None, false),
            ("", &["a", "a"], None, false),
            ("", &["b", "c"], Some("b"), false),
            // In an order of their own, of which one page does not show it.
            ("</x?last=a>; rel=next", &["b", "c"], None, false),
            ("</x?last=b>; rel=next", &[], Some("b"), false),
            ("</x?last=%00>; rel=next", &["a"], None, false),
            ("</x?next_page=gAAA>; rel=next", &["a", "b"], None, false),
        ] {
            assert_eq!(answered(link, names).is_in_order(&page(None, last)), expected, "{link} {names:?} {last:?}");
        }
        assert!(
            answered("", &["a"]).is_the_end(&page(Some(2), None)) && answered("", &["a"]).is_the_end(&page(None, None))
        );
        assert!(!answered("", &["a"]).is_the_end(&page(Some(1), None)));
        assert!(!answered("</x?p=1>; rel=next", &["a"]).is_the_end(&page(Some(2), None)));
    }

    #[test]
    fn the_next_page_starts_where_the_upstream_says_or_where_this_one_is_cut() {
        let next = |link, n| answered(link, &["a", "b"]).into_page(&page(n, None)).next().map(str::to_owned);
        assert_eq!(next("</x?n=2&last=b%26c>; rel=next", Some(2)), Some("b&c".to_owned()));
        assert_eq!(next("</x?n=2&last=c>; rel=next", Some(1)), Some("a".to_owned()));
        assert_eq!(next("", Some(1)), Some("a".to_owned()));
        assert_eq!(next("", None), None);
        let whole = |n, last| NameList::of_whole(["a", "b", "c"], &page(n, last));
        let list = |names: &[&str], more| NameList {
            names: names.iter().map(|&name| name.into()).collect(),
            more,
            after: None,
        };
        assert_eq!(whole(None, None), list(&["a", "b", "c"], false));
        assert_eq!(whole(Some(2), None), list(&["a", "b"], true));
        assert_eq!(whole(Some(2), Some("a")), list(&["b", "c"], false));
        assert_eq!(whole(Some(0), None), list(&[], false));
        assert_eq!(whole(None, Some("bb")), list(&["c"], false));
    }
}
