//! From a path to what is asked for.
//!
//! Repository names hold slashes, so a path is read from its end: what comes before `/manifests/<reference>` is
//! the name, even if a part of it is itself called `manifests`. Segments are percent-decoded after the path was
//! split, so `%2F` and `%2e%2e` stay inside their segment, where the grammar of names refuses them.

use std::borrow::Cow;

use http::{Method, StatusCode};

use crate::config::Action;
use crate::oci::{Digest, DigestError, ErrorCode, ErrorDocument, NameError, Reference, RepositoryName};

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// `/v2/`: whether this is a registry.
    Base,
    /// `/v2/_catalog`: which repositories there are.
    Catalog,
    /// `/v2/<name>/manifests/<reference>`
    Manifest { repository: RepositoryName, reference: Reference },
    /// `/v2/<name>/blobs/<digest>`
    Blob { repository: RepositoryName, digest: Digest },
    /// `/v2/<name>/tags/list`
    Tags { repository: RepositoryName },
    /// `/v2/<name>/referrers/<digest>`
    Referrers { repository: RepositoryName, digest: Digest },
    /// `/v2/<name>/blobs/uploads/`, where uploads begin.
    Uploads { repository: RepositoryName },
    /// `/v2/<name>/blobs/uploads/<session>`, where one goes on. What names it is this proxy's own word.
    Upload { repository: RepositoryName, session: String },
}

/// Why a path asks for nothing that there can be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RouteError {
    /// No route has this shape.
    #[error(
        "nothing is served under this path; the registry API is /v2/<name>/manifests, /blobs, /referrers and /tags/list"
    )]
    Unknown,
    /// What should be the repository's name is none.
    #[error(transparent)]
    Name(NameError),
    /// What follows `manifests/` cannot be a tag, so there is no manifest by it.
    #[error("no manifest has this tag: {0}")]
    Tag(NameError),
    /// A digest that cannot be verified.
    #[error(transparent)]
    Digest(DigestError),
}

impl RouteError {
    pub(super) fn code(&self) -> (StatusCode, ErrorDocument) {
        let (status, code) = match self {
            Self::Unknown => (StatusCode::NOT_FOUND, ErrorCode::Unsupported),
            Self::Name(_) => (StatusCode::BAD_REQUEST, ErrorCode::NameInvalid),
            // The conformance tests ask for a tag that no registry can have, and want "not found".
            Self::Tag(_) => (StatusCode::NOT_FOUND, ErrorCode::ManifestUnknown),
            Self::Digest(_) => (StatusCode::BAD_REQUEST, ErrorCode::DigestInvalid),
        };
        (status, ErrorDocument::new(&code, self.to_string()))
    }
}

impl Route {
    /// Reads a request's path, as it came.
    pub(super) fn parse(path: &str) -> Result<Self, RouteError> {
        let Some(rest) = path.strip_prefix("/v2") else { return Err(RouteError::Unknown) };
        if matches!(rest, "" | "/") {
            return Ok(Self::Base);
        }
        let Some(rest) = rest.strip_prefix('/') else { return Err(RouteError::Unknown) };
        let segments: Vec<&str> = rest.split('/').collect();
        match segments.as_slice() {
            // No repository has this name, so nothing else can be meant.
            ["_catalog"] => Ok(Self::Catalog),
            [name @ .., "manifests", reference] => {
                Ok(Self::Manifest { repository: repository(name)?, reference: reference_of(reference)? })
            }
            [name @ .., "tags", "list"] => Ok(Self::Tags { repository: repository(name)? }),
            [name @ .., "blobs", "uploads"] | [name @ .., "blobs", "uploads", ""] => {
                Ok(Self::Uploads { repository: repository(name)? })
            }
            [name @ .., "blobs", "uploads", session] => {
                Ok(Self::Upload { repository: repository(name)?, session: (*session).to_owned() })
            }
            [name @ .., "blobs", digest] => {
                Ok(Self::Blob { repository: repository(name)?, digest: digest_of(digest)? })
            }
            [name @ .., "referrers", digest] => {
                Ok(Self::Referrers { repository: repository(name)?, digest: digest_of(digest)? })
            }
            _ => Err(RouteError::Unknown),
        }
    }

