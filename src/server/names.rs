//! Lists of names, page by page: a repository's tags (distribution spec, "Listing Tags"), and the repositories.

use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, LINK};
use http::{Method, Response};
use serde_json::{Value, json};
use url::form_urlencoded;

use super::conditional::text_value;
use crate::body::{self, Body};
use crate::oci::RepositoryName;
use crate::upstream::{ListPage, MAX_LAST_BYTES, NameList};

/// Why a query does not say which page.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadPage {
    #[error("n must be a whole number: the most to list")]
    Number,
    #[error("last must be a name: the last one of the page before")]
    Last,
    #[error("last must be a digest: the last one of the page before")]
    Digest,
}

/// Reads `n` and `last`; other parameters say nothing of pages.
pub(super) fn page(query: Option<&str>) -> Result<ListPage, BadPage> {
    let mut page = ListPage::default();
    for (key, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        match &*key {
            "n" => page.n = Some(value.parse().map_err(|_| BadPage::Number)?),
            // Not parsed as a name: an upstream may list from any text, and it is only compared.
            "last" if value.len() <= MAX_LAST_BYTES && !value.chars().any(char::is_control) => {
                page.last = Some(value.into_owned()).filter(|last| !last.is_empty());
            }
            "last" => return Err(BadPage::Last),
            _ => {}
        }
    }
    Ok(page)
}

/// Answers a GET or HEAD of a repository's tags.
pub(super) fn respond_tags(
    list: &NameList,
    page: &ListPage,
    repository: &RepositoryName,
    ns: Option<&str>,
    method: &Method,
) -> Response<Body> {
    let json = json!({ "name": repository, "tags": list.names });
    respond(&json, &format!("{repository}/tags/list"), list.next(), page, ns, method)
}

/// Answers a GET or HEAD of the repositories.
pub(super) fn respond_catalog(list: &NameList, page: &ListPage, ns: Option<&str>, method: &Method) -> Response<Body> {
    respond(&json!({ "repositories": list.names }), "_catalog", list.next(), page, ns, method)
}

fn respond(
    json: &Value,
    path: &str,
    next: Option<&str>,
    page: &ListPage,
    ns: Option<&str>,
    method: &Method,
) -> Response<Body> {
    let json = json.to_string();
    let mut response = Response::new(body::empty());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_LENGTH, json.len().into());
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Some(last) = next {
        headers.insert(LINK, next_page(path, &[("ns", ns)], page.n, last));
    }
    if method == Method::GET {
        *response.body_mut() = body::full(json);
    }
    response
}

/// The `Link` to the page after `last`; it keeps of the question what is said in `kept`.
pub(super) fn next_page(path: &str, kept: &[(&str, Option<&str>)], n: Option<usize>, last: &str) -> HeaderValue {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(kept.iter().filter_map(|(key, value)| Some((key, (*value)?))));
    query.extend_pairs(n.map(|n| ("n", n.to_string())));
    query.append_pair("last", last);
    text_value(&format!("</v2/{path}?{}>; rel=\"next\"", query.finish()))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests {
    use super::*;

    #[test]
    fn pages() {
        let is = |n, last: Option<&str>| Ok(ListPage { n, last: last.map(str::to_owned) });
        assert_eq!(page(None), is(None, None));
        assert_eq!(page(Some("n=5&last=v1.0&x=y")), is(Some(5), Some("v1.0")));
        assert_eq!(page(Some("n=0&last=")), is(Some(0), None));
        for bad in ["n=", "n=-1", "n=x", "n=99999999999999999999"] {
            assert_eq!(page(Some(bad)), Err(BadPage::Number), "{bad}");
        }
        assert_eq!(page(Some("last=a%00")), Err(BadPage::Last));
        assert_eq!(page(Some(&format!("last={}", "a".repeat(MAX_LAST_BYTES + 1)))), Err(BadPage::Last));
    }

    #[test]
    fn the_next_page_is_linked_with_its_tag_escaped() {
        let list = NameList { names: vec!["a".into(), "b&c>".into()], more: true, after: None };
        let name = "acme/app".parse().unwrap();
        let link_in = |list: &NameList, n, ns| {
            let response = respond_tags(list, &ListPage { n, last: None }, &name, ns, &Method::HEAD);
            response.headers().get(LINK).map(|value| value.to_str().unwrap().to_owned())
        };
        let link = |list: &NameList, n| link_in(list, n, None);
        let expected = "</v2/acme/app/tags/list?ns=a.b%3A1&last=b%26c%3E>; rel=\"next\"";
        assert_eq!(link_in(&list, None, Some("a.b:1")).unwrap(), expected);
        assert_eq!(link(&list, Some(2)).unwrap(), "</v2/acme/app/tags/list?n=2&last=b%26c%3E>; rel=\"next\"");
        assert_eq!(link(&list, None).unwrap(), "</v2/acme/app/tags/list?last=b%26c%3E>; rel=\"next\"");
        let said = NameList { after: Some("z".to_owned()), ..list.clone() };
        assert_eq!(link(&said, None).unwrap(), "</v2/acme/app/tags/list?last=z>; rel=\"next\"");
        assert_eq!(link(&NameList { more: false, ..list }, Some(2)), None);
        assert_eq!(link(&NameList { more: true, ..NameList::default() }, Some(0)), None);
    }
}
