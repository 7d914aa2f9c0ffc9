//! A list of referrers as a response, in pages where it has to be.

use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, LINK};
use http::{Method, Response};
use serde_json::json;
use url::form_urlencoded;

use super::names::{BadPage, next_page};
use crate::body::{self, Body};
use crate::oci::{Digest, MediaType, RepositoryName};
use crate::upstream::Referrer;

/// Says that the list was filtered as was asked (distribution spec, "Listing Referrers").
const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");
/// The largest page. An index may have 4 MiB, but many a client takes in less.
const MAX_PAGE_BYTES: usize = 2 << 20;
/// What stands around the descriptors, and more.
const FRAME_BYTES: usize = 256;
/// What descriptors may take, with a comma each.
const PAGE_ROOM: usize = MAX_PAGE_BYTES - FRAME_BYTES;

/// What a client wants to know of the referrers of a digest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Only those of this type.
    pub(super) artifact_type: Option<String>,
    /// At most so many at once.
    n: Option<usize>,
    /// Only those after this one; a digest, as text, since that is what is compared.
    last: Option<String>,
}

impl Wanted {
    /// Reads a query.
    pub(super) fn read(query: Option<&str>) -> Result<Self, BadPage> {
        let mut wanted = Self::default();
        for (key, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            match &*key {
                "artifactType" if wanted.artifact_type.is_none() && !value.is_empty() => {
                    wanted.artifact_type = Some(value.into_owned());
                }
                "n" => wanted.n = Some(value.parse().map_err(|_| BadPage::Number)?),
                "last" if !value.is_empty() => {
                    wanted.last = Some(value.parse::<Digest>().map_err(|_| BadPage::Digest)?.to_string());
                }
                _ => {}
            }
        }
        Ok(wanted)
    }

    /// The descriptors of one page, as JSON, and after which digest the next one starts, if there is one.
    ///
    /// What fits into one page comes as it is. Else it is in the order of digests, so that `last` says where to go on even
    /// when what it names is gone.
    fn page(&self, referrers: Vec<Referrer>) -> (Vec<String>, Option<String>) {
        let json_of = |referrer: &Referrer| json!(referrer.0).to_string();
        let mut all: Vec<_> =
            referrers.iter().filter_map(|referrer| Some((referrer.digest()?.to_owned(), json_of(referrer)))).collect();
        let fits = |all: &[(String, String)]| all.iter().map(|(_, json)| json.len() + 1).sum::<usize>() <= PAGE_ROOM;
        if self.last.is_none() && self.n.is_none_or(|n| all.len() <= n) && fits(&all) {
            return (all.into_iter().map(|(_, json)| json).collect(), None);
        }
        all.sort_unstable();
        all.retain(|(digest, _)| self.last.as_ref().is_none_or(|last| digest > last));
        let (mut page, mut room, mut last) = (Vec::new(), PAGE_ROOM, None);
        let count = all.len();
        for (digest, json) in all.into_iter().take(self.n.unwrap_or(usize::MAX)) {
            // One alone is never too large, or nobody would get past it.
            if json.len() + 1 > room && !page.is_empty() {
                break;
            }
            room = room.saturating_sub(json.len() + 1);
            page.push(json);
            last = Some(digest);
        }
        let more = page.len() < count;
        (page, last.filter(|_| more))
    }
}

/// Answers a GET or HEAD with these.
pub(super) fn respond(
    referrers: Vec<Referrer>,
    wanted: &Wanted,
    (repository, subject): (&RepositoryName, &Digest),
    ns: Option<&str>,
    method: &Method,
) -> Response<Body> {
    let (page, next) = wanted.page(referrers);
    let media_type = MediaType::ImageIndex;
    let index = format!(r#"{{"manifests":[{}],"mediaType":"{media_type}","schemaVersion":2}}"#, page.join(","));
    let mut response = Response::new(body::empty());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/vnd.oci.image.index.v1+json"));
    headers.insert(CONTENT_LENGTH, index.len().into());
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Some(last) = next {
        let kept = [("ns", ns), ("artifactType", wanted.artifact_type.as_deref())];
        headers.insert(LINK, next_page(&format!("{repository}/referrers/{subject}"), &kept, wanted.n, &last));
    }
    if wanted.artifact_type.is_some() {
        headers.insert(FILTERS_APPLIED, HeaderValue::from_static("artifactType"));
    }
    if method == Method::GET {
        *response.body_mut() = body::full(index);
    }
    response
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests {
    use super::*;

    fn digest(content: usize) -> String {
        Digest::of(&content.to_be_bytes()).to_string()
    }

    fn referrers(count: usize, note: &str) -> Vec<Referrer> {
        let of = |at| json!({"digest": digest(at), "annotations": {"note": note}}).as_object().unwrap().clone();
        (0..count).map(|at| Referrer(of(at))).collect()
    }

    #[test]
    fn queries() {
        let last = digest(1);
        let wanted = Wanted::read(Some(&format!("artifactType=a%2Fb%2Bc&n=5&last={last}&x=y"))).unwrap();
        assert_eq!(wanted, Wanted { artifact_type: Some("a/b+c".to_owned()), n: Some(5), last: Some(last) });
        assert_eq!(Wanted::read(Some("artifactType=&last=")), Ok(Wanted::default()));
        assert_eq!(Wanted::read(Some("n=x")), Err(BadPage::Number));
        assert_eq!(Wanted::read(Some("last=v1")), Err(BadPage::Digest));
    }

    #[test]
    fn what_fits_comes_as_it_is() {
        let (page, next) = Wanted::default().page(referrers(3, ""));
        let digests = [0, 1, 2].map(digest);
        assert!(page.iter().zip(&digests).all(|(json, digest)| json.contains(digest)) && page.len() == 3);
        assert_eq!(next, None);
    }

    #[test]
    fn pages_hold_everything_once() {
        for (n, count, note) in [(Some(2), 5, ""), (Some(1), 3, ""), (None, 9, "x"), (Some(4), 9, "x")] {
            let all = || referrers(count, &note.repeat(500 << 10));
            let (mut wanted, mut found, mut pages) = (Wanted { n, ..Wanted::default() }, Vec::new(), 0);
            loop {
                let (page, next) = wanted.page(all());
                assert!(
                    page.len() <= n.unwrap_or(usize::MAX) && page.iter().map(String::len).sum::<usize>() <= PAGE_ROOM
                );
                found.extend(page);
                pages += 1;
                let Some(next) = next else { break };
                wanted.last = Some(next);
            }
            assert!(pages > 1 && found.len() == count);
            assert!((0..count).all(|at| found.iter().any(|json| json.contains(&digest(at)))));
        }
    }

    #[test]
    fn one_that_is_too_large_for_a_page_has_one_for_itself() {
        let (page, next) = Wanted::default().page(referrers(2, &"x".repeat(3 << 20)));
        assert!(page.len() == 1 && next.is_some());
        assert_eq!(Wanted { n: Some(0), ..Wanted::default() }.page(referrers(2, "")), (Vec::new(), None));
    }
}