    /// The route as a metrics label.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Catalog => "catalog",
            Self::Manifest { .. } => "manifest",
            Self::Blob { .. } => "blob",
            Self::Tags { .. } => "tags",
            Self::Referrers { .. } => "referrers",
            Self::Uploads { .. } => "uploads",
            Self::Upload { .. } => "upload",
        }
    }

    /// The route as people write it.
    pub(super) fn template(&self) -> &'static str {
        match self {
            Self::Base => "/v2/",
            Self::Catalog => "/v2/_catalog",
            Self::Manifest { .. } => "/v2/{name}/manifests/{reference}",
            Self::Blob { .. } => "/v2/{name}/blobs/{digest}",
            Self::Tags { .. } => "/v2/{name}/tags/list",
            Self::Referrers { .. } => "/v2/{name}/referrers/{digest}",
            Self::Uploads { .. } => "/v2/{name}/blobs/uploads/",
            Self::Upload { .. } => "/v2/{name}/blobs/uploads/{session}",
        }
    }

    /// The repository that it is about.
    pub(super) fn repository(&self) -> Option<&RepositoryName> {
        match self {
            Self::Base | Self::Catalog => None,
            Self::Manifest { repository, .. }
            | Self::Blob { repository, .. }
            | Self::Tags { repository }
            | Self::Referrers { repository, .. }
            | Self::Uploads { repository }
            | Self::Upload { repository, .. } => Some(repository),
        }
    }

    /// What a method means here; `None` for one that means nothing.
    pub(super) fn action(&self, method: &Method) -> Option<Action> {
        match (self, method) {
            (Self::Uploads { .. }, &Method::POST)
            | (Self::Upload { .. }, &Method::GET | &Method::PATCH | &Method::PUT | &Method::DELETE)
            | (Self::Manifest { .. }, &Method::PUT) => Some(Action::Push),
            (Self::Uploads { .. } | Self::Upload { .. }, _) => None,
            (Self::Manifest { .. } | Self::Blob { .. }, &Method::DELETE) => Some(Action::Delete),
            (_, &Method::GET | &Method::HEAD) => Some(Action::Pull),
            _ => None,
        }
    }

    /// The methods it answers, as `Allow` lists them; with those that change something, where `writes` are taken.
    pub(super) fn allow(&self, writes: bool) -> &'static str {
        match self {
            Self::Uploads { .. } if writes => "POST",
            Self::Upload { .. } if writes => "GET, PATCH, PUT, DELETE",
            Self::Uploads { .. } | Self::Upload { .. } => "",
            Self::Manifest { .. } if writes => "GET, HEAD, PUT, DELETE",
            Self::Blob { .. } if writes => "GET, HEAD, DELETE",
            _ => "GET, HEAD",
        }
    }
}

fn repository(segments: &[&str]) -> Result<RepositoryName, RouteError> {
    let parts: Option<Vec<Cow<'_, str>>> = segments.iter().map(|segment| decode(segment)).collect();
    let parts = parts.ok_or(RouteError::Name(NameError::Repository))?;
    // A slash that was escaped would join what the client wrote as one part.
    if parts.iter().any(|part| part.contains('/')) {
        return Err(RouteError::Name(NameError::Repository));
    }
    parts.join("/").parse().map_err(RouteError::Name)
}

fn reference_of(segment: &str) -> Result<Reference, RouteError> {
    let text = decode(segment).ok_or(RouteError::Tag(NameError::Tag))?;
    text.parse().map_err(|err| match err {
        NameError::Digest(err) => RouteError::Digest(err),
        err => RouteError::Tag(err),
    })
}

fn digest_of(segment: &str) -> Result<Digest, RouteError> {
    let text = decode(segment).ok_or(RouteError::Digest(DigestError::NoAlgorithm))?;
    text.parse().map_err(RouteError::Digest)
}

