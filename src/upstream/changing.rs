//! A change, as a registry is asked for it over HTTP.

use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName, LOCATION, RANGE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method};
use url::Url;

use super::ask::AGENT;
use super::change::{Change, Changed, Sent, Upload};
use super::conversation::Request;
use super::error::{RedirectProblem, UpstreamError};
use super::payload::Payload;
use super::registry::RegistryUpstream;
use super::token::{Right, Scope};
use super::transport::Answer;
use crate::oci::{Digest, RepositoryName};

/// The longest place of an upload: docker-registry's have some 600 bytes.
const MAX_UPLOAD_BYTES: usize = 4096;
/// The longest name of one: a UUID has 36.
const MAX_ID_BYTES: usize = 128;

const MIN_CHUNK: HeaderName = HeaderName::from_static("oci-chunk-min-length");
const UPLOAD_ID: HeaderName = HeaderName::from_static("docker-upload-uuid");
const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

impl RegistryUpstream {
    /// Asks for a change.
    pub(super) async fn ask_change(
        &self,
        repository: &RepositoryName,
        change: Change<'_>,
    ) -> Result<Changed, UpstreamError> {
        let base = self.base();
        let (right, from) = match &change {
            Change::DeleteManifest { .. } | Change::DeleteBlob { .. } => (Right::Delete, None),
            Change::Begin { mount: Some((_, Some(from))), .. } => (Right::Push, Some((*from).clone())),
            _ => (Right::Push, None),
        };
        let names = matches!(change, Change::Manifest { .. } | Change::DeleteManifest { .. });
        let scope = Scope { right, from, ..Scope::pull(Some(repository)) };
        let Outgoing { method, url, headers, payload } = outgoing(base, repository, change)?;
        let lane = payload.is_at_hand().then(|| self.changes());
        let request = Request { method, url: url.clone(), headers, scope, payload, lane };
        let answer = self.converse(request).await?;
        if !answer.status().is_success() {
            return Err(answer.into_refusal().await);
        }
        if names {
            self.lists().forget(repository).await;
        }
        let changed = read(base, &url, &answer)?;
        // What it says is in its head, but read to its end it leaves its connection.
        let _ = answer.collect(MAX_BODY_BYTES, LEISURE).await;
        Ok(changed)
    }
}

/// Nothing is said in the body of such an answer, and that may not take long.
const MAX_BODY_BYTES: usize = 64 << 10;
const LEISURE: Duration = Duration::from_secs(10);

struct Outgoing {
    method: Method,
    url: Url,
    headers: HeaderMap,
    payload: Payload,
}

fn outgoing(base: &Url, repository: &RepositoryName, change: Change<'_>) -> Result<Outgoing, UpstreamError> {
    let mut url = base.clone();
    let mut under = |rest: &str| url.set_path(&format!("{}{repository}/{rest}", base.path()));
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    let (method, body) = match change {
        Change::Begin { mount } => {
            under("blobs/uploads/");
            if let Some((digest, from)) = mount {
                let mut query = url.query_pairs_mut();
                query.append_pair("mount", &digest.to_string());
                query.extend_pairs(from.map(|from| ("from", from.as_str())));
            }
            (Method::POST, octets(&mut headers, None, Sent::Nothing))
        }
        Change::Chunk { upload, range, body } => {
            url = upload.url(base)?;
            (Method::PATCH, octets(&mut headers, range, body))
        }
        Change::Finish { upload, digest, range, body } => {
            url = upload.url(base)?;
            url.query_pairs_mut().append_pair("digest", &digest.to_string());
            (Method::PUT, octets(&mut headers, range, body))
        }
        Change::Status { upload } => {
            url = upload.url(base)?;
            (Method::GET, Payload::none())
        }
        Change::Cancel { upload } => {
            url = upload.url(base)?;
            (Method::DELETE, Payload::none())
        }
        Change::Manifest { reference, media_type, bytes } => {
            under(&format!("manifests/{reference}"));
            let media_type = HeaderValue::from_str(media_type.as_ref());
            headers.extend(media_type.ok().map(|media_type| (CONTENT_TYPE, media_type)));
            (Method::PUT, Payload::Whole(bytes))
        }
        Change::DeleteManifest { reference } => {
            under(&format!("manifests/{reference}"));
            (Method::DELETE, Payload::none())
        }
        Change::DeleteBlob { digest } => {
            under(&format!("blobs/{digest}"));
            (Method::DELETE, Payload::none())
        }
    };
    Ok(Outgoing { method, url, headers, payload: body })
}

/// A part of a blob.
fn octets(headers: &mut HeaderMap, range: Option<(u64, u64)>, body: Sent) -> Payload {
    // As the distribution spec writes it, which is not as RFC 9110 does.
    let range = range.and_then(|(first, last)| HeaderValue::try_from(format!("{first}-{last}")).ok());
    headers.extend(range.map(|range| (CONTENT_RANGE, range)));
    match body {
        Sent::Nothing => {
            headers.insert(CONTENT_LENGTH, 0.into());
            Payload::none()
        }
        Sent::Stream(body) => {
            headers.insert(CONTENT_TYPE, OCTETS);
            Payload::Stream(Some(body))
        }
    }
}

