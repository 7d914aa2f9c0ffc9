//! Registries that list names each in its own way.

use bytes::Bytes;
use http::{Response, header};
use serde_json::json;
use url::form_urlencoded;

use crate::support::scripted::Fault;

/// A way to list names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// As the distribution spec has it.
    Proper,
    /// The same, without links.
    Unlinked,
    /// The same, but no more than 100 at once.
    Strict,
    /// All at once, in whatever order, some twice.
    Everything,
    /// In pages of its own, by a token.
    Tokens,
    /// In pages as asked for, in an order of its own.
    ByAge,
    /// The same page, whatever is asked for, and a link to itself.
    Circling,
}

impl Way {
    pub(super) const ALL: [Self; 7] =
        [Self::Proper, Self::Unlinked, Self::Strict, Self::Everything, Self::Tokens, Self::ByAge, Self::Circling];

    /// Answers with these names, which are in an order of their own.
    pub(super) fn lists(self, key: &'static str, names: &[String]) -> Fault {
        let names = names.to_vec();
        Fault::make(move |seen| Some(self.answer(key, &names, &seen.path, &seen.query)))
    }

    fn answer(self, key: &str, names: &[String], path: &str, query: &str) -> Response<Bytes> {
        let parameters: Vec<_> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let parameter =
            |wanted: &str| parameters.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
        let n = parameter("n").map(|n| n.parse::<usize>().unwrap());
        if self == Self::Strict && n.is_some_and(|n| n > 100) {
            let document = r#"{"errors":[{"code":"PAGINATION_NUMBER_INVALID","message":"too many"}]}"#;
            return Response::builder().status(400).body(document.into()).unwrap();
        }
        let mut all = names.to_vec();
        if matches!(self, Self::Proper | Self::Unlinked | Self::Strict) {
            all.sort();
        }
        let last = parameter("last");
        let (start, size) = match self {
            Self::Everything => {
                all.push(all[0].clone());
                (0, all.len())
            }
            Self::Circling => (0, all.len()),
            Self::Tokens => (parameter("next_page").map_or(0, |token| token.parse().unwrap()), 20),
            Self::ByAge => (
                last.and_then(|last| all.iter().position(|name| *name == last)).map_or(0, |at| at + 1),
                n.unwrap_or(50),
            ),
            _ => (last.map_or(0, |last| all.partition_point(|name| *name <= last)), n.unwrap_or(50)),
        };
        // Without a number, one that gives no links gives everything.
        let size = if self == Self::Unlinked && n.is_none() { all.len() } else { size };
        let end = (start + size).min(all.len());
        let page = &all[start..end];
        let link = match self {
            Self::Unlinked | Self::Everything => None,
            Self::Circling => Some("again=1".to_owned()),
            Self::Tokens => (end < all.len()).then(|| format!("next_page={end}")),
            _ => page.last().filter(|_| end < all.len()).map(|last| format!("last={last}&n={size}")),
        };
        let mut response = Response::builder().header(header::CONTENT_TYPE, "application/json");
        if let Some(query) = link {
            response = response.header(header::LINK, format!("<https://evil.invalid{path}?{query}>; rel=\"next\""));
        }
        response.body(json!({ key: page }).to_string().into()).unwrap()
    }
}

/// So many names, in an order that is nobody's.
pub(super) fn names(count: usize) -> Vec<String> {
    (0..count).map(|at| format!("n{:03}", (at * 37 + 11) % count)).collect()
}
