//! A question to a registry, before it is a URL and headers.

use http::header::{ACCEPT, ACCEPT_ENCODING, RANGE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method};
use url::Url;

use super::token::Scope;
use crate::oci::{Digest, MANIFEST_ACCEPT, Reference, RepositoryName};

/// What is sent as `User-Agent`.
pub(super) const AGENT: &str = concat!("colocate/", env!("CARGO_PKG_VERSION"));

/// One request for something in a repository, or for nothing.
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    /// Which repository; none for a request that only shows who asks.
    pub(super) repository: Option<&'a RepositoryName>,
    what: What<'a>,
}

enum What<'a> {
    Manifest(&'a Reference),
    Blob { digest: &'a Digest, offset: u64 },
    Tags(&'a str),
    Catalog(&'a str),
    Referrers { digest: &'a Digest, query: &'a str },
    Nothing,
}

impl<'a> Ask<'a> {
    pub(super) fn manifest(method: Method, repository: &'a RepositoryName, reference: &'a Reference) -> Self {
        Self { method, repository: Some(repository), what: What::Manifest(reference) }
    }

    pub(super) fn blob(method: Method, repository: &'a RepositoryName, digest: &'a Digest, offset: u64) -> Self {
        Self { method, repository: Some(repository), what: What::Blob { digest, offset } }
    }

    /// One page; `query` says which.
    pub(super) fn tags(repository: &'a RepositoryName, query: &'a str) -> Self {
        Self { method: Method::GET, repository: Some(repository), what: What::Tags(query) }
    }

    /// One page of the repositories there are; `query` says which.
    pub(super) fn catalog(query: &'a str) -> Self {
        Self { method: Method::GET, repository: None, what: What::Catalog(query) }
    }

    /// One page; `query` says which, and of what.
    pub(super) fn referrers(repository: &'a RepositoryName, digest: &'a Digest, query: &'a str) -> Self {
        Self { method: Method::GET, repository: Some(repository), what: What::Referrers { digest, query } }
    }

    /// Whether the registry is there, and takes the credentials (distribution spec, end-1).
    pub(super) fn ping() -> Self {
        Self { method: Method::GET, repository: None, what: What::Nothing }
    }

    /// What a token for it has to be for.
    pub(super) fn scope(&self) -> Scope {
        match self.what {
            What::Catalog(_) => Scope::catalog(),
            _ => Scope::pull(self.repository),
        }
    }

    /// Whether the answer may be long.
    pub(super) fn is_download(&self) -> bool {
        self.method == Method::GET && matches!(self.what, What::Blob { .. })
    }

    /// The URL, where `base` ends in `/v2/`. Names, tags and digests are valid by type and need no escaping.
    pub(super) fn url(&self, base: &Url) -> Url {
        let mut url = base.clone();
        let repository = self.repository.map(RepositoryName::as_str).unwrap_or_default();
        let (path, query) = match &self.what {
            What::Manifest(reference) => (format!("{repository}/manifests/{reference}"), ""),
            What::Blob { digest, .. } => (format!("{repository}/blobs/{digest}"), ""),
            What::Tags(query) => (format!("{repository}/tags/list"), *query),
            What::Referrers { digest, query } => (format!("{repository}/referrers/{digest}"), *query),
            What::Catalog(query) => ("_catalog".to_owned(), *query),
            What::Nothing => return url,
        };
        url.set_path(&format!("{}{path}", base.path()));
        url.set_query(Some(query).filter(|query| !query.is_empty()));
        url
    }

    pub(super) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let accept = match self.what {
            What::Manifest(_) => MANIFEST_ACCEPT,
            What::Blob { .. } | What::Nothing => "*/*",
            What::Tags(_) | What::Catalog(_) => "application/json",
            What::Referrers { .. } => "application/vnd.oci.image.index.v1+json",
        };
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        // Something on the way that compresses would change the bytes a digest is of.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let What::Blob { offset: offset @ 1.., .. } = self.what
            && let Ok(range) = HeaderValue::try_from(format!("bytes={offset}-"))
        {
            headers.insert(RANGE, range);
        }
        headers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_keep_the_prefix_and_escape_the_query() {
        let base: Url = "https://host.example:8443/docker/v2/".parse().expect("a URL");
        let repository = "acme/app".parse().expect("a name");
        let url = Ask::tags(&repository, "n=3&last=a%26b").url(&base);
        assert_eq!(url.as_str(), "https://host.example:8443/docker/v2/acme/app/tags/list?n=3&last=a%26b");
        assert_eq!(Ask::catalog("n=1").url(&base).as_str(), "https://host.example:8443/docker/v2/_catalog?n=1");
        let reference = "v1".parse().expect("a tag");
        let url = Ask::manifest(Method::GET, &repository, &reference).url(&base);
        assert_eq!(url.path(), "/docker/v2/acme/app/manifests/v1");
    }

    #[test]
    fn only_a_later_start_is_a_range() {
        let (repository, digest) = ("a".parse().expect("a name"), Digest::of(b""));
        let range = |offset| Ask::blob(Method::GET, &repository, &digest, offset).headers().get(RANGE).cloned();
        assert_eq!(range(0), None);
        assert_eq!(range(5), Some(HeaderValue::from_static("bytes=5-")));
    }
}