/// One segment without its percent escapes; `None` when they are broken. Decoded once: what an escape hides
/// inside another stays hidden, and no name holds a percent sign.
pub(super) fn decode(segment: &str) -> Option<Cow<'_, str>> {
    if !segment.contains('%') {
        return Some(Cow::Borrowed(segment));
    }
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
        let (high, low) = (digit()?, digit()?);
        bytes.push(u8::try_from(high << 4 | low).ok()?);
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn status(path: &str) -> (u16, String) {
        match Route::parse(path) {
            Ok(route) => panic!("{path} is {route:?}"),
            Err(err) => {
                let (status, document) = err.code();
                (status.as_u16(), document.code)
            }
        }
    }

    #[test]
    fn routes() {
        assert_eq!(Route::parse("/v2"), Ok(Route::Base));
        assert_eq!(Route::parse("/v2/"), Ok(Route::Base));
        assert_eq!(Route::parse("/v2/_catalog"), Ok(Route::Catalog));
        let manifest = |name: &str, reference: &str| {
            Ok(Route::Manifest { repository: name.parse().unwrap(), reference: reference.parse().unwrap() })
        };
        assert_eq!(Route::parse("/v2/a/manifests/v1"), manifest("a", "v1"));
        assert_eq!(Route::parse("/v2/a/b/c/manifests/v1"), manifest("a/b/c", "v1"));
        assert_eq!(Route::parse("/v2/manifests/manifests/manifests"), manifest("manifests", "manifests"));
        assert_eq!(Route::parse("/v2/tags/list/manifests/v1"), manifest("tags/list", "v1"));
        let digest = format!("sha256:{HEX}");
        assert_eq!(Route::parse(&format!("/v2/a/manifests/sha256%3a{HEX}")), manifest("a", &digest));
        assert!(matches!(Route::parse(&format!("/v2/a/b/blobs/{digest}")), Ok(Route::Blob { .. })));
        assert!(matches!(Route::parse("/v2/a/b/tags/list"), Ok(Route::Tags { .. })));
        assert!(matches!(Route::parse(&format!("/v2/a/referrers/{digest}")), Ok(Route::Referrers { .. })));
        let repository = || "a".parse().unwrap();
        for path in ["/v2/a/blobs/uploads", "/v2/a/blobs/uploads/"] {
            assert_eq!(Route::parse(path), Ok(Route::Uploads { repository: repository() }), "{path}");
        }
        let upload = Route::Upload { repository: repository(), session: "7-8".to_owned() };
        assert_eq!(Route::parse("/v2/a/blobs/uploads/7-8"), Ok(upload));
    }

    #[test]
    fn refusals() {
        for path in [
            "/",
            "/v1/",
            "/v2x/",
            "/v2/_catalog/",
            "/v2/a/_catalog",
            "/v2/a",
            "/v2/a/tags/list/",
            "/v2/a/manifests/b/c",
        ] {
            assert_eq!(status(path), (404, "UNSUPPORTED".into()), "{path}");
        }
        for path in [
            "/v2//manifests/v1",
            "/v2/manifests/v1",
            "/v2/a//b/manifests/v1",
            "/v2/a/../b/manifests/v1",
            "/v2/a/%2e%2e/b/manifests/v1",
            "/v2/a%2fb/manifests/v1",
            "/v2/a%00/manifests/v1",
            "/v2/a%/manifests/v1",
            "/v2/a%ff/manifests/v1",
            "/v2/A/manifests/v1",
            "/v2/a%252fb/tags/list",
            "/v2/../blobs/uploads/",
        ] {
            assert_eq!(status(path), (400, "NAME_INVALID".into()), "{path}");
        }
        for path in ["/v2/a/manifests/.INVALID", "/v2/a/manifests/", "/v2/a/manifests/%2e%2e"] {
            assert_eq!(status(path), (404, "MANIFEST_UNKNOWN".into()), "{path}");
        }
        for digest in ["md5:00", "sha256:00", &format!("sha256:{}", HEX.to_uppercase()), "sha256:..%2f..", "x:y"] {
            for route in ["manifests", "blobs", "referrers"] {
                let path = format!("/v2/a/{route}/{digest}");
                assert_eq!(status(&path), (400, "DIGEST_INVALID".into()), "{path}");
            }
        }
        assert_eq!(status("/v2/a/blobs/latest"), (400, "DIGEST_INVALID".into()));
    }
}