/// What an answer's head says. `asked` is what it answers.
fn read(base: &Url, asked: &Url, answer: &Answer) -> Result<Changed, UpstreamError> {
    let digest = |name| answer.text(name).and_then(|text| text.parse::<Digest>().ok());
    // Only what goes on has a place; where something is now, clients know.
    let goes_on = matches!(answer.status().as_u16(), 202 | 204);
    let location = answer.text(&LOCATION).filter(|_| goes_on);
    let upload = location.map(|location| Upload::read(base, asked, location)).transpose()?;
    Ok(Changed {
        status: answer.status(),
        upload,
        last_byte: answer.text(&RANGE).and_then(last_byte),
        min_chunk: answer.head.headers.get(&MIN_CHUNK).cloned(),
        id: answer.head.headers.get(&UPLOAD_ID).filter(|id| id.len() <= MAX_ID_BYTES).cloned(),
        digest: answer.content_digest(),
        subject: digest(&SUBJECT),
    })
}

/// `0-9`, as the distribution spec has it, or `bytes=0-9`.
fn last_byte(range: &str) -> Option<u64> {
    let range = range.strip_prefix("bytes").map_or(range, |rest| rest.trim_start_matches(['=', ' ']));
    range.split_once('-')?.1.trim().parse().ok()
}

impl Upload {
    /// Reads the `Location` that answers a request to `asked`.
    ///
    /// A registry behind something that ends TLS may well write `http` where it is reached by `https`. But nothing is ever
    /// sent to another host, or another port of it: that would be the upstream's to choose, and the content is the client's.
    fn read(base: &Url, asked: &Url, location: &str) -> Result<Self, UpstreamError> {
        let elsewhere = || UpstreamError::Redirect { why: RedirectProblem::UploadElsewhere };
        let url = asked.join(location).map_err(|_| UpstreamError::malformed("says no usable place for an upload"))?;
        let same_port = match (url.scheme() == base.scheme(), url.port(), base.port()) {
            (_, own, others) if own == others => true,
            (true, ..) | (false, None, None) => false,
            (false, own, others) => own.or(url.port_or_known_default()) == others,
        };
        let is_plain =
            matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none();
        if !is_plain || url.host() != base.host() || !same_port {
            return Err(elsewhere());
        }
        let place = url[url::Position::BeforePath..url::Position::AfterQuery].to_owned();
        if place.len() > MAX_UPLOAD_BYTES {
            return Err(UpstreamError::malformed("says a place for an upload that is longer than is passed on"));
        }
        Ok(Self(place))
    }

    /// Where it is, at the upstream's own host.
    fn url(&self, base: &Url) -> Result<Url, UpstreamError> {
        let url = base.join(&self.0).map_err(|_| UpstreamError::malformed("said no usable place for an upload"))?;
        // Whatever a place looks like, it does not lead away.
        if url.origin() == base.origin() { Ok(url) } else { Err(UpstreamError::malformed("said a place elsewhere")) }
    }
}

impl Answer {
    /// The refusal that an answer to a change is.
    async fn into_refusal(self) -> UpstreamError {
        use http::StatusCode as S;
        let status = self.status();
        if !status.is_client_error() || matches!(status, S::UNAUTHORIZED | S::FORBIDDEN | S::TOO_MANY_REQUESTS) {
            return self.into_error().await;
        }
        let document = Arc::new(self.explanation().await);
        UpstreamError::Refused { status, document }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_goes_on_at_the_same_host_or_nowhere() {
        let base: Url = "https://registry.example/docker/v2/".parse().expect("a URL");
        let asked: Url = "https://registry.example/docker/v2/acme/app/blobs/uploads/?mount=x".parse().expect("a URL");
        let read = |location: &str| Upload::read(&base, &asked, location).ok().map(|upload| upload.0);
        let place = Some("/v2/acme/app/blobs/uploads/7?_state=a%2Fb".to_owned());
        assert_eq!(read("/v2/acme/app/blobs/uploads/7?_state=a%2Fb"), place);
        assert_eq!(read("https://registry.example/v2/acme/app/blobs/uploads/7?_state=a%2Fb#x"), place);
        assert_eq!(read("http://registry.example/v2/acme/app/blobs/uploads/7?_state=a%2Fb"), place);
        assert_eq!(read("https://registry.example:443/u").as_deref(), Some("/u"));
        assert_eq!(read("7?a").as_deref(), Some("/docker/v2/acme/app/blobs/uploads/7?a"));
        for elsewhere in [
            "https://evil.example/u",
            "https://registry.example.evil.example/u",
            "//evil.example/u",
            "https://registry.example:8443/u",
            "http://registry.example:8080/u",
            "https://user@registry.example/u",
            "https://registry.example@evil.example/u",
            "ftp://registry.example/u",
            "\\\\evil.example/u",
            "data:,x",
        ] {
            assert_eq!(read(elsewhere), None, "{elsewhere}");
        }
        assert_eq!(read(&format!("/{}", "u".repeat(MAX_UPLOAD_BYTES))), None);
        for place in ["//evil.example/u", "https://evil.example/u", "/\\evil.example/u"] {
            let url = Upload(place.to_owned()).url(&base);
            assert!(url.is_err(), "{place} is {url:?}");
        }
    }

    #[test]
    fn ranges() {
        for (text, last) in [("0-9", Some(9)), ("bytes=0-9", Some(9)), ("0-0", Some(0)), ("9", None), ("0--1", None)] {
            assert_eq!(last_byte(text), last, "{text}");
        }
    }
}
